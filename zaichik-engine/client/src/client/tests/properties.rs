//! Properties that hold after any sequence of calls.

mod broker;
mod commits;
mod step;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use zaichik_proto::{FaultCode, Record, RefusalCode, ServerFrame, Start, TopicOptions};

use self::broker::{Broker, Cursor};
use self::step::{Step, step};
use super::peer::Peer;
use super::sent::{Sent, Target};
use crate::{
    Answer, Batch, ClientConfig, DurableOptions, Event, Link, LinkError, ProducerIdentity, PublishOptions,
    RequestError, RequestId, SubscribeOptions, SubscriptionId,
};

struct World {
    peer: Peer,
    broker: Broker,
    subscriptions: Vec<SubscriptionId>,
    /// Requests without an answer.
    pending: BTreeSet<RequestId>,
    /// The commits of the batches among them, and how often the subscription had been moved before.
    batches: BTreeMap<RequestId, (SubscriptionId, u64, u32)>,
    moved: BTreeMap<SubscriptionId, u32>,
    /// The unanswered commits of durable subscriptions, and how often the subscription had been moved, in which instance.
    commits: BTreeMap<RequestId, (SubscriptionId, u64, u32, u128)>,
    durables: BTreeMap<SubscriptionId, String>,
    /// The first offset of each subscription that is not committed.
    committed: BTreeMap<SubscriptionId, u64>,
    names: u32,
}

impl World {
    fn new(with_producer: bool, outbound_bytes: usize) -> Self {
        let mut config = ClientConfig::new(3);
        (config.retry_first_connect, config.max_in_flight) = (true, 8);
        config.max_outbound_bytes = outbound_bytes;
        config.producer = with_producer.then(|| ProducerIdentity::new(5));
        Self {
            peer: Peer::new(config),
            broker: Broker::default(),
            subscriptions: Vec::new(),
            pending: BTreeSet::new(),
            batches: BTreeMap::new(),
            moved: BTreeMap::new(),
            commits: BTreeMap::new(),
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
            if let Some(commit) = self.commits.remove(&id)
                && result.is_ok()
            {
                self.check_committed(commit);
            }
            let batch = self.batches.remove(&id);
            if let (Some((of, offset, moved)), Ok(Answer::Batched(_))) = (batch, result)
                && self.moved.get(&of).copied().unwrap_or(0) == moved
            {
                self.has_committed(of, offset);
            }
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

    fn answer_client(&mut self, refuse: bool) {
        let Some(sent) = self.broker.unanswered.pop_front() else {
            return;
        };
        let request = sent.request();
        match sent {
            Sent::Publish { .. } => match self.broker.apply(&sent, refuse) {
                Ok(()) => self.peer.ack(&[(request, 1, 7)]),
                Err((code, value)) => self.peer.refuse(request, code, value),
            },
            Sent::Batch { .. } => match self.broker.apply(&sent, refuse) {
                Ok(()) => self.peer.batched(request, &[(0, 7)], &[]),
                Err((code, value)) => self.peer.refuse(request, code, value),
            },
            Sent::CreateTopic { .. } => self.peer.refuse(request, RefusalCode::SettingsDiffer, 1),
            Sent::Subscribe { .. } if refuse => self.peer.refuse(request, RefusalCode::TopicsFull, 1),
            Sent::Subscribe { .. } => self.attach(&sent),
            Sent::Unsubscribe { subscription, .. } => {
                let place = self.broker.active.iter().position(|cursor| cursor.number == subscription);
                if let Some(place) = place {
                    let cursor = self.broker.active.remove(place);
                    self.broker.durables.extend(cursor.name.clone().map(|name| (name, cursor)));
                    self.peer.unsubscribed(&sent, None);
                } else {
                    self.peer.refuse(request, RefusalCode::NotSubscribed, 0);
                }
            }
            Sent::Commit { .. } | Sent::Nack { .. } | Sent::Seek { .. } => self.move_cursor(&sent),
            other => panic!("{other:?}"),
        }
    }

    fn attach(&mut self, sent: &Sent) {
        let Sent::Subscribe { subscription, window, start, durable, .. } = sent else {
            panic!("{sent:?}");
        };
        let start = if let Start::Offset(offset) = start { *offset } else { 0 };
        let known = durable.as_ref().and_then(|durable| self.broker.durables.remove(&durable.name));
        let mut cursor = Cursor {
            number: *subscription,
            window: *window,
            next: start,
            done_to: start,
            ..Cursor::default()
        };
        if let Some(durable) = durable {
            cursor.name = Some(durable.name.clone());
            cursor.epoch = durable.epoch + 1;
            if let Some(known) = known {
                assert_eq!(durable.epoch, known.epoch, "last attached under another epoch");
                (cursor.next, cursor.done_to) = (known.done_to, known.done_to);
                cursor.rewind = known.rewind + 1;
            }
        }
        let Cursor { next, epoch, rewind, .. } = cursor;
        self.broker.active.push(cursor);
        self.peer.attached(sent, next, epoch, rewind);
    }

    fn move_cursor(&mut self, sent: &Sent) {
        let request = sent.request();
        let (Sent::Commit { subscription, .. }
        | Sent::Nack { subscription, .. }
        | Sent::Seek { target: Target::Number(subscription), .. }) = sent
        else {
            panic!("{sent:?}");
        };
        let Some(cursor) = self.broker.find(*subscription) else {
            self.peer.refuse(request, RefusalCode::NotSubscribed, 0);
            return;
        };
        match *sent {
            Sent::Commit { offset, quiet, .. } => {
                assert!(offset < cursor.next, "committed {offset} of {cursor:?}");
                cursor.done_to = cursor.done_to.max(offset + 1);
                let value = cursor.done_to;
                if !quiet {
                    self.peer.done(request, value);
                }
            }
            Sent::Nack { offset, .. } => {
                assert!(offset < cursor.next, "took {offset} of {cursor:?} back");
                if offset >= cursor.done_to {
                    (cursor.next, cursor.rewind) = (offset, cursor.rewind + 1);
                }
                let value = u64::from(cursor.rewind);
                self.peer.done(request, value);
            }
            Sent::Seek { to: Start::Offset(offset), .. } => {
                (cursor.next, cursor.done_to, cursor.rewind) = (offset, offset, cursor.rewind + 1);
                let value = u64::from(cursor.rewind);
                self.peer.done(request, value);
            }
            _ => panic!("{sent:?}"),
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
            let moved = self.moved.get(&id).copied().unwrap_or(0);
            self.batches.insert(*request, (id, offset, moved));
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
                let request = self.peer.client.nack(now, id, offset, Duration::ZERO);
                self.asked(&request);
            }
            Step::Seek { ref sub, offset } if !self.subscriptions.is_empty() => {
                let id = *sub.get(&self.subscriptions);
                let request = self.peer.client.seek(now, id, Start::Offset(offset));
                if request.is_ok() {
                    self.forget(id);
                }
                self.asked(&request);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// An honest broker causes no error, committed messages are not redelivered, every timeout makes progress, and
    /// repeating a step changes nothing.
    #[test]
    fn any_sequence_of_steps_keeps_the_contract(
        steps in prop::collection::vec(step(), 1..160),
        with_producer in any::<bool>(),
        outbound_bytes in 1..300usize,
    ) {
        let mut world = World::new(with_producer, outbound_bytes);
        for step in steps {
            world.run(&step);
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
    }
}
