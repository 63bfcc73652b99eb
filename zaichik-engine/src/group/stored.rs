//! What of a group is stored, and a group from it (rule G1).

use zaichik_proto::Timestamp;

use super::Group;
use super::waiting::Back;

/// What survives a restart: neither what is held nor how often anything was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stored {
    pub(crate) rewind: u32,
    pub(crate) cursor: u64,
    /// Ranges that are done, above the cursor.
    pub(crate) done: Vec<(u64, u64)>,
    /// Failures by offset.
    pub(crate) failures: Vec<(u64, u32)>,
    /// Records that came back with a delay, and when it ends.
    pub(crate) delays: Vec<(u64, Timestamp)>,
}

impl Group {
    pub(crate) fn stored(&self) -> Stored {
        let delayed = self.waiting.iter().filter(|(_, back)| back.until > Timestamp::ZERO);
        Stored {
            rewind: self.rewind,
            cursor: self.cursor,
            done: self.done.iter().collect(),
            failures: self.failures.iter().map(|(offset, failures)| (*offset, *failures)).collect(),
            delays: delayed.map(|(offset, back)| (offset, back.until)).collect(),
        }
    }

    /// Takes what was stored. With keys, delays end: which keys they would block is not known.
    pub(crate) fn restore(&mut self, stored: Stored) {
        self.rewind = stored.rewind;
        stored.done.into_iter().for_each(|(from, to)| self.done.insert(from, to));
        self.failures = stored.failures.into_iter().collect();
        if !self.options.by_key {
            for (offset, until) in stored.delays {
                self.waiting.insert(offset, Back { attempts: 0, key: 0, holder: None, until });
            }
        }
    }
}
