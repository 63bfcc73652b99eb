//! An application's use of a subscription: it takes messages, commits, nacks, seeks and transforms.

use std::collections::VecDeque;
use std::time::Duration;

use zaichik_client::{
    Answer, Batch, DurableOptions, ErrorClass, Event as ClientEvent, PublishOptions, RequestError,
    SubscribeOptions, SubscriptionId,
};
use zaichik_proto::{OnConflict, Record, Start};

use super::App;
use super::ask::{Ask, Purpose, TAKEN_AT_ONCE, at, denied, placed};
use crate::sim::check::{Broken, Checker, Outcome, Sent, Verdict, hash, numbered};
use crate::sim::plan::Consumes;
use crate::sim::trace::{self, Event};
use crate::sim::{MILLI, SECOND};

/// A subscription of an application.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) plan: Consumes,
    pub(super) topic: String,
    pub(super) into: Option<String>,
    pub(super) id: Option<SubscriptionId>,
    pub(super) is_asking: bool,
    /// It does not resubscribe before this time.
    pub(super) again_at: u64,
    /// The next offset, unless a request of the application changed it.
    pub(super) next: Option<u64>,
    /// Nothing below this offset is redelivered.
    pub(super) committed: u64,
    /// How often it began or was moved; earlier requests no longer count.
    pub(super) started: u32,
    /// Messages in progress: when each is done, and its offset.
    pub(super) work: VecDeque<(u64, u64)>,
    pub(super) uncommitted: usize,
    /// A transaction is in flight.
    pub(super) is_busy: bool,
}

impl App {
    /// Takes messages from the subscription.
    pub(super) fn take(&mut self, now: u64, index: usize, checker: &mut Checker) -> Verdict {
        let reader = &mut self.readers[index];
        let Some(subscription) = reader.id else {
            return Ok(());
        };
        if reader.is_asking {
            return Ok(());
        }
        for _ in 0..TAKEN_AT_ONCE {
            let Some(incoming) = self.client.poll_event(subscription) else {
                break;
            };
            self.messages += 1;
            match incoming {
                ClientEvent::Message(message) => {
                    let durable = reader.plan.durable.as_deref();
                    if self.client.instance() == Some(checker.instance) {
                        let at = message.timestamp.as_micros();
                        reader.check_next(message.offset, durable, checker)?;
                        checker.check_received(&message.topic, message.offset, &message.body, at)?;
                    }
                    reader.next = Some(message.offset + 1);
                    if reader.plan.window > 0 {
                        let work = if self.is_finishing { 0 } else { self.rng.below(reader.plan.work + 1) };
                        let due = reader.work.back().map_or(now, |(due, _)| now.max(*due)) + work;
                        reader.work.push_back((due, message.offset));
                    }
                }
                ClientEvent::Gap { from, to, .. } => {
                    let durable = reader.plan.durable.as_deref();
                    reader.check_next(from, durable, checker)?;
                    if self.client.instance() == Some(checker.instance) {
                        checker.tells(&reader.topic, to);
                    }
                    reader.next = Some(to);
                }
                ClientEvent::Reconnected { start, .. } => reader.resume(start),
                ClientEvent::Restarted { start } => {
                    reader.resume(start);
                    (reader.committed, reader.started) = (0, reader.started + 1);
                }
                ClientEvent::Refused(_) | ClientEvent::Fenced | ClientEvent::Ended(_) => {
                    (reader.id, reader.again_at) = (None, now + SECOND);
                    (reader.next, reader.committed, reader.started) = (None, 0, reader.started + 1);
                    reader.work.clear();
                    break;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Commits messages that are done, or nacks, seeks or unsubscribes instead.
    pub(super) fn work(&mut self, now: u64, index: usize, checker: &mut Checker) {
        loop {
            let reader = &mut self.readers[index];
            let Some(subscription) = reader.id.filter(|_| !reader.is_asking && !reader.is_busy) else {
                return;
            };
            let Some((_, offset)) = reader.work.front().copied().filter(|(due, _)| *due <= now) else {
                return;
            };
            let is_finishing = self.is_finishing;
            if !is_finishing && self.rng.once_in(reader.plan.nack) {
                let delay = self.rng.pick(&[0, 0, 10 * MILLI, 2 * SECOND]);
                if let Ok(id) = self.client.nack(at(now), subscription, offset, Duration::from_micros(delay))
                {
                    trace::event(now, Event::Asked { client: self.index, what: "nack", number: offset });
                    reader.work.clear();
                    (reader.next, reader.uncommitted) = (None, 0);
                    self.asked.insert(id, Ask { at: now, purpose: Purpose::Nack });
                }
                return;
            }
            if !is_finishing && self.rng.once_in(reader.plan.seek) {
                let to = self.rng.pick(&[
                    Start::Earliest,
                    Start::Latest,
                    Start::Offset(offset.saturating_sub(2)),
                    Start::Time(now),
                ]);
                if let Ok(id) = self.client.seek(at(now), subscription, to) {
                    trace::event(now, Event::Asked { client: self.index, what: "seek", number: offset });
                    reader.work.clear();
                    (reader.next, reader.committed, reader.started, reader.uncommitted) =
                        (None, 0, reader.started + 1, 0);
                    self.asked.insert(id, Ask { at: now, purpose: Purpose::Seek });
                }
                return;
            }
            if !is_finishing && self.rng.once_in(reader.plan.leave) {
                if let Ok(id) = self.client.unsubscribe(at(now), subscription) {
                    trace::event(
                        now,
                        Event::Asked { client: self.index, what: "unsubscribe", number: offset },
                    );
                    reader.work.clear();
                    reader.next = None;
                    self.asked.insert(id, Ask { at: now, purpose: Purpose::Unsubscribe });
                }
                return;
            }
            if reader.into.is_some() {
                self.transform(now, index, subscription, offset, checker);
                return;
            }
            reader.work.pop_front();
            reader.uncommitted += 1;
            if reader.uncommitted < reader.plan.commit_every && !reader.work.is_empty() {
                continue;
            }
            reader.uncommitted = 0;
            self.commit(now, index, subscription, offset);
        }
    }

    pub(super) fn commit(&mut self, now: u64, index: usize, subscription: SubscriptionId, offset: u64) {
        let reader = &mut self.readers[index];
        trace::event(now, Event::Asked { client: self.index, what: "commit", number: offset });
        if !reader.plan.quiet
            && let Ok(id) = self.client.commit(at(now), subscription, offset)
        {
            let purpose = Purpose::Commit { reader: index, offset, started: reader.started };
            self.asked.insert(id, Ask { at: now, purpose });
            return;
        }
        let _ = self.client.commit_quiet(at(now), subscription, offset);
    }

    /// Publishes a record made from a message and commits the message, in one batch.
    pub(super) fn transform(
        &mut self,
        now: u64,
        index: usize,
        subscription: SubscriptionId,
        offset: u64,
        checker: &mut Checker,
    ) {
        let reader = &mut self.readers[index];
        let into = reader.into.clone().unwrap_or_default();
        let name = reader.plan.durable.clone().unwrap_or_default();
        let id = 1 << 63 | hash(format!("{} {offset} {name} {}", reader.topic, self.index).as_bytes()) >> 1;
        let body = numbered(id, 0);
        // In the second phase it does not wait long for room in the other topic: there may never be any.
        let deadline = Duration::from_millis(if self.is_finishing { 200 } else { 5_000 });
        let mut batch = Batch::new();
        batch.publish(&into, &[Record { body: &body, ..Record::default() }]);
        batch.commit(subscription, offset);
        // Only a durable cursor that is never moved or forgotten transforms each message exactly once.
        let is_exact = reader.plan.durable.as_deref().is_some_and(|name| name != "shared")
            && reader.plan.seek == 0
            && !checker.is_replayed(&reader.topic, &name);
        let may_repeat = !is_exact || !self.work.has_producer || self.work.crashes;
        checker.apps.sends(
            id,
            Sent {
                owner: (self.index, self.life),
                is_ordered: false,
                may_repeat,
                outcome: Outcome::Open,
                is_past: false,
            },
        );
        match self.client.send_batch(at(now), &batch, PublishOptions::new().deadline(deadline)) {
            Ok(request) => {
                trace::event(now, Event::Asked { client: self.index, what: "transform", number: offset });
                reader.is_busy = true;
                self.asked.insert(
                    request,
                    Ask { at: now, purpose: Purpose::Transform { reader: index, id, offset } },
                );
            }
            Err(RequestError::Full) => {
                if let Some((due, _)) = reader.work.front_mut() {
                    *due = now + 10 * MILLI;
                }
            }
            Err(error)
                if error.class() == ErrorClass::Retryable
                    || matches!(error, RequestError::InBatch { .. }) =>
            {
                // Its connection is gone: the message is redelivered.
                reader.work.clear();
            }
            Err(_) => {
                reader.work.pop_front();
                let _ = self.client.commit_quiet(at(now), subscription, offset);
            }
        }
    }

    pub(super) fn transformed(
        &mut self,
        now: u64,
        index: usize,
        (id, offset): (u64, u64),
        result: Result<Answer, RequestError>,
        checker: &mut Checker,
    ) -> Verdict {
        let reader = &mut self.readers[index];
        reader.is_busy = false;
        match result {
            Ok(Answer::Batched(receipt)) => {
                reader.committed = reader.committed.max(offset + 1);
                reader.work.retain(|(_, waiting)| *waiting > offset);
                receipt.publishes.first().map_or(Ok(()), |receipt| placed(&[id], receipt, checker))
            }
            Err(error) => {
                let class = error.class();
                if self.is_finishing {
                    // The other topic may stay full.
                    reader.into = None;
                }
                denied([id].iter(), &error, checker)?;
                if let Some((due, _)) = reader.work.front_mut() {
                    *due = now + 100 * MILLI;
                }
                if class == ErrorClass::Unknown || class == ErrorClass::Refused || self.is_finishing {
                    // The outcome is unknown, or the refusal is final: the message is done.
                    reader.work.retain(|(_, waiting)| *waiting > offset);
                    if let Some(subscription) = reader.id {
                        let _ = self.client.commit_quiet(at(now), subscription, offset);
                    }
                }
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    pub(super) fn subscribe(&mut self, now: u64, index: usize) {
        let reader = &mut self.readers[index];
        if reader.id.is_some() || reader.is_asking || reader.again_at > now {
            return;
        }
        let plan = &reader.plan;
        let start = match plan.start {
            0 => Start::Earliest,
            1 => Start::Latest,
            _ => Start::Offset(2),
        };
        let mut options =
            SubscribeOptions::new().start(start).window(plan.window).window_bytes(plan.window_bytes);
        if let Some(name) = &plan.durable {
            options = options.durable(DurableOptions::new(name.as_str()).on_conflict(OnConflict::TakeOver));
        }
        if let Some((attempts, topic)) = &plan.dead_letter {
            options = options.dead_letter(*attempts, topic.as_str());
        }
        match self.client.subscribe(at(now), &reader.topic, options) {
            Ok((request, id)) => {
                trace::event(
                    now,
                    Event::Asked { client: self.index, what: "subscribe", number: index as u64 },
                );
                (reader.id, reader.is_asking) = (Some(id), true);
                self.asked.insert(request, Ask { at: now, purpose: Purpose::Subscribe(index) });
            }
            Err(_) => reader.again_at = now + SECOND,
        }
    }
}

impl Reader {
    /// Rules I2, I4, from the application's point of view.
    fn check_next(&self, offset: u64, durable: Option<&str>, checker: &Checker) -> Verdict {
        let is_moved = durable.is_some_and(|name| checker.is_replayed(&self.topic, name));
        if offset < self.committed && !is_moved {
            return Broken::because(
                "I4",
                format!("{} {offset} was redelivered, committed up to {}", self.topic, self.committed),
            );
        }
        let Some(next) = self.next else {
            return Ok(());
        };
        let is_expected =
            offset == next || (offset > next && self.plan.dead_letter.is_some() && durable.is_none());
        if is_expected || (offset > next && checker.may_skip(&self.topic, durable, next, offset)) {
            return Ok(());
        }
        Broken::because("I2", format!("{}: a client received offset {offset} instead of {next}", self.topic))
    }

    /// Uncommitted messages are redelivered.
    fn resume(&mut self, start: u64) {
        self.next = Some(start);
        self.work.clear();
        self.uncommitted = 0;
    }
}
