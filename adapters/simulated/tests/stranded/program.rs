//! A run: a broker with tight limits, and peers and clients that come, publish, stop reading, resume and leave.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use zaichik_proto::{AckLevel, Record, Subject};
use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Runtime, Simulated, Simulation, TopicOptions, sleep};

use crate::memory;
use crate::peer::Peer;
use crate::reader::Reader;

pub(crate) const TOPIC: &str = "t";

/// Steps of a run; the seed decides what happens in each.
const STEPS: u64 = 40;

/// Peers of a run with few of them.
const FEW: usize = 6;

/// Peers of a run with more than one turn wakes.
const MANY: usize = 90;

/// Body of a large record, in bytes.
pub(crate) const LARGE: usize = 4_000;

/// How often the runs reached what they are for.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) records: u64,
    pub(crate) answers: u64,
    /// Connections that the broker refused.
    pub(crate) refused: u64,
    /// Times that a peer settled with bytes that the broker does not read.
    pub(crate) blocked: u64,
    /// Times that a client settled with messages that its program does not take.
    pub(crate) paused: u64,
    /// Publishers that the broker stopped reading, and then read again, because it was short of memory.
    pub(crate) throttled: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.answers += other.answers;
        self.refused += other.refused;
        self.blocked += other.blocked;
        self.paused += other.paused;
        self.throttled += other.throttled;
    }
}

/// Runs a seed; an error says what was left asleep.
pub(crate) fn run(seed: u64) -> Result<Seen, String> {
    Simulation::with_seed(seed).run(async {
        if below(4) == 0 {
            return memory::run().await;
        }
        let mut run = Run::start().await;
        for step in 0..STEPS {
            for _ in 0..=below(4) {
                run.act();
                yield_some().await;
            }
            run.check(step).await?;
        }
        run.resume();
        run.check(STEPS).await?;
        Ok(run.end().await)
    })
}

struct Run {
    broker: EmbeddedBroker,
    peers: Vec<Rc<Peer>>,
    /// Connections that have not said hello, or that never will.
    silent: Vec<Rc<Peer>>,
    readers: Vec<Rc<Reader>>,
    most_peers: usize,
    seen: Seen,
}

impl Run {
    async fn start() -> Self {
        let mut config = BrokerConfig::default();
        config.wire.max_message = 8 << 10;
        config.wire.max_frame = 16 << 10;
        config.max_handshakes = 1 + small(3);
        let has_many = below(8) == 0;
        let most_peers = if has_many { MANY } else { FEW };
        config.max_connections = small(2) + if has_many { 94 } else { 10 };
        let broker = EmbeddedBroker::start(config).expect("a valid configuration");
        let creator = Peer::open(broker.stream().expect("it runs"));
        creator.hello();
        creator.request(|raw| raw.create(TOPIC, TopicOptions::new().retain_forever()));
        settle().await;
        let mut readers = Vec::new();
        for _ in 0..below(3) {
            readers.push(Reader::start(&broker).await);
        }
        let mut run = Self {
            broker,
            peers: vec![creator],
            silent: Vec::new(),
            readers,
            most_peers,
            seen: Seen::default(),
        };
        while has_many && run.peers.len() < MANY {
            run.open();
            yield_some().await;
        }
        run
    }

    /// Does one thing, of which other tasks have not heard yet.
    fn act(&mut self) {
        match below(16) {
            0..=2 if self.peers.len() < self.most_peers => self.open(),
            3 => self.open_silent(),
            4 => self.greet(),
            5 => drop(self.silent.pop()),
            6 => self.publish_and_leave(),
            7 => self.leave(),
            8 => self.flood(),
            9 => self.stop_or_resume(),
            10 => {
                if let Some(reader) = pick(&self.readers) {
                    for _ in 0..below(6) {
                        reader.publish(vec![b'r'; pick_size()]);
                    }
                }
            }
            11 => {
                if let Some(reader) = pick(&self.readers) {
                    if reader.is_reading() { reader.stop_reading() } else { reader.resume_reading() }
                }
            }
            12 => self.burst(),
            _ => self.publish(),
        }
    }

    /// A subscriber: its hello and its Subscribe are sent before its connection runs.
    fn open(&mut self) {
        let Ok(io) = self.broker.stream() else { return };
        let peer = Peer::open(io);
        peer.hello();
        peer.subscribe();
        self.peers.push(peer);
    }

    fn open_silent(&mut self) {
        if let Ok(io) = self.broker.stream() {
            self.silent.push(Peer::open(io));
        }
    }

    /// A connection says hello late.
    fn greet(&mut self) {
        if let Some(peer) = self.silent.pop() {
            peer.hello();
            peer.subscribe();
            self.peers.push(peer);
        }
    }

    fn publish(&self) {
        if let Some(peer) = pick(&self.peers) {
            let body = vec![b'p'; pick_size()];
            peer.request(|raw| raw.publish_all(TOPIC, &[record(&body)]));
        }
    }

    /// Publishes on a new connection, which closes before its task runs.
    fn publish_and_leave(&self) {
        let Ok(io) = self.broker.stream() else { return };
        let peer = Peer::open(io);
        peer.hello();
        peer.raw.publish_with(TOPIC, AckLevel::None, &[record(b"last")]);
        peer.send();
        peer.close();
    }

    fn leave(&mut self) {
        if !self.peers.is_empty() {
            self.peers.swap_remove(index(self.peers.len())).close();
        }
    }

    /// More requests than the broker takes while their answers are not read: its buffers are full in both directions.
    fn flood(&self) {
        if self.most_peers == MANY {
            return;
        }
        let Some(peer) = pick(&self.peers) else { return };
        peer.stop_reading();
        for _ in 0..1_500 {
            peer.request(|raw| raw.describe(Subject::Broker));
        }
        for _ in 0..below(60) {
            peer.request(|raw| raw.publish_all(TOPIC, &[record(&[b'f'; LARGE])]));
        }
    }

    /// More work than one turn does, with short answers that are read: the connection has more to do, and only it knows.
    fn burst(&self) {
        if let Some(peer) = pick(&self.peers) {
            for _ in 0..600 {
                peer.request(|raw| raw.remove_durable(TOPIC, "unknown"));
            }
        }
    }

    fn stop_or_resume(&self) {
        if let Some(peer) = pick(&self.peers) {
            if peer.is_reading() { peer.stop_reading() } else { peer.resume_reading() }
        }
    }

    fn resume(&self) {
        self.peers.iter().for_each(|peer| peer.resume_reading());
        self.readers.iter().for_each(|reader| reader.resume_reading());
    }

    /// Lets every task run until all sleep, and checks that nobody who reads waits for anything.
    async fn check(&mut self, step: u64) -> Result<(), String> {
        settle().await;
        let records = self.broker.stats().expect("it runs").records_accepted;
        let before = self.peers.len();
        for peer in &self.peers {
            if peer.is_closed() {
                self.seen.records += peer.records.get();
                self.seen.answers += peer.answers.get();
            }
        }
        self.peers.retain(|peer| !peer.is_closed());
        self.silent.retain(|peer| !peer.is_closed());
        self.seen.refused += (before - self.peers.len()) as u64;
        for (number, peer) in self.peers.iter().enumerate() {
            if !peer.is_reading() {
                self.seen.blocked += u64::from(peer.is_blocked());
            } else if let Some(missing) = peer.waits_for(records) {
                return Err(format!("step {step}: peer {number} sleeps and lacks {missing}"));
            }
        }
        for (number, reader) in self.readers.iter().enumerate() {
            let missing = reader.waits_for(records);
            if !reader.is_reading() {
                self.seen.paused += u64::from(missing.is_some());
            } else if let Some(missing) = missing {
                return Err(format!("step {step}: client {number} sleeps and lacks {missing}"));
            }
        }
        Ok(())
    }

    /// Closes everything; the broker's tasks end, too.
    async fn end(self) -> Seen {
        let Self { broker, peers, silent, readers, mut seen, .. } = self;
        for peer in peers.iter().chain(&silent) {
            seen.records += peer.records.get();
            seen.answers += peer.answers.get();
            peer.close();
        }
        drop(readers);
        broker.shutdown(Duration::from_secs(1)).await.expect("an orderly end");
        seen
    }
}

pub(crate) fn record(body: &[u8]) -> Record<'_> {
    Record { body, ..Record::default() }
}

fn pick_size() -> usize {
    if below(4) == 0 { LARGE } else { 10 }
}

fn pick<T>(of: &[Rc<T>]) -> Option<&Rc<T>> {
    of.get(index(of.len()))
}

fn index(len: usize) -> usize {
    usize::try_from(below(len as u64)).expect("an index")
}

pub(crate) fn small(limit: u32) -> u32 {
    u32::try_from(below(u64::from(limit))).expect("small")
}

/// A number below `limit`, drawn from the seed; 0 if that is 0.
pub(crate) fn below(limit: u64) -> u64 {
    let drawn = Simulated::random().expect("the seed's numbers");
    u64::try_from(drawn.checked_rem(u128::from(limit)).unwrap_or_default()).expect("below a u64")
}

/// Lets every task run until all sleep: time passes only then.
pub(crate) async fn settle() {
    sleep(Duration::from_nanos(1)).await;
}

/// Lets other tasks run, none to three times.
pub(crate) async fn yield_some() {
    let mut left = below(4);
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
