//! The requests and answers of honest applications, compared with the log.

use std::collections::{BTreeMap, HashMap};

use super::{Broken, Verdict};
use crate::sim::random::Trail;

/// An application's knowledge about a record that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet, or that the outcome is unknown.
    Open,
    /// It is in the log, or its original is.
    Stored,
    /// It is not in the log and never will be.
    NotStored,
}

/// A record that an application sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// The client that sent it, and how often that had crashed.
    pub(crate) owner: (usize, u32),
    /// Whether the owner's records must be in the log in the order of their numbers.
    pub(crate) is_ordered: bool,
    /// Whether it may be in the log more than once.
    pub(crate) may_repeat: bool,
    pub(crate) outcome: Outcome,
    /// Whether it was sent to an instance before this one; no answer about it matters any more.
    pub(crate) is_past: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Apps {
    sent: BTreeMap<u64, Sent>,
    /// Topic and offset of each record, by its number.
    placed: HashMap<u64, (u32, u64)>,
    /// The number of the last record in the log of each owner whose records are ordered.
    last: BTreeMap<(usize, u32), u64>,
    pub(crate) acknowledged: u64,
    /// The offsets of records that were acknowledged.
    told: BTreeMap<u64, u64>,
    /// Those of records that were acknowledged as durable.
    durable: BTreeMap<u64, u64>,
}

impl Apps {
    pub(crate) fn restart(&mut self) {
        self.placed.clear();
        self.last.clear();
        self.told.clear();
        self.durable.clear();
        // The outcomes were those of the old broker.
        for sent in self.sent.values_mut() {
            sent.outcome = Outcome::Open;
        }
    }

    /// Rule B6: what was acknowledged is there when the broker was restored, with topics that end at these offsets.
    pub(super) fn recovered(&mut self, end: impl Fn(u32) -> u64) -> Verdict {
        self.placed.retain(|_, (topic, offset)| *offset < end(*topic));
        self.check_placed("B6", &self.told)?;
        self.order();
        Ok(())
    }

    /// Rule B7: what was acknowledged as durable is there in another instance, whose topics end at these offsets.
    pub(super) fn lost(&mut self, end: impl Fn(u32) -> u64) -> Verdict {
        self.placed.retain(|_, (topic, offset)| *offset < end(*topic));
        self.told.clear();
        for (id, sent) in &mut self.sent {
            sent.is_past = true;
            if !self.placed.contains_key(id) && sent.outcome == Outcome::Stored {
                sent.outcome = Outcome::Open;
            }
        }
        self.check_placed("B7", &self.durable)?;
        self.order();
        Ok(())
    }

    fn check_placed(&self, rule: &'static str, told: &BTreeMap<u64, u64>) -> Verdict {
        for (id, told) in told {
            let placed = self.placed.get(id).map(|(_, offset)| *offset);
            if placed != Some(*told) {
                let text = format!("record {id:#x} was acknowledged at {told}, and is at {placed:?}");
                return Broken::because(rule, text);
            }
        }
        Ok(())
    }

    /// Finds the last record of each owner whose records are ordered.
    fn order(&mut self) {
        self.last.clear();
        let placed = self.placed.keys();
        let ordered =
            placed.filter_map(|id| Some((self.sent.get(id).filter(|sent| sent.is_ordered)?.owner, *id)));
        for (owner, id) in ordered {
            let last = self.last.entry(owner).or_default();
            *last = id.max(*last);
        }
    }

    pub(crate) fn sends(&mut self, id: u64, sent: Sent) {
        self.sent.insert(id, sent);
    }

    /// Rules I6, P4: a record is in the log at most once, in its producer's order, and not if its owner's request was
    /// refused.
    pub(crate) fn appended(&mut self, id: Option<u64>, topic: u32, offset: u64) -> Verdict {
        let Some((id, sent)) = id.and_then(|id| Some((id, self.sent.get(&id)?))) else {
            return Ok(());
        };
        if sent.outcome == Outcome::NotStored {
            let text = format!("record {id:#x} is at offset {offset}, and its owner got an error");
            return Broken::because("P4", text);
        }
        if let Some(before) = self.placed.insert(id, (topic, offset))
            && !sent.may_repeat
        {
            let text = format!("record {id:#x} is at offset {offset}, and at {before:?} as well");
            return Broken::because("I6", text);
        }
        if sent.is_ordered {
            let last = self.last.entry(sent.owner).or_insert(0);
            if *last > id {
                return Broken::because("P4", format!("record {id:#x} is in the log behind {last:#x}"));
            }
            *last = id;
        }
        Ok(())
    }

    /// Rule I6: a publish was acknowledged at this offset.
    pub(crate) fn acknowledged(&mut self, id: u64, offset: Option<u64>, is_duplicate: bool) -> Verdict {
        self.acknowledged += 1;
        let placed = self.placed.get(&id).map(|(_, offset)| *offset);
        if self.sent.get(&id).is_some_and(|sent| sent.is_past) {
            return Ok(());
        }
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.outcome = Outcome::Stored;
        }
        if !is_duplicate && placed != offset {
            let text = format!("record {id:#x} is acknowledged at {offset:?}, and is at {placed:?}");
            return Broken::because("I6", text);
        }
        // Of a record that may be there twice, only the last place is known.
        let may_repeat = self.sent.get(&id).is_some_and(|sent| sent.may_repeat);
        if let Some(offset) = offset.filter(|_| !is_duplicate && !may_repeat) {
            self.told.insert(id, offset);
        }
        Ok(())
    }

    /// A publish that was [acknowledged](Self::acknowledged) is durable.
    pub(crate) fn is_durable(&mut self, id: u64) {
        if let Some(offset) = self.told.get(&id) {
            self.durable.insert(id, *offset);
        }
    }

    /// Rule P4: a publish certainly failed.
    pub(crate) fn not_stored(&mut self, id: u64) -> Verdict {
        if self.sent.get(&id).is_some_and(|sent| sent.may_repeat) {
            return Ok(());
        }
        if let Some((_, offset)) = self.placed.get(&id) {
            let text = format!("record {id:#x} is at offset {offset}, and its owner gets an error");
            return Broken::because("P4", text);
        }
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.outcome = Outcome::NotStored;
        }
        Ok(())
    }
}

/// Marks the bodies of records that applications number.
const MARK: &[u8] = b"ZS";

/// The body of a numbered record, padded to a length.
pub(crate) fn numbered(id: u64, pad: usize) -> Vec<u8> {
    let mut body = MARK.to_vec();
    body.extend(id.to_be_bytes());
    body.resize(body.len() + pad, u8::try_from(id & 0x7f).unwrap_or(0));
    body
}

/// The number in the body of a record.
pub(super) fn record_id(body: &[u8]) -> Option<u64> {
    let id = body.strip_prefix(MARK)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*id))
}

pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut trail = Trail::new();
    trail.bytes(bytes);
    trail.value()
}
