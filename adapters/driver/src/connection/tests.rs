//! Connections over memory, polled by hand: only what was woken runs.

#![expect(clippy::arithmetic_side_effects, reason = "indices of a test's own lists")]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use zaichik_engine::{Broker, BrokerConfig};
use zaichik_proto::{
    AckLevel, ClientFrame, FaultCode, Hello, Limits, MAGIC, PROTOCOL_VERSION, Publish, Record, Records,
    ServerDecoder, ServerFrame, Start, Subscribe,
};

use super::*;
use crate::housekeeping::Housekeeping;
use crate::local::LocalIo;

/// Never rings.
struct Silent;

impl Timer for Silent {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

/// A task that is polled only when it was woken.
struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A broker, the tasks of its connections, and the other ends of those.
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
        let broker = Broker::new(BrokerConfig::new(1, 2)).expect("the defaults are valid");
        let shared = Shared::new(broker);
        let mut world = Self { shared, tasks: Vec::new(), peers: Vec::new() };
        let housekeeping = Housekeeping::new(Silent, &world.shared);
        world.spawn(housekeeping);
        world
    }

    fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { future: Some(Box::pin(future)), woken });
    }

    /// A connection whose handshake is done; its task's index is one more than its peer's.
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

    fn subscribe(&mut self, peer: usize) {
        let subscribe = Subscribe {
            request: 1,
            subscription: 1,
            topic: b"t",
            start: Start::Earliest,
            window: 0,
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
        self.peers[peer].send(&bytes);
        self.run();
    }

    /// Polls what was woken until nothing is.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let Some(task) = self.tasks.iter_mut().find(|task| task.is_due()) else {
                return;
            };
            task.poll();
        }
        panic!("the tasks never come to rest");
    }

    fn is_over(&self, peer: usize) -> bool {
        self.tasks[peer + 1].future.is_none()
    }
}

impl Task {
    fn is_due(&self) -> bool {
        self.future.is_some() && self.woken.0.load(Ordering::Relaxed)
    }

    fn poll(&mut self) {
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        if let Some(future) = &mut self.future
            && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            self.future = None;
        }
    }
}

impl Peer {
    fn send(&mut self, mut bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(self.io.poll_write(&mut cx, &mut bytes).is_ready());
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
    let mut record = Vec::new();
    Record { body: b"x", ..Record::default() }.encode(&mut record);
    let records = Records::from_encoded(1, &record);
    let publish = Publish { request: 9, ack: AckLevel::None, producer: None, topic: b"t", records };
    world.send(peer, &ClientFrame::Publish(publish));
}

#[test]
fn nobody_is_stranded_however_many_there_are() {
    let mut world = World::new();
    let readers: Vec<usize> = (0..700).map(|_| world.connect()).collect();
    for reader in &readers {
        world.subscribe(*reader);
    }
    let writer = world.connect();
    publish(&mut world, writer);
    for reader in readers {
        world.peers[reader].frame(|frame| assert!(matches!(frame, ServerFrame::Delivery(_))));
    }
}

#[test]
fn wakes_survive_a_publisher_that_is_gone_at_once() {
    let mut world = World::new();
    let readers: Vec<usize> = (0..300).map(|_| world.connect()).collect();
    for reader in &readers {
        world.subscribe(*reader);
    }
    let writer = world.connect();
    let mut record = Vec::new();
    Record { body: b"x", ..Record::default() }.encode(&mut record);
    let mut bytes = BytesMut::new();
    let records = Records::from_encoded(1, &record);
    ClientFrame::Publish(Publish { request: 9, ack: AckLevel::None, producer: None, topic: b"t", records })
        .encode(&mut bytes);
    world.peers[writer].send(&bytes);
    // One poll of the publisher, and its task is dropped.
    world.tasks[writer + 1].poll();
    world.tasks[writer + 1].future = None;
    world.run();
    for reader in readers {
        world.peers[reader].frame(|frame| assert!(matches!(frame, ServerFrame::Delivery(_))));
    }
}

#[test]
fn b_18_a_broker_that_failed_tells_every_connection() {
    let mut world = World::new();
    let peers = [world.connect(), world.connect()];
    let shared = Arc::clone(&world.shared);
    let failed = catch_unwind(AssertUnwindSafe(|| shared.inspect(|_| panic!("the broker fails"))));
    assert!(failed.is_err());
    // Some connection hears of it first, and its end wakes the others.
    world.tasks[peers[0] + 1].woken.0.store(true, Ordering::Relaxed);
    world.run();
    for peer in peers {
        let code = world.peers[peer].frame(|frame| match frame {
            ServerFrame::Fatal(fatal) => Some(fatal.code),
            _ => None,
        });
        assert_eq!(code, Some(FaultCode::Internal));
    }
    assert!(world.shared.accept().is_err());
    // Both ends are closed: nothing is left.
    world.peers.clear();
    world.run();
    assert!(peers.into_iter().all(|peer| world.is_over(peer)));
    assert!(world.shared.tasks().none(Waker::noop()), "housekeeping ended as well");
}

#[test]
fn a_peer_that_sends_no_more_is_still_answered() {
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
