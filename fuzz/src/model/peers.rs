//! A broker and a few connections to it, driven with the model's requests; received frames are decoded for comparison.

use bytes::{Buf, BufMut, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Session, Timestamp, Turn};
use zaichik_proto::{AckLevel, ClientFrame, Hello, Limits, MAGIC, ServerDecoder, ServerFrame, Version};

use crate::model::encode::encode;
use crate::model::receive::{Expected, Received};
use crate::model::words::Request;

/// The engine's side of the comparison.
pub(crate) struct Peers {
    broker: Broker,
    effects: Effects,
    all: Vec<Peer>,
    now: Timestamp,
}

struct Peer {
    session: Session,
    decoder: ServerDecoder,
    input: BytesMut,
    expected: Expected,
    received: Received,
}

impl Peers {
    /// A broker with `count` connections that have finished their handshake.
    pub(crate) fn new(config: BrokerConfig, count: usize, now: u64) -> Self {
        let broker = Broker::new(config, Seed::new(1, 2)).unwrap();
        let now = Timestamp::from_micros(now);
        let mut peers = Self { broker, effects: Effects::new(), all: Vec::new(), now };
        for peer in 0..count {
            let peer = peers.connect(peer);
            peers.all.push(peer);
        }
        peers
    }

    pub(crate) fn set_time(&mut self, now: u64) {
        self.now = Timestamp::from_micros(now);
    }

    /// A connection sends requests in one piece, and all connections exchange until they are idle.
    pub(crate) fn send(&mut self, peer: usize, requests: &[(u32, Request)]) {
        let Self { all, now, .. } = self;
        let sender = &mut all[peer];
        for (request, what) in requests {
            if let Request::Publish { ack: AckLevel::Accepted | AckLevel::Durable, records, .. } = what {
                sender.expected.publishes.push((*request, records.len() as u64));
            }
            encode(*request, what, sender.session.inbound());
        }
        sender.session.handle_read(*now);
        self.settle(peer);
    }

    /// The connection ends, and another one takes its place.
    pub(crate) fn reconnect(&mut self, peer: usize) {
        self.broker.detach(self.now, self.all[peer].session.id(), &mut self.effects);
        let fresh = self.connect(peer);
        self.all[peer] = fresh;
        self.wake();
    }

    /// Housekeeping until nothing is due.
    pub(crate) fn housekeep(&mut self) {
        for _ in 0..1_000 {
            let turn = self.broker.handle_timeout(self.now, &mut self.effects);
            let is_due = |next: Option<Timestamp>| next.is_some_and(|next| next <= self.now);
            assert!(
                turn == Turn::More || !is_due(self.broker.next_timeout()),
                "unfinished housekeeping is reported"
            );
            self.wake();
            self.verify();
            // Woken connections may have caused work that is due at once.
            if turn == Turn::Done && self.broker.next_timeout().is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("housekeeping does not end");
    }

    /// Idle connections free their buffers.
    pub(crate) fn shrink(&mut self) {
        for peer in &mut self.all {
            peer.session.shrink();
        }
    }

    /// Takes everything that a connection received.
    pub(crate) fn take(&mut self, peer: usize) -> Received {
        std::mem::take(&mut self.all[peer].received)
    }

    /// Counts of superseded records that were skipped, and of records that a dead-letter topic refused.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let stats = self.broker.stats();
        (stats.superseded, stats.dead_letters_refused)
    }

    pub(crate) fn verify(&self) {
        self.broker.verify().unwrap();
    }

    /// Ends all connections, and lets time pass until the broker has nothing left to forget.
    pub(crate) fn finish(mut self) -> Broker {
        for peer in std::mem::take(&mut self.all) {
            self.broker.detach(self.now, peer.session.id(), &mut self.effects);
        }
        while let Some(due) = self.broker.next_timeout().filter(|due| *due < Timestamp::MAX) {
            self.now = self.now.max(due);
            self.housekeep();
        }
        self.effects.clear();
        self.broker
    }

    /// The version that a connection speaks: one half of them the first, one half the second.
    pub(crate) const fn version(peer: usize) -> Version {
        if peer.is_multiple_of(2) { Version::One } else { Version::Two }
    }

    fn connect(&mut self, peer: usize) -> Peer {
        let version = Self::version(peer);
        let session = self.broker.accept(self.now, &mut self.effects);
        let (input, expected, received) = (BytesMut::new(), Expected::default(), Received::default());
        let decoder = ServerDecoder::handshake(&Limits::default());
        let mut peer = Peer { session, decoder, input, expected, received };
        peer.session.inbound().put_slice(&MAGIC);
        let hello = Hello { version: version.number(), name: "model", token: b"" };
        ClientFrame::Hello(hello).encode(peer.session.inbound());
        peer.session.handle_read(self.now);
        let _ = peer.session.exchange(self.now, &mut self.broker, &mut self.effects);
        peer.read();
        peer
    }

    fn settle(&mut self, peer: usize) {
        for _ in 0..10_000 {
            let peer = &mut self.all[peer];
            let turn = peer.session.exchange(self.now, &mut self.broker, &mut self.effects);
            if !peer.read() && turn == Turn::Done {
                return self.wake();
            }
        }
        panic!("the exchange does not end");
    }

    fn wake(&mut self) {
        let _ = self.effects.take_rearm();
        while let Some(id) = self.effects.pop_wake() {
            if let Some(peer) = self.all.iter().position(|peer| peer.session.id() == id) {
                self.settle(peer);
            }
        }
    }
}

impl Peer {
    /// Reads all output; returns whether there was any.
    fn read(&mut self) -> bool {
        let outbound = self.session.outbound();
        let any = outbound.has_remaining();
        self.input.put(outbound);
        assert!(self.session.close_reason().is_none(), "{:?}", self.session.close_reason());
        while let Some((frame, taken)) = self.decoder.decode(&self.input).unwrap() {
            if let ServerFrame::Welcome(welcome) = frame {
                let version = Version::from_number(welcome.version).unwrap();
                self.decoder.open(version, &welcome.limits);
            } else {
                self.received.frame(&frame, &mut self.expected);
            }
            self.input.advance(taken);
        }
        assert!(self.input.is_empty(), "frames are written whole");
        any
    }
}
