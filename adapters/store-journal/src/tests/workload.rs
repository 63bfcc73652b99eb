//! Random commits, and what the rows are after each.

use std::collections::BTreeMap;

use crate::disk::Disk;
use crate::error::{OpenError, StoreError};
use crate::journal::{Journal, Shown};
use crate::op::{Op, TRIMMED, start_key};
use crate::options::Options;
use crate::simulated::{below, next};

pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// An operation that owns its bytes.
#[derive(Debug, Clone)]
pub(super) enum Owned {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Trim(u32, u64, u64),
}

pub(super) fn options() -> Options {
    Options { segment_bytes: 2048, reserve_bytes: 2048, ..Options::new(7) }
}

/// So many random operations, in commits of 1 to 8: rows that are replaced, rows that stay, records that are appended and
/// trimmed.
pub(super) fn commits(seed: u64, ops: usize) -> Vec<Vec<Owned>> {
    let mut random = seed;
    let mut commits = Vec::new();
    let mut ends = [0_u64; 3];
    let mut left = ops;
    while left > 0 {
        let len = left.min(1 + below(&mut random, 8));
        left -= len;
        commits.push((0..len).map(|_| op(&mut random, &mut ends)).collect());
    }
    commits
}

fn op(random: &mut u64, ends: &mut [u64; 3]) -> Owned {
    let len = below(random, 200);
    let value: Vec<u8> = (0..len).map(|_| next(random) as u8).collect();
    let topic = below(random, 3);
    let key = |random: &mut u64| vec![4, topic as u8, below(random, 12) as u8];
    match below(random, 10) {
        0..4 => {
            ends[topic] += 1;
            Owned::Put(start_key(2, topic as u32, ends[topic]).to_vec(), value)
        }
        4 => Owned::Put(start_key(7, topic as u32, ends[topic]).to_vec(), value),
        5..8 => Owned::Put(key(random), value),
        8 => Owned::Remove(key(random)),
        _ => {
            let to = ends[topic].saturating_sub(below(random, 8) as u64);
            Owned::Trim(topic as u32, to.saturating_sub(1 + below(random, 20) as u64), to)
        }
    }
}

pub(super) fn apply(rows: &mut Rows, commit: &[Owned]) {
    for op in commit {
        match op {
            Owned::Put(key, value) => {
                rows.insert(key.clone(), value.clone());
            }
            Owned::Remove(key) => {
                rows.remove(key);
            }
            Owned::Trim(topic, from, to) => {
                let gone = |key: &[u8], kind: u8| {
                    start_key(kind, *topic, *from).as_slice() <= key
                        && key < start_key(kind, *topic, *to).as_slice()
                };
                rows.retain(|key, _| !TRIMMED.iter().any(|kind| gone(key, *kind)));
            }
        }
    }
}

/// The rows before the first commit, and after each.
pub(super) fn states(commits: &[Vec<Owned>]) -> Vec<Rows> {
    let mut states = vec![Rows::new()];
    for commit in commits {
        let mut rows = states.last().unwrap().clone();
        apply(&mut rows, commit);
        states.push(rows);
    }
    states
}

/// What is stored apart of a row: of most records, something that depends on all of the value.
pub(super) fn head(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let has_head = key.first() == Some(&2) && value.len() % 7 > 1;
    has_head.then(|| crc32c::crc32c(value).to_be_bytes().repeat(1 + value.len() % 3))
}

pub(super) fn commit(journal: &mut Journal<impl Disk>, commit: &[Owned]) -> Result<(), StoreError> {
    // Values are stored in pieces.
    let pieces: Vec<[&[u8]; 2]> = commit
        .iter()
        .map(|op| match op {
            Owned::Put(_, value) => value.split_at(value.len() / 3).into(),
            Owned::Remove(_) | Owned::Trim(..) => [[].as_slice(); 2],
        })
        .collect();
    let heads: Vec<Vec<u8>> = commit
        .iter()
        .map(|op| match op {
            Owned::Put(key, value) => head(key, value).unwrap_or_default(),
            Owned::Remove(_) | Owned::Trim(..) => Vec::new(),
        })
        .collect();
    let ops: Vec<Op<'_>> = commit
        .iter()
        .zip(pieces.iter().zip(&heads))
        .map(|(op, (pieces, head))| match op {
            Owned::Put(key, _) => Op::Put { key, head, value: pieces },
            Owned::Remove(key) => Op::Remove { key },
            Owned::Trim(topic, from, to) => Op::Trim { topic: *topic, from: *from, to: *to },
        })
        .collect();
    journal.commit(&ops)
}

/// All rows, which come in the order of their keys.
pub(super) fn read(journal: &mut Journal<impl Disk>) -> Result<Rows, StoreError> {
    let mut rows = Vec::new();
    journal.rows(|key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok::<_, StoreError>(())
    })?;
    assert!(rows.is_sorted_by_key(|(key, _)| key.clone()), "rows come in the order of their keys");
    Ok(rows.into_iter().collect())
}

/// All rows by their heads, and the values of those that have none. With `is_curious`, some values are wanted besides, and
/// compared with their heads.
pub(super) fn read_back(journal: &mut Journal<impl Disk>, is_curious: bool) -> Result<Rows, StoreError> {
    let (mut rows, mut wanted) = (Rows::new(), None);
    journal.read_back(|key, shown| {
        let is_new = match shown {
            Shown::Head(known) => {
                let is_wanted = is_curious && crc32c::crc32c(key).is_multiple_of(3);
                wanted = is_wanted.then(|| known.to_vec());
                if is_wanted {
                    return Ok(true);
                }
                rows.insert(key.to_vec(), known.to_vec()).is_none()
            }
            Shown::Value(value) => {
                let shown = match wanted.take() {
                    Some(known) if head(key, value).as_ref() == Some(&known) => known,
                    _ => value.to_vec(),
                };
                rows.insert(key.to_vec(), shown).is_none()
            }
        };
        assert!(is_new, "{key:?} comes twice");
        Ok::<_, StoreError>(false)
    })?;
    Ok(rows)
}

/// What [`read_back`] shows of these rows.
pub(super) fn by_heads(rows: &Rows) -> Rows {
    let shown = |key: &[u8], value: &[u8]| head(key, value).unwrap_or_else(|| value.to_vec());
    rows.iter().map(|(key, value)| (key.clone(), shown(key, value))).collect()
}

/// Fails with the first row that differs.
#[track_caller]
pub(super) fn assert_same(found: &Rows, expected: &Rows) {
    let key = found.keys().chain(expected.keys()).find(|key| found.get(*key) != expected.get(*key));
    assert!(key.is_none(), "{key:?}: {:?}, not {:?}", found.get(key.unwrap()), expected.get(key.unwrap()));
}

/// Opens the journal and reads all rows.
pub(super) fn reopen<D: Disk>(disk: D) -> Result<(Journal<D>, Rows), OpenError> {
    let mut journal = Journal::on(disk, options())?;
    let shown = read_back(&mut journal, true)?;
    let rows = read(&mut journal)?;
    assert_same(&shown, &by_heads(&rows));
    Ok((journal, rows))
}
