//! One of two brokers: its connections, and its store.

use bytes::{Buf, BufMut, BytesMut};
use zaichik_engine::store::{Commit, Op, Row, Ticket};
use zaichik_engine::{Broker, BrokerConfig, Outbound, Restore, Seed, Timestamp, Turn};
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
    readers: Readers,
    /// Whether records may be only in the store.
    may_be_cold: bool,
}

/// What handles the frames that the connections receive.
#[derive(Default)]
struct Readers {
    peers: Vec<Peer>,
    /// A connection whose answers only the comparison reads, and what it has received. An answer that waits for a commit
    /// comes when the store makes it.
    asked: Option<(usize, BytesMut)>,
}

struct Peer {
    connection: usize,
    receiver: Receiver,
}

impl Readers {
    fn read(&mut self, connection: usize, outbound: &mut Outbound) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.connection == connection) {
            peer.receiver.read(outbound);
        } else if let Some((_, input)) = self.asked.as_mut().filter(|asked| asked.0 == connection) {
            input.put(outbound);
        } else {
            outbound.advance(outbound.remaining());
        }
    }
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
        Self { connections, rows, readers: Readers::default(), may_be_cold }
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
            self.readers.peers.push(Peer { connection, receiver: Receiver::new(self.may_be_cold) });
            self.hello(peer)?;
        }
        Ok(())
    }

    /// A connection ends, and another one takes its place.
    pub(super) fn reconnect(&mut self, peer: usize) -> Verdict {
        self.connections.detach(self.readers.peers[peer].connection);
        self.settle()?;
        let connection = self.connections.accept();
        self.readers.peers[peer] = Peer { connection, receiver: Receiver::new(self.may_be_cold) };
        self.hello(peer)
    }

    fn hello(&mut self, peer: usize) -> Verdict {
        self.send(peer, &requests(|client| client.hello_as(version(peer), b"")))
    }

    /// A connection sends requests, and all that follows from them happens.
    pub(super) fn send(&mut self, peer: usize, mut bytes: &[u8]) -> Verdict {
        let connection = self.readers.peers[peer].connection;
        while !bytes.is_empty() {
            let count = self.connections.read(connection, &mut bytes, usize::MAX);
            let readers = &mut self.readers;
            self.connections.settle(connection, |connection, outbound| readers.read(connection, outbound));
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
        self.readers.peers[peer].receiver.take()
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
            let mut is_answered = false;
            self.ask(&page, |frame| {
                if let ServerFrame::Subscriptions(page) = frame {
                    (from, is_answered) = (page.next, true);
                    least = page.items.iter().map(|item| item.expires_in_micros).fold(least, u64::min);
                }
            })?;
            if !is_answered {
                return Broken::because("I16", format!("no page of subscriptions from {place} comes"));
            }
        }
        Ok(self.connections.now.plus_micros(least))
    }

    /// A connection sends requests, reads the answers, and ends.
    pub(super) fn ask(&mut self, bytes: &[u8], mut each: impl FnMut(&ServerFrame<'_>)) -> Verdict {
        let connection = self.connections.accept();
        self.readers.asked = Some((connection, BytesMut::new()));
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.connections.read(connection, &mut rest, usize::MAX);
            for _ in 0..3 {
                let readers = &mut self.readers;
                self.connections
                    .settle(connection, |connection, outbound| readers.read(connection, outbound));
                self.settle()?;
            }
            if count == 0 {
                break;
            }
        }
        if let Some((_, mut input)) = self.readers.asked.take() {
            Frames::new().take(&mut input, |frame, _| each(frame));
        }
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
            let readers = &mut self.readers;
            self.connections.wake(|connection, outbound| {
                is_idle = false;
                readers.read(connection, outbound);
            });
            if is_idle {
                return Ok(());
            }
        }
        Broken::because("I16", "a broker without connections does not become idle".to_owned())
    }
}
