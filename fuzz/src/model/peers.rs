//! A broker and a few connections to it, driven with the model's requests; received frames are decoded for comparison.

use bytes::{BufMut, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Outbound, Seed, Timestamp, Turn};
use zaichik_proto::{AckLevel, ServerFrame, Version};
use zaichik_testkit::{Connections, Frames, requests};

use crate::model::encode::encode;
use crate::model::receive::{Expected, Received};
use crate::model::words::Request;

/// The engine's side of the comparison.
pub(crate) struct Peers {
    connections: Connections,
    all: Vec<Peer>,
    config: BrokerConfig,
    /// What brokers before this one counted.
    counted: (u64, u64),
    /// Frames that were received.
    frames: u64,
    /// Whether all connections speak version 2.
    are_newer: bool,
}

#[derive(Default)]
struct Peer {
    connection: usize,
    frames: Frames,
    input: BytesMut,
    expected: Expected,
    received: Received,
}

impl Peers {
    /// A broker with `count` connections that have finished their handshake.
    pub(crate) fn new(config: BrokerConfig, count: usize, now: u64, are_newer: bool) -> Self {
        let connections = Connections::with(config.clone(), Seed::new(1, 2), Timestamp::from_micros(now));
        let mut peers = Self { connections, all: Vec::new(), config, counted: (0, 0), frames: 0, are_newer };
        for peer in 0..count {
            peers.all.push(Peer::default());
            peers.connect(peer);
        }
        peers
    }

    pub(crate) fn set_time(&mut self, now: u64) {
        self.connections.now = Timestamp::from_micros(now);
    }

    /// A connection sends requests in one piece, and all connections exchange until they are idle.
    pub(crate) fn send(&mut self, peer: usize, requests: &[(u32, Request)]) {
        let mut bytes = BytesMut::new();
        for (request, what) in requests {
            if let Request::Publish { ack: AckLevel::Accepted | AckLevel::Durable, records, .. } = what {
                self.all[peer].expected.publishes.push((*request, records.len() as u64));
            }
            encode(*request, what, &mut bytes);
        }
        self.send_bytes(peer, &bytes);
    }

    /// The connection ends, and another one takes its place.
    pub(crate) fn reconnect(&mut self, peer: usize) {
        self.connections.detach(self.all[peer].connection);
        self.connect(peer);
    }

    /// The broker ends, and another one is restored from its rows; every connection is replaced. Returns the broker that
    /// was to end, with other connections.
    pub(crate) fn restart(&mut self) -> Self {
        for peer in &self.all {
            self.connections.detach(peer.connection);
        }
        // Describing topics removes what is dead at this instant.
        let describing = self.connections.accept();
        let describe = requests(|client| {
            client.hello(b"");
            client.describe(zaichik_proto::Subject::Topics { from: 0 });
        });
        self.connections.send(describing, &describe);
        self.connections.detach(describing);
        self.housekeep();
        self.counted = self.counts();
        let now = self.connections.now;
        let restored = crate::restored::restored(&self.connections.broker, &self.config, now);
        let ended = std::mem::replace(&mut self.connections.broker, restored);
        let mut before = Self::new(self.config.clone(), 0, now.as_micros(), self.are_newer);
        before.connections.replace(ended);
        self.connections.restarted();
        for peer in 0..self.all.len() {
            self.connect(peer);
            before.all.push(Peer::default());
            before.connect(peer);
        }
        before
    }

    /// Housekeeping until nothing is due.
    pub(crate) fn housekeep(&mut self) {
        for _ in 0..1_000 {
            let turn = self.connections.housekeep();
            let (all, frames) = (&mut self.all, &mut self.frames);
            self.connections.wake(|connection, outbound| Peer::read(all, frames, connection, outbound));
            self.verify();
            // Woken connections may have caused work that is due at once.
            let next = self.connections.broker.next_timeout();
            if turn == Turn::Done && next.is_none_or(|next| next > self.connections.now) {
                return;
            }
        }
        panic!("housekeeping does not end");
    }

    /// The broker's store has no space, or has some again.
    pub(crate) fn set_full(&mut self, is_full: bool) {
        let now = self.connections.now;
        self.connections.broker.store_full(now, is_full);
    }

    /// Idle connections free their buffers.
    pub(crate) fn shrink(&mut self) {
        for peer in &self.all {
            self.connections.session(peer.connection).expect("it is open").shrink();
        }
    }

    /// Takes everything that a connection received.
    pub(crate) fn take(&mut self, peer: usize) -> Received {
        std::mem::take(&mut self.all[peer].received)
    }

    /// Counts of superseded records that were skipped, and of records that a dead-letter topic refused.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let (stats, before) = (self.connections.broker.stats(), self.counted);
        (before.0 + stats.superseded, before.1 + stats.dead_letters_refused)
    }

    pub(crate) fn verify(&self) {
        self.connections.verify();
    }

    /// Ends all connections, and lets time pass until the broker has nothing left to forget.
    pub(crate) fn finish(mut self) -> Broker {
        for peer in std::mem::take(&mut self.all) {
            self.connections.detach(peer.connection);
        }
        while let Some(due) = self.connections.broker.next_timeout().filter(|due| *due < Timestamp::MAX) {
            self.connections.now = self.connections.now.max(due);
            self.housekeep();
        }
        self.connections.effects.clear();
        self.connections.broker
    }

    /// The version that a connection speaks: all of them the second, or one half the first, one half the second.
    pub(crate) const fn version(peer: usize, are_newer: bool) -> Version {
        if peer.is_multiple_of(2) && !are_newer { Version::One } else { Version::Two }
    }

    fn connect(&mut self, peer: usize) {
        self.all[peer] = Peer { connection: self.connections.accept(), ..Peer::default() };
        self.send_bytes(peer, &requests(|client| client.hello_as(Self::version(peer, self.are_newer), b"")));
    }

    /// The requests of a step arrive at once, even if a connection would have to read several times: the model applies
    /// them without deliveries in between.
    fn send_bytes(&mut self, peer: usize, bytes: &[u8]) {
        let (connection, now) = (self.all[peer].connection, self.connections.now);
        let session = self.connections.session(connection).expect("it is open");
        session.inbound().extend_from_slice(bytes);
        session.handle_read(now);
        let (all, frames) = (&mut self.all, &mut self.frames);
        let read = |connection, outbound: &mut Outbound| Peer::read(all, frames, connection, outbound);
        self.connections.settle(connection, read);
        let reason = self.connections.session(connection).and_then(|session| session.close_reason());
        assert_eq!(reason, None);
    }
}

impl Peer {
    /// The peer of a connection reads all of its output.
    fn read(all: &mut [Self], count: &mut u64, connection: usize, outbound: &mut Outbound) {
        let peer = all.iter_mut().find(|peer| peer.connection == connection).expect("its peer");
        let Self { frames, input, expected, received, .. } = peer;
        input.put(outbound);
        frames.take(input, |frame, _| {
            if !matches!(frame, ServerFrame::Welcome(_)) {
                *count += 1;
                received.frame(frame, *count, expected);
            }
        });
        assert!(input.is_empty(), "frames are written whole");
    }
}
