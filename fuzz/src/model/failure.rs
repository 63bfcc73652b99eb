//! Nacks, failures and dead letters in the model (rules A4, A6).

use zaichik_proto::RefusalCode;

use crate::model::broker::Model;
use crate::model::entry::Liveness;
use crate::model::subscription::Pause;
use crate::model::words::{FOREVER, Record, Refusal};

/// Bytes by which the headers of a dead letter may exceed the largest message.
const FRAME_ROOM: u64 = 4_096;

/// Minimum pause after a dead-letter topic refused a record, in microseconds.
pub(crate) const RETRY: u64 = 1_000_000;

/// Maximum headers of a record.
const MAX_HEADERS: usize = 1_024;

/// A record that failed as often as it may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    pub(crate) topic: u32,
    /// The name of a durable subscription.
    pub(crate) name: Option<u32>,
    pub(crate) offset: u64,
    pub(crate) failures: u32,
    pub(crate) dead_letter: u32,
}

/// The settlement of a failed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is redelivered.
    Stays,
    /// The same, because it is no longer live.
    Gone,
    /// It is in the dead-letter topic.
    Buried,
    /// The dead-letter topic refused it.
    Refused,
}

impl Model {
    /// Returns the rewind.
    pub(crate) fn nack(
        &mut self,
        session: u64,
        number: u32,
        offset: u64,
        delay: u64,
    ) -> Result<u64, Refusal> {
        let one = self.held(session, number)?;
        if one.check_nack(offset)? {
            let is_named = one.uncommitted.iter().any(|(delivered, _)| *delivered == offset);
            let outcome = if is_named { self.fail(session, number, offset, "nack") } else { Outcome::Stays };
            let now = self.now;
            let one = self.held(session, number)?;
            one.go_back(offset, if outcome == Outcome::Refused { delay.max(RETRY) } else { delay }, now);
            if outcome == Outcome::Buried {
                one.bury(offset);
            }
        } else if self.newer.contains(&session) {
            let cursor = self.held(session, number)?.cursor();
            return Err((RefusalCode::NackCommitted, cursor));
        }
        self.held(session, number).map(|one| u64::from(one.rewind))
    }

    /// The connection that holds this subscription ends.
    pub(crate) fn fail_at_end(&mut self, session: u64, number: u32) {
        let one = self.held(session, number).expect("it holds it");
        let (Some(_), [(offset, _)]) = (one.name, &one.uncommitted[..]) else { return };
        let offset = *offset;
        let outcome = self.fail(session, number, offset, "disconnected");
        let pause = Pause { until: self.now + RETRY, outlives_attachment: true, is_certain: true };
        let is_stored = self.is_storing;
        let one = self.held(session, number).expect("it holds it");
        match outcome {
            // A broker that has it only in its store does not know that (rule B8).
            Outcome::Gone if is_stored => one.pause = Some(Pause { is_certain: false, ..pause }),
            Outcome::Stays | Outcome::Gone => {}
            Outcome::Buried => one.bury_all(),
            Outcome::Refused => one.pause = Some(pause),
        }
    }

    fn fail(&mut self, session: u64, number: u32, offset: u64, reason: &str) -> Outcome {
        let one = self.held(session, number).expect("the caller found it");
        let Some((max_attempts, dead_letter)) = one.terms.dead_letter else { return Outcome::Stays };
        let failures = one.fail(offset);
        if failures < max_attempts {
            return Outcome::Stays;
        }
        let (topic, name) = (one.topic, one.name);
        self.bury(Failed { topic, name, offset, failures, dead_letter }, reason)
    }

    /// Copies a record to a dead-letter topic.
    pub(crate) fn bury(&mut self, failed: Failed, reason: &str) -> Outcome {
        let Failed { topic: id, name, offset, failures, dead_letter } = failed;
        self.age(id);
        let entry = self.topic(id).and_then(|topic| topic.entry(offset, self.now));
        // A record that is no longer live is not copied.
        let Some((entry, Liveness::Live)) = entry else { return Outcome::Gone };
        if name.is_some_and(|name| self.left_at_end.contains(&(id, name, offset))) {
            self.dead_letters_refused += 1;
            return Outcome::Refused;
        }
        let names = (self.names.topic(id), name.map_or_else(String::new, |name| self.names.durable(name)));
        let copy = copy(&entry.record, names, offset, failures, reason);
        if self.copy_to(dead_letter, copy).is_none() {
            self.dead_letters_refused += 1;
            return Outcome::Refused;
        }
        self.dead_letters.insert((id, offset, name));
        Outcome::Buried
    }

    /// Appends a copy to a dead-letter topic, if the topic accepts it.
    fn copy_to(&mut self, id: u32, copy: Record) -> Option<()> {
        let (now, cursors) = (self.now, self.cursors(id));
        let is_large = copy.len() > u64::from(self.bounds.max_message) + FRAME_ROOM;
        let is_full = self.is_full;
        let room = self.dead_letter_room.map(|room| room.checked_sub(1));
        let topic = self.topic_mut(id).expect("it was created");
        if is_full || is_large || room == Some(None) || topic.settings.ttl == 0 {
            return None;
        }
        let accepted = topic.publish(now, &[copy], FOREVER, &cursors, (0, 0)).ok()?;
        self.settle(id);
        if accepted.count == 0 {
            return None;
        }
        self.dead_letter_room = room.flatten();
        self.wake(id);
        Some(())
    }
}

/// The copy for the dead-letter topic.
fn copy(
    record: &Record,
    (topic, name): (String, String),
    offset: u64,
    failures: u32,
    reason: &str,
) -> Record {
    let added = [
        ("zaichik-topic", topic),
        ("zaichik-offset", offset.to_string()),
        ("zaichik-subscription", name),
        ("zaichik-failures", failures.to_string()),
        ("zaichik-reason", reason.to_owned()),
    ];
    let added = added.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
    let headers = added.chain(record.headers.iter().cloned()).take(MAX_HEADERS).collect();
    Record { headers, ttl: None, ..record.clone() }
}
