//! Wakers: kept without cloning, collected under the lock, and called without it.

use std::collections::HashMap;
use std::task::Waker;

/// Keeps a waker; does not clone an equal one.
pub(super) fn keep(kept: &mut Option<Waker>, waker: &Waker) {
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *kept = Some(waker.clone());
    }
}

/// Wakers to call after unlocking. One needs no allocation.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Wakes {
    pub(super) fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.others.push(waker);
        }
    }

    pub(super) fn extend(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.push(waker);
        }
    }

    pub(super) fn run(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}

/// A map's values in the order of their keys, so that the order of wakes does not depend on a hasher's seed.
pub(super) fn in_order<K: Ord + Copy, V>(map: &mut HashMap<K, V>) -> impl Iterator<Item = &mut V> {
    let mut entries: Vec<_> = map.iter_mut().collect();
    entries.sort_unstable_by_key(|(key, _)| **key);
    entries.into_iter().map(|(_, value)| value)
}
