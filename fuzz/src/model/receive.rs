//! What a connection receives, in the model's words.

use std::collections::BTreeSet;

use zaichik_proto::{Batched, Delivery, GapReason, ServerFrame, TopicStatus};

use crate::model::words::{Answer, Event, Ready, Record};

/// What one connection received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Answers by request.
    pub(crate) answers: Vec<(u32, Answer)>,
    /// What each subscription got, in order.
    pub(crate) events: Vec<(u32, Event)>,
    /// Publishes that wanted no answer and were refused.
    pub(crate) refused_silently: u32,
}

/// What a connection waits for.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Acknowledged publishes without an answer: request and count of records.
    pub(crate) publishes: Vec<(u32, u64)>,
    /// Subscriptions of which something may come: from Subscribed on, until Unsubscribed or Fenced.
    streaming: BTreeSet<u32>,
}

impl Open {
    /// A request was answered by something else than a run.
    fn answered(&mut self, request: u32) {
        if self.publishes.iter().any(|(other, _)| *other == request) {
            assert_eq!(self.publishes.remove(0).0, request, "answers come in the order of requests");
        }
    }
}

impl Received {
    pub(crate) fn frame(&mut self, frame: &ServerFrame<'_>, open: &mut Open) {
        match frame {
            ServerFrame::Acks(acks) => {
                for run in acks.runs.iter() {
                    let mut offset = run.first_offset;
                    for (at, _) in (0..run.requests).enumerate() {
                        let (request, count) = open.publishes.remove(0);
                        assert!(at > 0 || request == run.request, "the run begins with {request}");
                        let (first, duplicates) = (Some(offset), Vec::new());
                        self.answers.push((request, Answer::Published { created: false, first, duplicates }));
                        offset += count;
                    }
                }
            }
            ServerFrame::Published(published) => {
                open.answered(published.request);
                let duplicates = published.duplicates.iter().map(|one| (one.record, one.offset)).collect();
                let (created, first) = (published.created, published.first_offset);
                self.answers.push((published.request, Answer::Published { created, first, duplicates }));
            }
            ServerFrame::Batched(batched) => {
                open.answered(batched.request);
                self.batched(batched);
            }
            ServerFrame::Refused(refused) if refused.request == 0 => {
                self.refused_silently += refused.count;
            }
            ServerFrame::Refused(refused) => {
                open.answered(refused.request);
                let (code, value) = (refused.refusal.code, refused.refusal.value);
                let operation = refused.refusal.operation;
                self.answers.push((refused.request, Answer::Refused { code, value, operation }));
            }
            ServerFrame::TopicReady(ready) => {
                let status = match ready.status {
                    TopicStatus::Unchanged => Ready::Unchanged,
                    TopicStatus::Created => Ready::Created,
                    TopicStatus::Adopted => Ready::Adopted,
                    status => panic!("the model knows no {status:?}"),
                };
                self.answers.push((ready.request, Answer::TopicReady(status)));
            }
            ServerFrame::Done(done) => self.answers.push((done.request, Answer::Done(done.value))),
            ServerFrame::Subscribed(_)
            | ServerFrame::Unsubscribed(_)
            | ServerFrame::Fenced(_)
            | ServerFrame::Delivery(_)
            | ServerFrame::Gap(_) => self.stream_frame(frame, open),
            ServerFrame::Welcome(_)
            | ServerFrame::Counters(_)
            | ServerFrame::Topics(_)
            | ServerFrame::Subscriptions(_)
            | ServerFrame::Ping { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Goodbye(_)
            | ServerFrame::Fatal(_)
            | ServerFrame::Extension { .. } => panic!("nobody asked for {frame:?}"),
        }
    }

    fn batched(&mut self, batched: &Batched<'_>) {
        let first = |offset: u64| (offset != u64::MAX).then_some(offset);
        let results = batched.results.iter().map(|one| (one.operation, one.created, first(one.first_offset)));
        let duplicates = batched.duplicates.iter();
        let duplicates =
            duplicates.map(|one| (one.operation, one.duplicate.record, one.duplicate.offset)).collect();
        let answer = Answer::Batched { results: results.collect(), duplicates };
        self.answers.push((batched.request, answer));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller passes nothing else")]
    fn stream_frame(&mut self, frame: &ServerFrame<'_>, open: &mut Open) {
        match frame {
            ServerFrame::Subscribed(one) => {
                assert!(open.streaming.insert(one.subscription), "{one:?} ended before");
                let (epoch, rewind, created) = (one.epoch, one.rewind, one.created);
                let (start, end) = (one.start, one.end);
                self.answers.push((one.request, Answer::Subscribed { epoch, rewind, created, start, end }));
            }
            ServerFrame::Unsubscribed(one) => {
                assert!(open.streaming.remove(&one.subscription), "{one:?} had begun");
                self.answers.push((one.request, Answer::Unsubscribed { last: one.last_offset }));
            }
            ServerFrame::Fenced(one) => {
                assert!(open.streaming.remove(&one.subscription), "{one:?} had begun");
                self.events.push((one.subscription, Event::Fenced { epoch: one.epoch }));
            }
            ServerFrame::Delivery(delivery) => {
                assert!(open.streaming.contains(&delivery.subscription), "{delivery:?} is expected");
                self.delivery(delivery);
            }
            ServerFrame::Gap(gap) => {
                assert!(open.streaming.contains(&gap.subscription), "{gap:?} is expected");
                let (rewind, from, to) = (gap.rewind, gap.from, gap.to);
                let limit = gap.reason == GapReason::Limit;
                self.events.push((gap.subscription, Event::Gap { rewind, from, to, limit }));
            }
            other => panic!("{other:?} is in the other lane"),
        }
    }

    fn delivery(&mut self, delivery: &Delivery<'_>) {
        let len = delivery.records.as_bytes().len();
        assert!(delivery.records.len() == 1 || len <= 64 << 10, "a delivery of {len} bytes");
        let (rewind, attempt) = (delivery.rewind, delivery.attempt);
        for (record, offset) in delivery.records.iter().zip(delivery.first_offset..) {
            let timestamp = record.timestamp();
            let headers = record.headers();
            let record = Record {
                key: record.key().map(<[u8]>::to_vec),
                headers: headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
                body: record.body().to_vec(),
                ttl: record.ttl_micros(),
                tombstone: record.is_tombstone(),
            };
            let event = Event::Record { rewind, attempt, offset, timestamp, record };
            self.events.push((delivery.subscription, event));
        }
    }
}
