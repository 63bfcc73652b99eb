//! What holds after any sequence of calls.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use zaichik_proto::{FaultCode, RefusalCode, ServerFrame, TopicOptions};

use super::peer::{Peer, Sent};
use crate::client::{
    ClientConfig, Incoming, Link, RequestError, RequestId, SubscribeOptions, SubscriptionId,
};

#[derive(Debug, Clone)]
enum Step {
    Publish,
    Create,
    Subscribe { window: u32 },
    Unsubscribe(prop::sample::Index),
    Deliver(prop::sample::Index),
    Take(prop::sample::Index),
    Commit,
    Write(usize),
    Answer { refuse: bool },
    Break,
    Connect { instance: u128 },
    Fatal,
    Wait(u64),
    Deadline,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => Just(Step::Publish),
        1 => Just(Step::Create),
        2 => (0..3u32).prop_map(|window| Step::Subscribe { window }),
        1 => index().prop_map(Step::Unsubscribe),
        4 => index().prop_map(Step::Deliver),
        4 => index().prop_map(Step::Take),
        3 => Just(Step::Commit),
        2 => (0..200usize).prop_map(Step::Write),
        6 => any::<bool>().prop_map(|refuse| Step::Answer { refuse }),
        1 => Just(Step::Break),
        3 => (1..3u128).prop_map(|instance| Step::Connect { instance }),
        1 => Just(Step::Fatal),
        2 => (0..100_000_000u64).prop_map(Step::Wait),
        4 => Just(Step::Deadline),
        1 => Just(Step::Close),
    ]
}

/// An honest broker's memory of one connection.
#[derive(Default)]
struct Broker {
    unanswered: Vec<Sent>,
    /// Number, window, next offset, first uncommitted offset.
    active: Vec<(u32, u32, u64, u64)>,
}

struct World {
    peer: Peer,
    broker: Broker,
    subscriptions: Vec<SubscriptionId>,
    /// Requests without an answer.
    pending: BTreeSet<RequestId>,
    /// The first offset of each subscription that is not committed.
    committed: BTreeMap<SubscriptionId, u64>,
}

impl World {
    fn asked(&mut self, request: &Result<RequestId, RequestError>) {
        if let Ok(id) = request {
            assert!(self.pending.insert(*id), "{id} was given out before");
        }
    }

    fn poll_answers(&mut self) {
        while let Some((id, _)) = self.peer.answer() {
            assert!(self.pending.remove(&id), "{id} was answered before, or never asked");
        }
    }

    fn take(&mut self, id: SubscriptionId) {
        match self.peer.incoming(id) {
            Some(Incoming::Message(message)) => {
                let committed = self.committed.get(&id).copied().unwrap_or(0);
                assert!(message.offset >= committed, "{id}: {} again", message.offset);
            }
            Some(Incoming::Restarted { .. }) => {
                self.committed.remove(&id);
            }
            Some(Incoming::Ended(_) | Incoming::Refused(_) | Incoming::Fenced) => {
                assert_eq!(self.peer.incoming(id), None);
            }
            Some(Incoming::Gap { .. } | Incoming::Reconnected { .. }) | None => {}
        }
    }

    fn read_client(&mut self) {
        if self.peer.client.link() != Link::Open && self.peer.client.link() != Link::Closing {
            return;
        }
        for sent in self.peer.sent() {
            match sent {
                Sent::Commit { subscription, offset, quiet, request } => {
                    let found = self.broker.active.iter_mut().find(|(number, ..)| *number == subscription);
                    if let Some((_, _, next, cursor)) = found {
                        assert!(offset < *next, "committed {offset} before {next} was delivered");
                        *cursor = (*cursor).max(offset + 1);
                        let cursor = *cursor;
                        if !quiet {
                            self.peer.done(request, cursor);
                        }
                    } else {
                        self.peer.refuse(request, RefusalCode::NotSubscribed, 0);
                    }
                }
                Sent::Ping(nonce) => self.peer.send(&ServerFrame::Pong { nonce }),
                Sent::Pong(_) | Sent::Close | Sent::Hello { .. } => {}
                request => self.broker.unanswered.push(request),
            }
        }
    }

    fn answer_client(&mut self, refuse: bool) {
        if self.broker.unanswered.is_empty() {
            return;
        }
        let sent = self.broker.unanswered.remove(0);
        let request = sent.request();
        match sent {
            Sent::Publish { .. } if refuse => self.peer.refuse(request, RefusalCode::TopicFull, 0),
            Sent::Publish { .. } => self.peer.ack(&[(request, 1, 7)]),
            Sent::CreateTopic { .. } => self.peer.refuse(request, RefusalCode::SettingsDiffer, 1),
            Sent::Subscribe { .. } if refuse => self.peer.refuse(request, RefusalCode::TopicsFull, 1),
            Sent::Subscribe { subscription, window, start, .. } => {
                let start = if let zaichik_proto::Start::Offset(offset) = start { offset } else { 0 };
                self.broker.active.push((subscription, window, start, start));
                self.peer.subscribed(&sent, start);
            }
            Sent::Unsubscribe { subscription, .. } => {
                let before = self.broker.active.len();
                self.broker.active.retain(|(number, ..)| *number != subscription);
                if self.broker.active.len() == before {
                    self.peer.refuse(request, RefusalCode::NotSubscribed, 0);
                } else {
                    self.peer.unsubscribed(&sent, None);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, step: &Step) {
        let now = self.peer.now;
        let is_up = matches!(self.peer.client.link(), Link::Open | Link::Closing);
        match *step {
            Step::Publish => {
                let request = self.peer.publish("t", b"body");
                self.asked(&request);
            }
            Step::Create => {
                let request = self.peer.client.create_topic(now, "t", &TopicOptions::new());
                self.asked(&request);
            }
            Step::Subscribe { window } => {
                let options = SubscribeOptions::new().window(window);
                if let Ok((request, id)) = self.peer.client.subscribe(now, "t", options) {
                    self.asked(&Ok(request));
                    self.subscriptions.push(id);
                }
            }
            Step::Unsubscribe(ref index) if !self.subscriptions.is_empty() => {
                let id = *index.get(&self.subscriptions);
                let request = self.peer.client.unsubscribe(now, id);
                self.asked(&request);
            }
            Step::Deliver(ref index) if is_up && !self.broker.active.is_empty() => {
                self.read_client();
                let place = index.index(self.broker.active.len());
                let (number, window, next, cursor) = self.broker.active[place];
                if window == 0 || next - cursor < u64::from(window) {
                    self.broker.active[place].2 += 1;
                    self.peer.deliver(SubscriptionId(number), next, &[b"body"]);
                }
            }
            Step::Take(ref index) if !self.subscriptions.is_empty() => {
                let id = *index.get(&self.subscriptions);
                self.take(id);
            }
            Step::Commit => {
                let last = self.peer.client.last_taken();
                let request = self.peer.client.commit_last(now);
                if let (Ok(_), Some((id, offset))) = (&request, last) {
                    let committed = self.committed.entry(id).or_default();
                    *committed = (*committed).max(offset + 1);
                }
                self.asked(&request);
            }
            Step::Write(count) if is_up => {
                self.peer.write(count);
            }
            Step::Answer { refuse } if is_up => {
                self.read_client();
                self.answer_client(refuse);
                self.poll_answers();
            }
            Step::Break => {
                self.peer.disconnect();
                self.broker = Broker::default();
            }
            Step::Connect { instance } if matches!(self.peer.client.link(), Link::Connect { .. }) => {
                self.broker = Broker::default();
                self.peer.connect(instance);
            }
            Step::Fatal if is_up => {
                self.peer.fatal(FaultCode::Stopped);
                self.broker = Broker::default();
            }
            Step::Wait(micros) => {
                self.peer.now = now + Duration::from_micros(micros);
                self.peer.client.handle_timeout(self.peer.now);
            }
            Step::Close => self.peer.client.close(now),
            Step::Deadline => {
                if let Some(at) = self.peer.client.next_timeout() {
                    self.peer.now = now.max(at);
                    self.peer.client.handle_timeout(self.peer.now);
                    let next = self.peer.client.next_timeout();
                    assert!(next.is_none_or(|next| next > self.peer.now), "{at:?} then {next:?}");
                }
            }
            Step::Unsubscribe(_)
            | Step::Deliver(_)
            | Step::Take(_)
            | Step::Write(_)
            | Step::Answer { .. }
            | Step::Connect { .. }
            | Step::Fatal => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// An honest broker never meets a complaint, deadlines mean something, and repeating a step changes nothing.
    #[test]
    fn any_sequence_of_steps_keeps_the_contract(steps in prop::collection::vec(step(), 1..120), outbound_bytes in 1..300usize) {
        let mut config = ClientConfig::new(3);
        (config.retry_first_connect, config.max_in_flight) = (true, 8);
        config.max_outbound_bytes = outbound_bytes;
        let mut world = World {
            peer: Peer::new(config),
            broker: Broker::default(),
            subscriptions: Vec::new(),
            pending: BTreeSet::new(),
            committed: BTreeMap::new(),
        };
        for step in steps {
            world.run(&step);
            let now = world.peer.now;
            let client = &mut world.peer.client;
            if let Link::Closed(Some(error)) = client.link() {
                prop_assert!(matches!(error, crate::client::LinkError::DrainTimeout { .. }), "{error}");
            }
            let _ = client.outbound();
            client.handle_timeout(now);
            let before = client.state();
            client.handle_read(now);
            client.handle_timeout(now);
            let _ = client.outbound();
            prop_assert_eq!(before, client.state());
            client.check_invariants();
        }
        world.peer.client.close(world.peer.now);
        world.peer.advance(Duration::from_secs(10));
        world.poll_answers();
        prop_assert!(matches!(world.peer.client.link(), Link::Closed(_)));
        prop_assert!(world.pending.is_empty(), "unanswered: {:?}", world.pending);
    }
}
