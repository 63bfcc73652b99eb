//! Requests between the application's call and the answer, bounded in number and bytes by the caller.
//!
//! A request is queued, sent and answered; a lost connection or a refusal queues it again. The handling of publishes
//! and batches, whose sequence numbers must stay in order, is in [`publishing`].

mod connection_lost;
mod filling;
mod producer;
mod publishing;
mod queue;
mod request;
mod sending;
mod table;

use core::mem;
use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use zaichik_proto::{Refusal, Timestamp};

pub(crate) use self::request::{
    Described, Fill, LostRequest, NewRequest, Original, PageFrom, Progress, PublishState, Request,
    RequestKind, Settlement,
};

use self::producer::Producer;
use self::queue::SendQueue;
use self::table::Table;
use crate::answer::{Answer, RequestId, SubscriptionId};
use crate::backoff::Jitter;
use crate::config::{ClientConfig, ProducerIdentity};
use crate::error::{RequestError, Violation};

/// The id in frames of commits without an answer; no slot reaches it.
pub(crate) const NO_ANSWER: u32 = u32::MAX;

/// Maximum subscriptions, so that they, [`ClientConfig::MAX_IN_FLIGHT`] requests and twice as many that were given up fit
/// the table of requests.
pub(crate) const MAX_SUBSCRIPTIONS: u32 = 1 << 18;

#[derive(Debug)]
pub(crate) struct Requests {
    table: Table,
    /// The number of requests made, including those answered at once.
    made: u64,
    queue: SendQueue,
    producer: Producer,
    jitter: Jitter,
    /// Acknowledged publishes in the order sent, which is the order of their answers (rule P1).
    publishes: VecDeque<u32>,
    timers: BTreeSet<(Timestamp, u32)>,
    /// Bytes of all frames kept.
    kept_bytes: usize,
    /// Requests whose answer the application waits for.
    awaited: usize,
    /// Requests that the client itself made.
    internal: usize,
    /// Requests that may have been applied on a connection that is gone.
    uncertain: usize,
    /// The end of the last of them that was written again, as in [`Progress::Sent`].
    resent_end: u64,
    /// Numbered requests that are not answered: a publish without an acknowledgement waits for them (rule P6).
    ahead: usize,
    /// Empty batches whose original is answered: only their number keeps them.
    given_up: usize,
    /// Maximum numbers that are not used up, of unanswered requests and of those that were given up.
    max_numbers: usize,
    /// Subscriptions in which a formerly uncertain batch commits, once for each commit; the batch is settled now.
    settled: Vec<SubscriptionId>,
    /// Refusals that no request waits for: their number and the latest one.
    refused: Option<(u64, Refusal)>,
    answers: VecDeque<(RequestId, Result<Answer, RequestError>)>,
}

impl Requests {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Self {
            table: Table::default(),
            made: 0,
            queue: SendQueue::new(),
            producer: Producer::new(config.producer, config.resend_timeout),
            // So that these delays differ from the connection's.
            jitter: Jitter::new(!config.jitter_seed),
            publishes: VecDeque::new(),
            timers: BTreeSet::new(),
            kept_bytes: 0,
            awaited: 0,
            internal: 0,
            uncertain: 0,
            resent_end: 0,
            ahead: 0,
            given_up: 0,
            max_numbers: config.max_in_flight.clamp(1, ClientConfig::MAX_IN_FLIGHT),
            settled: Vec::new(),
            refused: None,
            answers: VecDeque::new(),
        }
    }

    /// Queues a request; `encode` makes the frame for its id. Returns that id and the application's.
    pub(crate) fn insert(&mut self, new: NewRequest, encode: impl FnOnce(u32) -> Bytes) -> (u32, RequestId) {
        let id = self.next_id();
        let is_quiet = matches!(new.kind, RequestKind::QuietPublish(_));
        let request = self.table.insert(|wire| Request {
            wire,
            id: None,
            order: id.0,
            place: 0,
            topic: new.topic,
            kind: new.kind,
            progress: Progress::Waiting,
            frame: encode(wire),
            sequence: None,
            is_bound: false,
            may_be_applied: false,
            operations: new.operations,
            timer: Timestamp::MAX,
            deadline: new.deadline,
        });
        request.id = Some(id).filter(|_| !is_quiet && !request.is_internal());
        self.awaited = self.awaited.saturating_add(usize::from(request.id.is_some()));
        self.internal = self.internal.saturating_add(usize::from(request.is_internal()));
        self.kept_bytes = self.kept_bytes.saturating_add(request.frame.len());
        if is_quiet {
            self.answers.push_back((id, Ok(Answer::Queued)));
        }
        set_timer(&mut self.timers, request, new.deadline);
        self.queue.push(request, is_ordered(&self.producer, request));
        (request.wire, id)
    }

    /// Answers a request that needs nothing from the broker.
    pub(crate) fn answer_at_once(&mut self, answer: Answer) -> RequestId {
        let id = self.next_id();
        self.answers.push_back((id, Ok(answer)));
        id
    }

    pub(crate) fn pop_answer(&mut self) -> Option<(RequestId, Result<Answer, RequestError>)> {
        self.answers.pop_front()
    }

    pub(crate) fn get(&self, wire: u32) -> Option<&Request> {
        self.table.get(wire)
    }

    /// A request that was sent on this connection and waits for the broker's answer.
    pub(crate) fn sent(&self, wire: u32) -> Result<&Request, Violation> {
        let sent = self.table.get(wire).filter(|request| request.is_sent());
        sent.ok_or(Violation::Answer { request: wire })
    }

    pub(crate) fn sent_kind(&self, wire: u32) -> Result<RequestKind, Violation> {
        self.sent(wire).map(|request| request.kind)
    }

    /// Gives the application its answer and forgets the request.
    pub(crate) fn answer(&mut self, wire: u32, result: Result<Answer, RequestError>) {
        if let Some(Request { id: Some(id), .. }) = self.remove(wire) {
            self.answers.push_back((id, result));
        }
    }

    /// Gives the application its answer while the broker's is still pending; a request that may have to be resent
    /// keeps its frame for that.
    pub(crate) fn answer_early(&mut self, wire: u32, result: Result<Answer, RequestError>) {
        let Some(request) = self.table.get_mut(wire) else {
            return;
        };
        set_timer(&mut self.timers, request, Timestamp::MAX);
        self.ahead = self.ahead.saturating_sub(usize::from(request.is_ahead()));
        if let Some(id) = request.id.take() {
            self.awaited = self.awaited.saturating_sub(1);
            if request.is_queued() {
                self.queue.abandon_one();
            }
            self.answers.push_back((id, result));
            self.given_up = self.given_up.saturating_add(usize::from(request.is_given_up()));
        }
        if !is_numbered(&self.producer, request) {
            self.kept_bytes = self.kept_bytes.saturating_sub(request.frame.len());
            request.frame = Bytes::new();
        }
    }

    /// Forgets a request without an answer.
    pub(crate) fn remove(&mut self, wire: u32) -> Option<Request> {
        let mut request = self.table.remove(wire)?;
        set_timer(&mut self.timers, &mut request, Timestamp::MAX);
        self.kept_bytes = self.kept_bytes.saturating_sub(request.frame.len());
        self.awaited = self.awaited.saturating_sub(usize::from(request.id.is_some()));
        self.uncertain = self.uncertain.saturating_sub(usize::from(request.may_be_applied));
        self.ahead = self.ahead.saturating_sub(usize::from(request.is_ahead()));
        self.given_up = self.given_up.saturating_sub(usize::from(request.is_given_up()));
        self.internal = self.internal.saturating_sub(usize::from(request.is_internal()));
        if self.queue.leave(&request) {
            self.queue.compact(&self.table);
        }
        Some(request)
    }

    /// Takes a request out of the queue, until it is queued again or its deadline passes.
    pub(crate) fn park(&mut self, wire: u32) {
        let Some(request) = self.table.get_mut(wire) else {
            return;
        };
        if self.queue.leave(request) {
            request.progress = Progress::Waiting;
            self.queue.compact(&self.table);
        }
    }

    /// Queues a request that the last connection carried, and that waits until it may be sent again.
    pub(crate) fn send_again(&mut self, wire: u32) {
        if self.table.get(wire).is_some_and(|request| request.progress == Progress::Waiting) {
            self.requeue(wire);
        }
    }

    /// Reschedules a Resubscribe that the broker refused temporarily.
    pub(crate) fn retry_resubscribe(&mut self, wire: u32, refusal: Refusal, now: Timestamp) {
        let Some(request) = self.table.get_mut(wire) else {
            return;
        };
        if let RequestKind::Resubscribe(_, backoff) = &mut request.kind {
            let delay = backoff.next_after(refusal, &mut self.jitter);
            self.retry_at(wire, now.plus_micros(delay));
        }
    }

    /// A request that waited for its timer is to be resent.
    pub(crate) fn retry_now(&mut self, wire: u32) {
        if let Some(request) = self.table.get_mut(wire) {
            set_timer(&mut self.timers, request, request.deadline);
        }
        self.requeue(wire);
    }

    /// Takes the subscriptions that waited for a batch that is now settled, once for each commit in it.
    pub(crate) fn take_settled(&mut self) -> Vec<SubscriptionId> {
        mem::take(&mut self.settled)
    }

    /// The subscriptions whose next position depends on unanswered batches, once for each commit in them.
    pub(crate) fn unsettled(&self) -> Vec<SubscriptionId> {
        let uncertain = self.table.iter().filter(|request| request.may_be_applied);
        uncertain.flat_map(Request::committed_subscriptions).collect()
    }

    /// Counts refusals that no request waits for, and keeps the latest.
    pub(crate) fn count_refused(&mut self, count: u32, refusal: Refusal) {
        let before = self.refused.map_or(0, |(count, _)| count);
        self.refused = Some((before.saturating_add(u64::from(count)), refusal));
    }

    pub(crate) const fn take_refused(&mut self) -> Option<(u64, Refusal)> {
        self.refused.take()
    }

    /// The first request whose timer has expired; turns the timer off.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<&Request> {
        self.timers.first().filter(|(at, _)| *at <= now)?;
        let (_, wire) = self.timers.pop_first()?;
        let request = self.table.get_mut(wire)?;
        request.timer = Timestamp::MAX;
        Some(request)
    }

    /// When the first request is due.
    pub(crate) fn request_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// When the producer may send again.
    pub(crate) fn hold_timer(&self) -> Option<Timestamp> {
        self.producer.hold_timer()
    }

    /// The identity under which requests are numbered.
    pub(crate) const fn producer(&self) -> Option<ProducerIdentity> {
        self.producer.identity()
    }

    /// The application's unanswered requests, and answers that were not polled. Requests that were given up do not count:
    /// the broker may refuse their numbers for as long as it likes.
    pub(crate) fn len(&self) -> usize {
        let requests = self.table.len().saturating_sub(self.internal).saturating_sub(self.given_up);
        requests.saturating_add(self.answers.len())
    }

    /// Bytes of all frames kept.
    pub(crate) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Bytes of frames that wait to be sent.
    pub(crate) const fn unsent_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Whether the application waits for an answer, or for something to be sent.
    pub(crate) const fn is_busy(&self) -> bool {
        self.awaited > 0 || self.queue.has_wanted()
    }

    /// Requests that would be lost if the client closed now: unanswered ones, and unsent ones that expect no answer.
    pub(crate) fn unfinished(&self) -> usize {
        let quiet = self.table.iter().filter(|request| request.is_quiet_publish());
        self.awaited.saturating_add(quiet.count())
    }

    /// Publishes and batches without an answer, and unsent ones that expect none.
    pub(crate) fn unanswered_publishes(&self) -> usize {
        let is_unanswered = |request: &&Request| {
            request.is_quiet_publish() || (request.id.is_some() && request.is_acknowledged_publish())
        };
        self.table.iter().filter(is_unanswered).count()
    }

    fn next_id(&mut self) -> RequestId {
        self.made = self.made.saturating_add(1);
        RequestId(self.made)
    }

    /// Lets a refused request wait until `at` before it is resent.
    fn retry_at(&mut self, wire: u32, at: Timestamp) {
        if let Some(request) = self.table.get_mut(wire) {
            request.progress = Progress::Waiting;
            set_timer(&mut self.timers, request, at);
        }
    }
}

/// Whether the producer numbers the request.
const fn is_numbered(producer: &Producer, request: &Request) -> bool {
    producer.identity().is_some() && request.is_acknowledged_publish()
}

/// Whether the request has a place in the order of the producer's publishes (rule P6).
const fn is_ordered(producer: &Producer, request: &Request) -> bool {
    producer.identity().is_some() && (request.is_acknowledged_publish() || request.is_quiet_publish())
}

fn set_timer(timers: &mut BTreeSet<(Timestamp, u32)>, request: &mut Request, at: Timestamp) {
    let before = mem::replace(&mut request.timer, at);
    if before < Timestamp::MAX {
        timers.remove(&(before, request.wire));
    }
    if at < Timestamp::MAX {
        timers.insert((at, request.wire));
    }
}

#[cfg(test)]
impl Requests {
    /// Counts everything again.
    pub(crate) fn check_invariants(&self) {
        let all = || self.table.iter();
        assert_eq!(self.awaited, all().filter(|request| request.id.is_some()).count());
        assert_eq!(self.kept_bytes, all().map(|request| request.frame.len()).sum());
        assert_eq!(self.uncertain, all().filter(|request| request.may_be_applied).count());
        assert_eq!(self.ahead, all().filter(|request| request.is_ahead()).count());
        assert_eq!(self.given_up, all().filter(|request| request.is_given_up()).count());
        assert!(all().all(|request| request.is_bound || !request.may_be_applied));
        let timers = all().filter(|request| request.timer < Timestamp::MAX);
        let timers: BTreeSet<_> = timers.map(|request| (request.timer, request.wire)).collect();
        assert_eq!(self.timers, timers);
        assert_eq!(self.internal, all().filter(|request| request.is_internal()).count());
        let is_publish = |request: &&Request| matches!(request.kind, RequestKind::Publish(_));
        assert_eq!(
            self.publishes.len(),
            all().filter(is_publish).filter(|request| request.is_sent()).count()
        );
        assert!(self.settled.is_empty());
        self.queue.check_invariants(&self.table, |request| is_ordered(&self.producer, request));
        self.check_numbers();
    }

    /// Each number has one request, those in flight are in the order of their numbers, and the next one follows.
    fn check_numbers(&self) {
        let mut numbered: Vec<_> = self.table.iter().filter(|request| request.sequence.is_some()).collect();
        numbered.sort_unstable_by_key(|request| request.sequence);
        let sent = numbered.iter().filter(|request| request.is_sent()).map(|request| request.wire);
        assert_eq!(sent.collect::<Vec<_>>(), self.producer.in_flight());
        for pair in numbered.windows(2) {
            assert!(pair[0].sequence < pair[1].sequence, "{pair:?}");
        }
        if let Some(last) = numbered.last() {
            assert!(last.sequence < Some(self.producer.next_sequence()), "{last:?}");
        }
    }
}
