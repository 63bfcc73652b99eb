//! The raw client's records: its requests, the answers, and checks of what the protocol guarantees.

mod patterns;
mod stream;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zaichik_proto::{
    AckLevel, Acks, ClientFrame, Done, Refused, SeekTarget, ServerFrame, Subscribe, SubscribePattern,
    SubscribeShared, Subscribed, TopicStatus, Unsubscribe, Unsubscribed,
};

use crate::show::{self, numbered};

/// The client's own pings use nonces from here on, which tests are unlikely to use.
const OWN_NONCES: u64 = 1 << 63;

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The number of its subscription.
    pub subscription: u32,
    /// Its offset in the topic.
    pub offset: u64,
    /// When it was accepted, in microseconds since the epoch.
    pub timestamp: u64,
    /// How often it was delivered to the subscription.
    pub attempt: u32,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether it deletes its key.
    pub tombstone: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    last_request: u32,
    last_nonce: u64,
    /// Number of requests made so far that may be answered.
    asked: u64,
    /// Requests without an answer yet that are answered in the control lane, in the order sent.
    control_open: VecDeque<Open>,
    /// The numbers of requests without an answer yet that are answered in the stream lane or refused in the control
    /// lane.
    stream_open: BTreeMap<u32, u64>,
    /// Commits that are answered only if they are refused, in the order sent: their numbers and ids.
    quiet_open: VecDeque<(u64, u32)>,
    /// Requests to join a shared subscription.
    joins: BTreeSet<u32>,
    /// The state of each subscription.
    places: BTreeMap<u32, Place>,
    /// Patterns, with the aliases of their subscriptions.
    patterns: BTreeMap<u32, BTreeSet<u32>>,
    pub(crate) answers: BTreeMap<u32, String>,
    /// Nonces of its own pings without a pong.
    probes: BTreeSet<u64>,
    pub(crate) pongs: BTreeSet<u64>,
    pub(crate) stream: Vec<String>,
    pub(crate) control: Vec<String>,
    pub(crate) log: Vec<String>,
    pub(crate) records: Vec<Received>,
    pub(crate) frames: Vec<(u8, usize)>,
    pub(crate) instance: Option<u128>,
    /// Offsets skipped without a gap; `None` if skipping is not allowed.
    pub(crate) silent: Option<u64>,
}

/// A request whose answer is due in the control lane.
#[derive(Debug, Clone, Copy)]
struct Open {
    request: u32,
    /// Its number.
    number: u64,
    expects: Expects,
}

/// The meaning of the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// This many records are acknowledged.
    Acknowledgement(u32),
    /// This subscription was rewound.
    Rewind(u32),
    /// Nothing that is checked.
    Nothing,
}

/// The state of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    rewind: u32,
    /// Where its next delivery or gap must begin; `None` after a rewind, and for a member of a shared one.
    next: Option<u64>,
    is_shared: bool,
}

impl Book {
    /// The highest rewind number received for a subscription; 0 before the first.
    pub(crate) fn rewind(&self, subscription: u32) -> u32 {
        self.places.get(&subscription).map_or(0, |place| place.rewind)
    }

    pub(crate) fn next_request(&mut self) -> u32 {
        self.last_request = self.last_request.checked_add(1).expect("fewer than u32::MAX requests");
        self.last_request
    }

    pub(crate) fn next_nonce(&mut self) -> u64 {
        self.last_nonce = self.last_nonce.wrapping_add(1);
        let nonce = OWN_NONCES | self.last_nonce;
        self.probes.insert(nonce);
        nonce
    }

    /// A frame was sent.
    pub(crate) fn asked(&mut self, frame: &ClientFrame<'_>) {
        self.asked = self.asked.saturating_add(1);
        let number = self.asked;
        let (request, expects) = match frame {
            ClientFrame::Publish(publish) if publish.ack == AckLevel::None => return,
            ClientFrame::Publish(publish) => {
                (publish.request, Expects::Acknowledgement(publish.records.len()))
            }
            ClientFrame::CreateTopic(create) => (create.request, Expects::Nothing),
            ClientFrame::AlterTopic(alter) => (alter.request, Expects::Nothing),
            ClientFrame::Describe(describe) => (describe.request, Expects::Nothing),
            ClientFrame::RemoveDurable(remove) => (remove.request, Expects::Nothing),
            ClientFrame::Shard(shard) => (shard.request, Expects::Nothing),
            ClientFrame::TrimTopic(trim) => (trim.request, Expects::Nothing),
            ClientFrame::Ack(ack) if ack.quiet => {
                return self.quiet_open.push_back((number, ack.request));
            }
            ClientFrame::Ack(ack) => (ack.request, Expects::Nothing),
            ClientFrame::NackShared(nack) => (nack.request, Expects::Nothing),
            ClientFrame::Extend(extend) => (extend.request, Expects::Nothing),
            ClientFrame::DescribeShared(describe) => (describe.request, Expects::Nothing),
            ClientFrame::Batch(batch) => (batch.request, Expects::Nothing),
            ClientFrame::Commit(commit) if commit.quiet => {
                return self.quiet_open.push_back((number, commit.request));
            }
            ClientFrame::Commit(commit) => (commit.request, Expects::Nothing),
            ClientFrame::Nack(nack) => (nack.request, Expects::Rewind(nack.subscription)),
            ClientFrame::Seek(seek) => match seek.target {
                SeekTarget::Subscription(subscription) => (seek.request, Expects::Rewind(subscription)),
                SeekTarget::Durable { .. } => (seek.request, Expects::Nothing),
            },
            ClientFrame::SubscribeShared(SubscribeShared { request, .. }) => {
                self.stream_open.insert(*request, number);
                self.joins.insert(*request);
                return;
            }
            ClientFrame::SubscribePattern(SubscribePattern { request, subscription, .. }) => {
                self.stream_open.insert(*request, number);
                self.patterns.entry(*subscription).or_default();
                return;
            }
            ClientFrame::Subscribe(Subscribe { request, .. })
            | ClientFrame::Unsubscribe(Unsubscribe { request, .. }) => {
                self.stream_open.insert(*request, number);
                return;
            }
            ClientFrame::Hello(_)
            | ClientFrame::Ping { .. }
            | ClientFrame::Pong { .. }
            | ClientFrame::Close
            | ClientFrame::Extension { .. } => return,
        };
        self.control_open.push_back(Open { request, number, expects });
    }

    pub(crate) fn receive(&mut self, frame: &ServerFrame<'_>, body_len: usize) {
        self.frames.push((frame.kind(), body_len));
        match frame {
            ServerFrame::Welcome(welcome) => {
                self.instance = Some(welcome.instance);
                self.tell("welcome".to_owned());
            }
            ServerFrame::TopicReady(ready) => {
                let text = match ready.status {
                    TopicStatus::Unchanged => "unchanged",
                    TopicStatus::Created => "created",
                    TopicStatus::Adopted => "adopted",
                    status => panic!("unknown status {status:?}"),
                };
                self.answered(ready.request, text.to_owned());
            }
            ServerFrame::Acks(acks) => self.acknowledged(acks),
            ServerFrame::Published(published) => {
                self.answered(published.request, show::published(published));
            }
            ServerFrame::Batched(batched) => {
                self.answered(batched.request, show::batched(batched));
            }
            ServerFrame::Refused(refused) => self.refused(refused),
            ServerFrame::Done(done) => self.done(done),
            ServerFrame::Counters(counters) => {
                self.answered(counters.request, show::counters(counters));
            }
            ServerFrame::Topics(page) => {
                self.answered(page.request, show::topics(page));
            }
            ServerFrame::Subscriptions(page) => {
                self.answered(page.request, show::subscriptions(page));
            }
            ServerFrame::Trimmed(trimmed) => {
                self.answered(
                    trimmed.request,
                    format!("{} removed, from {}", trimmed.removed, trimmed.start),
                );
            }
            ServerFrame::Acked(acked) => {
                self.answered(acked.request, show::acked(acked));
            }
            ServerFrame::Members(members) => {
                self.answered(members.request, show::members(members));
            }
            ServerFrame::PatternSubscribed(subscribed) => self.pattern_subscribed(subscribed),
            ServerFrame::Matched(matched) => self.matched(matched),
            ServerFrame::NotMatched(not_matched) => self.not_matched(not_matched),
            ServerFrame::Subscribed(subscribed) => self.subscribed(subscribed),
            ServerFrame::Delivery(delivery) => self.delivered(delivery),
            ServerFrame::Gap(gap) => self.skipped(gap),
            ServerFrame::Fenced(fenced) => {
                self.ended(fenced.subscription);
                self.stream(format!("{} fenced by {}", numbered(fenced.subscription), fenced.epoch));
            }
            ServerFrame::Unsubscribed(unsubscribed) => self.unsubscribed(unsubscribed),
            ServerFrame::Ping { nonce } => self.tell(format!("ping {nonce}")),
            ServerFrame::Pong { nonce } if self.probes.remove(nonce) => {
                self.pongs.insert(*nonce);
            }
            ServerFrame::Pong { nonce } => self.tell(format!("pong {nonce}")),
            ServerFrame::Goodbye(goodbye) => self.tell(show::goodbye(*goodbye)),
            ServerFrame::Fatal(fatal) => self.tell(format!("fatal {}", fatal.code)),
            ServerFrame::Extension { .. } => panic!("not expected: {frame:?}"),
        }
    }

    fn acknowledged(&mut self, acks: &Acks<'_>) {
        for run in acks.runs.iter() {
            let mut offset = run.first_offset;
            for index in 0..run.requests {
                let next = self.control_open.front();
                let Some(&Open { request, expects: Expects::Acknowledgement(records), .. }) = next else {
                    panic!("{next:?} must be answered next, not {run:?}");
                };
                assert!(index > 0 || request == run.request, "acknowledgements arrive in request order");
                self.answered(request, show::first(Some(offset)));
                offset = offset.checked_add(records.into()).expect("offsets do not wrap");
            }
        }
    }

    fn refused(&mut self, refused: &Refused) {
        let text = show::refused(refused);
        if refused.request == 0 {
            self.tell(format!("{} times {text}", refused.count));
        } else {
            self.answered(refused.request, text);
        }
    }

    fn done(&mut self, done: &Done) {
        if let Expects::Rewind(subscription) = self.answered(done.request, format!("done {}", done.value)) {
            let rewind = u32::try_from(done.value).expect("a count of rewinds");
            // Lanes are not ordered relative to each other: the subscription may have ended meanwhile.
            if let Some(place) = self.places.get_mut(&subscription) {
                place.rewound(rewind);
            }
        }
    }

    fn subscribed(&mut self, subscribed: &Subscribed) {
        let is_shared = self.joins.contains(&subscribed.request);
        let next = Some(subscribed.start).filter(|_| !is_shared);
        let place = Place { rewind: subscribed.rewind, next, is_shared };
        let before = self.places.insert(subscribed.subscription, place);
        assert_eq!(before, None, "it was not subscribed");
        self.answered_in_stream(subscribed.request, show::subscribed(subscribed));
    }

    fn unsubscribed(&mut self, unsubscribed: &Unsubscribed) {
        self.ended(unsubscribed.subscription);
        let text = show::unsubscribed(unsubscribed);
        if unsubscribed.request == 0 {
            self.stream(format!("{} {text}", numbered(unsubscribed.subscription)));
        } else {
            self.answered_in_stream(unsubscribed.request, text);
        }
    }

    /// No more frames of the subscription may arrive.
    fn ended(&mut self, subscription: u32) {
        if let Some(aliases) = self.patterns.remove(&subscription) {
            self.places.retain(|number, _| !aliases.contains(number));
        } else {
            self.places.remove(&subscription).expect("it was subscribed");
        }
        for open in &mut self.control_open {
            if open.expects == Expects::Rewind(subscription) {
                open.expects = Expects::Nothing;
            }
        }
    }

    /// An answer in the control lane; these arrive in request order.
    fn answered(&mut self, request: u32, text: String) -> Expects {
        let open = self.close(request);
        let next = self.control_open.front();
        assert!(
            next.is_none_or(|next| next.number > open.number),
            "{next:?} must be answered before {open:?}"
        );
        // Earlier quiet commits were not refused.
        while self.quiet_open.front().is_some_and(|(number, _)| *number < open.number) {
            self.quiet_open.pop_front();
        }
        self.answer(request, text);
        open.expects
    }

    /// An answer in the stream lane.
    fn answered_in_stream(&mut self, request: u32, text: String) {
        let number = self.stream_open.remove(&request);
        assert!(number.is_some(), "request {request} expects no answer in the stream lane");
        self.answer(request, text);
    }

    /// A request is answered in the control lane.
    fn close(&mut self, request: u32) -> Open {
        if let Some(at) = self.control_open.iter().position(|open| open.request == request) {
            return self.control_open.remove(at).expect("the index is valid");
        }
        let is_it = |(_, quiet): &(u64, u32)| *quiet == request;
        let number = self.stream_open.remove(&request).or_else(|| {
            let at = self.quiet_open.iter().position(is_it);
            at.and_then(|at| self.quiet_open.remove(at)).map(|(number, _)| number)
        });
        let number = number.unwrap_or_else(|| panic!("request {request} expects no answer"));
        Open { request, number, expects: Expects::Nothing }
    }

    fn answer(&mut self, request: u32, text: String) {
        self.log.push(format!("#{request} {text}"));
        let before = self.answers.insert(request, text);
        assert_eq!(before, None, "one answer for request {request}");
    }

    fn stream(&mut self, text: String) {
        self.log.push(text.clone());
        self.stream.push(text);
    }

    fn tell(&mut self, text: String) {
        self.log.push(text.clone());
        self.control.push(text);
    }
}

impl Place {
    /// Sets the subscription's current rewind number.
    const fn rewound(&mut self, rewind: u32) {
        if rewind > self.rewind {
            *self = Self { rewind, next: None, ..*self };
        }
    }
}
