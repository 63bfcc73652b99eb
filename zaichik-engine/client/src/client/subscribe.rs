//! Requests for subscriptions and commits.

use std::sync::Arc;

use zaichik_proto::{
    ClientFrame, Commit, MAX_NAME_LEN, Refusal, RefusalCode, Timestamp, TopicName, Unsubscribe, Version,
    Welcome,
};

use super::Client;
use crate::answer::{Answer, RequestId, SubscriptionId};
use crate::config::SubscribeOptions;
use crate::error::RequestError;
use crate::outcomes::encode_subscribe;
use crate::requests::{MAX_SUBSCRIPTIONS, NO_ANSWER, NewRequest, RequestKind};
use crate::subscription::{CommitStep, Subscription, SubscriptionState};

impl Client {
    /// Starts a subscription; answered by [`Answer::Subscribed`].
    ///
    /// It outlives connections: after a reconnect it resumes after the last committed offset, or where it began if
    /// none was committed; with `window = 0`, after the last message taken. A durable one resumes at its cursor, unless
    /// another connection took it over: then [`Event::Fenced`](crate::Event::Fenced) ends it for good. A shared one joins
    /// again: what it held is handed out again, to any member.
    ///
    /// # Errors
    /// [`RequestError`]'s variants that say that nothing was sent; [`RequestError::Refused`] with `Unsupported` for a shared
    /// one at a broker that does not offer them. If the broker is not known yet, that is the answer.
    pub fn subscribe(
        &mut self,
        now: Timestamp,
        topic: &str,
        options: SubscribeOptions,
    ) -> Result<(RequestId, SubscriptionId), RequestError> {
        self.tick(now);
        let name = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
        check_options(&options)?;
        if options.shared.is_some() && self.connection.is_open() && !self.connection.offers(Welcome::SHARED) {
            let refusal = Refusal::new(RefusalCode::Unsupported);
            return Err(RequestError::Refused { topic: topic.into(), refusal });
        }
        let subscription = self.check_new_subscription(&options)?;
        let topic = self.encoder.share_topic(name);
        let id = self.begin(Subscription::new(subscription, topic, options));
        Ok((id, subscription))
    }

    /// The id of a new subscription with these options, if one more is possible.
    pub(super) fn check_new_subscription(
        &self,
        options: &SubscribeOptions,
    ) -> Result<SubscriptionId, RequestError> {
        let limits = self.limits();
        let windows = [(limits.max_window, options.window), (limits.max_window_size, options.window_bytes)];
        if let Some((limit, got)) = windows.into_iter().find(|(limit, got)| got > limit) {
            return Err(RequestError::WindowTooLarge { limit, got });
        }
        let limit = limits.max_subscriptions.min(MAX_SUBSCRIPTIONS);
        self.check_room()?;
        let subscription = self.subscriptions.next_id();
        let subscription = subscription.filter(|_| self.subscriptions.len() < limit as usize);
        subscription.ok_or(RequestError::TooManySubscriptions { limit })
    }

    /// Asks for a new subscription.
    pub(super) fn begin(&mut self, mut state: Subscription) -> RequestId {
        let new = NewRequest {
            topic: Arc::clone(state.topic()),
            kind: RequestKind::Subscribe(state.id()),
            deadline: Timestamp::MAX,
            operations: None,
        };
        let start = state.options().start;
        let (wire, id) = self.requests.insert(new, |wire| encode_subscribe(wire, &state, start));
        state.subscribing(wire);
        self.subscriptions.insert(state);
        self.settle();
        id
    }

    /// Ends a subscription; answered by [`Answer::Unsubscribed`].
    ///
    /// Messages can be taken until the answer arrives. After it only [`Event::Ended`](crate::Event::Ended) can be
    /// taken, and then the subscription is gone. Never fails with [`RequestError::Full`].
    ///
    /// # Errors
    /// [`RequestError::NoSubscription`], [`RequestError::Closed`].
    pub fn unsubscribe(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.connection.check_accepts_requests()?;
        let state = self.subscriptions.in_use(subscription)?;
        let topic = Arc::clone(state.topic());
        let is_at_broker = match state.state() {
            SubscriptionState::Detached | SubscriptionState::Ended => false,
            SubscriptionState::Resubscribing(wire) => self.requests.sent(wire).is_ok(),
            SubscriptionState::Subscribing(_) | SubscriptionState::Active => true,
        };
        self.subscriptions.leave_topic(subscription);
        if !is_at_broker {
            let answer = self.outcomes().end_locally(subscription);
            return Ok(self.requests.answer_at_once(answer));
        }
        self.subscriptions.set_ending(subscription);
        let number = self.subscriptions.number(subscription);
        let new = NewRequest {
            topic,
            kind: RequestKind::Unsubscribe(subscription),
            deadline: Timestamp::MAX,
            operations: None,
        };
        let (_, id) = self.requests.insert(new, |request| {
            let frame = Unsubscribe { request, subscription: number };
            self.encoder.small(&ClientFrame::Unsubscribe(frame))
        });
        self.settle();
        Ok(id)
    }

    /// Commits everything up to and including `offset`; answered by [`Answer::Committed`] (rule A2).
    ///
    /// Without a connection the client keeps the commit until the subscription resumes; the messages that it covers are
    /// not handed out again. A durable subscription's commit is answered when the broker has it, over however many
    /// connections: it ends with [`RequestError::Unknown`] at
    /// [`request_timeout`](crate::ClientConfig::request_timeout), with the subscription, or if the cursor is moved
    /// meanwhile. Of any other subscription the client itself keeps the position, so a commit without a connection
    /// succeeds at once (rule P4). A commit of an offset that is already committed succeeds (rule A3).
    ///
    /// # Errors
    /// [`RequestError::Refused`] with `CommitsOff` for `window = 0`, with `CommitShared` for a shared subscription, whose
    /// messages are [acknowledged](Self::ack) one by one, and with `CommitAhead` for an offset that was not taken yet; [`NoSubscription`](RequestError::NoSubscription), [`Full`](RequestError::Full),
    /// [`Closed`](RequestError::Closed). Nothing was sent, and nothing is committed.
    pub fn commit(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        offset: u64,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.check_room()?;
        let (topic, step, generation, cursor) = self.subscriptions.change_usable(subscription, |state| {
            state.check_commit(offset)?;
            let step = state.commit_with_answer(offset);
            Ok((Arc::clone(state.topic()), step, state.generation(), state.cursor()))
        })?;
        if step == CommitStep::Done {
            return Ok(self.requests.answer_at_once(Answer::Committed { cursor }));
        }
        let new = self.with_timeout(topic, RequestKind::Commit(subscription, offset, generation));
        let (number, rewind) = (self.subscriptions.number(subscription), self.commit_rewind(subscription));
        let (wire, id) = self
            .requests
            .insert(new, |request| self.encoder.small(&commit_frame(request, number, offset, rewind, false)));
        if step == CommitStep::Wait {
            self.requests.park(wire);
            self.subscriptions.change(subscription, |state| state.wait_with_commit(wire, offset, generation));
        }
        self.settle();
        Ok(id)
    }

    /// Like [`commit`](Self::commit), but cheaper: without an answer, and never [`RequestError::Full`].
    ///
    /// # Errors
    /// As for `commit`; a refusal by the broker is reported by [`poll_refused`](Self::poll_refused).
    pub fn commit_quiet(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        offset: u64,
    ) -> Result<(), RequestError> {
        self.tick(now);
        self.connection.check_accepts_requests()?;
        let is_news = self.subscriptions.change_usable(subscription, |state| {
            state.check_commit(offset)?;
            Ok(state.commit(offset))
        })?;
        if is_news {
            let number = self.subscriptions.number(subscription);
            self.send_quiet_commit((subscription, number), offset);
        }
        Ok(())
    }

    /// Commits the last message that the application took from any subscription (rule A-07).
    ///
    /// Subscriptions with `window = 0` do not count, because they have no commits.
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

    /// Writes a commit at once. The windows bound the number of commits: each one follows a received message, and the
    /// broker sends no more messages before it has the commits.
    pub(super) fn send_quiet_commit(&mut self, (id, number): (SubscriptionId, u32), offset: u64) {
        let rewind = self.commit_rewind(id);
        let frame = commit_frame(NO_ANSWER, number, offset, rewind, true);
        self.outbound.frame(|out| frame.encode(out));
    }

    /// The rewind number that a commit carries now: none in version 1 (rule A10).
    fn commit_rewind(&self, id: SubscriptionId) -> Option<u32> {
        let subscription = self.subscriptions.get(id)?;
        (self.connection.version() > Version::One).then(|| subscription.rewind_number())
    }
}

pub(super) const fn check_durable_name(name: &str) -> Result<(), RequestError> {
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(RequestError::InvalidDurableName { got: name.len() });
    }
    Ok(())
}

pub(super) fn check_options(options: &SubscribeOptions) -> Result<(), RequestError> {
    if let Some(shared) = &options.shared {
        if options.durable.is_some() {
            return Err(RequestError::DurableAndShared);
        }
        check_durable_name(&shared.name)?;
    }
    if let Some(durable) = &options.durable {
        check_durable_name(&durable.name)?;
    }
    if !options.dead_letter.is_empty() {
        TopicName::parse(options.dead_letter.as_bytes()).map_err(RequestError::InvalidDeadLetter)?;
    }
    Ok(())
}

fn commit_frame(
    request: u32,
    subscription: u32,
    offset: u64,
    rewind: Option<u32>,
    quiet: bool,
) -> ClientFrame<'static> {
    ClientFrame::Commit(Commit { request, subscription, offset, rewind, quiet })
}
