//! A client between an application and a broker whose actions are both decoded from bytes.

mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use zaichik_client::{
    Batch, Client, ClientConfig, DurableOptions, Event, Link, ProducerIdentity, PublishOptions, RequestError,
    RequestId, SubscribeOptions, SubscriptionId,
};
use zaichik_engine::Timestamp;
use zaichik_proto::{AckLevel, Record, Start, TopicOptions};

use self::server::Server;
use crate::choices::Choices;

/// Maximum steps of one input.
const MOST_STEPS: usize = 300;

/// Maximum turns until a closed client must have ended.
const MOST_TURNS: usize = 2_000;

/// Maximum unanswered requests.
const MOST_IN_FLIGHT: usize = 8;

/// An application, its client, and a broker that answers at will.
///
/// # Panics
/// If the client answers a request twice or never, accepts more requests than allowed, breaks the protocol, reports
/// anything about a subscription that has ended, or does not end.
pub fn client(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut world = World::new(&mut choices);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        world.step(&mut choices);
        world.exchange();
    }
    world.close();
}

struct World {
    client: Client,
    server: Server,
    now: Timestamp,
    asked: BTreeSet<RequestId>,
    subscriptions: Vec<SubscriptionId>,
    /// Subscriptions about which nothing more may be reported.
    ended: BTreeSet<SubscriptionId>,
    last: u64,
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let mut config = ClientConfig::new(u64::from(choices.byte()));
        config.producer = choices.maybe(50, |_| ProducerIdentity::new(7));
        config.retry_first_connect = choices.chance(75);
        config.reconnect = choices.chance(90);
        config.max_in_flight = MOST_IN_FLIGHT;
        config.max_outbound_bytes = choices.one_of(&[1 << 20, 64]);
        config.max_in_flight_bytes = choices.one_of(&[1 << 20, 200]);
        config.buffer_bytes = choices.one_of(&[1 << 20, 100]);
        Self {
            client: Client::new(config),
            server: Server::new(),
            now: Timestamp::from_micros(1),
            asked: BTreeSet::new(),
            subscriptions: Vec::new(),
            ended: BTreeSet::new(),
            last: 0,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.weighted(&[8, 8, 4, 4, 3, 2, 1, 1, 1]) {
            0 => self.ask(choices),
            1 => self.receive(|server| server.answer(choices)),
            2 => self.receive(|server| server.say(choices)),
            3 => self.take(),
            4 => {
                let pass = choices.one_of(&[1_000, 1, 60_000, 1_000_000, 6_000_000, 31_000_000, 600_000_000]);
                self.now = self.now.plus_micros(pass);
                self.client.handle_timeout(self.now);
            }
            5 => {
                if matches!(self.client.link(), Link::Connect { at } if at <= self.now) && choices.chance(80)
                {
                    self.client.handle_connected(self.now);
                    self.server = Server::new();
                } else {
                    self.client.handle_disconnected(self.now);
                }
            }
            6 => {
                let count = choices.below(64);
                let bytes = choices.take(count);
                self.receive(|_| Bytes::copy_from_slice(bytes));
            }
            7 => self.client.shrink(),
            _ => self.client.close(self.now),
        }
    }

    /// A request of the application.
    fn ask(&mut self, choices: &mut Choices<'_>) {
        let now = self.now;
        let topic = choices.one_of(&["t", "u", ""]);
        let subscription = self.subscription(choices);
        let offset = self.last.wrapping_add_signed(choices.between(-2, 3));
        let start = match choices.below(4) {
            0 => Start::Earliest,
            1 => Start::Latest,
            2 => Start::Offset(offset),
            _ => Start::Time(now.as_micros()),
        };
        let body = [b'b'; 100];
        let record = Record { body: &body[..choices.one_of(&[1, 0, 100])], ..Record::default() };
        let records = &[record, record][..choices.one_of(&[1, 2, 0])];
        let client = &mut self.client;
        let asked = match choices.weighted(&[4, 3, 3, 1, 1, 1, 1, 1, 1, 1]) {
            0 => {
                let ack = choices.one_of(&[
                    AckLevel::Accepted,
                    AckLevel::Accepted,
                    AckLevel::None,
                    AckLevel::Durable,
                ]);
                let deadline = Duration::from_secs(choices.one_of(&[30, 0, 1]));
                client.publish(now, topic, records, PublishOptions::new().ack(ack).deadline(deadline))
            }
            1 => {
                let mut options = SubscribeOptions::new().start(start).window(choices.one_of(&[1, 0, 3]));
                if choices.chance(50) {
                    options = options.durable(DurableOptions::new("d"));
                }
                client.subscribe(now, topic, options).map(|(request, subscription)| {
                    self.subscriptions.push(subscription);
                    request
                })
            }
            2 => client.commit(now, subscription, offset),
            3 => client.commit_last(now),
            4 => client.nack(now, subscription, offset, Duration::ZERO),
            5 => client.seek(now, subscription, start),
            6 => client.seek_durable(now, topic, "d", start),
            7 => client.unsubscribe(now, subscription),
            8 => {
                let mut batch = Batch::new();
                batch.publish(topic, records);
                if choices.chance(50) {
                    batch.commit(subscription, offset);
                }
                client.send_batch(now, &batch, PublishOptions::new())
            }
            _ => match choices.below(5) {
                0 => client.ping(now),
                1 => client.create_topic(now, topic, &TopicOptions::new()),
                2 => client.alter_topic(now, topic, &TopicOptions::new()),
                4 => client.trim_topic(now, topic, Start::Latest),
                _ => return drop(client.commit_quiet(now, subscription, offset)),
            },
        };
        match asked {
            Ok(request) => assert!(self.asked.insert(request), "{request} is new"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        // An Unsubscribe is never refused because of the maximum number of requests.
        let most = MOST_IN_FLIGHT + self.subscriptions.len();
        assert!(self.asked.len() <= most, "{} requests at once", self.asked.len());
    }

    /// A current or earlier subscription; without any, one of another client.
    fn subscription(&self, choices: &mut Choices<'_>) -> SubscriptionId {
        let which = choices.below(8);
        let of_another = || {
            let mut client = Client::new(ClientConfig::new(1));
            client.subscribe(self.now, "t", SubscribeOptions::new()).unwrap().1
        };
        self.subscriptions.iter().rev().nth(which).copied().unwrap_or_else(of_another)
    }

    fn receive(&mut self, say: impl FnOnce(&mut Server) -> Bytes) {
        if self.client.wants_read() {
            self.client.inbound().put(say(&mut self.server));
            self.client.handle_read(self.now);
        }
    }

    /// The broker receives what the client wrote.
    fn exchange(&mut self) {
        let outbound = self.client.outbound();
        let bytes = outbound.copy_to_bytes(outbound.remaining());
        if !matches!(self.client.link(), Link::Connect { .. } | Link::Closed(_)) {
            self.server.receive(&bytes);
        }
    }

    /// The application takes all answers and messages.
    fn take(&mut self) {
        while let Some((request, answer)) = self.client.poll_answer() {
            assert!(self.asked.remove(&request), "{request} is unanswered before {answer:?}");
            if let Err(error) = answer {
                assert!(!error.to_string().is_empty() && !matches!(error, RequestError::Full), "{error}");
            }
        }
        while let Some(id) = self.client.poll_ready() {
            assert!(self.subscriptions.contains(&id), "{id} belongs to this client");
            while let Some(incoming) = self.client.poll_event(id) {
                assert!(!self.ended.contains(&id), "{id} has ended: {incoming:?}");
                match incoming {
                    Event::Message(message) => self.last = message.offset,
                    Event::Ended(_) | Event::Fenced | Event::Refused(_) => {
                        self.ended.insert(id);
                    }
                    Event::Gap { .. } | Event::Reconnected { .. } | Event::Restarted { .. } | _ => {}
                }
            }
        }
        self.client.poll_refused();
    }

    /// The client ends in any state, and then every request has an answer.
    fn close(&mut self) {
        self.client.close(self.now);
        for _ in 0..MOST_TURNS {
            self.exchange();
            self.take();
            match self.client.link() {
                Link::Closed(_) => {
                    assert!(self.asked.is_empty(), "{:?} have no answer", self.asked);
                    assert_eq!(self.client.next_timeout(), None, "nothing is left to do");
                    return;
                }
                Link::Connect { at } => {
                    self.now = self.now.max(at);
                    self.client.handle_disconnected(self.now);
                }
                Link::Handshake | Link::Open | Link::Closing => {}
            }
            let due = self.client.next_timeout();
            self.now = self.now.max(due.unwrap_or(self.now));
            self.client.handle_timeout(self.now);
        }
        panic!("{:?} does not end", self.client);
    }
}
