//! What honest applications sent and were told, held against the log.

use std::collections::{BTreeMap, HashMap, HashSet};

use zaichik_proto::RecordRef;

use super::{Broken, Verdict};

/// What an application was told about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing yet, or that it can't be known.
    Open,
    /// It is in the log, or a duplicate is.
    Done,
    /// It is not in the log and never will be.
    Denied,
}

/// A record that an application sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Whose it is: client and life.
    pub(crate) owner: (usize, u32),
    /// Whether the owner's records must be in the log in the order of their numbers.
    pub(crate) is_ordered: bool,
    /// Whether it may be in the log more than once.
    pub(crate) may_repeat: bool,
    pub(crate) fate: Fate,
}

#[derive(Debug, Default)]
pub(crate) struct Apps {
    sent: HashMap<u64, Sent>,
    /// By number: topic and offset.
    placed: HashMap<u64, (u64, u64)>,
    /// The last number in the log of each owner that is ordered.
    last: BTreeMap<(usize, u32), u64>,
    /// Dead letters: topic, offset, durable name, and how many there are.
    copies: BTreeMap<(Vec<u8>, u64, String), u32>,
    /// Dead letters that were looked at: topic and offset.
    seen: HashSet<(u64, u64)>,
    pub(crate) acknowledged: u64,
    /// Whether a subscription was sought or removed, so that one record may fail for it anew.
    pub(crate) may_copy_again: bool,
}

impl Apps {
    pub(crate) fn restart(&mut self) {
        self.placed.clear();
        self.last.clear();
        self.copies.clear();
        self.seen.clear();
        // What an old broker did is told to nobody any more.
        for sent in self.sent.values_mut() {
            sent.fate = Fate::Open;
        }
    }

    pub(crate) fn sends(&mut self, id: u64, sent: Sent) {
        self.sent.insert(id, sent);
    }

    /// I6, P4: a record is in the log at most once, in its producer's order, and not if its owner was told otherwise.
    pub(crate) fn appended(&mut self, id: Option<u64>, topic: u64, offset: u64) -> Verdict {
        let Some((id, sent)) = id.and_then(|id| Some((id, self.sent.get(&id)?))) else {
            return Ok(());
        };
        if sent.fate == Fate::Denied {
            return Broken::because(
                "P4",
                format!("record {id:#x} is at offset {offset}, and its owner was told that it is not"),
            );
        }
        if let Some(before) = self.placed.insert(id, (topic, offset))
            && !sent.may_repeat
        {
            return Broken::because(
                "I6",
                format!("record {id:#x} is at offset {offset}, and at {before:?} as well"),
            );
        }
        if sent.is_ordered {
            let last = self.last.entry(sent.owner).or_insert(0);
            if *last > id {
                return Broken::because("P4", format!("record {id:#x} came into the log behind {last:#x}"));
            }
            *last = id;
        }
        Ok(())
    }

    /// A dead letter was seen.
    pub(crate) fn copied(&mut self, record: &RecordRef<'_>) -> Verdict {
        let header = |wanted: &str| {
            let found = record.headers().iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| value.to_vec()).unwrap_or_default()
        };
        let offset = String::from_utf8_lossy(&header("zaichik-offset")).parse().unwrap_or(u64::MAX);
        let name = String::from_utf8_lossy(&header("zaichik-subscription")).into_owned();
        let is_durable = !name.is_empty();
        let place = (header("zaichik-topic"), offset, name);
        let count = self.copies.entry(place.clone()).or_insert(0);
        *count += 1;
        if *count > 1 && is_durable && !self.may_copy_again {
            return Broken::because("A6", format!("{place:?} went to the dead-letter topic {count} times"));
        }
        Ok(())
    }

    /// Whether a dead letter is seen for the first time.
    pub(crate) fn sees(&mut self, topic: u64, offset: u64) -> bool {
        self.seen.insert((topic, offset))
    }

    pub(crate) fn is_placed(&self, id: u64) -> bool {
        self.placed.contains_key(&id)
    }

    pub(crate) const fn copies(&self) -> &BTreeMap<(Vec<u8>, u64, String), u32> {
        &self.copies
    }

    /// I6: a publish was acknowledged at this place.
    pub(crate) fn acknowledged(&mut self, id: u64, offset: Option<u64>, is_duplicate: bool) -> Verdict {
        self.acknowledged += 1;
        let placed = self.placed.get(&id).map(|(_, offset)| *offset);
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.fate = Fate::Done;
        }
        if !is_duplicate && placed != offset {
            return Broken::because(
                "I6",
                format!("record {id:#x} is acknowledged at {offset:?}, and is at {placed:?}"),
            );
        }
        Ok(())
    }

    /// P4: a publish has certainly not happened.
    pub(crate) fn denied(&mut self, id: u64) -> Verdict {
        if self.sent.get(&id).is_some_and(|sent| sent.may_repeat) {
            return Ok(());
        }
        if let Some((_, offset)) = self.placed.get(&id) {
            return Broken::because(
                "P4",
                format!("record {id:#x} is at offset {offset}, and its owner is told that it is not"),
            );
        }
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.fate = Fate::Denied;
        }
        Ok(())
    }
}
