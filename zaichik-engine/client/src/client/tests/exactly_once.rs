//! Publishes to a broker that implements exactly rule P3, over connections that break at any byte.

mod broker;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BytesMut};
use proptest::prelude::*;
use zaichik_proto::{Record, ServerFrame, Timestamp};

use self::broker::Broker;
use super::peer::Peer;
use super::producer::config;
use super::sent::Sent;
use crate::{Answer, Batch, Link, PublishOptions, RequestError, RequestId};

/// How long bytes of a connection that is gone may still arrive; the broker remembers a producer for 1 min longer than the
/// client resends.
const LATE: Duration = Duration::from_secs(50);

#[derive(Debug, Clone)]
enum Step {
    Publish {
        deadline: u64,
    },
    Batch {
        records: u8,
        deadline: u64,
    },
    /// The network accepts up to N bytes from the client.
    Write(usize),
    /// The broker handles the next complete frame; the number selects its response.
    Handle(u8),
    /// The client receives up to N bytes from the broker.
    Read(usize),
    /// The connection breaks after the broker has handled up to N of its complete frames; the others may come late.
    Cut(usize),
    /// The broker handles the next frame of a connection that is gone; the number selects its response.
    Late(u8),
    Connect,
    /// Another instance of the broker takes over.
    Replace,
    Wait(u64),
    Due,
}

fn step() -> impl Strategy<Value = Step> {
    let deadline = || prop_oneof![3 => Just(3_600_000_000), 1 => 1..2_000_000u64];
    prop_oneof![
        6 => deadline().prop_map(|deadline| Step::Publish { deadline }),
        1 => (0..4u8, deadline()).prop_map(|(records, deadline)| Step::Batch { records, deadline }),
        6 => prop_oneof![0..400usize, Just(10_000)].prop_map(Step::Write),
        10 => any::<u8>().prop_map(Step::Handle),
        8 => prop_oneof![0..100usize, Just(10_000)].prop_map(Step::Read),
        2 => (0..4usize).prop_map(Step::Cut),
        2 => any::<u8>().prop_map(Step::Late),
        5 => Just(Step::Connect),
        1 => Just(Step::Replace),
        2 => prop_oneof![4 => 0..100_000u64, 1 => 0..700_000_000u64].prop_map(Step::Wait),
        4 => Just(Step::Due),
    ]
}

struct World {
    peer: Peer,
    /// Every instance so far; the last one answers.
    brokers: Vec<Broker>,
    /// What the broker has sent and the client has not received.
    answers: VecDeque<u8>,
    /// What the broker has received over connections that are gone and has not read, and when they went.
    late: VecDeque<(Timestamp, Sent)>,
    /// The numbers of the records of each request.
    records: BTreeMap<RequestId, Vec<u32>>,
    made: u32,
    results: BTreeMap<RequestId, Result<Answer, RequestError>>,
}

impl World {
    fn new(outbound_bytes: usize) -> Self {
        let mut config = config();
        (config.retry_first_connect, config.max_in_flight) = (true, 16);
        config.max_outbound_bytes = outbound_bytes;
        Self {
            peer: Peer::new(config),
            brokers: vec![Broker::default()],
            answers: VecDeque::new(),
            late: VecDeque::new(),
            records: BTreeMap::new(),
            made: 0,
            results: BTreeMap::new(),
        }
    }

    fn body(&mut self) -> [u8; 4] {
        self.made += 1;
        self.made.to_le_bytes()
    }

    fn publish(&mut self, batch: Option<u8>, deadline: u64) {
        let options = PublishOptions::new().deadline(Duration::from_micros(deadline));
        let bodies: Vec<_> = (0..batch.unwrap_or(1)).map(|_| self.body()).collect();
        let records = bodies.iter().map(|body| Record { body, ..Record::default() });
        let (client, now) = (&mut self.peer.client, self.peer.now);
        let made = if batch.is_none() {
            client.publish(now, "t", &records.collect::<Vec<_>>(), options)
        } else {
            let mut batch = Batch::new();
            for record in records {
                batch.publish("t", &[record]);
            }
            client.send_batch(now, &batch, options)
        };
        match made {
            Ok(id) => {
                let numbers = bodies.into_iter().map(u32::from_le_bytes).collect();
                self.records.insert(id, numbers);
            }
            Err(error) => assert_eq!(error, RequestError::Full),
        }
    }

    /// The broker handles one frame. Returns whether there was one.
    fn handle(&mut self, choice: u8) -> bool {
        let Some(sent) = self.peer.received_one() else {
            return false;
        };
        let mut out = BytesMut::new();
        match sent {
            Sent::Ping(nonce) => ServerFrame::Pong { nonce }.encode(&mut out),
            Sent::Close | Sent::Pong(_) => {}
            request => out = self.brokers.last_mut().unwrap().handle(self.peer.now, &request, choice),
        }
        self.answers.extend(out);
        true
    }

    /// The broker handles the next frame of a connection that is gone, and nobody receives the answer.
    fn handle_late(&mut self, choice: u8) {
        let now = self.peer.now;
        self.late.retain(|(since, _)| now < *since + LATE);
        if let Some((_, sent @ (Sent::Publish { .. } | Sent::Batch { .. }))) = self.late.pop_front() {
            self.brokers.last_mut().unwrap().handle(now, &sent, choice);
        }
    }

    fn read(&mut self, count: usize) {
        let bytes: Vec<_> = self.answers.drain(..count.min(self.answers.len())).collect();
        self.peer.client.inbound().extend_from_slice(&bytes);
        self.peer.client.handle_read(self.peer.now);
    }

    /// The connection breaks; the broker still handles some of the complete frames that had arrived, and keeps the others.
    fn cut(&mut self, handled: usize) {
        for _ in 0..handled {
            self.handle(100);
        }
        while let Some(sent) = self.peer.received_one() {
            self.late.push_back((self.peer.now, sent));
        }
        self.answers.clear();
        self.peer.disconnect();
    }

    fn connect(&mut self) {
        if let Link::Connect { .. } = self.peer.client.link() {
            self.answers.clear();
            self.peer.connect_only();
            let hello = self.peer.sent();
            assert!(matches!(hello.as_slice(), [Sent::Hello { .. }]), "{hello:?}");
            self.peer.welcome(self.brokers.len() as u128);
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.peer.client.link(), Link::Open | Link::Closing)
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Publish { deadline } => self.publish(None, deadline),
            Step::Batch { records, deadline } => self.publish(Some(records), deadline),
            Step::Write(count) if self.is_up() => self.peer.write(count),
            Step::Handle(choice) if self.is_up() => {
                self.handle(choice);
            }
            Step::Read(count) if self.is_up() => self.read(count),
            Step::Cut(handled) if self.is_up() => self.cut(handled),
            Step::Late(choice) => self.handle_late(choice),
            Step::Connect => self.connect(),
            Step::Replace => {
                if self.is_up() {
                    self.cut(0);
                }
                self.late.clear();
                self.brokers.push(Broker::default());
            }
            Step::Wait(micros) => {
                // The broker remembers a producer for 1 min longer than the client resends: bytes may take that long to
                // arrive, in either direction.
                if micros > 50_000_000 && self.is_up() {
                    while self.handle(100) {}
                    self.read(usize::MAX);
                }
                self.peer.now = self.peer.now + Duration::from_micros(micros);
                self.peer.client.handle_timeout(self.peer.now);
            }
            Step::Due => self.due(),
            Step::Write(_) | Step::Handle(_) | Step::Read(_) | Step::Cut(_) => {}
        }
        self.peer.client.handle_timeout(self.peer.now);
        let _ = self.peer.client.outbound();
        while let Some((id, result)) = self.peer.answer() {
            assert!(self.records.contains_key(&id), "{id} was never requested");
            assert!(self.results.insert(id, result).is_none(), "{id} was answered before");
        }
        let before = self.peer.client.state();
        self.peer.client.handle_timeout(self.peer.now);
        let _ = self.peer.client.outbound();
        assert_eq!(before, self.peer.client.state());
        self.peer.client.check_invariants();
        self.check_orders();
    }

    fn due(&mut self) {
        if let Some(at) = self.peer.client.next_timeout() {
            self.peer.now = self.peer.now.max(at);
            self.peer.client.handle_timeout(self.peer.now);
            let next = self.peer.client.next_timeout();
            assert!(next.is_none_or(|next| next > self.peer.now), "{at:?} then {next:?}");
        }
    }

    /// Records are in order, and none is stored twice.
    fn check_orders(&self) {
        for broker in &self.brokers {
            assert!(broker.log.is_sorted_by(|a, b| a < b), "{:?}", broker.log);
        }
        if let Link::Closed(error) = self.peer.client.link() {
            panic!("closed: {error:?}");
        }
    }

    /// The connection stays intact from here on, so everything is answered.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.results.len() == self.records.len() {
                return;
            }
            self.run(&Step::Connect);
            self.run(&Step::Write(10_000));
            while self.handle(100) {}
            self.run(&Step::Read(10_000));
            if self.answers.is_empty() && !self.peer.client.outbound().has_remaining() {
                self.run(&Step::Due);
            }
        }
        panic!("unanswered: {:?}", self.peer.client);
    }

    /// Checks each answer against the logs.
    fn check_results(&self) {
        let mut stored: BTreeMap<u32, u64> = BTreeMap::new();
        for broker in &self.brokers {
            for (offset, number) in broker.log.iter().enumerate() {
                assert!(stored.insert(*number, offset as u64).is_none(), "{number} is stored twice");
            }
        }
        for (id, result) in &self.results {
            let numbers = &self.records[id];
            let offsets = match result {
                Ok(Answer::Published(receipt)) => vec![receipt.offset(0)],
                Ok(Answer::Batched(receipt)) => receipt.publishes.iter().map(|one| one.offset(0)).collect(),
                Ok(other) => panic!("{other:?}"),
                Err(RequestError::Unknown { .. }) => {
                    let found = numbers.iter().filter(|number| stored.contains_key(number)).count();
                    assert!(found == 0 || found == numbers.len(), "{id}: only a part of it is stored");
                    continue;
                }
                Err(
                    RequestError::Refused { .. }
                    | RequestError::HeldBack { .. }
                    | RequestError::NotSent { .. },
                ) => vec![None; numbers.len()],
                Err(other) => panic!("{other}"),
            };
            let found: Vec<_> = numbers.iter().map(|number| stored.get(number).copied()).collect();
            assert_eq!(found, offsets, "{id}: {result:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Each successful publish is stored once and in the order of the calls, each unknown one at most once, and each
    /// refused one not at all (rules P3, P4, P5).
    #[test]
    fn p_06_every_publish_is_stored_exactly_as_its_answer_reports(
        steps in prop::collection::vec(step(), 1..250),
        outbound_bytes in prop_oneof![1..400usize, Just(1 << 20)],
    ) {
        let mut world = World::new(outbound_bytes);
        for step in &steps {
            world.run(step);
        }
        world.finish();
        world.check_results();
    }
}
