//! What the naive model knows of a topic's keys: the first records of them, or the latest ones.

use std::collections::BTreeSet;

use zaichik_proto::RefusalCode;

use crate::model::topic::{Entry, Fate};
use crate::model::words::{Refusal, Settings};

/// A key that was accepted while the first record of a key counted.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    bytes: Vec<u8>,
    accepted: u64,
    offset: u64,
    /// The smallest window in force since.
    window: u64,
}

/// C1: remembers the key of a record that gets this offset, or names the original of which it is a duplicate.
pub(crate) fn accept(
    keys: &mut Vec<Key>,
    bytes: &[u8],
    now: u64,
    offset: u64,
    settings: &Settings,
) -> Result<Option<u64>, Refusal> {
    let remembered: Vec<_> = keys.iter().filter(|key| now - key.accepted < key.window).collect();
    if let Some(original) = remembered.iter().find(|key| key.bytes == bytes) {
        return Ok(Some(original.offset));
    }
    if remembered.len() as u64 >= settings.max_keys {
        return Err((RefusalCode::KeysFull, settings.max_keys));
    }
    keys.push(Key { bytes: bytes.to_vec(), accepted: now, offset, window: settings.window });
    Ok(None)
}

/// R7: the smallest window counts; a topic that changes its mode, which has no records, forgets all keys.
pub(crate) fn change(keys: &mut Vec<Key>, old: &Settings, new: &Settings) {
    if old.latest != new.latest {
        keys.clear();
    }
    for key in keys {
        key.window = key.window.min(new.window);
    }
}

/// `latest`: the keys whose newest record is live.
pub(crate) fn live(log: &[Entry], settings: &Settings, now: u64) -> BTreeSet<Vec<u8>> {
    let newest = log.iter().filter(|entry| entry.superseded.is_none());
    let live = newest.filter(|entry| entry.fate(settings, now) == Fate::Live);
    live.filter_map(|entry| entry.record.key.clone()).collect()
}

/// C4, `latest`: a record of this key joins these; one that does not stay needs no room: a tombstone that
/// dies at once, or what nobody waits for.
pub(crate) fn take(
    live: &mut BTreeSet<Vec<u8>>,
    key: &[u8],
    stays: bool,
    max_keys: u64,
) -> Result<(), Refusal> {
    if !stays {
        live.remove(key);
    } else if !live.contains(key) {
        if live.len() as u64 >= max_keys {
            return Err((RefusalCode::KeysFull, max_keys));
        }
        live.insert(key.to_vec());
    }
    Ok(())
}

/// C6: a record came and supersedes the older ones of its key.
pub(crate) fn supersede(log: &mut [Entry], index: usize, now: u64) {
    let (older, newer) = log.split_at_mut(index);
    let Some(key) = &newer[0].record.key else { return };
    let older = older.iter_mut().filter(|entry| entry.superseded.is_none());
    for entry in older.filter(|entry| entry.record.key.as_ref() == Some(key)) {
        entry.superseded = Some(now);
    }
}
