//! Subscriptions as the application asks for them, and what it has done with their messages.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{
    ClientFrame, Commit, Durable, MAX_NAME_LEN, Refusal, RefusalCode, Start, Subscribe, TopicName,
    Unsubscribe, micros,
};

use super::Client;
use super::answer::{Answer, RequestId, SubscriptionId};
use super::config::SubscribeOptions;
use super::error::RequestError;
use super::inflight::{MAX_SUBSCRIPTIONS, QUIET};
use super::pending::Kind;
use super::request::{SMALL_FRAME, encode};
use super::subscription::{Phase, Subscription};
use zaichik_proto::Timestamp;

impl Client {
    /// Starts a subscription; answered by [`Answer::Subscribed`].
    ///
    /// It outlives connections: after a reconnect it goes on after the last committed offset, or from where it
    /// began if none was; with `window = 0` after the last message taken. A durable one goes on at its cursor, unless
    /// somebody else took it over: then [`Event::Fenced`](super::Event::Fenced) ends it for good.
    ///
    /// # Errors
    /// [`RequestError`]'s variants that say that nothing was sent.
    pub fn subscribe(
        &mut self,
        now: Timestamp,
        topic: &str,
        options: SubscribeOptions,
    ) -> Result<(RequestId, SubscriptionId), RequestError> {
        self.tick(now);
        let name = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
        check_names(&options)?;
        let windows =
            [(self.limits.max_window, options.window), (self.limits.max_window_bytes, options.window_bytes)];
        if let Some((limit, got)) = windows.into_iter().find(|(limit, got)| got > limit) {
            return Err(RequestError::WindowTooLarge { limit, got });
        }
        self.admit()?;
        let limit = self.limits.max_subscriptions.min(MAX_SUBSCRIPTIONS);
        let subscription = self.subscriptions.next_id();
        let Some(subscription) = subscription.filter(|_| self.subscriptions.len() < limit as usize) else {
            return Err(RequestError::TooManySubscriptions { limit });
        };
        let topic = self.shared_topic(name);
        let (kind, start) = (Kind::Subscribe(subscription), options.start);
        let mut state = Subscription::new(subscription, Arc::clone(&topic), options);
        let (wire, id) =
            self.inflight.insert(topic, kind, Timestamp::MAX, |wire| encode_subscribe(wire, &state, start));
        state.phase = Phase::Subscribing(wire);
        self.subscriptions.insert(state);
        self.settle();
        Ok((id, subscription))
    }

    /// Ends a subscription; answered by [`Answer::Unsubscribed`].
    ///
    /// Messages may be taken until the answer; after it only [`Event::Ended`](super::Event::Ended) is, and
    /// with that the subscription is gone. Never [`RequestError::Full`].
    ///
    /// # Errors
    /// [`RequestError::NoSubscription`], [`RequestError::Closed`].
    pub fn unsubscribe(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.check_open()?;
        let state = self.active(subscription)?;
        let is_at_broker = match state.phase {
            Phase::Detached | Phase::Over => false,
            Phase::Resubscribing(wire) => self.inflight.is_sent(wire),
            Phase::Subscribing(_) | Phase::Active => true,
        };
        if !is_at_broker {
            let answer = self.end_locally(subscription);
            return Ok(self.inflight.answer_at_once(Ok(answer)));
        }
        let topic = Arc::clone(&state.topic);
        self.subscriptions.update(subscription, |state| state.is_ending = true);
        let kind = Kind::Unsubscribe(subscription);
        let (_, id) = self.inflight.insert(topic, kind, Timestamp::MAX, |request| {
            let frame = ClientFrame::Unsubscribe(Unsubscribe { request, subscription: subscription.0 });
            encode(&mut self.arena, SMALL_FRAME, &frame)
        });
        self.settle();
        Ok(id)
    }

    /// Everything up to and including `offset` is done; answered by [`Answer::Committed`] (semantics A2).
    ///
    /// Without a connection the client remembers it for when it resumes. What is committed already is answered
    /// as done (A3).
    ///
    /// # Errors
    /// [`RequestError::Refused`] with `CommitsOff` for `window = 0`, and with `CommitAhead` for an offset that was
    /// not taken yet; [`NoSubscription`](RequestError::NoSubscription), [`Full`](RequestError::Full),
    /// [`Closed`](RequestError::Closed). Nothing was sent, nothing is committed.
    pub fn commit(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        offset: u64,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.admit()?;
        let topic = self.check_commit(subscription, offset)?;
        let is_news = self.subscriptions.update(subscription, |state| state.commit(offset));
        if is_news != Some(true) {
            let cursor = self.subscriptions.get(subscription).map_or(0, Subscription::cursor);
            return Ok(self.inflight.answer_at_once(Ok(Answer::Committed { cursor })));
        }
        let deadline = self.after(self.config.request_timeout);
        let kind = Kind::Commit(subscription, offset);
        let (_, id) = self.inflight.insert(topic, kind, deadline, |request| {
            encode(&mut self.arena, SMALL_FRAME, &commit_frame(request, subscription, offset, false))
        });
        self.settle();
        Ok(id)
    }

    /// As [`commit`](Self::commit), without an answer and never [`RequestError::Full`]: the cheap way.
    ///
    /// # Errors
    /// As `commit`; should the broker refuse it, [`poll_refused`](Self::poll_refused) tells.
    pub fn commit_quiet(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        offset: u64,
    ) -> Result<(), RequestError> {
        self.tick(now);
        self.check_open()?;
        self.check_commit(subscription, offset)?;
        let is_news = self.subscriptions.update(subscription, |state| state.commit(offset));
        if is_news == Some(true) {
            self.send_quiet_commit(subscription, offset);
        }
        Ok(())
    }

    /// Commits the last message that the application took, from whichever subscription it came (semantics A-07).
    ///
    /// Subscriptions with `window = 0`, where nothing is committed, do not count.
    ///
    /// # Errors
    /// [`RequestError::NothingToCommit`], else as [`commit`](Self::commit).
    pub fn commit_last(&mut self, now: Timestamp) -> Result<RequestId, RequestError> {
        let (subscription, offset) = self.last_taken().ok_or(RequestError::NothingToCommit)?;
        self.commit(now, subscription, offset)
    }

    /// The message that [`commit_last`](Self::commit_last) would commit.
    #[must_use]
    pub const fn last_taken(&self) -> Option<(SubscriptionId, u64)> {
        self.subscriptions.last_taken()
    }

    /// Writes a commit at once. The windows bound how many there can be: each one follows a message that was
    /// received, and the broker sends no further ones before it has the commits.
    pub(super) fn send_quiet_commit(&mut self, subscription: SubscriptionId, offset: u64) {
        let frame = commit_frame(QUIET, subscription, offset, true);
        self.outbound.frame(|out| frame.encode(out));
    }

    pub(super) fn active(&self, id: SubscriptionId) -> Result<&Subscription, RequestError> {
        let subscription = self.subscriptions.get(id);
        let active = subscription.filter(|state| state.phase != Phase::Over && !state.is_ending);
        active.ok_or(RequestError::NoSubscription(id))
    }

    /// Whether `offset` may be committed: what the broker would refuse never moves the place to resume at.
    pub(super) fn check_commit(&self, id: SubscriptionId, offset: u64) -> Result<Arc<str>, RequestError> {
        let subscription = self.active(id)?;
        let topic = Arc::clone(&subscription.topic);
        let refusal = if subscription.options.window == 0 {
            Refusal::new(RefusalCode::CommitsOff)
        } else if offset >= subscription.taken_to() {
            Refusal::with_value(RefusalCode::CommitAhead, subscription.taken_to())
        } else {
            return Ok(topic);
        };
        Err(RequestError::Refused { topic, refusal })
    }
}

/// A Subscribe frame of its own.
pub(super) fn encode_subscribe(request: u32, subscription: &Subscription, start: Start) -> Bytes {
    let options = &subscription.options;
    let mut out = BytesMut::new();
    let frame = ClientFrame::Subscribe(Subscribe {
        request,
        subscription: subscription.id.0,
        topic: subscription.topic.as_bytes(),
        start,
        window: options.window,
        window_bytes: options.window_bytes,
        max_attempts: options.max_attempts,
        dead_letter: options.dead_letter.as_bytes(),
        durable: options.durable.as_ref().map(|durable| Durable {
            name: &durable.name,
            on_conflict: durable.on_conflict,
            epoch: subscription.epoch,
            inactive_ttl_micros: micros(durable.inactive_ttl),
        }),
    });
    frame.encode(&mut out);
    out.freeze()
}

fn commit_frame(
    request: u32,
    subscription: SubscriptionId,
    offset: u64,
    quiet: bool,
) -> ClientFrame<'static> {
    ClientFrame::Commit(Commit { request, subscription: subscription.0, offset, quiet })
}

fn check_names(options: &SubscribeOptions) -> Result<(), RequestError> {
    if let Some(durable) = &options.durable {
        check_durable_name(&durable.name)?;
    }
    if !options.dead_letter.is_empty() {
        TopicName::parse(options.dead_letter.as_bytes()).map_err(RequestError::InvalidDeadLetter)?;
    }
    Ok(())
}

pub(super) const fn check_durable_name(name: &str) -> Result<(), RequestError> {
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(RequestError::InvalidDurableName { got: name.len() });
    }
    Ok(())
}
