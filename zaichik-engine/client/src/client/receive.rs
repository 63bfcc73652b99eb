//! What the broker sends: frames matched with requests and subscriptions.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use zaichik_proto::{
    AckRun, ClientFrame, Delivery, FrameHeader, Gap, HEADER_LEN, Published, Records, ServerFrame, Subscribed,
    Unsubscribed,
};

use super::answer::{Answer, PublishReceipt, SubscriptionId, SubscriptionStart};
use super::error::{LinkError, Violation};
use super::event::Event;
use super::inflight::QUIET;
use super::pending::{Kind, Phase};
use super::{Client, Link, subscription};

/// The kind of frame that messages are cut out of.
const DELIVERY: u8 = ServerFrame::Delivery(Delivery {
    subscription: 0,
    rewind: 0,
    attempt: 0,
    first_offset: 0,
    records: Records::from_encoded(0, &[]),
})
.kind();

impl Client {
    /// Takes in every whole frame; stops where the link ends.
    pub(super) fn read_frames(&mut self) {
        // Frames borrow from the buffer while they change the client, so it is out of the client meanwhile.
        let mut inbound = core::mem::take(&mut self.inbound);
        while matches!(self.link, Link::Handshake | Link::Open | Link::Closing) {
            match self.read_frame(&mut inbound) {
                Ok(true) => {}
                Ok(false) => {
                    self.parsed_len = inbound.len();
                    self.inbound = inbound;
                    return;
                }
                Err(cause) => self.link_broken(self.now, cause),
            }
        }
    }

    /// Takes in one frame, if it is all there.
    fn read_frame(&mut self, inbound: &mut BytesMut) -> Result<bool, LinkError> {
        if let Some(len) = whole_delivery(inbound) {
            let frame = inbound.split_to(len).freeze();
            if let Some((ServerFrame::Delivery(delivery), _)) = self.decoder.decode(&frame)? {
                self.delivered(&frame, &delivery)?;
            }
            return Ok(true);
        }
        let Some((frame, taken)) = self.decoder.decode(inbound)? else {
            return Ok(false);
        };
        self.receive(&frame)?;
        inbound.advance(taken);
        Ok(true)
    }

    fn receive(&mut self, frame: &ServerFrame<'_>) -> Result<(), LinkError> {
        match frame {
            ServerFrame::Welcome(welcome) => self.welcomed(welcome)?,
            ServerFrame::TopicReady(ready) => {
                self.answered(ready.request, &Kind::CreateTopic, Answer::Topic(ready.status))?;
            }
            ServerFrame::Acks(acks) => {
                for run in acks.runs.iter() {
                    self.acknowledged(run)?;
                }
            }
            ServerFrame::Published(published) => self.published(published)?,
            ServerFrame::Refused(refused) if refused.request == 0 || refused.request == QUIET => {
                self.count_refused(refused.count, refused.refusal);
            }
            ServerFrame::Refused(refused) => self.request_refused(refused.request, refused.refusal)?,
            ServerFrame::Batched(batched) => self.batched(batched)?,
            ServerFrame::Done(done) => self.done(done.request, done.value)?,
            ServerFrame::Subscribed(subscribed) => self.subscribed(subscribed)?,
            ServerFrame::Gap(gap) => self.skipped(gap)?,
            ServerFrame::Fenced(fenced) => self.ended(fenced.subscription, Event::Fenced)?,
            ServerFrame::Unsubscribed(unsubscribed) => self.unsubscribed(unsubscribed)?,
            ServerFrame::Counters(counters) => self.counted(counters)?,
            ServerFrame::Topics(page) => self.topics_described(page)?,
            ServerFrame::Subscriptions(page) => self.subscriptions_described(page)?,
            ServerFrame::Ping { nonce } => self.pinged(*nonce),
            ServerFrame::Pong { nonce } => self.ponged(*nonce),
            ServerFrame::Goodbye(_) if self.link == Link::Closing => self.closed(None),
            // The broker drains: it goes on answering, and the end of the stream tells when it is gone.
            ServerFrame::Goodbye(_) | ServerFrame::Extension { .. } => {}
            ServerFrame::Fatal(fatal) => {
                return Err(LinkError::Fatal { code: fatal.code, text: Arc::from(fatal.text) });
            }
            // Deliveries are taken in where their frame is at hand.
            ServerFrame::Delivery(_) => {
                return Err(Violation::Unexpected { kind: frame.kind() }.into());
            }
        }
        Ok(())
    }

    /// A plain success, for a request of that kind.
    pub(super) fn answered(&mut self, wire: u32, kind: &Kind, answer: Answer) -> Result<(), Violation> {
        if self.sent_kind(wire)? != *kind {
            return Err(Violation::Answer { request: wire });
        }
        self.inflight.answer(wire, Ok(answer));
        Ok(())
    }

    fn done(&mut self, wire: u32, value: u64) -> Result<(), Violation> {
        let kind = self.sent_kind(wire)?;
        match kind {
            Kind::AlterTopic => self.inflight.answer(wire, Ok(Answer::Altered)),
            Kind::Commit(..) => self.inflight.answer(wire, Ok(Answer::Committed { cursor: value })),
            Kind::RemoveDurable => self.inflight.answer(wire, Ok(Answer::Removed)),
            Kind::Nack(..) | Kind::Seek(..) | Kind::SeekDurable => return self.rewound(wire, kind, value),
            Kind::CreateTopic
            | Kind::Publish(_)
            | Kind::PublishQuiet(_)
            | Kind::Batch(_)
            | Kind::Subscribe(_)
            | Kind::Resubscribe(..)
            | Kind::Unsubscribe(_)
            | Kind::Describe(_)
            | Kind::Ping => return Err(Violation::Answer { request: wire }),
        }
        Ok(())
    }

    /// A run of publishes was accepted without anything to tell but offsets.
    fn acknowledged(&mut self, run: AckRun) -> Result<(), Violation> {
        let mut wire = run.request;
        let mut first_offset = run.first_offset;
        for left in (0..run.requests).rev() {
            let count = self.first_publish(wire)?;
            let receipt = PublishReceipt {
                first_offset: Some(first_offset),
                count,
                duplicates: Vec::new(),
                created: false,
            };
            self.publish_accepted(wire, receipt)?;
            first_offset = first_offset.saturating_add(u64::from(count));
            if left > 0 {
                wire = self.inflight.first_publish().ok_or(Violation::Answer { request: wire })?;
            }
        }
        Ok(())
    }

    fn published(&mut self, published: &Published<'_>) -> Result<(), Violation> {
        let count = self.first_publish(published.request)?;
        let receipt = PublishReceipt {
            first_offset: published.first_offset,
            count,
            duplicates: published.duplicates.iter().collect(),
            created: published.created,
        };
        self.publish_accepted(published.request, receipt)
    }

    fn publish_accepted(&mut self, wire: u32, receipt: PublishReceipt) -> Result<(), Violation> {
        if !receipt.is_consistent() {
            return Err(Violation::Offsets { request: wire });
        }
        self.number_used(wire)?;
        self.inflight.pop_publish();
        self.inflight.answer(wire, Ok(Answer::Published(receipt)));
        Ok(())
    }

    /// How many records the publish has whose answer must come next, which is to be `wire`.
    pub(super) fn first_publish(&self, wire: u32) -> Result<u32, Violation> {
        let Kind::Publish(publish) = self.sent_kind(wire)? else {
            return Err(Violation::Answer { request: wire });
        };
        if self.inflight.first_publish() != Some(wire) {
            return Err(Violation::Answer { request: wire });
        }
        Ok(publish.size.records)
    }

    fn subscribed(&mut self, subscribed: &Subscribed) -> Result<(), Violation> {
        let wire = subscribed.request;
        let (Kind::Subscribe(id) | Kind::Resubscribe(id, _)) = self.sent_kind(wire)? else {
            return Err(Violation::Answer { request: wire });
        };
        if id.0 != subscribed.subscription {
            return Err(Violation::Answer { request: wire });
        }
        let Subscribed { epoch, rewind, start, .. } = *subscribed;
        self.subscriptions.update(id, |subscription| subscription.begin(epoch, rewind, start));
        let answer = Answer::Subscribed(SubscriptionStart {
            subscription: id,
            created: subscribed.created,
            start,
            end: subscribed.end,
        });
        self.inflight.answer(wire, Ok(answer));
        Ok(())
    }

    fn unsubscribed(&mut self, unsubscribed: &Unsubscribed) -> Result<(), Violation> {
        let &Unsubscribed { request, subscription, last_offset } = unsubscribed;
        if request != 0 {
            if self.sent_kind(request)? != Kind::Unsubscribe(SubscriptionId(subscription)) {
                return Err(Violation::Answer { request });
            }
            self.inflight.answer(request, Ok(Answer::Unsubscribed { last_offset }));
        }
        self.ended(subscription, Event::Ended(last_offset))
    }

    fn delivered(&mut self, frame: &Bytes, delivery: &Delivery<'_>) -> Result<(), Violation> {
        let subscription = delivery.subscription;
        let id = SubscriptionId(subscription);
        let window = self.subscriptions.get(id).map(|state| state.options.window);
        let is_closing = self.link == Link::Closing || (self.drain_deadline.is_some() && window == Some(0));
        if is_closing || self.subscriptions.is_leaving(id) {
            // Who closes takes nothing more, and what nobody takes may not keep answers from being read.
            return Ok(());
        }
        let done = self
            .subscriptions
            .update(id, |state| state.deliver(frame, delivery))
            .ok_or(Violation::Subscription { subscription })??;
        if let Some(offset) = done {
            self.send_quiet_commit(id, offset);
        }
        Ok(())
    }

    fn skipped(&mut self, gap: &Gap) -> Result<(), Violation> {
        let subscription = gap.subscription;
        let id = SubscriptionId(subscription);
        if self.subscriptions.is_leaving(id) {
            return Ok(());
        }
        self.subscriptions
            .update(id, |state| state.skip(gap))
            .ok_or(Violation::Subscription { subscription })?
    }

    /// The broker ended a subscription; `event` tells the application how.
    fn ended(&mut self, subscription: u32, event: Event) -> Result<(), Violation> {
        let id = SubscriptionId(subscription);
        if self.subscriptions.has_left(id) {
            return Ok(());
        }
        let is_active = |state: &subscription::Subscription| state.phase == subscription::Phase::Active;
        if !self.subscriptions.get(id).is_some_and(is_active) {
            return Err(Violation::Subscription { subscription });
        }
        self.subscriptions.update(id, |state| state.end(event));
        Ok(())
    }

    fn pinged(&mut self, nonce: u64) {
        // A broker whose pings pile up unread gets its sign of life by what is in the output already.
        if self.outbound.len() < self.config.max_outbound_bytes.max(1) {
            let pong = ClientFrame::Pong { nonce };
            self.outbound.frame(|out| pong.encode(out));
        }
    }

    fn ponged(&mut self, nonce: u64) {
        let Ok(wire) = u32::try_from(nonce) else {
            return;
        };
        if self.sent_kind(wire) == Ok(Kind::Ping) {
            self.inflight.answer(wire, Ok(Answer::Pong));
        }
    }

    /// The kind of a request that was sent on this connection and waits for the broker's answer.
    pub(super) fn sent_kind(&self, wire: u32) -> Result<Kind, Violation> {
        let request = self.inflight.get(wire);
        let sent = request.filter(|request| matches!(request.phase, Phase::Sent { .. }));
        sent.map(|request| request.kind).ok_or(Violation::Answer { request: wire })
    }
}

/// The length of the first frame, if it is a delivery and all there.
fn whole_delivery(inbound: &BytesMut) -> Option<usize> {
    let header = FrameHeader::from_bytes(*inbound.first_chunk::<HEADER_LEN>()?).ok()?;
    let len = HEADER_LEN.checked_add(header.body_len as usize)?;
    (header.kind == DELIVERY && len <= inbound.len()).then_some(len)
}
