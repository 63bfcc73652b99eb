//! One of two brokers: its connections, and its store.

use bytes::{Buf, BufMut, BytesMut};
use zaichik_engine::store::{Commit, Op, Row, Ticket};
use zaichik_engine::{Broker, BrokerConfig, Restore, Seed, Timestamp, Turn};
use zaichik_proto::{ServerFrame, Subject};
use zaichik_testkit::{Connections, Frames, Rows, requests};

use super::inputs::version;
use super::seen::{Receiver, Seen};
use crate::restored::same_rows;
use crate::sim::MILLI;
use crate::sim::check::{Broken, Verdict};

/// After this time everything that has changed is committed (rule B6).
const LAZY: u64 = 100 * MILLI;

/// So few rows are compared with the broker after each commit.
const FEW: usize = 200;

/// Rounds after which a broker that is not idle never will be.
const MAX_ROUNDS: usize = 10_000;

/// A broker, which has no connections but these, and a store that works at once.
pub(in crate::sim) struct Side {
    connections: Connections,
    rows: Rows,
    peers: Vec<Peer>,
    /// Whether records may be only in the store.
    may_be_cold: bool,
}

struct Peer {
    connection: usize,
    receiver: Receiver,
}

impl Side {
    /// A broker and the rows that its commits so far have made.
    pub(in crate::sim) fn new(broker: Broker, rows: Rows, now: Timestamp) -> Self {
        let config = broker.config().clone();
        let may_be_cold = config.max_resident_bytes.is_some();
        // Its clock may have been ahead before.
        let meta = broker.rows().next();
        let now = if let Some(Row::Meta(meta)) = meta { now.max(meta.now) } else { now };
        let mut connections = Connections::with(config, Seed::new(1, 2), now);
        connections.replace(broker);
        Self { connections, rows, peers: Vec::new(), may_be_cold }
    }

    /// The broker that is restored from the rows of another one.
    pub(in crate::sim) fn restored(other: &Self, config: BrokerConfig, seed: Seed) -> Result<Self, Broken> {
        let mut rows = other.rows.clone();
        // As if the last commit, which has all that has changed, had been made now: the time since then would count as time in
        // which the broker did not run (rule B3), so a pause that is over would not be.
        let ops = other.connections.broker.rows().take(1).map(|row| Op::Put { row }).collect();
        rows.apply(&Commit { ticket: Ticket::FIRST, ops });
        let restore = || {
            let mut restore = Restore::new(config, seed)?;
            for (key, value) in rows.encoded() {
                restore.row(key, &value)?;
            }
            restore.finish(other.connections.now)
        };
        let mut broker = restore()
            .map_err(|error| Broken { rule: "B1", text: format!("it can't be restored: {error}") })?;
        broker.begin_storing();
        Ok(Self::new(broker, rows, other.connections.now))
    }

    /// Opens connections, one half of which speaks version 1.
    pub(super) fn connect(&mut self, count: usize) -> Verdict {
        for peer in 0..count {
            let connection = self.connections.accept();
            self.peers.push(Peer { connection, receiver: Receiver::new(self.may_be_cold) });
            self.hello(peer)?;
        }
        Ok(())
    }

    /// A connection ends, and another one takes its place.
    pub(super) fn reconnect(&mut self, peer: usize) -> Verdict {
        self.connections.detach(self.peers[peer].connection);
        self.settle()?;
        let connection = self.connections.accept();
        self.peers[peer] = Peer { connection, receiver: Receiver::new(self.may_be_cold) };
        self.hello(peer)
    }

    fn hello(&mut self, peer: usize) -> Verdict {
        self.send(peer, &requests(|client| client.hello_as(version(peer), b"")))
    }

    /// A connection sends requests, and all that follows from them happens.
    pub(super) fn send(&mut self, peer: usize, mut bytes: &[u8]) -> Verdict {
        let connection = self.peers[peer].connection;
        while !bytes.is_empty() {
            let count = self.connections.read(connection, &mut bytes, usize::MAX);
            let peers = &mut self.peers;
            self.connections.settle(connection, |connection, outbound| {
                if let Some(peer) = peers.iter_mut().find(|peer| peer.connection == connection) {
                    peer.receiver.read(outbound);
                }
            });
            self.settle()?;
            if count == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The time is this one from now on.
    pub(super) fn set_time(&mut self, now: Timestamp) -> Verdict {
        self.connections.now = now;
        self.settle()
    }

    pub(super) fn take(&mut self, peer: usize) -> Seen {
        self.peers[peer].receiver.take()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.connections.now
    }

    pub(super) const fn may_be_cold(&self) -> bool {
        self.may_be_cold
    }

    /// The rows of the store.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// Time passes until all that has changed is committed.
    pub(super) fn commit_all(&mut self) -> Verdict {
        self.set_time(self.connections.now.plus_micros(LAZY))
    }

    /// When the first durable subscription ends that was detached before now.
    pub(super) fn first_end(&mut self) -> Result<Timestamp, Broken> {
        let mut least = u64::MAX;
        let mut from = Some(0);
        while let Some(place) = from {
            let page = requests(|client| {
                client.hello(b"");
                client.describe(Subject::Subscriptions { from: place, topic: b"" });
            });
            from = None;
            self.ask(&page, |frame| {
                if let ServerFrame::Subscriptions(page) = frame {
                    from = page.next;
                    least = page.items.iter().map(|item| item.expires_in_micros).fold(least, u64::min);
                }
            })?;
        }
        Ok(self.connections.now.plus_micros(least))
    }

    /// A connection sends requests, reads the answers, and ends.
    pub(super) fn ask(&mut self, bytes: &[u8], mut each: impl FnMut(&ServerFrame<'_>)) -> Verdict {
        let connection = self.connections.accept();
        let (mut frames, mut input, mut rest) = (Frames::new(), BytesMut::new(), bytes);
        while !rest.is_empty() {
            let count = self.connections.read(connection, &mut rest, usize::MAX);
            for _ in 0..3 {
                self.connections.settle(connection, |of, outbound| {
                    if of == connection {
                        input.put(outbound);
                    } else {
                        outbound.advance(outbound.remaining());
                    }
                });
                self.settle()?;
            }
            if count == 0 {
                break;
            }
        }
        frames.take(&mut input, |frame, _| each(frame));
        self.connections.detach(connection);
        self.settle()
    }

    /// The store and the housekeeping do what is due, and every peer reads, until nothing is left to do.
    fn settle(&mut self) -> Verdict {
        for _ in 0..MAX_ROUNDS {
            let now = self.connections.now;
            let mut is_idle = true;
            let Connections { broker, effects, .. } = &mut self.connections;
            while let Some(fetch) = broker.poll_fetch() {
                is_idle = false;
                let records = self.rows.fetch(&fetch);
                let fetched = broker.fetched(now, fetch, records, effects);
                fetched.map_err(|error| Broken { rule: "B8", text: error.to_string() })?;
            }
            if let Some(commit) = broker.poll_commit(now, effects) {
                is_idle = false;
                self.rows.apply(&commit);
                if self.rows.len() <= FEW {
                    same_rows(self.rows.iter(), broker).map_err(|text| Broken { rule: "B6", text })?;
                }
                let _ = broker.committed(now, commit.ticket, effects);
            }
            if broker.wants_sync() {
                is_idle = false;
                let _ = broker.synced(now, effects);
            }
            if broker.next_timeout().is_some_and(|at| at <= now) {
                is_idle &= self.connections.housekeep() == Turn::Done;
            }
            let peers = &mut self.peers;
            self.connections.wake(|connection, outbound| {
                is_idle = false;
                match peers.iter_mut().find(|peer| peer.connection == connection) {
                    Some(peer) => peer.receiver.read(outbound),
                    None => outbound.advance(outbound.remaining()),
                }
            });
            if is_idle {
                return Ok(());
            }
        }
        Broken::because("I16", "a broker without connections does not become idle".to_owned())
    }
}
