//! What a connection received, in a form that can be compared.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use zaichik_engine::Outbound;
use zaichik_proto::{
    AckRun, Delivery, Gap, GapReason, Item, Items, Limits, Page, Records, ServerDecoder, ServerFrame,
    SubscriptionItem, TopicItem, Version,
};
use zaichik_testkit::Frames;

/// The receiving end of a connection.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    frames: Frames,
    input: BytesMut,
    seen: Seen,
    /// Whether records may be only in the store.
    may_be_cold: bool,
}

/// What a connection received.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// All but what subscriptions receive, in order.
    answers: Vec<Part>,
    /// What each subscription received, in order.
    streams: BTreeMap<u32, Vec<Part>>,
    pub(super) news: Vec<News>,
}

/// A frame, or one record of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Frame(Version, Vec<u8>),
    Gap(Gap),
    /// Consecutive publishes that were accepted.
    Acks(AckRun),
    /// One of these, and the offset of its first record.
    Ack {
        request: u32,
        offset: u64,
    },
}

/// What later inputs build on.
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    Subscribed { number: u32, epoch: u32 },
    Delivered { number: u32, rewind: u32, offset: u64 },
    Ended { number: u32 },
}

impl Receiver {
    pub(super) fn new(may_be_cold: bool) -> Self {
        Self { may_be_cold, ..Self::default() }
    }

    pub(super) fn read(&mut self, outbound: &mut Outbound) {
        let Self { frames, input, seen, may_be_cold } = self;
        input.put(outbound);
        let mut version = frames.version();
        frames.take(input, |frame, _| {
            if let ServerFrame::Welcome(welcome) = frame {
                version = Version::from_number(welcome.version).unwrap_or(version);
            } else {
                seen.add(version, frame, *may_be_cold);
            }
        });
    }

    pub(super) fn take(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }
}

impl Seen {
    fn add(&mut self, version: Version, frame: &ServerFrame<'_>, may_be_cold: bool) {
        match frame {
            ServerFrame::Delivery(delivery) => self.deliver(version, delivery),
            ServerFrame::Gap(gap) => {
                let reason = if may_be_cold { GapReason::Expired } else { gap.reason };
                let stream = self.streams.entry(gap.subscription).or_default();
                match stream.last_mut() {
                    Some(Part::Gap(last)) if last.to == gap.from && last.reason == reason => last.to = gap.to,
                    _ => stream.push(Part::Gap(Gap { reason, ..*gap })),
                }
            }
            ServerFrame::Subscribed(one) => {
                let number = one.subscription;
                self.streams.entry(number).or_default().push(part(version, frame));
                self.news.push(News::Subscribed { number, epoch: one.epoch });
            }
            ServerFrame::Unsubscribed(one) => self.end(one.subscription, part(version, frame)),
            ServerFrame::Fenced(one) => self.end(one.subscription, part(version, frame)),
            // What it counts is not what the one before counted.
            ServerFrame::Counters(counters) => {
                self.answers.push(Part::Frame(version, counters.request.to_le_bytes().to_vec()));
            }
            ServerFrame::Acks(acks) => self.answers.extend(acks.runs.iter().map(Part::Acks)),
            ServerFrame::Topics(page) => {
                let mut bytes = Vec::new();
                for item in page.items.iter() {
                    let item = TopicItem { memory: 0, ..item };
                    let unsure = TopicItem { start: 0, messages: 0, bytes: 0, keys: 0, ..item };
                    if may_be_cold { unsure } else { item }.write(&mut bytes);
                }
                let items = Items::from_encoded(page.items.len(), &bytes);
                self.answers.push(part(version, &ServerFrame::Topics(Page { items, ..*page })));
            }
            ServerFrame::Subscriptions(page) => {
                let mut bytes = Vec::new();
                for item in page.items.iter() {
                    // How far a shared one, which has no epoch, has looked does not survive a restart.
                    let is_shared = item.epoch == 0 && !item.name.is_empty();
                    let next = if is_shared { item.cursor } else { item.next };
                    SubscriptionItem { expires_in_micros: 0, next, ..item }.write(&mut bytes);
                }
                let items = Items::from_encoded(page.items.len(), &bytes);
                self.answers.push(part(version, &ServerFrame::Subscriptions(Page { items, ..*page })));
            }
            ServerFrame::Welcome(_)
            | ServerFrame::TopicReady(_)
            | ServerFrame::Published(_)
            | ServerFrame::Batched(_)
            | ServerFrame::Refused(_)
            | ServerFrame::Done(_)
            | ServerFrame::Trimmed(_)
            | ServerFrame::Acked(_)
            | ServerFrame::Members(_)
            | ServerFrame::PatternSubscribed(_)
            | ServerFrame::Matched(_)
            | ServerFrame::NotMatched(_)
            | ServerFrame::Ping { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Goodbye(_)
            | ServerFrame::Fatal(_)
            | ServerFrame::Extension { .. } => self.answers.push(part(version, frame)),
        }
    }

    /// Each record becomes a part.
    fn deliver(&mut self, version: Version, delivery: &Delivery<'_>) {
        let (number, rewind) = (delivery.subscription, delivery.rewind);
        let stream = self.streams.entry(number).or_default();
        for (record, offset) in delivery.records.iter().zip(delivery.first_offset..) {
            let records = Records::from_encoded(1, record.as_bytes());
            let one = Delivery { first_offset: offset, records, ..*delivery };
            stream.push(part(version, &ServerFrame::Delivery(one)));
            self.news.push(News::Delivered { number, rewind, offset });
        }
    }

    fn end(&mut self, number: u32, part: Part) {
        self.streams.entry(number).or_default().push(part);
        self.news.push(News::Ended { number });
    }

    /// The first part that differs from that of another connection, and that one. `records` returns the number of records
    /// of a publish.
    pub(super) fn difference(&self, other: &Self, records: impl Fn(u32) -> u64) -> Option<[String; 2]> {
        let numbers = self.streams.keys().chain(other.streams.keys());
        let of = |seen: &Self, number: &u32| seen.streams.get(number).cloned().unwrap_or_default();
        let streams = numbers.map(|number| (of(self, number), of(other, number)));
        let answers =
            |seen: &Self| seen.answers.iter().flat_map(|part| single(part, &records)).collect::<Vec<_>>();
        let mut pairs = streams.chain([(answers(self), answers(other))]);
        pairs.find_map(|(one, other)| {
            let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at))?;
            Some([show(one.get(at)), show(other.get(at))])
        })
    }
}

/// A run of accepted publishes as one part for each. An exchange ends a run, and one exchange may have all of them, or fewer:
/// it applies what was received before it, and how much that is depends on the buffers' history (rules P1, S15).
fn single(part: &Part, records: impl Fn(u32) -> u64) -> Vec<Part> {
    let Part::Acks(run) = part else { return vec![part.clone()] };
    let mut offset = run.first_offset;
    let requests = run.request..run.request.saturating_add(run.requests);
    requests
        .map(|request| {
            let one = Part::Ack { request, offset };
            offset = offset.saturating_add(records(request));
            one
        })
        .collect()
}

fn part(version: Version, frame: &ServerFrame<'_>) -> Part {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    Part::Frame(version, bytes.to_vec())
}

fn show(part: Option<&Part>) -> String {
    match part {
        None => "nothing".to_owned(),
        Some(Part::Gap(gap)) => format!("{gap:?}"),
        Some(part @ (Part::Acks(_) | Part::Ack { .. })) => format!("{part:?}"),
        Some(Part::Frame(version, bytes)) => {
            let frame = ServerDecoder::speaking(*version, &Limits::default()).decode(bytes);
            let text = frame.map_or_else(|_| format!("{bytes:?}"), |frame| format!("{frame:?}"));
            text.chars().take(400).collect()
        }
    }
}
