//! A topic's keys in the model: the first record of each, or the latest.

use std::collections::BTreeSet;

use zaichik_proto::RefusalCode;

use crate::model::entry::{Entry, Liveness};
use crate::model::words::{Refusal, Settings};

/// A key accepted in `first` mode.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    bytes: Vec<u8>,
    accepted: u64,
    offset: u64,
    /// The smallest window in force since.
    window: u64,
}

/// Forgets the keys whose window is over.
pub(crate) fn forget(keys: &mut Vec<Key>, now: u64) {
    keys.retain(|key| now - key.accepted < key.window);
}

/// Rule C1: remembers the key of a record that gets this offset, or returns the offset of the original that it
/// duplicates. All `keys` are within their windows.
pub(crate) fn accept(
    keys: &mut Vec<Key>,
    bytes: &[u8],
    now: u64,
    offset: u64,
    settings: &Settings,
) -> Result<Option<u64>, Refusal> {
    if let Some(original) = keys.iter().find(|key| key.bytes == bytes) {
        return Ok(Some(original.offset));
    }
    if keys.len() as u64 >= settings.max_keys {
        return Err((RefusalCode::KeysFull, settings.max_keys));
    }
    keys.push(Key { bytes: bytes.to_vec(), accepted: now, offset, window: settings.window });
    Ok(None)
}

/// Rule R7: the smallest window counts; a topic that changes its mode has no records, and forgets all keys.
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
    let live = newest.filter(|entry| entry.liveness(settings, now) == Liveness::Live);
    live.filter_map(|entry| entry.record.key.clone()).collect()
}

/// Rule C4, `latest`: adds the key of a record to the live ones. A record that is not kept needs no room: a tombstone
/// that dies at once, or a record that no subscription waits for.
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

/// Rule C6: the last entry supersedes the older ones of its key.
pub(crate) fn supersede(log: &mut [Entry], now: u64) {
    let Some((newest, older)) = log.split_last_mut() else { return };
    let Some(key) = &newest.record.key else { return };
    let older = older.iter_mut().filter(|entry| entry.superseded.is_none());
    for entry in older.filter(|entry| entry.record.key.as_ref() == Some(key)) {
        entry.superseded = Some(now);
    }
}
