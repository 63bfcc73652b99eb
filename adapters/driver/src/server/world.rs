//! For tests: a broker and its connections over in-memory streams, polled by hand. Only woken tasks run.

#![expect(clippy::arithmetic_side_effects, reason = "indices into a test's own lists")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use zaichik_engine::{Broker, BrokerConfig, Seed};
use zaichik_testkit::{RawClient, Sub};

use super::connection::Connection;
use super::housekeeping::Housekeeping;
use super::shared::Shared;
use crate::local::LocalIo;
use crate::manual::{Silent, Task};
use crate::runtime::Io;
use crate::timeline::Timeline;

/// A broker, the tasks of its connections, and the peers' ends of the connections.
pub(super) struct World {
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: Vec<Task>,
    pub(super) peers: Vec<Peer>,
}

pub(super) struct Peer {
    pub(super) io: LocalIo,
    pub(super) received: BytesMut,
    pub(super) raw: RawClient,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(BrokerConfig::default())
    }

    pub(super) fn with(config: BrokerConfig) -> Self {
        Self::of(Broker::new(config, Seed::new(1, 2)).expect("a valid configuration"))
    }

    pub(super) fn of(broker: Broker) -> Self {
        let shared = Shared::new(broker, Timeline::start());
        let mut world = Self { shared, tasks: Vec::new(), peers: Vec::new() };
        let housekeeping = Housekeeping::new(Silent, &world.shared);
        world.spawn(housekeeping);
        world
    }

    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.tasks.push(Task::new(future));
    }

    /// A connection after its handshake; the index of its task is its peer's plus one.
    pub(super) fn connect(&mut self) -> usize {
        let (io, there) = LocalIo::pair();
        let accepted = self.shared.accept().expect("sound").expect("running");
        let connection = Connection::new(there, "test", Silent, accepted, &self.shared);
        self.spawn(connection);
        self.peers.push(Peer { io, received: BytesMut::new(), raw: RawClient::new() });
        let peer = self.peers.len() - 1;
        self.send(peer, |raw| raw.hello(b""));
        assert_eq!(self.peers[peer].read().take_control(), ["welcome"]);
        peer
    }

    pub(super) fn subscribe(&mut self, peer: usize, window: u32) {
        let request = self.send(peer, |raw| raw.subscribe_to(Sub::new(1, "t").window(window)));
        assert!(self.peers[peer].read().take_answer(request).is_some());
    }

    /// Sends requests in pieces that the stream accepts.
    pub(super) fn send<T>(&mut self, peer: usize, make: impl FnOnce(&RawClient) -> T) -> T {
        let request = make(&self.peers[peer].raw);
        while self.peers[peer].raw.queued() > 0 {
            assert_ne!(self.peers[peer].write(), 0, "the broker does not read");
            self.run();
        }
        request
    }

    /// Polls woken tasks until there are none.
    pub(super) fn run(&mut self) {
        for _ in 0..100_000 {
            let Some(task) = self.tasks.iter_mut().find(|task| task.is_due()) else {
                return;
            };
            task.poll();
        }
        panic!("the tasks wake each other endlessly");
    }

    pub(super) fn is_over(&self, peer: usize) -> bool {
        self.tasks[peer + 1].future.is_none()
    }
}

impl Peer {
    /// Writes what the stream accepts; returns how many bytes.
    pub(super) fn write(&mut self) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match self.raw.outgoing(|bytes| self.io.poll_write(&mut cx, bytes)) {
            Poll::Ready(sent) => sent.expect("open"),
            Poll::Pending => 0,
        }
    }

    /// Reads everything.
    pub(super) fn read(&mut self) -> &RawClient {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(1..)) = self.io.poll_read(&mut cx, &mut self.received, usize::MAX) {}
        self.raw.receive(&mut self.received);
        &self.raw
    }
}
