//! Shared subscriptions: messages that are settled one by one (chapter G).

use core::time::Duration;
use std::sync::Arc;

use zaichik_proto::{
    Ack, ClientFrame, DescribeShared, Extend, HEADER_LEN, List, NackShared, OffsetRange, Timestamp, micros,
};

use super::Client;
use super::subscribe::check_durable_name;
use crate::answer::{Hold, RequestId, SubscriptionId};
use crate::batch::check_ranges;
use crate::error::RequestError;
use crate::requests::{NO_ANSWER, RequestKind, Settlement};
use crate::subscription::Subscription;

/// Bytes of a frame with ranges besides these, and of each of them.
const SETTLE_FIXED: usize = HEADER_LEN + 4 + 4 + 4 + 8 + 4;
const RANGE: usize = 12;

impl Client {
    /// With what the messages of a shared subscription that are taken now are settled; `None` if there is no such
    /// subscription, or it is not shared.
    #[must_use]
    pub fn hold(&self, subscription: SubscriptionId) -> Option<Hold> {
        self.subscriptions.get(subscription).filter(|state| state.is_shared()).map(Subscription::hold)
    }

    /// Acknowledges messages of a shared subscription: they are done (rule G3); answered by
    /// [`Answer::Acked`](crate::Answer::Acked) when the broker has it.
    ///
    /// ```
    /// # use zaichik_proto::{OffsetRange, Record};
    /// # use zaichik_client::{Answer, Event, PublishOptions, SharedOptions, SubscribeOptions};
    /// # let (now, mut client, mut broker) = zaichik_testkit::connected();
    /// let options = SubscribeOptions::new().shared(SharedOptions::new("workers"));
    /// let (_, jobs) = client.subscribe(now, "jobs", options)?;
    /// client.publish(now, "jobs", &[Record { body: b"sweep", ..Record::default() }], PublishOptions::new())?;
    /// broker.serve(now, &mut client);
    /// let Some(Event::Message(job)) = client.poll_event(jobs) else { panic!("no message") };
    /// let hold = client.hold(jobs).expect("it is shared");
    /// let asked = client.ack(now, hold, &[OffsetRange { first: job.offset, count: 1 }])?;
    /// broker.serve(now, &mut client);
    /// let answer = std::iter::from_fn(|| client.poll_answer()).find(|(id, _)| *id == asked);
    /// assert_eq!(answer, Some((asked, Ok(Answer::Acked { cursor: 1, not_held: Vec::new() }))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// If the connection breaks before the answer, it ends with [`RequestError::Unknown`]: the messages are done, or are
    /// redelivered.
    ///
    /// # Errors
    /// [`RequestError::Returned`] if the connection over which the messages were received is gone;
    /// [`InvalidRanges`](RequestError::InvalidRanges); [`Refused`](RequestError::Refused) with `CommitsOff` for
    /// `window = 0`; [`NoSubscription`](RequestError::NoSubscription), [`Full`](RequestError::Full),
    /// [`Closed`](RequestError::Closed). Nothing was sent.
    pub fn ack(
        &mut self,
        now: Timestamp,
        hold: Hold,
        offsets: &[OffsetRange],
    ) -> Result<RequestId, RequestError> {
        self.settle_held(now, hold, offsets, Settlement::Ack, |request, ranges| {
            ack_frame(request, hold, false, ranges)
        })
    }

    /// Like [`ack`](Self::ack), but cheaper: without an answer, unless something is wrong.
    ///
    /// What the broker refuses is reported by [`poll_refused`](Self::poll_refused), and so is each message that this member
    /// does not hold, with [`NotHeld`](zaichik_proto::RefusalCode::NotHeld). If the connection breaks, the messages are done, or
    /// are redelivered. It may take effect before requests that wait to be sent.
    ///
    /// # Errors
    /// As for `ack`; [`RequestError::Full`] while [`max_outbound_bytes`](crate::ClientConfig::max_outbound_bytes) wait to be
    /// written.
    pub fn ack_quiet(
        &mut self,
        now: Timestamp,
        hold: Hold,
        offsets: &[OffsetRange],
    ) -> Result<(), RequestError> {
        self.tick(now);
        self.connection.check_accepts_requests()?;
        check_ranges(offsets)?;
        self.subscriptions.usable(hold.subscription)?.check_hold(hold)?;
        // Unlike commits, acks that change nothing are not recognised here, so the window does not bound their number.
        if !self.has_room_to_write() {
            return Err(RequestError::Full);
        }
        let mut bytes = Vec::new();
        let ranges = List::encode_into(&mut bytes, offsets.iter().copied());
        let frame = ack_frame(NO_ANSWER, hold, true, ranges);
        self.outbound.frame(|out| frame.encode(out));
        Ok(())
    }

    /// Gives messages of a shared subscription back, to be handed out to any member after `delay` (rule G5); answered by
    /// [`Answer::Acked`](crate::Answer::Acked).
    ///
    /// # Errors
    /// As for [`ack`](Self::ack). If the connection breaks before the answer, it ends with
    /// [`RequestError::Returned`]: they come back as well, without the delay.
    pub fn nack_shared(
        &mut self,
        now: Timestamp,
        hold: Hold,
        offsets: &[OffsetRange],
        delay: Duration,
    ) -> Result<RequestId, RequestError> {
        self.settle_held(now, hold, offsets, Settlement::GiveBack, |request, ranges| {
            let (subscription, rewind, delay_micros) = (hold.subscription.0, hold.rewind, micros(delay));
            ClientFrame::NackShared(NackShared { request, subscription, rewind, delay_micros, ranges })
        })
    }

    /// Starts the deadline of messages of a shared subscription again (rule G6); answered by
    /// [`Answer::Acked`](crate::Answer::Acked).
    ///
    /// # Errors
    /// As for [`nack_shared`](Self::nack_shared).
    pub fn extend(
        &mut self,
        now: Timestamp,
        hold: Hold,
        offsets: &[OffsetRange],
    ) -> Result<RequestId, RequestError> {
        self.settle_held(now, hold, offsets, Settlement::Extend, |request, ranges| {
            let (subscription, rewind) = (hold.subscription.0, hold.rewind);
            ClientFrame::Extend(Extend { request, subscription, rewind, ranges })
        })
    }

    /// Asks for the state of a shared subscription and its members (rule G11); answered by
    /// [`Answer::Shared`](crate::Answer::Shared).
    ///
    /// A broker that does not offer it gets no request; then the answer is a refusal, with
    /// [`Unsupported`](zaichik_proto::RefusalCode::Unsupported).
    ///
    /// # Errors
    /// [`RequestError::InvalidTopic`], [`InvalidDurableName`](RequestError::InvalidDurableName),
    /// [`Full`](RequestError::Full), [`Closed`](RequestError::Closed). Nothing was sent.
    pub fn describe_shared(
        &mut self,
        now: Timestamp,
        topic: &str,
        name: &str,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let shared = self.check_topic(topic)?;
        check_durable_name(name)?;
        self.ask(shared, RequestKind::DescribeShared, |request| {
            ClientFrame::DescribeShared(DescribeShared { request, topic: topic.as_bytes(), name })
        })
    }

    fn settle_held(
        &mut self,
        now: Timestamp,
        hold: Hold,
        offsets: &[OffsetRange],
        settlement: Settlement,
        frame: impl for<'r> FnOnce(u32, List<'r, OffsetRange>) -> ClientFrame<'r>,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        check_ranges(offsets)?;
        self.check_room()?;
        let state = self.subscriptions.usable(hold.subscription)?;
        state.check_hold(hold)?;
        let topic = Arc::clone(state.topic());
        let new = self.with_timeout(topic, RequestKind::Settle(settlement));
        let len = SETTLE_FIXED.saturating_add(offsets.len().saturating_mul(RANGE));
        let (_, id) = self.requests.insert(new, |request| {
            let mut bytes = Vec::new();
            let ranges = List::encode_into(&mut bytes, offsets.iter().copied());
            self.encoder.sized(len, &frame(request, ranges))
        });
        self.settle();
        Ok(id)
    }
}

const fn ack_frame(request: u32, hold: Hold, quiet: bool, ranges: List<'_, OffsetRange>) -> ClientFrame<'_> {
    let (subscription, rewind) = (hold.subscription.0, hold.rewind);
    ClientFrame::Ack(Ack { request, subscription, rewind, quiet, ranges })
}
