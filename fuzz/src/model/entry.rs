//! One record of the model's log, and when it is live.

use std::rc::Rc;

use crate::model::words::{FOREVER, Record, Settings};

/// A record that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) timestamp: u64,
    pub(crate) record: Rc<Record>,
    /// Missing for every reader: expired with the topic's time to live, evicted, or needed by no subscription.
    pub(crate) removed: bool,
    /// The topic's time to live ended it, under the present settings or earlier ones.
    pub(crate) expired: bool,
    /// Hidden from new subscriptions: it was dead when the settings changed.
    pub(crate) hidden: bool,
    /// When a newer record of its key was accepted (`latest`).
    pub(crate) superseded: Option<u64>,
    /// When it died as superseded, or as a tombstone, under earlier settings.
    pub(crate) died: Option<u64>,
    /// It was live when settings changed, so the new ones do not end its life before this time.
    pub(crate) not_before: u64,
}

/// What a reader receives at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// The record.
    Live,
    /// A Gap (rule R4).
    Missing,
    /// Nothing: it was superseded, or it was a tombstone whose time is over (rules C6, C7).
    Silent,
}

impl Entry {
    pub(crate) fn liveness(&self, settings: &Settings, now: u64) -> Liveness {
        let (own, silent) = (self.own_death(), self.silent_death(settings));
        match () {
            () if self.removed => Liveness::Missing,
            () if silent <= now && silent < own => Liveness::Silent,
            () if own <= now => Liveness::Missing,
            () => Liveness::Live,
        }
    }

    /// Rule R8.
    pub(crate) fn own_death(&self) -> u64 {
        self.record.ttl.map_or(FOREVER, |ttl| self.timestamp.saturating_add(ttl))
    }

    /// When it dies as superseded, or because its time as a tombstone is over (rules C6, C7).
    pub(crate) fn silent_death(&self, settings: &Settings) -> u64 {
        if let Some(died) = self.died {
            return died;
        }
        let after = |span: u64| self.timestamp.saturating_add(span).max(self.not_before);
        let superseded = self.superseded.filter(|_| settings.latest);
        let of_key = superseded.map_or(FOREVER, |moment| moment.max(after(settings.window)));
        let is_tombstone = settings.latest && self.record.tombstone;
        of_key.min(if is_tombstone { after(settings.tombstone_ttl) } else { FOREVER })
    }
}
