//! Who is connected: so many at a time, of everyone and of one address. Who comes when all places are taken gets that of the
//! connection that has been getting nowhere for longest.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a connection is at; the first give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its request arrives.
    Asking,
    /// Its answer is taken.
    Answering,
    /// It is told how far a photo is. A browser that loses this asks again.
    Watching,
}

/// A connection gives way when it is so old: what works at all is done by then.
const YOUNG: Duration = Duration::from_millis(500);

pub(crate) struct Connections {
    inner: Mutex<Inner>,
    most: usize,
    most_each: usize,
}

#[derive(Default)]
struct Inner {
    last: u64,
    open: HashMap<u64, Open>,
}

struct Open {
    peer: IpAddr,
    since: Instant,
    stage: Stage,
    /// Another handle of the connection, to end it by.
    stream: TcpStream,
    ending: bool,
}

/// A place among the connections, until it is dropped.
pub(crate) struct Place<'a> {
    connections: &'a Connections,
    number: u64,
}

impl Connections {
    pub(crate) fn new(most: usize, most_each: usize) -> Self {
        Self { inner: Mutex::default(), most: most.max(1), most_each: most_each.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from `peer`; none where there is none to be had.
    pub(crate) fn admit(&self, stream: &TcpStream, peer: IpAddr) -> Option<Place<'_>> {
        let stream = stream.try_clone().ok()?;
        let mut inner = self.lock();
        // Connections that were ended have a thread for a moment still.
        if inner.open.len() >= 2 * self.most {
            return None;
        }
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        inner.open.values().filter(|open| !open.ending).for_each(|open| *counts.entry(open.peer).or_default() += 1);
        let all: usize = counts.values().sum();
        if counts.get(&peer).is_some_and(|own| *own >= self.most_each) {
            inner.end_oldest(peer)?;
        } else if all >= self.most {
            let busiest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(busiest, _)| busiest)?;
            inner.end_oldest(busiest)?;
        }
        inner.last += 1;
        let number = inner.last;
        let open = Open { peer, since: Instant::now(), stage: Stage::Asking, stream, ending: false };
        inner.open.insert(number, open);
        Some(Place { connections: self, number })
    }
}

impl Inner {
    /// Ends the connection of that address that gives way first.
    fn end_oldest(&mut self, peer: IpAddr) -> Option<()> {
        let own = self.open.values_mut().filter(|open| open.peer == peer && !open.ending);
        let oldest = own.filter(|open| open.since.elapsed() >= YOUNG).min_by_key(|open| (open.stage, open.since))?;
        oldest.ending = true;
        let _ = oldest.stream.shutdown(Shutdown::Both);
        Some(())
    }
}

impl Place<'_> {
    /// What the connection is at from now on.
    pub(crate) fn at(&self, stage: Stage) {
        if let Some(open) = self.connections.lock().open.get_mut(&self.number) {
            (open.stage, open.since) = (stage, Instant::now());
        }
    }

    /// Ends the oldest request of the same address that still arrives, to make room for this one; whether there was one.
    pub(crate) fn end_an_older(&self) -> bool {
        let mut inner = self.connections.lock();
        let Some((peer, since)) = inner.open.get(&self.number).map(|own| (own.peer, own.since)) else { return false };
        let older = |open: &&mut Open| {
            open.peer == peer && !open.ending && open.stage == Stage::Asking && open.since + YOUNG < since
        };
        let Some(oldest) = inner.open.values_mut().filter(older).min_by_key(|open| open.since) else { return false };
        oldest.ending = true;
        oldest.stream.shutdown(Shutdown::Both).is_ok()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.number);
    }
}
