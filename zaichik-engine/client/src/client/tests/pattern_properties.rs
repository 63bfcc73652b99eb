//! A pattern at a real broker, over connections that break at any byte: of each topic that is kept the application gets every
//! message in order, and after a reconnect what it has not committed (rules W2, W3, W5, P4).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use proptest::prelude::*;
use zaichik_proto::{Record, Start, TopicOptions};
use zaichik_testkit::Connections;

use crate::{
    Answer, Client, ClientConfig, Event, Link, PatternEvent, PatternOptions, PublishOptions, RequestId,
    SubscriptionId,
};

#[derive(Debug, Clone)]
enum Step {
    /// Another client publishes to a topic, which may be new.
    Publish(u8),
    /// The client's bytes reach the broker, up to N.
    Write(usize),
    /// The broker's bytes reach the client, up to N.
    Read(usize),
    /// The application takes up to N events.
    Take(u8),
    /// It commits what it has taken of a topic.
    Commit(u8),
    CommitWithAnswer(u8),
    /// It goes back to the last message taken of a topic.
    Nack(u8),
    /// It moves a topic.
    Seek(u8, u8),
    Leave(u8),
    Cut,
    Connect,
}

fn step() -> impl Strategy<Value = Step> {
    let topic = || 0..6u8;
    prop_oneof![
        8 => topic().prop_map(Step::Publish),
        8 => prop_oneof![0..60usize, Just(10_000)].prop_map(Step::Write),
        8 => prop_oneof![0..200usize, Just(10_000)].prop_map(Step::Read),
        8 => (1..9u8).prop_map(Step::Take),
        5 => topic().prop_map(Step::Commit),
        1 => topic().prop_map(Step::CommitWithAnswer),
        2 => topic().prop_map(Step::Nack),
        1 => (topic(), 0..9u8).prop_map(|(topic, to)| Step::Seek(topic, to)),
        1 => topic().prop_map(Step::Leave),
        2 => Just(Step::Cut),
        6 => Just(Step::Connect),
    ]
}

/// What the application knows of a topic.
#[derive(Debug, Default)]
struct Topic {
    subscription: Option<SubscriptionId>,
    /// The least offset that it has not committed, or that it moved to.
    done_to: u64,
    /// The offset after the last message taken, or that it moved to.
    next: u64,
    /// The last message taken that can be committed.
    taken: Option<u64>,
    /// Where its last nack went back to. That may be behind messages that were to be redelivered after a reconnect: the
    /// application had taken them before.
    nacked: Option<u64>,
    has_left: bool,
}

struct World {
    client: Client,
    writer: Client,
    connections: Connections,
    /// The client's connection, and bytes on their way to it.
    connection: Option<usize>,
    arriving: BytesMut,
    pattern: SubscriptionId,
    window: u32,
    topics: BTreeMap<Arc<str>, Topic>,
    published: BTreeMap<Arc<str>, u64>,
    /// Nacks without an answer. While there are some, nothing is sought: if a Seek follows a Nack and the connection breaks
    /// before their answers, the client may resume at the offset of the Nack.
    nacks: BTreeSet<RequestId>,
}

fn name(topic: u8) -> Arc<str> {
    format!("a.{topic}").into()
}

impl World {
    fn new(window: u32) -> Self {
        let mut config = ClientConfig::new(7);
        (config.reconnect_min, config.reconnect_max) = (Duration::from_micros(1), Duration::from_micros(1));
        config.retry_first_connect = true;
        let mut client = Client::new(config);
        let mut connections = Connections::new();
        let options = PatternOptions::new().window(window);
        let (_, pattern) = client.subscribe_pattern(connections.now, "a.*", options).unwrap();
        let (mut writer, first) = (Client::new(ClientConfig::new(8)), connections.accept());
        assert_eq!(first, 0);
        writer.handle_connected(connections.now);
        Self {
            client,
            writer,
            connections,
            connection: None,
            arriving: BytesMut::new(),
            pattern,
            window,
            topics: BTreeMap::new(),
            published: BTreeMap::new(),
            nacks: BTreeSet::new(),
        }
    }

    /// Connections with something to do have their turn.
    fn settle(&mut self, connection: usize) {
        let Self { writer, connections, connection: own, arriving, .. } = self;
        let now = connections.now;
        connections.settle(connection, |index, outbound| {
            let bytes = outbound.copy_to_bytes(outbound.remaining());
            if index == 0 {
                writer.inbound().extend_from_slice(&bytes);
                writer.handle_read(now);
            } else if Some(index) == *own {
                arriving.extend_from_slice(&bytes);
            }
        });
    }

    fn publish(&mut self, topic: u8) {
        let (now, topic) = (self.connections.now, name(topic));
        if !self.published.contains_key(&topic) {
            self.writer.create_topic(now, &topic, &TopicOptions::new().retain_forever()).unwrap();
        }
        let record = Record { body: b"one tea", ..Record::default() };
        self.writer.publish(now, &topic, &[record], PublishOptions::new()).unwrap();
        for _ in 0..3 {
            self.connections.read(0, self.writer.outbound(), usize::MAX);
            self.settle(0);
        }
        let answers: Vec<_> = std::iter::from_fn(|| self.writer.poll_answer()).collect();
        assert!(matches!(answers.last(), Some((_, Ok(Answer::Published(_))))), "{answers:?}");
        *self.published.entry(topic).or_default() += 1;
    }

    fn write(&mut self, count: usize) {
        if let Some(connection) = self.connection {
            self.connections.read(connection, self.client.outbound(), count);
            self.settle(connection);
        }
    }

    fn read(&mut self, count: usize) {
        if self.connection.is_some() && self.client.wants_read() {
            let bytes = self.arriving.split_to(count.min(self.arriving.len()));
            self.client.inbound().extend_from_slice(&bytes);
            self.client.handle_read(self.connections.now);
        }
        assert!(!matches!(self.client.link(), Link::Closed(_)), "{:?}", self.client.link());
    }

    fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.connections.detach(connection);
            self.arriving.clear();
            self.client.handle_disconnected(self.connections.now);
        }
    }

    fn connect(&mut self) {
        if let (None, Link::Connect { at }) = (self.connection, self.client.link()) {
            self.connections.now = self.connections.now.max(at);
            self.client.handle_connected(self.connections.now);
            self.connection = Some(self.connections.accept());
        }
    }

    /// Takes an event, and compares it with what the application knows; says whether there was one.
    fn take(&mut self) -> bool {
        let Some(event) = self.client.poll_pattern(self.pattern) else { return false };
        match event {
            PatternEvent::Matched { topic, subscription, .. } => {
                let known = self.topics.entry(topic).or_default();
                assert_eq!(known.subscription.replace(subscription), None, "a topic is reported once");
            }
            PatternEvent::Topic { topic, subscription, event } => {
                let known = self.topics.get_mut(&topic).expect("a topic is reported before its events");
                assert_eq!(known.subscription, Some(subscription));
                match event {
                    Event::Message(message) => {
                        let (expected, nacked) = (known.next.max(known.done_to), known.nacked.take());
                        let is_expected = message.offset == expected || Some(message.offset) == nacked;
                        assert!(is_expected, "{} of {topic}: {known:?}", message.offset);
                        (known.next, known.taken) = (message.offset + 1, Some(message.offset));
                        if self.window == 0 {
                            known.done_to = known.next;
                        }
                    }
                    Event::Reconnected { from, start } => {
                        // It may have committed more since the topic was matched again.
                        assert!(from == start && start <= known.done_to, "{from} of {topic}: {known:?}");
                        known.next = start;
                    }
                    Event::Ended(_) => assert!(known.has_left, "{topic}"),
                    other => panic!("{topic}: {other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
        true
    }

    fn taken(&self, topic: u8) -> Option<(Arc<str>, SubscriptionId, Option<u64>)> {
        let (name, known) = self.topics.get_key_value(&name(topic))?;
        let subscription = known.subscription.filter(|_| !known.has_left)?;
        Some((Arc::clone(name), subscription, known.taken))
    }

    fn commit(&mut self, topic: u8, is_quiet: bool) {
        let Some((name, subscription, Some(offset))) = self.taken(topic) else { return };
        let now = self.connections.now;
        let committed = if is_quiet {
            self.client.commit_quiet(now, subscription, offset)
        } else {
            self.client.commit(now, subscription, offset).map(|_| ())
        };
        if self.window == 0 {
            committed.unwrap_err();
            return;
        }
        committed.unwrap();
        let known = self.topics.get_mut(&name).unwrap();
        known.done_to = known.done_to.max(offset + 1);
    }

    fn nack(&mut self, topic: u8) {
        let Some((name, subscription, Some(offset))) = self.taken(topic) else { return };
        let nack = self.client.nack(self.connections.now, subscription, offset, Duration::ZERO);
        if let Ok(nack) = nack {
            self.nacks.insert(nack);
            let known = self.topics.get_mut(&name).unwrap();
            (known.next, known.taken, known.nacked) = (known.next.min(offset), None, Some(offset));
        }
    }

    fn seek(&mut self, topic: u8, to: u8) {
        while let Some((answered, _)) = self.client.poll_answer() {
            self.nacks.remove(&answered);
        }
        let Some((name, subscription, _)) = self.taken(topic).filter(|_| self.nacks.is_empty()) else {
            return;
        };
        let to = u64::from(to).min(self.published[&name]);
        self.client.seek(self.connections.now, subscription, Start::Offset(to)).unwrap();
        let known = self.topics.get_mut(&name).unwrap();
        (known.next, known.done_to, known.taken) = (to, to, None);
    }

    fn leave(&mut self, topic: u8) {
        let Some((name, subscription, _)) = self.taken(topic) else { return };
        self.client.unsubscribe(self.connections.now, subscription).unwrap();
        self.topics.get_mut(&name).unwrap().has_left = true;
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Publish(topic) => self.publish(topic),
            Step::Write(count) => self.write(count),
            Step::Read(count) => self.read(count),
            Step::Take(count) => {
                for _ in 0..count {
                    self.take();
                }
            }
            Step::Commit(topic) => self.commit(topic, true),
            Step::CommitWithAnswer(topic) => self.commit(topic, false),
            Step::Nack(topic) => self.nack(topic),
            Step::Seek(topic, to) => self.seek(topic, to),
            Step::Leave(topic) => self.leave(topic),
            Step::Cut => self.cut(),
            Step::Connect => self.connect(),
        }
        self.client.check_invariants();
    }

    /// Everything arrives, and is taken and committed.
    fn finish(&mut self) {
        self.connect();
        for _ in 0..400 {
            self.write(usize::MAX);
            self.read(usize::MAX);
            while self.take() {}
            (0..6).for_each(|topic| self.commit(topic, true));
            while self.client.poll_answer().is_some() {}
        }
        for (topic, published) in &self.published {
            let known = &self.topics[topic];
            assert!(
                known.has_left || known.next.max(known.done_to) == *published,
                "{topic}: {known:?} of {published}"
            );
        }
        assert_eq!(self.client.poll_refused(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn w3_every_topic_continues_where_the_application_is(
        window in 0..5u32,
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut world = World::new(window);
        for step in &steps {
            world.run(step);
        }
        world.finish();
    }
}
