//! Deliberate defects, to test whether the simulator finds them.
//!
//! A [`Saboteur`] stands between the broker and everything that talks to it. It alters the requests that a session is
//! about to apply, after the checker has read them, and what the session sends, before the checker and the client read
//! it; and it can send requests of its own. So a broker without a defect looks like one with it, and contains none. A
//! run without a defect has no saboteur.

mod answers;
mod intruder;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use zaichik_proto::{Limits, Producer, Version};
use zaichik_testkit::Connections;

/// A defect, with the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// Rule R1: a record is delivered at the instant at which its topic's time to live ends.
    LateExpiry,
    /// Rule R4: records that a limit removed are skipped without a Gap.
    SilentLimit,
    /// Rule D2: records that were uncommitted when a connection ended are not redelivered.
    NoRedelivery,
    /// Rule A2: a commit moves the cursor one record too far.
    CommitTwo,
    /// Rule C1: a key is still a duplicate at the instant at which its window ends.
    LateWindow,
    /// Rule A3: a commit of a record that was not delivered is accepted.
    CommitAhead,
    /// Rule A10: a commit made before a seek is accepted after it.
    CommitRewound,
    /// Rule A4: the answer to a Nack has the rewind number before it.
    SameRewind,
    /// Rule D3: a commit under a fenced number is answered as if it took effect.
    FencedCommit,
    /// Rule P3: a producer's retry is appended once more.
    RetryTwice,
    /// Rule P3: a repeated answer does not say so.
    RepeatUnsaid,
    /// Rule P3: a request behind a hole in the sequence is accepted.
    HoleAccepted,
    /// Rule X1: the publishes before the refused operation take effect.
    PartialBatch,
    /// Rule I16: one in sixteen wakes of a connection is lost.
    LostWake,
    /// Rule A1: one record more than the window is delivered.
    WideWindow,
    /// Rule A6: a record is done as a dead letter, and its copy goes to a topic that nobody reads.
    DeadLetterLost,
    /// Rule O5: a pause of the broker is not reported to it.
    PauseUnsaid,
    /// Rule O5: the broker's clock stands still while the broker does not run.
    PauseUncounted,
    /// Rule B6: the store reports one in eight commits, and did not make it.
    LostCommit,
    /// Rule B9: the broker does not hear that its store has no space.
    SpaceUnsaid,
    /// Rule B9: the broker does not hear that its store has space again.
    FullForEver,
    /// Rule B7: a broker that is restored without the last commits is the same instance.
    SameInstance,
    /// Rule G2: what a member receives, it receives twice.
    HandedTwice,
    /// Rule G3: an acknowledgement names one offset more than it should, behind each of its ranges.
    AckOneMore,
    /// Rule G4: the cursor in an answer is past the first record that is not acknowledged.
    CursorPast,
    /// Rule G6: what a member holds comes back a microsecond early.
    EarlyDeadline,
    /// Rule G7: records of one key go to several members at a time.
    KeyToTwo,
    /// No rule: nothing is altered.
    #[cfg(test)]
    Nothing,
}

impl Defect {
    /// All defects.
    pub const ALL: &[Self] = &[
        Self::LateExpiry,
        Self::SilentLimit,
        Self::NoRedelivery,
        Self::CommitTwo,
        Self::LateWindow,
        Self::CommitAhead,
        Self::CommitRewound,
        Self::SameRewind,
        Self::FencedCommit,
        Self::RetryTwice,
        Self::RepeatUnsaid,
        Self::HoleAccepted,
        Self::PartialBatch,
        Self::LostWake,
        Self::WideWindow,
        Self::DeadLetterLost,
        Self::PauseUnsaid,
        Self::PauseUncounted,
        Self::LostCommit,
        Self::SpaceUnsaid,
        Self::FullForEver,
        Self::SameInstance,
        Self::HandedTwice,
        Self::AckOneMore,
        Self::CursorPast,
        Self::EarlyDeadline,
        Self::KeyToTwo,
    ];
}

/// Makes a broker look as if it had a defect.
#[derive(Debug)]
pub(super) struct Saboteur {
    defect: Defect,
    limits: Limits,
    connections: BTreeMap<u64, Connection>,
    /// Each producer's newest epoch, and its last sequence that was sent and not refused.
    sequences: BTreeMap<u128, (u32, u64)>,
    /// Dead-letter topics that exist because a subscription names them.
    dead_letters: BTreeSet<Vec<u8>>,
    /// Requests to send over a connection of its own.
    own_requests: BytesMut,
    /// Wakes since the defect was planted.
    wakes: u32,
    /// How far the broker's clock is behind, in microseconds.
    behind: u64,
}

/// What is known about a connection.
#[derive(Debug, Default)]
struct Connection {
    /// The version that it speaks, once Welcome has said it.
    version: Option<Version>,
    /// Bytes of waiting requests that were examined.
    examined: usize,
    /// The beginning of a frame on its way to the client.
    partial: BytesMut,
    subscriptions: BTreeMap<u32, Subscription>,
    /// Requests whose answers matter, by their ids.
    asked: BTreeMap<u32, Asked>,
}

/// A subscription of a connection.
#[derive(Debug, Clone)]
struct Subscription {
    /// Topic and name, if it is durable.
    durable: Option<(Vec<u8>, String)>,
    /// The first offset that was not delivered.
    next: u64,
    /// The first offset that was not committed.
    committed: u64,
    rewind: u32,
    is_shared: bool,
}

/// A request whose answer matters.
#[derive(Debug, Clone)]
enum Asked {
    Publish(Producer),
    Batch { frame: Vec<u8>, producer: Option<Producer> },
    Subscribe { durable: Option<(Vec<u8>, String)>, dead_letter: Vec<u8> },
    Join { dead_letter: Vec<u8> },
    Commit { offset: u64 },
    Nack { rewind: u32 },
}

impl Connection {
    fn version(&self) -> Version {
        self.version.unwrap_or(Version::One)
    }
}

impl Saboteur {
    pub(super) fn new(defect: Defect, limits: &Limits) -> Self {
        Self {
            defect,
            limits: *limits,
            connections: BTreeMap::new(),
            sequences: BTreeMap::new(),
            dead_letters: BTreeSet::new(),
            own_requests: BytesMut::new(),
            wakes: 0,
            behind: 0,
        }
    }

    /// Another broker replaces the old one, without its state.
    pub(super) fn restart(&mut self) {
        *self = Self { wakes: self.wakes, behind: self.behind, ..Self::new(self.defect, &self.limits) };
    }

    /// Whether the store does not make this commit.
    pub(super) fn loses_commit(&self, ticket: u64) -> bool {
        self.defect == Defect::LostCommit && ticket.is_multiple_of(8)
    }

    /// Whether a broker that lacks commits is the same instance.
    pub(super) fn keeps_instance(&self) -> bool {
        self.defect == Defect::SameInstance
    }

    /// Whether the broker hears that there is no space, or space again.
    pub(super) fn reports_space(&self, is_full: bool) -> bool {
        self.defect != if is_full { Defect::SpaceUnsaid } else { Defect::FullForEver }
    }

    /// Whether the wake that is due is lost.
    pub(super) fn loses_wake(&mut self) -> bool {
        self.wakes += 1;
        self.defect == Defect::LostWake && self.wakes % 16 == 8
    }

    /// The broker did not run for a time; returns whether that is reported to it.
    pub(super) fn reports(&mut self, pause: u64) -> bool {
        if self.defect == Defect::PauseUncounted {
            self.behind += pause;
        }
        !matches!(self.defect, Defect::PauseUnsaid | Defect::PauseUncounted)
    }

    /// How far the broker's clock is behind, in microseconds.
    pub(super) const fn behind(&self) -> u64 {
        self.behind
    }

    /// Sends its own requests to the broker, if it has any.
    pub(super) fn intrude(&mut self, connections: &mut Connections) {
        if !self.own_requests.is_empty() {
            intruder::send(&self.own_requests.split(), connections);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Defect;
    use crate::sim::{Setup, run};

    #[test]
    fn a_saboteur_that_alters_nothing_breaks_no_rule() {
        for seed in 0..10 {
            let ran = run(&Setup { events: Some(1_000), defect: Some(Defect::Nothing), ..Setup::new(seed) });
            assert!(ran.is_ok(), "seed {seed}: {}", ran.unwrap_err().broken);
        }
    }
}
