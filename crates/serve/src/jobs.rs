//! Who waits, who is next, and what was found.

use crate::budget::Held;
use crate::{Answer, File, Limits, Progress, Request};
use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A photo that was brought, from the queue to its result.
pub(crate) struct Job {
    pub(crate) id: String,
    /// Where it comes from.
    pub(crate) owner: IpAddr,
    pub(crate) request: Request,
    /// The bytes of the image file; it is never written anywhere.
    pub(crate) photo: Vec<u8>,
    /// What they count as.
    pub(crate) _held: Option<Held>,
    pub(crate) progress: Progress,
}

/// What was found, as it is sent.
pub(crate) struct Found {
    /// [`Answer::shown`] as text.
    pub(crate) shown: Vec<u8>,
    pub(crate) files: Vec<File>,
}

impl Found {
    fn new(answer: Answer) -> Self {
        Self { shown: answer.shown.to_string().into_bytes(), files: answer.files }
    }

    fn bytes(&self) -> usize {
        self.shown.len() + self.files.iter().map(|file| file.bytes.len()).sum::<usize>()
    }
}

/// Where a job is.
#[derive(Clone)]
pub(crate) enum State {
    /// So many are before it.
    Waiting(usize),
    Running(Arc<Job>, Instant),
    Done(Arc<Found>),
    Failed(String),
    /// It was never here, or is not any more.
    Unknown,
}

/// All jobs. Addresses take turns, and in the turns of an address its users: each round, every address that waits has one
/// photo explained, in the order in which they came.
pub(crate) struct Jobs {
    inner: Mutex<Inner>,
    changed: Condvar,
    limits: Limits,
}

/// Who takes turns, the next first.
type Turns<Key, Value> = VecDeque<(Key, Value)>;

#[derive(Default)]
struct Inner {
    /// Addresses, their users, and the users' photos.
    turns: Turns<IpAddr, Turns<String, VecDeque<Arc<Job>>>>,
    running: HashMap<String, (Arc<Job>, Instant)>,
    /// The finished, the oldest first.
    finished: VecDeque<Finished>,
    closed: bool,
}

struct Finished {
    id: String,
    owner: IpAddr,
    bytes: usize,
    result: Result<Arc<Found>, String>,
}

impl Jobs {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), limits }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job of `user`.
    ///
    /// # Errors
    /// A sentence where too many wait.
    pub(crate) fn add(&self, user: &str, job: Job) -> Result<(), String> {
        let mut inner = self.lock();
        let of = |users: &Turns<String, VecDeque<Arc<Job>>>| users.iter().map(|(_, jobs)| jobs.len()).sum::<usize>();
        if inner.turns.iter().map(|(_, users)| of(users)).sum::<usize>() >= self.limits.waiting {
            return Err("too many photos are waiting; try again in a while".into());
        }
        let users = turn_of(&mut inner.turns, &job.owner);
        if of(users) >= self.limits.waiting_address {
            return Err(format!("{} photos from your address are waiting already", of(users)));
        }
        let jobs = turn_of(users, user);
        if jobs.len() >= self.limits.waiting_each {
            return Err(format!("{} of your photos are waiting already", jobs.len()));
        }
        jobs.push_back(Arc::new(job));
        self.changed.notify_all();
        Ok(())
    }

    /// The next job, as soon as there is one; nothing when the server closes.
    pub(crate) fn next(&self) -> Option<Arc<Job>> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(job) = take_next(&mut inner.turns) {
                inner.running.insert(job.id.clone(), (Arc::clone(&job), Instant::now()));
                self.changed.notify_all();
                return Some(job);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A job has come to its end.
    pub(crate) fn finish(&self, job: &Job, result: Result<Answer, String>) {
        // Writing it out may take a while: not under the lock.
        let result = result.map(|answer| Arc::new(Found::new(answer)));
        let bytes = result.as_ref().map_or_else(String::len, |found| found.bytes());
        let mut inner = self.lock();
        inner.running.remove(&job.id);
        if !job.progress.unwanted() {
            inner.finished.push_back(Finished { id: job.id.clone(), owner: job.owner, bytes, result });
            inner.make_room(&self.limits);
        }
        self.changed.notify_all();
    }

    /// Where a job is.
    pub(crate) fn state(&self, id: &str) -> State {
        self.lock().state(id)
    }

    /// Waits until something has changed, or that long.
    pub(crate) fn wait(&self, long: Duration) {
        let inner = self.lock();
        drop(self.changed.wait_timeout(inner, long));
    }

    /// The user does not want it any more.
    pub(crate) fn cancel(&self, id: &str) {
        let mut inner = self.lock();
        for (_, users) in &mut inner.turns {
            for (_, jobs) in users.iter_mut() {
                jobs.retain(|job| job.id != id);
            }
            users.retain(|(_, jobs)| !jobs.is_empty());
        }
        inner.turns.retain(|(_, users)| !users.is_empty());
        if let Some((job, _)) = inner.running.get(id) {
            job.progress.give_up();
        }
        inner.finished.retain(|finished| finished.id != id);
        self.changed.notify_all();
    }

    /// Nothing more is begun.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        for (job, _) in inner.running.values() {
            job.progress.give_up();
        }
        self.changed.notify_all();
    }
}

impl Inner {
    fn state(&self, id: &str) -> State {
        if let Some((job, since)) = self.running.get(id) {
            return State::Running(Arc::clone(job), *since);
        }
        match self.finished.iter().find(|finished| finished.id == id).map(|finished| &finished.result) {
            Some(Ok(found)) => return State::Done(Arc::clone(found)),
            Some(Err(reason)) => return State::Failed(reason.clone()),
            None => {}
        }
        // Who comes before: the queue is short, and is taken from as it will be.
        let mut turns = self.turns.clone();
        let mut before = self.running.len();
        while let Some(job) = take_next(&mut turns) {
            if job.id == id {
                return State::Waiting(before);
            }
            before += 1;
        }
        State::Unknown
    }

    /// Forgets results until all are few and small enough: the oldest of the address that has most. The newest stays, as its
    /// user has not seen it; where it alone is larger than all may be, it does not count.
    fn make_room(&mut self, limits: &Limits) {
        while self.finished.len() > 1 {
            let mut held: HashMap<IpAddr, (usize, usize)> = HashMap::new();
            for Finished { owner, bytes, .. } in self.finished.iter().rev().skip(1) {
                let own = held.entry(*owner).or_default();
                *own = (own.0 + bytes, own.1 + 1);
            }
            let newest = self.finished.back().map_or(0, |newest| newest.bytes);
            let newest = if newest > limits.kept_bytes { 0 } else { newest };
            let bytes: usize = newest + held.values().map(|(bytes, _)| bytes).sum::<usize>();
            let too_large = bytes > limits.kept_bytes;
            if !too_large && self.finished.len() <= limits.kept {
                return;
            }
            let most = held.into_iter().max_by_key(|(_, (bytes, count))| if too_large { *bytes } else { *count });
            let oldest = self.finished.iter().position(|one| most.is_some_and(|(owner, _)| one.owner == owner));
            self.finished.remove(oldest.unwrap_or(0));
        }
    }
}

/// What `key` has in turns; at their end, where it has none yet.
fn turn_of<'a, Key: Borrow<Asked>, Asked: ToOwned<Owned = Key> + PartialEq + ?Sized, Value: Default>(
    turns: &'a mut Turns<Key, Value>,
    key: &Asked,
) -> &'a mut Value {
    let place = turns.iter().position(|(known, _)| known.borrow() == key).unwrap_or_else(|| {
        turns.push_back((key.to_owned(), Value::default()));
        turns.len() - 1
    });
    &mut turns[place].1
}

/// The next job of the next user of the next address; whoever has more goes to the end.
fn take_next(turns: &mut Turns<IpAddr, Turns<String, VecDeque<Arc<Job>>>>) -> Option<Arc<Job>> {
    while let Some((address, mut users)) = turns.pop_front() {
        let mut found = None;
        while found.is_none()
            && let Some((user, mut jobs)) = users.pop_front()
        {
            found = jobs.pop_front();
            if !jobs.is_empty() {
                users.push_back((user, jobs));
            }
        }
        if !users.is_empty() {
            turns.push_back((address, users));
        }
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> Job {
        of(1, id)
    }

    fn of(address: u8, id: &str) -> Job {
        let (owner, request) = (IpAddr::from([127, 0, 0, address]), Request::default());
        Job { id: id.into(), owner, request, photo: vec![0; 10], _held: None, progress: Progress::default() }
    }

    #[test]
    fn users_take_turns_however_many_photos_one_brings() {
        let jobs = Jobs::new(Limits::default());
        for id in ["a1", "a2", "a3"] {
            jobs.add("a", job(id)).unwrap();
        }
        jobs.add("b", job("b1")).unwrap();
        jobs.add("c", job("c1")).unwrap();
        jobs.add("b", job("b2")).unwrap();
        let mut foretold: Vec<(usize, &str)> = ["a1", "a2", "a3", "b1", "b2", "c1"]
            .map(|id| match jobs.state(id) {
                State::Waiting(before) => (before, id),
                _ => panic!("{id} waits"),
            })
            .to_vec();
        foretold.sort_unstable();
        let order: Vec<String> = (0..6).map(|_| jobs.next().unwrap().id.clone()).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(foretold.iter().map(|(_, id)| *id).collect::<Vec<_>>(), order);
        assert_eq!(foretold.iter().map(|(before, _)| *before).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_address_has_one_turn_whatever_its_users_are_called() {
        let jobs = Jobs::new(Limits { waiting_address: 3, ..Limits::default() });
        for name in ["a", "b", "c"] {
            jobs.add(name, of(1, name)).unwrap();
        }
        assert!(jobs.add("d", of(1, "d")).unwrap_err().contains("from your address"));
        jobs.add("", of(2, "x")).unwrap();
        jobs.add("", of(2, "y")).unwrap();
        assert!(matches!(jobs.state("x"), State::Waiting(1)) && matches!(jobs.state("c"), State::Waiting(4)));
        let order: Vec<String> = (0..5).map(|_| jobs.next().unwrap().id.clone()).collect();
        assert_eq!(order, ["a", "x", "b", "y", "c"]);
    }

    #[test]
    fn large_results_of_one_address_do_not_push_out_anothers() {
        let jobs = Jobs::new(Limits { kept_bytes: 1000, ..Limits::default() });
        let finish = |address, id: &str, bytes| {
            jobs.add("", of(address, id)).unwrap();
            let running = jobs.next().unwrap();
            let file = File { name: "map".into(), media: "image/png", bytes: vec![0; bytes] };
            jobs.finish(&running, Ok(Answer { files: vec![file], ..Answer::default() }));
        };
        let kept = |ids: &[&str]| ids.iter().filter(|id| matches!(jobs.state(id), State::Done(_))).count();
        finish(1, "small", 100);
        for id in ["1", "2", "3", "4"] {
            finish(2, id, 400);
        }
        assert_eq!((kept(&["small"]), kept(&["1", "2"]), kept(&["3", "4"])), (1, 0, 2));
        finish(3, "huge", 5000);
        assert_eq!(kept(&["huge"]), 1, "its user has not seen it");
    }

    #[test]
    fn nobody_may_wait_with_more_than_their_share() {
        let jobs = Jobs::new(Limits { waiting: 3, waiting_each: 2, ..Limits::default() });
        jobs.add("a", job("1")).unwrap();
        jobs.add("a", job("2")).unwrap();
        assert!(jobs.add("a", job("3")).unwrap_err().contains("of your photos"));
        jobs.add("b", job("4")).unwrap();
        assert!(jobs.add("c", job("5")).unwrap_err().contains("try again"));
        jobs.cancel("2");
        jobs.add("c", job("5")).unwrap();
    }

    #[test]
    fn results_are_kept_up_to_a_number_and_can_be_given_up() {
        let jobs = Jobs::new(Limits { kept: 2, ..Limits::default() });
        for id in ["1", "2", "3"] {
            jobs.add("a", job(id)).unwrap();
            let running = jobs.next().unwrap();
            jobs.finish(&running, Ok(Answer::default()));
        }
        assert!(matches!(jobs.state("1"), State::Unknown));
        assert!(matches!(jobs.state("3"), State::Done(_)));
        jobs.add("a", job("4")).unwrap();
        let running = jobs.next().unwrap();
        jobs.cancel("4");
        assert!(running.progress.unwanted());
        jobs.close();
        assert!(jobs.next().is_none());
    }
}
