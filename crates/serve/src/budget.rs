//! Memory that uploads may take: of everyone together, and of one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How many bytes of photos are here, whether they still arrive, wait or are explained.
pub(crate) struct Budget {
    taken: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
    most_each: usize,
}

/// Bytes that are counted until this is dropped.
pub(crate) struct Held {
    budget: Arc<Budget>,
    peer: IpAddr,
    bytes: usize,
}

/// What there is no more room in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The address's own share.
    Share,
    /// Everyone's.
    Everything,
}

impl Budget {
    pub(crate) fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), most, most_each })
    }

    /// Nothing yet, of that address.
    pub(crate) fn hold(self: &Arc<Self>, peer: IpAddr) -> Held {
        Held { budget: Arc::clone(self), peer, bytes: 0 }
    }
}

impl Held {
    /// Counts so many bytes more, if there is room.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(self.peer).or_default();
        let refused = if own.saturating_add(bytes) > self.budget.most_each {
            Full::Share
        } else if all.saturating_add(bytes) > self.budget.most {
            Full::Everything
        } else {
            *own += bytes;
            self.bytes += bytes;
            return Ok(());
        };
        if *own == 0 {
            taken.remove(&self.peer);
        }
        Err(refused)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.peer) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_all_have_the_whole() {
        let address = |last| IpAddr::from([127, 0, 0, last]);
        let budget = Budget::new(100, 60);
        let mut first = budget.hold(address(1));
        first.grow(50).unwrap();
        assert_eq!(budget.hold(address(1)).grow(11), Err(Full::Share));
        let mut second = budget.hold(address(2));
        assert_eq!(second.grow(51), Err(Full::Everything));
        second.grow(50).unwrap();
        assert_eq!(budget.hold(address(3)).grow(1), Err(Full::Everything));
        drop(first);
        budget.hold(address(3)).grow(50).unwrap();
        drop(second);
        assert!(budget.taken.lock().unwrap().is_empty());
    }
}
