//! Who waits, who is next, and what was found.

use crate::{Answer, Limits, Progress, Request};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A photo that was brought, from the queue to its result.
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) request: Request,
    /// The bytes of the image file; it is never written anywhere.
    pub(crate) photo: Vec<u8>,
    pub(crate) progress: Progress,
}

/// Where a job is.
#[derive(Clone)]
pub(crate) enum State {
    /// So many are before it.
    Waiting(usize),
    Running(Arc<Job>, Instant),
    Done(Arc<Answer>),
    Failed(String),
    /// It was never here, or is not any more.
    Unknown,
}

/// All jobs. Users take turns: each round, everyone who waits has one photo explained, in the order in which they came.
pub(crate) struct Jobs {
    inner: Mutex<Inner>,
    changed: Condvar,
    limits: Limits,
}

#[derive(Default)]
struct Inner {
    /// The users who wait, the next first, with their photos.
    turns: VecDeque<(String, VecDeque<Arc<Job>>)>,
    running: HashMap<String, (Arc<Job>, Instant)>,
    finished: HashMap<String, Result<Arc<Answer>, String>>,
    /// The finished, the oldest first.
    order: VecDeque<String>,
    closed: bool,
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
        let waiting = || inner.turns.iter().flat_map(|(_, jobs)| jobs);
        let bytes: usize = waiting().map(|job| job.photo.len()).sum();
        if waiting().count() >= self.limits.waiting || bytes + job.photo.len() > self.limits.waiting_bytes {
            return Err("too many photos are waiting; try again in a while".into());
        }
        match inner.turns.iter_mut().find(|(known, _)| known == user) {
            Some((_, jobs)) if jobs.len() >= self.limits.waiting_each => {
                return Err(format!("{} of your photos are waiting already", jobs.len()));
            }
            Some((_, jobs)) => jobs.push_back(Arc::new(job)),
            None => inner.turns.push_back((user.to_owned(), VecDeque::from([Arc::new(job)]))),
        }
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
            if let Some((user, mut jobs)) = inner.turns.pop_front() {
                let job = jobs.pop_front();
                if !jobs.is_empty() {
                    inner.turns.push_back((user, jobs));
                }
                if let Some(job) = job {
                    inner.running.insert(job.id.clone(), (Arc::clone(&job), Instant::now()));
                    self.changed.notify_all();
                    return Some(job);
                }
                continue;
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A job has come to its end.
    pub(crate) fn finish(&self, id: &str, result: Result<Answer, String>) {
        let mut inner = self.lock();
        inner.running.remove(id);
        inner.finished.insert(id.to_owned(), result.map(Arc::new));
        inner.order.push_back(id.to_owned());
        while inner.order.len() > self.limits.kept {
            if let Some(oldest) = inner.order.pop_front() {
                inner.finished.remove(&oldest);
            }
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
        for (_, jobs) in &mut inner.turns {
            jobs.retain(|job| job.id != id);
        }
        inner.turns.retain(|(_, jobs)| !jobs.is_empty());
        if let Some((job, _)) = inner.running.get(id) {
            job.progress.give_up();
        }
        inner.finished.remove(id);
        inner.order.retain(|known| known != id);
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
        match self.finished.get(id) {
            Some(Ok(answer)) => return State::Done(Arc::clone(answer)),
            Some(Err(reason)) => return State::Failed(reason.clone()),
            None => {}
        }
        // Who comes before: of every user, as many rounds as lie before this job's.
        let found = self
            .turns
            .iter()
            .enumerate()
            .find_map(|(turn, (_, jobs))| jobs.iter().position(|job| job.id == id).map(|round| (turn, round)));
        let Some((turn, round)) = found else { return State::Unknown };
        let before = self.turns.iter().enumerate().map(|(other, (_, jobs))| {
            let rounds = if other < turn { round + 1 } else { round };
            if other == turn { round } else { jobs.len().min(rounds) }
        });
        State::Waiting(before.sum::<usize>() + self.running.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> Job {
        Job { id: id.into(), request: Request::default(), photo: vec![0; 10], progress: Progress::default() }
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
            jobs.finish(&running.id, Ok(Answer::default()));
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
