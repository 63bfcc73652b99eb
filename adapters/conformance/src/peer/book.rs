//! What a raw peer knows: what it asked, what was answered, and what every client may count on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zaichik_proto::{
    Delivery, Gap, GoodbyeReason, Limits, ServerDecoder, ServerFrame, Subscribed, TopicStatus, Welcome,
};

use super::show;

/// Nonces from here on are the peer's own.
pub(super) const OWN_NONCES: u64 = 1 << 63;

#[derive(Default)]
pub(super) struct Book {
    pub(super) last_request: u32,
    pub(super) last_nonce: u64,
    /// Acknowledged publishes without an answer: their ids and how many records they have.
    pub(super) publishes: VecDeque<(u32, u32)>,
    /// Where the next delivery or gap of each subscription must begin.
    next: BTreeMap<u32, u64>,
    pub(super) answers: BTreeMap<u32, String>,
    pub(super) pongs: BTreeSet<u64>,
    /// Deliveries and gaps: "1/7=body", "1/0..3 expired".
    pub(super) stream: Vec<String>,
    /// Frames of the control lane that answer no request by its id.
    pub(super) control: Vec<String>,
    /// Everything, in the order in which it came.
    pub(super) log: Vec<String>,
    /// Timestamps of the records received.
    pub(super) timestamps: Vec<u64>,
    pub(super) instance: Option<u128>,
    pub(super) limits: Limits,
}

impl Book {
    pub(super) fn receive(&mut self, decoder: &mut ServerDecoder, frame: &ServerFrame<'_>) {
        match frame {
            ServerFrame::Welcome(Welcome { limits, instance, .. }) => {
                decoder.open(limits);
                (self.limits, self.instance) = (*limits, Some(*instance));
                self.tell("welcome".to_owned());
            }
            ServerFrame::TopicReady(ready) => {
                let text = match ready.status {
                    TopicStatus::Unchanged => "unchanged",
                    TopicStatus::Created => "created",
                    TopicStatus::Adopted => "adopted",
                };
                self.answer(ready.request, text.to_owned());
            }
            ServerFrame::Acks(acks) => {
                for run in acks.runs.iter() {
                    let mut offset = run.first_offset;
                    for index in 0..run.requests {
                        let (request, count) = self.publishes.pop_front().expect("a publish to acknowledge");
                        assert!(index > 0 || request == run.request, "answers in request order");
                        self.answer(request, show::published(false, Some(offset), &[]));
                        offset += u64::from(count);
                    }
                }
            }
            ServerFrame::Published(published) => {
                let duplicates: Vec<_> =
                    published.duplicates.iter().map(|one| (one.record, one.offset)).collect();
                let text = show::published(published.created, published.first_offset, &duplicates);
                self.pop_publish(published.request);
                self.answer(published.request, text);
            }
            ServerFrame::Refused(refused) if refused.request == 0 => {
                self.tell(format!("{} times {}", refused.count, show::refused(refused)));
            }
            ServerFrame::Refused(refused) => {
                if self.publishes.iter().any(|(request, _)| *request == refused.request) {
                    self.pop_publish(refused.request);
                }
                self.answer(refused.request, show::refused(refused));
            }
            ServerFrame::Done(done) => self.answer(done.request, format!("done {}", done.value)),
            ServerFrame::Subscribed(subscribed) => self.subscribed(subscribed),
            ServerFrame::Delivery(delivery) => self.delivered(delivery),
            ServerFrame::Gap(gap) => self.skipped(gap),
            ServerFrame::Unsubscribed(unsubscribed) => {
                self.next.remove(&unsubscribed.subscription).expect("it was subscribed");
                self.answer(unsubscribed.request, show::unsubscribed(unsubscribed));
            }
            ServerFrame::Ping { nonce } => self.tell(format!("ping {nonce}")),
            ServerFrame::Pong { nonce } if *nonce >= OWN_NONCES => {
                assert!(self.pongs.insert(*nonce), "one pong for each ping");
            }
            ServerFrame::Pong { nonce } => self.tell(format!("pong {nonce}")),
            ServerFrame::Goodbye(goodbye) => {
                let reason = if goodbye.reason == GoodbyeReason::Closed { "closed" } else { "draining" };
                self.tell(format!("goodbye {reason}"));
            }
            ServerFrame::Fatal(fatal) => self.tell(format!("fatal {}", fatal.code)),
            ServerFrame::Batched(_) | ServerFrame::Fenced(_) | ServerFrame::Extension { .. } => {
                panic!("not expected: {frame:?}");
            }
        }
    }

    fn subscribed(&mut self, subscribed: &Subscribed) {
        let before = self.next.insert(subscribed.subscription, subscribed.start);
        assert_eq!(before, None, "it was not subscribed");
        assert_eq!((subscribed.epoch, subscribed.rewind), (0, 0));
        self.answer(subscribed.request, show::subscribed(subscribed));
    }

    /// From `start` on every offset is accounted for, in order (S-02).
    fn delivered(&mut self, delivery: &Delivery<'_>) {
        let subscription = delivery.subscription;
        let next = self.next.get_mut(&subscription).expect("deliveries of a living subscription");
        assert_eq!(*next, delivery.first_offset, "no hole, no repetition");
        assert_eq!((delivery.rewind, delivery.attempt), (0, 1));
        *next += u64::from(delivery.records.len());
        for (record, offset) in delivery.records.iter().zip(delivery.first_offset..) {
            let text = format!("{subscription}/{}", show::message(offset, record.body()));
            self.log.push(text.clone());
            self.stream.push(text);
            self.timestamps.push(record.timestamp());
        }
    }

    fn skipped(&mut self, gap: &Gap) {
        let next = self.next.get_mut(&gap.subscription).expect("gaps of a living subscription");
        assert!(gap.from == *next && gap.to > gap.from, "gaps stand in their place: {gap:?}, next {next}");
        *next = gap.to;
        let text = format!("{}/{}", gap.subscription, show::gap(gap.from, gap.to, gap.reason));
        self.log.push(text.clone());
        self.stream.push(text);
    }

    fn pop_publish(&mut self, request: u32) {
        assert_eq!(self.publishes.pop_front().map(|(request, _)| request), Some(request), "in request order");
    }

    fn answer(&mut self, request: u32, text: String) {
        self.log.push(format!("#{request} {text}"));
        let before = self.answers.insert(request, text);
        assert_eq!(before, None, "one answer for request {request}");
    }

    fn tell(&mut self, text: String) {
        self.log.push(text.clone());
        self.control.push(text);
    }
}
