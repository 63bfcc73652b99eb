//! Connections over in-memory streams, polled by hand: only woken tasks run.

#![expect(clippy::arithmetic_side_effects, reason = "indices into a test's own lists")]
#![expect(clippy::wildcard_enum_match_arm, reason = "any other frame fails the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use zaichik_engine::{Broker, BrokerConfig, Seed};
use zaichik_proto::{
    AckLevel, ClientFrame, FaultCode, HEADER_LEN, Hello, Limits, MAGIC, PROTOCOL_VERSION, Publish, Record,
    Records, ServerDecoder, ServerFrame, Start, Subscribe,
};

use super::*;
use crate::local::LocalIo;
use crate::manual::{Silent, Task};
use crate::server::housekeeping::Housekeeping;
use crate::timeline::Timeline;

/// A broker, the tasks of its connections, and the peers' ends of the connections.
struct World {
    shared: Arc<Shared>,
    tasks: Vec<Task>,
    peers: Vec<Peer>,
}

struct Peer {
    io: LocalIo,
    received: BytesMut,
    decoder: ServerDecoder,
}

impl World {
    fn new() -> Self {
        Self::with(BrokerConfig::default())
    }

    fn with(config: BrokerConfig) -> Self {
        let broker = Broker::new(config, Seed::new(1, 2)).expect("a valid configuration");
        let shared = Shared::new(broker, Timeline::start());
        let mut world = Self { shared, tasks: Vec::new(), peers: Vec::new() };
        let housekeeping = Housekeeping::new(Silent, &world.shared);
        world.spawn(housekeeping);
        world
    }

    fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.tasks.push(Task::new(future));
    }

    /// A connection after its handshake; the index of its task is its peer's plus one.
    fn connect(&mut self) -> usize {
        let (here, there) = LocalIo::pair();
        let session = self.shared.accept().expect("sound").expect("running");
        let connection = Connection::new(there, "test", Silent, session, &self.shared);
        self.spawn(connection);
        self.peers.push(Peer {
            io: here,
            received: BytesMut::new(),
            decoder: ServerDecoder::handshake(&Limits::default()),
        });
        let peer = self.peers.len() - 1;
        let mut hello = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "", token: b"" }).encode(&mut hello);
        self.peers[peer].send(&hello);
        self.run();
        self.peers[peer].frame(|frame| assert!(matches!(frame, ServerFrame::Welcome(_))));
        self.peers[peer].decoder.open(&Limits::default());
        peer
    }

    fn subscribe(&mut self, peer: usize, window: u32) {
        let subscribe = Subscribe {
            request: 1,
            subscription: 1,
            topic: b"t",
            start: Start::Earliest,
            window,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            durable: None,
        };
        self.send(peer, &ClientFrame::Subscribe(subscribe));
        self.peers[peer].frame(|frame| assert!(matches!(frame, ServerFrame::Subscribed(_))));
    }

    fn send(&mut self, peer: usize, frame: &ClientFrame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.send_bytes(peer, &bytes);
    }

    /// Sends in pieces that the stream accepts.
    fn send_bytes(&mut self, peer: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let sent = self.peers[peer].try_send(bytes);
            assert_ne!(sent, 0, "the broker does not read");
            bytes = &bytes[sent..];
            self.run();
        }
    }

    /// Polls woken tasks until there are none.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let Some(task) = self.tasks.iter_mut().find(|task| task.is_due()) else {
                return;
            };
            task.poll();
        }
        panic!("the tasks wake each other endlessly");
    }

    fn is_over(&self, peer: usize) -> bool {
        self.tasks[peer + 1].future.is_none()
    }
}

impl Peer {
    fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.try_send(bytes), bytes.len());
    }

    fn try_send(&mut self, mut bytes: &[u8]) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match self.io.poll_write(&mut cx, &mut bytes) {
            Poll::Ready(sent) => sent.expect("open"),
            Poll::Pending => 0,
        }
    }

    fn is_silent(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.received.is_empty() && self.io.poll_read(&mut cx, &mut self.received, usize::MAX).is_pending()
    }

    fn frame<T>(&mut self, look: impl FnOnce(ServerFrame<'_>) -> T) -> T {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.io.poll_read(&mut cx, &mut self.received, usize::MAX);
        let (frame, taken) =
            self.decoder.decode(&self.received).expect("a good frame").expect("a whole frame");
        let seen = look(frame);
        self.received.advance(taken);
        seen
    }
}

fn publish(world: &mut World, peer: usize) {
    world.send_bytes(peer, &quiet_publish(&[b"x"]));
}

/// A publish without an acknowledgement.
fn quiet_publish(bodies: &[&[u8]]) -> BytesMut {
    let mut records = Vec::new();
    for body in bodies {
        Record { body, ..Record::default() }.encode(&mut records);
    }
    let count = u32::try_from(bodies.len()).expect("a few");
    let records = Records::from_encoded(count, &records);
    let publish = Publish { request: 9, ack: AckLevel::None, producer: None, topic: b"t", records };
    let mut bytes = BytesMut::new();
    ClientFrame::Publish(publish).encode(&mut bytes);
    bytes
}

#[test]
fn every_reader_is_woken_by_one_publish() {
    let mut world = World::new();
    let readers: Vec<usize> = (0..700).map(|_| world.connect()).collect();
    for reader in &readers {
        world.subscribe(*reader, 0);
    }
    let writer = world.connect();
    publish(&mut world, writer);
    for reader in readers {
        world.peers[reader].frame(|frame| assert!(matches!(frame, ServerFrame::Delivery(_))));
    }
}

#[test]
fn wakes_survive_a_publisher_dropped_right_after_its_publish() {
    let mut world = World::new();
    let readers: Vec<usize> = (0..300).map(|_| world.connect()).collect();
    for reader in &readers {
        world.subscribe(*reader, 0);
    }
    let writer = world.connect();
    world.peers[writer].send(&quiet_publish(&[b"x"]));
    // The publisher is polled once, and then its task is dropped.
    world.tasks[writer + 1].poll();
    world.tasks[writer + 1].future = None;
    world.run();
    for reader in readers {
        world.peers[reader].frame(|frame| assert!(matches!(frame, ServerFrame::Delivery(_))));
    }
}

#[test]
fn s12_a_broker_that_failed_notifies_every_connection() {
    let mut world = World::new();
    let peers = [world.connect(), world.connect()];
    let shared = Arc::clone(&world.shared);
    let failed = catch_unwind(AssertUnwindSafe(|| shared.inspect(|_| panic!("the broker fails"))));
    assert!(failed.is_err());
    world.run();
    for peer in peers {
        let code = world.peers[peer].frame(|frame| match frame {
            ServerFrame::Fatal(fatal) => Some(fatal.code),
            _ => None,
        });
        assert_eq!(code, Some(FaultCode::Internal));
    }
    assert!(world.shared.accept().is_err());
    // Both ends are closed.
    world.peers.clear();
    world.run();
    assert!(peers.into_iter().all(|peer| world.is_over(peer)));
    assert!(world.shared.tasks().none(Waker::noop()), "housekeeping ended as well");
}

#[test]
fn a_peer_that_shut_down_its_side_is_still_answered() {
    let mut world = World::new();
    let peer = world.connect();
    let mut bytes = BytesMut::new();
    ClientFrame::Ping { nonce: 5 }.encode(&mut bytes);
    world.peers[peer].send(&bytes);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(world.peers[peer].io.poll_shutdown(&mut cx).is_ready());
    world.run();
    world.peers[peer].frame(|frame| assert_eq!(frame, ServerFrame::Pong { nonce: 5 }));
    assert!(world.is_over(peer));
    assert_eq!(world.shared.inspect(Broker::session_count), Ok(0));
}

#[test]
fn a_connection_that_is_dropped_is_forgotten() {
    let mut world = World::new();
    let peer = world.connect();
    assert_eq!(world.shared.inspect(Broker::session_count), Ok(1));
    world.tasks[peer + 1].future = None;
    assert_eq!(world.shared.inspect(Broker::session_count), Ok(0));
    assert!(world.shared.tasks().no_connections(Waker::noop()));
}

#[test]
fn a_connection_with_a_full_buffer_is_read_again() {
    let mut config = BrokerConfig::default();
    (config.wire.max_message, config.wire.max_frame) = (60 << 10, 64 << 10);
    let body = vec![7; 64 << 10];
    let (first, rest) = (&body[..40 << 10], &body[..20 << 10]);
    let fixed = quiet_publish(&[first, rest]).len() - rest.len();
    let frame = quiet_publish(&[first, &body[..body.len() + HEADER_LEN - fixed]]);
    assert_eq!(frame.len(), (64 << 10) + HEADER_LEN, "the largest frame");
    let mut world = World::with(config);
    let writer = world.connect();
    // All but the last byte of the first frame, so that the buffer is full before the second one is complete.
    let mut bytes = frame.repeat(4);
    let last = bytes.split_off(frame.len() - 1);
    world.send_bytes(writer, &bytes);
    world.send_bytes(writer, &last);
    world.send(writer, &ClientFrame::Ping { nonce: 5 });
    world.peers[writer].frame(|frame| assert_eq!(frame, ServerFrame::Pong { nonce: 5 }));
}

#[test]
fn a_publisher_is_read_again_after_memory_was_freed() {
    let mut config = BrokerConfig::default();
    config.memory = 1 << 20;
    let mut world = World::with(config);
    let (reader, writer) = (world.connect(), world.connect());
    world.subscribe(reader, 1);
    // Kept until the reader commits it, which it never does.
    let message = quiet_publish(&[&vec![7; 60 << 10]]);
    for _ in 0..16 {
        world.peers[writer].try_send(&message);
        world.run();
    }
    let mut ping = BytesMut::new();
    ClientFrame::Ping { nonce: 5 }.encode(&mut ping);
    world.peers[writer].send(&ping);
    world.run();
    assert!(world.peers[writer].is_silent(), "it is not read while memory is short");
    world.tasks[reader + 1].future = None;
    world.run();
    world.peers[writer].frame(|frame| assert_eq!(frame, ServerFrame::Pong { nonce: 5 }));
}

#[test]
fn a_connection_polls_again_for_a_while_after_bytes_moved() {
    let mut world = World::new();
    let peer = world.connect();
    world.shared.set_busy_poll(Duration::from_hours(1));
    assert!(!world.tasks[peer + 1].is_due(), "no bytes have moved since");
    let mut ping = BytesMut::new();
    ClientFrame::Ping { nonce: 7 }.encode(&mut ping);
    world.peers[peer].send(&ping);
    for _ in 0..5 {
        assert!(world.tasks[peer + 1].is_due(), "it keeps polling");
        world.tasks[peer + 1].poll();
    }
    world.peers[peer].frame(|frame| assert!(matches!(frame, ServerFrame::Pong { nonce: 7 })));

    let mut world = World::new();
    let peer = world.connect();
    world.shared.set_busy_poll(Duration::from_micros(1));
    world.peers[peer].send(&ping);
    // It sleeps after that time.
    world.run();
    assert!(!world.tasks[peer + 1].is_due());
}
