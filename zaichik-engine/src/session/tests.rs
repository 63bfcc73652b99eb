//! A session at its limits (docs/protocol.md §5.1, §9, §10).

use std::time::Duration;

use bytes::{Buf, BytesMut};
use zaichik_proto::{
    AckLevel, ClientFrame, CreateTopic, Goodbye, GoodbyeReason, Hello, Limits, MAGIC, PROTOCOL_VERSION,
    Publish, Record, Records, ServerDecoder, ServerFrame, Start, Subscribe, TopicOptions, Unsubscribe,
};

use super::*;
use crate::config::{BrokerConfig, ConfigError, Seed};

const SECOND: u64 = 1_000_000;

/// A broker, and one connection to it.
struct Bench {
    broker: Broker,
    effects: Effects,
    session: Session,
    now: Timestamp,
    decoder: ServerDecoder,
}

impl Bench {
    /// The handshake is done.
    fn open(config: BrokerConfig) -> Self {
        let now = Timestamp::from_micros(SECOND);
        let (mut broker, mut effects) = (Broker::new(config, Seed::new(1, 2)).unwrap(), Effects::new());
        let session = broker.accept(now, &mut effects);
        let decoder = ServerDecoder::handshake(&Limits::default());
        let mut bench = Self { broker, effects, session, now, decoder };
        bench.send(&[&MAGIC[..], &hello()].concat());
        assert_eq!(bench.read(usize::MAX), ["Welcome"]);
        bench
    }

    fn send(&mut self, bytes: &[u8]) {
        self.session.inbound().extend_from_slice(bytes);
        self.session.handle_read(self.now);
        self.exchange();
    }

    fn exchange(&mut self) {
        while self.session.exchange(self.now, &mut self.broker, &mut self.effects) == Turn::More {}
        // The tests drive the woken sessions themselves.
        self.effects.clear();
    }

    fn wait(&mut self, micros: u64) {
        self.now = self.now.plus_micros(micros);
        self.session.handle_timeout(self.now);
        self.exchange();
    }

    /// Takes up to `limit` frames from the output; their names.
    fn read(&mut self, limit: usize) -> Vec<String> {
        let mut names = Vec::new();
        while names.len() < limit && self.session.outbound().has_remaining() {
            let mut copy = BytesMut::new();
            let mut slices = [std::io::IoSlice::new(&[]); 64];
            let outbound = self.session.outbound();
            let filled = outbound.chunks_vectored(&mut slices);
            slices[..filled].iter().for_each(|slice| copy.extend_from_slice(slice));
            let (frame, taken) = self.decoder.decode(&copy).unwrap().unwrap();
            let name = format!("{frame:?}");
            names.push(name.split(['(', ' ']).next().unwrap().to_owned());
            if let ServerFrame::Welcome(welcome) = frame {
                self.decoder.open(Version::from_number(welcome.version).unwrap(), &welcome.limits);
            }
            self.session.outbound().advance(taken);
            self.exchange();
        }
        names
    }
}

fn bytes(frame: &ClientFrame<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

fn hello() -> BytesMut {
    bytes(&ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "", token: b"" }))
}

fn publish(topic: &[u8], body: &[u8], ack: AckLevel) -> BytesMut {
    let mut records = Vec::new();
    Record { body, ..Record::default() }.encode(&mut records);
    let records = Records::from_encoded(1, &records);
    bytes(&ClientFrame::Publish(Publish { request: 1, ack, producer: None, topic, records }))
}

fn subscribe(subscription: u32, topic: &[u8], window: u32) -> BytesMut {
    bytes(&ClientFrame::Subscribe(Subscribe {
        request: 1,
        subscription,
        topic,
        start: Start::Latest,
        window,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    }))
}

#[test]
fn a7_fatal_is_the_last_frame() {
    let mut bench = Bench::open(BrokerConfig::default());
    let refused = publish(b"$reserved", b"", AckLevel::None);
    bench.send(&[&refused[..], &[0, 0, 0, 0, 0x3f, 0, 0, 0]].concat());
    assert_eq!(bench.read(usize::MAX), ["Refused", "Fatal"]);
    assert!(bench.session.status().is_closed());
}

#[test]
fn a7_goodbye_is_the_last_frame() {
    let mut bench = Bench::open(BrokerConfig::default());
    let refused = publish(b"$reserved", b"", AckLevel::None);
    let close = bytes(&ClientFrame::Close);
    bench.send(&[&subscribe(7, b"t", 1)[..], &publish(b"t", b"", AckLevel::Accepted)].concat());
    bench.send(&[&refused[..], &close, &publish(b"t", b"", AckLevel::Accepted)].concat());
    assert_eq!(bench.read(usize::MAX), ["Acks", "Refused", "Subscribed", "Delivery", "Goodbye"]);
    assert!(bench.session.status().is_closed());
}

#[test]
fn a7_endless_deliveries_do_not_starve_requests() {
    let mut bench = Bench::open(BrokerConfig::default());
    let mut other = bench.broker.accept(bench.now, &mut bench.effects);
    other.inbound().extend_from_slice(&[&MAGIC[..], &hello()].concat());
    other.handle_read(bench.now);
    bench.send(&subscribe(0, b"busy", 0));
    let unsubscribe = bytes(&ClientFrame::Unsubscribe(Unsubscribe { request: 1, subscription: 1 }));
    let pair = [&subscribe(1, b"t", 1)[..], &unsubscribe].concat();
    bench.send(&[&pair.repeat(1_000)[..], &bytes(&ClientFrame::Ping { nonce: 1 })].concat());

    // The peer reads, but more slowly than records arrive.
    for round in 0..3_000 {
        other.inbound().extend_from_slice(&publish(b"busy", &[0; 100], AckLevel::None).repeat(2));
        other.handle_read(bench.now);
        while other.exchange(bench.now, &mut bench.broker, &mut bench.effects) == Turn::More {}
        bench.exchange();
        if bench.read(1) == ["Pong"] {
            assert!(round > 1_000, "decoding paused first");
            return;
        }
    }
    panic!("the Ping was never applied");
}

#[test]
fn s4_a_peer_that_is_not_read_is_kept_and_still_receives_pings() {
    let config = BrokerConfig { memory: 1, ..BrokerConfig::default() };
    let mut bench = Bench::open(config);
    assert!(bench.session.wants_read(), "it may be a reconnecting consumer");
    bench.send(&publish(b"t", b"", AckLevel::Accepted));
    assert_eq!(bench.read(usize::MAX), ["Refused"]);
    assert!(!bench.session.wants_read(), "the budget is spent");
    for _ in 0..5 {
        let due = bench.session.next_timeout().unwrap();
        assert_eq!(due, bench.now.plus_micros(30 * SECOND));
        bench.wait(30 * SECOND);
        assert_eq!(bench.read(usize::MAX), ["Ping"]);
    }
    assert_eq!(bench.session.status(), Status::Open);
}

#[test]
fn s4_a_peer_that_accepts_a_long_answer_slowly_is_kept() {
    let config = BrokerConfig { output_buffer: 64, ..BrokerConfig::default() };
    let mut bench = Bench::open(config);
    let options = TopicOptions::new().compaction_window(Duration::MAX);
    bench.send(&bytes(&ClientFrame::CreateTopic(CreateTopic { request: 1, topic: b"t", options })));
    assert_eq!(bench.read(usize::MAX), ["TopicReady"]);
    let mut records = Vec::new();
    (0..200).for_each(|_| Record { key: Some(b"k"), ..Record::default() }.encode(&mut records));
    let records = Records::from_encoded(200, &records);
    let publish = Publish { request: 2, ack: AckLevel::Accepted, producer: None, topic: b"t", records };
    bench.send(&bytes(&ClientFrame::Publish(publish)));
    let room = bench.session.read_limit();
    bench.send(&bytes(&ClientFrame::Ping { nonce: 1 }).repeat(room / 16 + 1)[..room]);
    assert!(!bench.session.wants_read(), "nothing is applied while the answer waits");
    for _ in 0..40 {
        bench.wait(5 * SECOND);
        bench.session.outbound().advance(10);
        assert_eq!(bench.session.status(), Status::Open);
    }
}

#[test]
fn a_draining_broker_reports_its_grace_period() {
    let mut bench = Bench::open(BrokerConfig::default());
    bench.broker.drain(bench.now, Duration::from_secs(3), &mut bench.effects);
    bench.exchange();
    let mut wire = BytesMut::new();
    let goodbye = Goodbye { reason: GoodbyeReason::Draining, grace_millis: 3_000 };
    ServerFrame::Goodbye(goodbye).encode(&mut wire);
    assert_eq!(bench.session.outbound().chunk(), wire);
    bench.read(usize::MAX);
    assert!(bench.session.status().is_closed(), "nothing is outstanding");
}

#[test]
fn a_limit_of_zero_is_not_announced() {
    let zeros: [fn(&mut Limits) -> &mut u32; 4] = [
        |wire| &mut wire.max_message,
        |wire| &mut wire.max_window,
        |wire| &mut wire.max_window_size,
        |wire| &mut wire.max_subscriptions,
    ];
    for zero in zeros {
        let mut config = BrokerConfig::default();
        *zero(&mut config.wire) = 0;
        assert_eq!(Broker::new(config, Seed::new(1, 2)).err(), Some(ConfigError::ZeroLimit));
    }
}
