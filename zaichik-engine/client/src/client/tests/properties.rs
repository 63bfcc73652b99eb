//! Properties that hold after any sequence of calls.

mod answering;
mod broker;
mod commits;
mod step;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use zaichik_proto::{FaultCode, Record, ServerFrame, TopicOptions, Version};

use self::broker::{Broker, Cursor};
use self::commits::Asked;
use self::step::{Step, step};
use super::peer::Peer;
use super::sent::Sent;
use crate::{
    Batch, ClientConfig, DurableOptions, Event, Link, LinkError, ProducerIdentity, PublishOptions,
    RequestError, RequestId, SubscribeOptions, SubscriptionId,
};

struct World {
    peer: Peer,
    broker: Broker,
    subscriptions: Vec<SubscriptionId>,
    /// Requests without an answer.
    pending: BTreeSet<RequestId>,
    /// The commits among them, and the batches that commit.
    commits: BTreeMap<RequestId, Asked>,
    /// The nacks and seeks of durable subscriptions among them.
    moves: BTreeMap<RequestId, SubscriptionId>,
    /// How many nacks and seeks of each durable subscription the broker has handled and the client has not reported.
    handled_moves: BTreeMap<String, u32>,
    /// How often each subscription was moved.
    moved: BTreeMap<SubscriptionId, u32>,
    durables: BTreeMap<SubscriptionId, String>,
    /// The first offset of each subscription that is not committed.
    committed: BTreeMap<SubscriptionId, u64>,
    names: u32,
}

impl World {
    fn new(version: Version, with_producer: bool, outbound_bytes: usize) -> Self {
        let mut config = ClientConfig::new(3);
        (config.retry_first_connect, config.max_in_flight) = (true, 8);
        config.max_outbound_bytes = outbound_bytes;
        config.producer = with_producer.then(|| ProducerIdentity::new(5));
        let mut peer = Peer::new(config);
        peer.version = version;
        Self {
            peer,
            broker: Broker::default(),
            subscriptions: Vec::new(),
            pending: BTreeSet::new(),
            commits: BTreeMap::new(),
            moves: BTreeMap::new(),
            handled_moves: BTreeMap::new(),
            moved: BTreeMap::new(),
            durables: BTreeMap::new(),
            committed: BTreeMap::new(),
            names: 0,
        }
    }

    fn asked(&mut self, request: &Result<RequestId, RequestError>) {
        if let Ok(id) = request {
            assert!(self.pending.insert(*id), "{id} was assigned before");
        }
    }

    fn has_committed(&mut self, id: SubscriptionId, offset: u64) {
        let committed = self.committed.entry(id).or_default();
        *committed = (*committed).max(offset + 1);
    }

    fn poll_answers(&mut self) {
        while let Some((id, result)) = self.peer.answer() {
            assert!(self.pending.remove(&id), "{id} was answered before, or never requested");
            self.check_answer(id, &result);
        }
    }

    /// Earlier commits are void.
    fn forget(&mut self, id: SubscriptionId) {
        self.committed.remove(&id);
        *self.moved.entry(id).or_default() += 1;
    }

    fn take(&mut self, id: SubscriptionId) {
        self.poll_answers();
        match self.peer.event(id) {
            Some(Event::Message(message)) => {
                let committed = self.committed.get(&id).copied().unwrap_or(0);
                assert!(message.offset >= committed, "{id}: {} was redelivered", message.offset);
            }
            Some(Event::Restarted { .. }) => self.forget(id),
            Some(Event::Ended(_) | Event::Refused(_) | Event::Fenced) => {
                assert_eq!(self.peer.event(id), None);
            }
            Some(Event::Gap { .. } | Event::Reconnected { .. }) | None => {}
        }
    }

    fn read_client(&mut self) {
        if self.peer.client.link() != Link::Open && self.peer.client.link() != Link::Closing {
            return;
        }
        for sent in self.peer.sent() {
            match sent {
                Sent::Ping(nonce) => self.peer.send(&ServerFrame::Pong { nonce }),
                Sent::Pong(_) | Sent::Close | Sent::Hello { .. } => {}
                request => self.broker.unanswered.push_back(request),
            }
        }
    }

    fn deliver(&mut self, place: usize) {
        let cursor = &mut self.broker.active[place];
        if cursor.window == 0 || cursor.next - cursor.done_to < u64::from(cursor.window) {
            let Cursor { number, next, rewind, .. } = *cursor;
            cursor.next += 1;
            if cursor.window == 0 {
                cursor.done_to = cursor.next;
            }
            self.peer.deliver_rewound(SubscriptionId(number), rewind, next, &[b"body"]);
        }
    }

    fn batch(&mut self) {
        self.poll_answers();
        let (now, last) = (self.peer.now, self.peer.client.last_taken());
        let mut batch = Batch::new();
        batch.publish("out", &[Record::default()]);
        if let Some((id, offset)) = last {
            batch.commit(id, offset);
        }
        let request = self.peer.client.send_batch(now, &batch, PublishOptions::new());
        if let (Ok(request), Some((id, offset))) = (&request, last) {
            self.commit_asked(*request, id, offset);
        }
        self.asked(&request);
    }

    fn subscribe(&mut self, window: u32, durable: bool) {
        let mut options = SubscribeOptions::new().window(window);
        if durable {
            self.names += 1;
            options = options.durable(DurableOptions::new(self.names.to_string()));
        }
        if let Ok((request, id)) = self.peer.client.subscribe(self.peer.now, "t", options) {
            if durable {
                self.durables.insert(id, self.names.to_string());
            }
            self.asked(&Ok(request));
            self.subscriptions.push(id);
        }
    }

    fn run_network(&mut self, step: &Step) {
        let is_up = matches!(self.peer.client.link(), Link::Open | Link::Closing);
        match *step {
            Step::Deliver(ref index) if is_up && !self.broker.active.is_empty() => {
                self.read_client();
                let place = index.index(self.broker.active.len());
                self.deliver(place);
            }
            Step::Write(count) if is_up => self.peer.write(count),
            Step::Answer { refuse } if is_up => {
                self.read_client();
                self.answer_client(refuse);
                self.poll_answers();
            }
            Step::Break { after } => {
                if after && is_up {
                    self.read_client();
                    let first = self.broker.unanswered.front().cloned();
                    if let Some(sent @ (Sent::Publish { .. } | Sent::Batch { .. })) = first {
                        let _ = self.broker.apply(&sent, false);
                    }
                }
                self.peer.disconnect();
                self.broker.disconnect();
            }
            Step::Connect { replaced } if matches!(self.peer.client.link(), Link::Connect { .. }) => {
                self.broker.disconnect();
                if replaced {
                    self.broker.replace();
                }
                self.peer.connect(self.broker.instance);
            }
            Step::Fatal if is_up => {
                self.peer.fatal(FaultCode::Stopped);
                self.broker.disconnect();
            }
            _ => {}
        }
    }

    fn run(&mut self, step: &Step) {
        let now = self.peer.now;
        match *step {
            Step::Publish => {
                let request = self.peer.publish("t", b"body");
                self.asked(&request);
            }
            Step::Create => {
                let request = self.peer.client.create_topic(now, "t", &TopicOptions::new());
                self.asked(&request);
            }
            Step::Subscribe { window, durable } => self.subscribe(window, durable),
            Step::Unsubscribe(ref index) if !self.subscriptions.is_empty() => {
                let id = *index.get(&self.subscriptions);
                let request = self.peer.client.unsubscribe(now, id);
                self.asked(&request);
            }
            Step::Take(ref index) if !self.subscriptions.is_empty() => {
                let id = *index.get(&self.subscriptions);
                self.take(id);
            }
            Step::Commit => self.commit(),
            Step::Batch => self.batch(),
            Step::Nack { ref sub, offset } if !self.subscriptions.is_empty() => {
                let id = *sub.get(&self.subscriptions);
                self.nack(id, offset);
            }
            Step::Seek { ref sub, offset } if !self.subscriptions.is_empty() => {
                let id = *sub.get(&self.subscriptions);
                self.seek(id, offset);
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
            _ => self.run_network(step),
        }
    }
}

/// An honest broker causes no error, committed messages are not redelivered, every timeout makes progress, and
/// repeating a step changes nothing.
fn check(world: &mut World, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        world.run(step);
        let now = world.peer.now;
        let client = &mut world.peer.client;
        if let Link::Closed(Some(error)) = client.link() {
            prop_assert!(matches!(error, LinkError::DrainTimeout { .. }), "{error}");
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
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_sequence_of_steps_keeps_the_contract(
        steps in prop::collection::vec(step(), 1..160),
        with_producer in any::<bool>(),
        outbound_bytes in 1..300usize,
    ) {
        check(&mut World::new(Version::One, with_producer, outbound_bytes), &steps)?;
    }

    #[test]
    fn any_sequence_of_steps_keeps_the_contract_in_version_2(
        steps in prop::collection::vec(step(), 1..160),
        with_producer in any::<bool>(),
        outbound_bytes in 1..300usize,
    ) {
        check(&mut World::new(Version::Two, with_producer, outbound_bytes), &steps)?;
    }
}
