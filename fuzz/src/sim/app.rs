//! Honest applications on real clients: they publish, consume, seek and unsubscribe, and check the answers.

mod ask;
mod drawn;
mod reader;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use zaichik_client::{
    Answer, Batch, Client, ClientConfig, Link, ProducerIdentity, PublishOptions, RequestError, RequestId,
};
use zaichik_proto::AckLevel;

pub(crate) use self::ask::at;
use self::ask::{Ask, Purpose, denied, placed};
use self::drawn::Drawn;
use self::reader::Reader;
use self::worker::Worker;
use super::check::{Broken, Checker, Outcome, Sent, Verdict};
use super::plan::{Plan, Publishes, Work};
use super::random::{Concern, Rng, mix};
use super::trace::{self, Event};
use super::{MILLI, SECOND};

/// An application and its client.
pub(crate) struct App {
    pub(crate) index: usize,
    pub(crate) client: Client,
    /// How often it crashed.
    pub(crate) life: u32,
    work: Work,
    /// Whether it asks for durable answers, which only a store that syncs at an interval gives later (rule B7).
    asks_for_durable: bool,
    rng: Rng,
    asked: BTreeMap<RequestId, Ask>,
    readers: Vec<Reader>,
    workers: Vec<Worker>,
    /// What its memberships draw from.
    share_rng: Rng,
    next_publish: u64,
    next_id: u64,
    next_question: u64,
    /// In the second phase it finishes its work and starts nothing new.
    pub(crate) is_finishing: bool,
    /// Since when its connection is open.
    open_since: Option<u64>,
    pub(crate) answers: usize,
    pub(crate) messages: usize,
}

impl App {
    pub(crate) fn new(plan: &Plan, index: usize, work: &Work, life: u32) -> Self {
        let life_id = (index as u64) << 16 | u64::from(life);
        let mut rng = Rng::new(plan.seed, Concern::Work, life_id);
        let mut config = ClientConfig::new(rng.next());
        config.name = format!("app {index}");
        config.retry_first_connect = true;
        if work.has_producer {
            // After a crash a client keeps its producer id with a higher epoch, or takes a new one.
            let is_heir = mix(plan.seed ^ index as u64) & 1 == 0;
            let owner = if is_heir { life_id | 0xffff } else { life_id };
            let id = u128::from(mix(plan.seed ^ mix(owner))) + 1;
            config.producer = Some(ProducerIdentity::new(id).epoch(if is_heir { life + 1 } else { 1 }));
        }
        config.request_timeout = Duration::from_micros(work.request_timeout);
        config.resend_timeout = Duration::from_micros(plan.limits.resend_timeout);
        config.max_in_flight = work.max_in_flight;
        config.max_outbound_bytes = work.max_outbound;
        config.buffer_bytes = work.buffer_bytes;
        let name = |index: usize| plan.topics[index].name.clone();
        let readers = work.consumes.iter().map(|consumes| Reader {
            topic: name(consumes.topic),
            into: consumes.into.map(name),
            plan: consumes.clone(),
            id: None,
            is_asking: false,
            again_at: 0,
            next: None,
            committed: 0,
            started: 0,
            work: VecDeque::new(),
            uncommitted: 0,
            is_busy: false,
        });
        Self {
            index,
            client: Client::new(config),
            life,
            readers: readers.collect(),
            workers: work.shares.iter().map(|shares| Worker::new(shares, plan)).collect(),
            share_rng: Rng::new(plan.seed, Concern::Members, 1 << 40 | life_id),
            work: work.clone(),
            asks_for_durable: plan.storage.is_some_and(|one| one.interval.is_some()),
            rng,
            asked: BTreeMap::new(),
            next_publish: 0,
            next_id: (index as u64) << 48 | u64::from(life) << 32 | 1,
            next_question: 0,
            is_finishing: false,
            open_since: None,
            answers: 0,
            messages: 0,
        }
    }

    /// Does everything that the application can do now.
    pub(crate) fn step(&mut self, now: u64, plan: &Plan, checker: &mut Checker) -> Verdict {
        self.step_of(now, plan, checker).map_err(|broken| Broken {
            text: format!("client {}, life {}: {}", self.index, self.life, broken.text),
            ..broken
        })
    }

    /// When it next acts on its own.
    pub(crate) fn next_time(&self) -> u64 {
        let work = self
            .readers
            .iter()
            .filter_map(|reader| reader.work.front().filter(|_| !reader.is_busy).map(|(at, _)| *at));
        let again = self
            .readers
            .iter()
            .filter(|reader| reader.id.is_none() && !reader.is_asking)
            .map(|reader| reader.again_at);
        let publishes = self
            .work
            .publishes
            .as_ref()
            .filter(|publishes| !self.is_finishing && self.asked.len() < publishes.pipeline);
        let publish = publishes.map(|_| self.next_publish);
        let question = (self.work.is_curious && !self.is_finishing).then_some(self.next_question);
        let shared = self.workers.iter().filter_map(Worker::next_time);
        work.chain(again).chain(publish).chain(question).chain(shared).min().unwrap_or(u64::MAX)
    }

    /// Unanswered requests older than `since`, and unprocessed messages.
    pub(crate) fn unfinished(&self, since: u64) -> Vec<String> {
        let asked = self.asked.values().filter(|ask| ask.at < since).map(|ask| format!("{ask:?}"));
        let busy = self
            .readers
            .iter()
            .filter(|reader| !reader.work.is_empty())
            .map(|reader| format!("{} has work", reader.topic));
        asked.chain(busy).chain(self.workers.iter().filter_map(Worker::unfinished)).collect()
    }

    /// Publishes one record, in the second phase.
    pub(crate) fn publish_one(&mut self, now: u64, topic: &str, checker: &mut Checker) -> bool {
        let publishes = Publishes {
            topics: Vec::new(),
            every: SECOND,
            pipeline: 1,
            records: 1,
            body: 10,
            keys: 0,
            quiet: 0,
            batch: 0,
            mortal: 0,
            tombstone: 0,
            deadline: 30 * SECOND,
        };
        self.publish(now, topic, &publishes, checker).is_ok()
    }

    fn step_of(&mut self, now: u64, plan: &Plan, checker: &mut Checker) -> Verdict {
        (self.answers, self.messages) = (0, 0);
        let is_open = self.client.link() == Link::Open;
        self.open_since = self.open_since.filter(|_| is_open).or_else(|| is_open.then_some(now));
        while let Some((id, result)) = self.client.poll_answer() {
            self.answers += 1;
            if let Some(ask) = self.asked.remove(&id) {
                // A publish that is refused repeatedly may be in flight when its deadline passes. The broker's clock,
                // which dates the refusal, may be off.
                let is_off = plan.faults.clock_back + plan.faults.clock_jump > 0;
                let slack = if is_off { 44 * SECOND } else { 4 * SECOND };
                if checker.refused_at + slack < now {
                    self.check_unknown(now, &ask, &result, plan)?;
                }
                self.answered(now, ask, result, checker)?;
            }
        }
        let _ = self.client.poll_refused();
        while self.client.poll_ready().is_some() {}
        for reader in 0..self.readers.len() {
            self.take(now, reader, checker)?;
            self.work(now, reader, checker);
            self.subscribe(now, reader);
        }
        self.share(now, checker)?;
        self.ask_other(now, plan, checker);
        if let Some(publishes) = self.work.publishes.clone().filter(|_| !self.is_finishing) {
            while self.next_publish <= now && self.asked.len() < publishes.pipeline {
                let topic =
                    plan.topics[publishes.topics[self.rng.index(publishes.topics.len())]].name.clone();
                self.next_publish = now + self.rng.between(1, publishes.every * 2);
                if self.publish(now, &topic, &publishes, checker).is_err() {
                    self.next_publish = now + 10 * MILLI;
                }
            }
        }
        Ok(())
    }

    fn publish(
        &mut self,
        now: u64,
        topic: &str,
        publishes: &Publishes,
        checker: &mut Checker,
    ) -> Result<(), RequestError> {
        let is_batch = self.rng.once_in(publishes.batch);
        let is_quiet = !is_batch && self.rng.once_in(publishes.quiet);
        let parts = if is_batch { self.rng.between(1, 3) } else { 1 };
        let options = PublishOptions::new().deadline(Duration::from_micros(publishes.deadline));
        let is_durable = self.asks_for_durable && !is_batch && !is_quiet && self.rng.once_in(4);
        let options = match () {
            () if is_quiet => options.ack(AckLevel::None),
            () if is_durable => options.ack(AckLevel::Durable),
            () => options,
        };
        let mut batch = Batch::new();
        let mut numbers = Vec::new();
        for _ in 0..parts {
            let drawn: Vec<_> =
                (0..self.rng.between(1, publishes.records)).map(|_| self.draw(publishes)).collect();
            let records: Vec<_> = drawn.iter().map(Drawn::record).collect();
            let ids: Vec<_> = drawn.iter().filter_map(|drawn| drawn.id).collect();
            for id in &ids {
                checker.apps.sends(
                    *id,
                    Sent {
                        owner: (self.index, self.life),
                        is_ordered: self.work.has_producer && !is_quiet,
                        may_repeat: false,
                        outcome: Outcome::Open,
                        is_past: false,
                    },
                );
            }
            trace::event(
                now,
                Event::Asked {
                    client: self.index,
                    what: "publish",
                    number: ids.first().copied().unwrap_or(0),
                },
            );
            let drawn_ids = drawn.iter().map(|drawn| drawn.id.unwrap_or(0)).collect();
            if is_batch {
                batch.publish(topic, &records);
                numbers.push(drawn_ids);
                continue;
            }
            let id = self.client.publish(at(now), topic, &records, options)?;
            if !is_quiet {
                let purpose =
                    if is_durable { Purpose::PublishDurably(drawn_ids) } else { Purpose::Publish(drawn_ids) };
                self.asked.insert(id, Ask { at: now, purpose });
            }
        }
        if is_batch {
            let id = self.client.send_batch(at(now), &batch, options)?;
            self.asked.insert(id, Ask { at: now, purpose: Purpose::Batch(numbers) });
        }
        Ok(())
    }

    /// Rule P4: the outcome of a producer's publish is unknown only if it could not be resent.
    fn check_unknown(
        &self,
        now: u64,
        ask: &Ask,
        result: &Result<Answer, RequestError>,
        plan: &Plan,
    ) -> Verdict {
        let is_unknown = matches!(result, Err(RequestError::Unknown { .. }))
            && matches!(ask.purpose, Purpose::Publish(_) | Purpose::PublishDurably(_) | Purpose::Batch(_));
        let could_be_sent =
            self.is_finishing && self.open_since.is_some_and(|since| since + 15 * SECOND <= now);
        // A broker short of memory does not read it, and another instance does not know it.
        let is_replaced = plan.faults.restart > 0 || plan.storage.is_some_and(|one| one.interval.is_some());
        let could_be_answered = plan.limits.memory_budget > 1 << 20 && !is_replaced;
        if self.work.has_producer && is_unknown && could_be_sent && could_be_answered {
            return Broken::because(
                "P4",
                format!(
                    "{ask:?} has an unknown outcome, although the connection is open since {:?}",
                    self.open_since
                ),
            );
        }
        Ok(())
    }

    fn answered(
        &mut self,
        now: u64,
        ask: Ask,
        result: Result<Answer, RequestError>,
        checker: &mut Checker,
    ) -> Verdict {
        let what = match &result {
            Ok(_) => "yes",
            Err(_) => "no",
        };
        trace::event(now, Event::Answered { client: self.index, what, number: ask.at });
        match (ask.purpose, result) {
            (Purpose::Publish(ids), Ok(Answer::Published(receipt))) => placed(&ids, &receipt, checker),
            (Purpose::PublishDurably(ids), Ok(Answer::Published(receipt))) => {
                placed(&ids, &receipt, checker)?;
                for id in ids {
                    checker.apps.is_durable(id);
                }
                Ok(())
            }
            (Purpose::Batch(parts), Ok(Answer::Batched(receipt))) => {
                if parts.len() != receipt.publishes.len() {
                    return Broken::because(
                        "X5",
                        "the answer to a batch has another number of publishes".into(),
                    );
                }
                parts
                    .iter()
                    .zip(&receipt.publishes)
                    .try_for_each(|(ids, receipt)| placed(ids, receipt, checker))
            }
            (Purpose::Publish(ids) | Purpose::PublishDurably(ids), Err(error)) => {
                denied(ids.iter(), &error, checker)
            }
            (Purpose::Batch(parts), Err(error)) => denied(parts.iter().flatten(), &error, checker),
            (Purpose::Transform { reader, id, offset }, result) => {
                self.transformed(now, reader, (id, offset), result, checker)
            }
            (Purpose::Subscribe(reader), Ok(Answer::Subscribed(started))) => {
                let reader = &mut self.readers[reader];
                (reader.is_asking, reader.next) = (false, Some(started.start));
                (reader.committed, reader.started) = (0, reader.started + 1);
                reader.work.clear();
                Ok(())
            }
            (Purpose::Subscribe(reader), _) => {
                let reader = &mut self.readers[reader];
                (reader.is_asking, reader.id, reader.again_at) = (false, None, now + SECOND);
                Ok(())
            }
            (Purpose::Join(worker), result) => {
                self.workers[worker].joined(now, result.is_ok());
                Ok(())
            }
            (Purpose::Transact(id), Ok(Answer::Batched(receipt))) => {
                receipt.publishes.first().map_or(Ok(()), |receipt| placed(&[id], receipt, checker))
            }
            (Purpose::Transact(id), Err(error)) => denied([id].iter(), &error, checker),
            (Purpose::Commit { reader, offset, started }, Ok(Answer::Committed { cursor })) => {
                let reader = &mut self.readers[reader];
                if reader.started == started {
                    if cursor <= offset {
                        return Broken::because(
                            "A2",
                            format!("a commit of {offset} is answered with cursor {cursor}"),
                        );
                    }
                    reader.committed = reader.committed.max(offset + 1);
                }
                Ok(())
            }
            (Purpose::Commit { offset, .. }, Err(RequestError::Refused { refusal, .. }))
                if refusal.code == zaichik_proto::RefusalCode::CommitAhead && !self.work.crashes =>
            {
                let _ = offset;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
