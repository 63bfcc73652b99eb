//! An application's use of a shared subscription: it takes messages, and settles each of them alone, in any order.

use std::time::Duration;

use zaichik_client::{
    Batch, Event as ClientEvent, Hold, PublishOptions, RequestError, RequestId, SharedOptions,
    SubscribeOptions, SubscriptionId,
};
use zaichik_proto::{OffsetRange, Record, Start};

use super::App;
use super::ask::{Ask, Purpose, TAKEN_AT_ONCE, at};
use crate::sim::check::{Checker, Outcome, Sent, Verdict, numbered};
use crate::sim::plan::{Plan, Shares};
use crate::sim::random::Rng;
use crate::sim::trace::{self, Event};
use crate::sim::{MILLI, SECOND};

/// Maximum messages that it settles at a time.
const SETTLED_AT_ONCE: usize = 8;

/// A membership of an application.
#[derive(Debug)]
pub(super) struct Worker {
    plan: Shares,
    topic: String,
    into: Option<String>,
    id: Option<SubscriptionId>,
    is_asking: bool,
    /// It does not join again before this time.
    again_at: u64,
    /// Messages in progress.
    work: Vec<Job>,
    /// In the second phase all of them are done at once, but not before this time if the client had no room.
    full_until: u64,
}

/// A message in progress.
#[derive(Debug, Clone, Copy)]
struct Job {
    /// When it is done.
    due: u64,
    hold: Hold,
    offset: u64,
}

impl Worker {
    pub(super) fn new(shares: &Shares, plan: &Plan) -> Self {
        let name = |index: usize| plan.topics[index].name.clone();
        Self {
            topic: name(shares.topic),
            into: shares.into.map(name),
            plan: shares.clone(),
            id: None,
            is_asking: false,
            again_at: 0,
            work: Vec::new(),
            full_until: 0,
        }
    }

    /// When it next acts on its own.
    pub(super) fn next_time(&self) -> Option<u64> {
        let joins = (self.id.is_none() && !self.is_asking).then_some(self.again_at);
        self.work.iter().map(|job| job.due.max(self.full_until)).chain(joins).min()
    }

    /// What is left of its work.
    pub(super) fn unfinished(&self) -> Option<String> {
        (!self.work.is_empty()).then(|| format!("{} has work", self.topic))
    }

    /// Its request to join was answered.
    pub(super) fn joined(&mut self, now: u64, is_member: bool) {
        self.is_asking = false;
        self.work.clear();
        if !is_member {
            (self.id, self.again_at) = (None, now + SECOND);
        }
    }
}

impl App {
    /// Does everything that its memberships can do now.
    pub(super) fn share(&mut self, now: u64, checker: &mut Checker) -> Verdict {
        for index in 0..self.workers.len() {
            self.take_shared(now, index, checker)?;
            self.settle_shared(now, index, checker);
            self.join(now, index);
        }
        Ok(())
    }

    fn take_shared(&mut self, now: u64, index: usize, checker: &mut Checker) -> Verdict {
        let worker = &mut self.workers[index];
        let Some(subscription) = worker.id.filter(|_| !worker.is_asking) else { return Ok(()) };
        for _ in 0..TAKEN_AT_ONCE {
            let hold = self.client.hold(subscription);
            let Some(incoming) = self.client.poll_event(subscription) else { break };
            self.messages += 1;
            match incoming {
                ClientEvent::Message(message) => {
                    if self.client.instance() == Some(checker.instance) {
                        let timestamp = message.timestamp.as_micros();
                        checker.check_received(&worker.topic, message.offset, &message.body, timestamp)?;
                    }
                    let Some(hold) = hold.filter(|_| worker.plan.window > 0) else { continue };
                    let takes = worker.plan.work + 1;
                    let stalls =
                        if self.share_rng.once_in(worker.plan.stall) { worker.plan.deadline } else { 0 };
                    let due = now + self.share_rng.below(takes) + stalls.min(60 * SECOND);
                    worker.work.push(Job { due, hold, offset: message.offset });
                }
                ClientEvent::Reconnected { .. } | ClientEvent::Restarted { .. } => worker.work.clear(),
                ClientEvent::Refused(_) | ClientEvent::Fenced | ClientEvent::Ended(_) => {
                    (worker.id, worker.again_at) = (None, now + SECOND);
                    worker.work.clear();
                    break;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Acknowledges messages that are done, or gives them back, keeps them for longer, leaves or seeks instead.
    fn settle_shared(&mut self, now: u64, index: usize, checker: &mut Checker) {
        let is_finishing = self.is_finishing;
        let worker = &mut self.workers[index];
        let Some(subscription) = worker.id.filter(|_| !worker.is_asking) else { return };
        let (rng, plan) = (&mut self.share_rng, worker.plan.clone());
        let may_settle = worker.full_until <= now;
        let due = |job: &Job| may_settle && (job.due <= now || is_finishing);
        let places: Vec<usize> = (0..worker.work.len()).filter(|at| due(&worker.work[*at])).collect();
        if places.is_empty() {
            return;
        }
        let most = rng.index(SETTLED_AT_ONCE) + 1;
        let jobs: Vec<Job> =
            places.iter().rev().take(most).map(|place| worker.work.swap_remove(*place)).collect();
        let hold = jobs[0].hold;
        // What was received over an earlier connection came back.
        let offsets: Vec<_> = jobs.iter().filter(|job| job.hold == hold).map(|job| job.offset).collect();
        let ranges = ranges(&offsets, rng);
        let (now_at, number) = (at(now), offsets[0]);
        let (what, asked) = match () {
            () if is_finishing => ("ack", self.client.ack(now_at, hold, &ranges)),
            () if rng.once_in(plan.nack) => {
                let delay = Duration::from_micros(rng.pick(&[0, 0, 10 * MILLI, 2 * SECOND]));
                ("nack", self.client.nack_shared(now_at, hold, &ranges, delay))
            }
            () if rng.once_in(plan.extend) => {
                let due = now + rng.below(2 * SECOND);
                worker.work.extend(jobs.into_iter().map(|job| Job { due, ..job }));
                ("extend", self.client.extend(now_at, hold, &ranges))
            }
            () if rng.once_in(plan.leave) => {
                worker.work.clear();
                ("unsubscribe", self.client.unsubscribe(now_at, subscription))
            }
            () if rng.once_in(plan.seek) => {
                let to = rng.pick(&[Start::Earliest, Start::Latest, Start::Offset(number.saturating_sub(2))]);
                worker.work.clear();
                ("seek", self.client.seek(now_at, subscription, to))
            }
            () if worker.into.is_some() => return self.transact(now, index, hold, &ranges, checker),
            () => ("ack", self.client.ack(now_at, hold, &ranges)),
        };
        trace::event(now, Event::Asked { client: self.index, what, number });
        self.asked_shared(now, index, (hold, &offsets), &asked);
    }

    /// A request was made about messages, or they are left for later.
    fn asked_shared(
        &mut self,
        now: u64,
        index: usize,
        (hold, offsets): (Hold, &[u64]),
        asked: &Result<RequestId, RequestError>,
    ) {
        match asked {
            Ok(id) => drop(self.asked.insert(*id, Ask { at: now, purpose: Purpose::Settle })),
            Err(RequestError::Full) => {
                let due = now + 10 * MILLI;
                let jobs = offsets.iter().map(|offset| Job { due, hold, offset: *offset });
                let worker = &mut self.workers[index];
                worker.work.extend(jobs);
                if self.is_finishing {
                    worker.full_until = due;
                }
            }
            // They came back.
            Err(_) => {}
        }
    }

    /// Publishes a record made from some messages, and acknowledges them, in one batch.
    fn transact(
        &mut self,
        now: u64,
        index: usize,
        hold: Hold,
        ranges: &[OffsetRange],
        checker: &mut Checker,
    ) {
        let into = self.workers[index].into.clone().unwrap_or_default();
        self.next_id += 1;
        let id = self.next_id;
        let body = numbered(id, 0);
        let mut batch = Batch::new();
        batch.publish(&into, &[Record { body: &body, ..Record::default() }]);
        batch.ack(hold, ranges);
        let (owner, outcome) = ((self.index, self.life), Outcome::Open);
        let sent = Sent { owner, is_ordered: false, may_repeat: false, outcome, is_past: false };
        checker.apps.sends(id, sent);
        let options = PublishOptions::new().deadline(Duration::from_secs(5));
        let asked = self.client.send_batch(at(now), &batch, options);
        trace::event(now, Event::Asked { client: self.index, what: "transact", number: id });
        match asked {
            Ok(request) => {
                drop(self.asked.insert(request, Ask { at: now, purpose: Purpose::Transact(id) }));
            }
            Err(error) => {
                let offsets: Vec<_> = ranges.iter().flat_map(|range| range.first..range.end()).collect();
                self.asked_shared(now, index, (hold, &offsets), &Err(error));
            }
        }
    }

    fn join(&mut self, now: u64, index: usize) {
        let worker = &mut self.workers[index];
        if worker.id.is_some() || worker.is_asking || worker.again_at > now {
            return;
        }
        let plan = &worker.plan;
        let mut shared = SharedOptions::new(plan.name.as_str())
            .ack_deadline(Duration::from_micros(plan.deadline))
            .max_span(plan.max_span);
        shared.by_key = plan.by_key;
        let start = if plan.is_late { Start::Latest } else { Start::Earliest };
        let mut options = SubscribeOptions::new()
            .start(start)
            .window(plan.window)
            .window_bytes(plan.window_bytes)
            .shared(shared);
        if let Some((attempts, topic)) = &plan.dead_letter {
            options = options.dead_letter(*attempts, topic.as_str());
        }
        match self.client.subscribe(at(now), &worker.topic, options) {
            Ok((request, id)) => {
                trace::event(now, Event::Asked { client: self.index, what: "join", number: index as u64 });
                (worker.id, worker.is_asking) = (Some(id), true);
                self.asked.insert(request, Ask { at: now, purpose: Purpose::Join(index) });
            }
            Err(_) => worker.again_at = now + SECOND,
        }
    }
}

/// Ranges of these offsets, in any order; some of them are named twice.
fn ranges(offsets: &[u64], rng: &mut Rng) -> Vec<OffsetRange> {
    let mut ranges: Vec<_> = offsets.iter().map(|first| OffsetRange { first: *first, count: 1 }).collect();
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let follows = last.end() == next.first;
        last.count += u32::from(follows);
        follows
    });
    if rng.once_in(2) {
        ranges.reverse();
    }
    ranges
}
