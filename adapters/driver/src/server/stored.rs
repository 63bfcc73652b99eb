//! For tests: a broker and a store that does what the test says, kept in steps: nothing waits for a time.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use bytes::Bytes;
use zaichik_engine::store::{Commit, Fetch, Row};
use zaichik_engine::{Broker, BrokerConfig, Seed};
use zaichik_proto::TopicOptions;
use zaichik_testkit::{Rows, Sub};

use super::store::{Fetcher, Store, StoreError};
use super::store_reader::{self, StoreReader};
use super::storekeeper::{Step, Storekeeper};
use super::world::World;

/// A broker and its store.
pub(super) struct Stored {
    pub(super) world: World,
    pub(super) keeper: Option<Storekeeper>,
    pub(super) reader: Option<StoreReader>,
    pub(super) store: Arc<Mutex<State>>,
}

/// What the store has, and what it does next.
#[derive(Default)]
pub(super) struct State {
    pub(super) rows: Rows,
    pub(super) commits: u64,
    pub(super) tends: u64,
    pub(super) is_closed: bool,
    pub(super) fetches: u64,
    /// What it does instead of a commit.
    fault: Option<Fault>,
}

/// What it does instead.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    Full,
    /// There is space for commits, but only for those that bring little.
    Reserve,
    Failed,
    Panics,
    NotFetched,
    /// It panics when records are fetched.
    FetchPanics,
    /// Only what need not be done at a certain time fails.
    NotTended,
    NotClosed,
}

struct InMemory(Arc<Mutex<State>>);

impl InMemory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic under the lock")
    }

    fn fault(&self) -> Option<Fault> {
        self.state().fault
    }
}

impl Store for InMemory {
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        match self.fault() {
            Some(Fault::Full) => return Err(StoreError::Full(because("the test said so"))),
            Some(Fault::Failed) => return Err(StoreError::Failed(because("the test said so"))),
            Some(Fault::Panics) => panic!("the test said so"),
            Some(
                Fault::Reserve | Fault::NotFetched | Fault::FetchPanics | Fault::NotTended | Fault::NotClosed,
            )
            | None => {}
        }
        let mut state = self.state();
        state.rows.apply(commit);
        state.commits = state.commits.saturating_add(1);
        Ok(())
    }

    fn fetcher(&mut self) -> Result<Box<dyn Fetcher>, StoreError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }

    fn is_full(&self) -> bool {
        matches!(self.fault(), Some(Fault::Reserve))
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.tends = state.tends.saturating_add(1);
        match state.fault {
            Some(Fault::NotTended) => Err(StoreError::Failed(because("not tended"))),
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.is_closed = true;
        match state.fault {
            Some(Fault::NotClosed) => Err(StoreError::Failed(because("not closed"))),
            _ => Ok(()),
        }
    }
}

impl Fetcher for InMemory {
    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        match self.fault() {
            Some(Fault::NotFetched) => return Err(StoreError::Failed(because("not fetched"))),
            Some(Fault::FetchPanics) => panic!("the test said so"),
            _ => {}
        }
        let mut state = self.state();
        state.fetches = state.fetches.saturating_add(1);
        Ok(state.rows.fetch(fetch))
    }
}

fn because(why: &'static str) -> Arc<dyn Error + Send + Sync> {
    Arc::new(io::Error::other(why))
}

impl Stored {
    pub(super) fn new() -> Self {
        Self::with(BrokerConfig::default())
    }

    pub(super) fn with(config: BrokerConfig) -> Self {
        Self::begin(config, State::default())
    }

    /// Its store has a fault from the beginning.
    pub(super) fn with_fault(fault: Fault) -> Self {
        Self::begin(BrokerConfig::default(), State { fault: Some(fault), ..State::default() })
    }

    fn begin(config: BrokerConfig, state: State) -> Self {
        let mut broker = Broker::new(config, Seed::new(1, 2)).expect("a valid configuration");
        broker.begin_storing();
        let (world, state) = (World::of(broker), Arc::new(Mutex::new(state)));
        let mut store = InMemory(Arc::clone(&state));
        let reader = StoreReader::new(&world.shared, store.fetcher().expect("it has one"));
        let keeper = Storekeeper::new(&world.shared, Box::new(store));
        let mut stored = Self { world, keeper: Some(keeper), reader: Some(reader), store: state };
        stored.keep();
        stored
    }

    /// A broker with these records, of which all but the last are only in the store.
    pub(super) fn with_cold(bodies: &[String]) -> Self {
        let mut config = BrokerConfig::default();
        config.max_resident_bytes = Some(0);
        let mut stored = Self::with(config);
        let peer = stored.connect();
        let options = TopicOptions::new().retain_forever();
        stored.world.send(peer, |raw| raw.create("t", options));
        for body in bodies {
            stored.publish(peer, body);
            stored.keep();
        }
        stored
    }

    /// Sends a subscription from the first record on.
    pub(super) fn subscribe(&mut self, peer: usize) {
        self.world.send(peer, |raw| raw.subscribe_to(Sub::new(1, "t").window(0)));
        self.keep();
    }

    /// The bodies that a peer has received since.
    pub(super) fn received(&mut self, peer: usize) -> Vec<String> {
        let records = self.world.peers[peer].read().take_records().into_iter();
        records.map(|record| String::from_utf8(record.body).expect("text")).collect()
    }

    /// Reads back what is asked for.
    pub(super) fn fetch(&mut self) -> store_reader::Step {
        loop {
            self.world.run();
            let Some(reader) = &mut self.reader else { return store_reader::Step::Over };
            match reader.step() {
                store_reader::Step::Again => {}
                step @ store_reader::Step::Wait => return step,
                step @ store_reader::Step::Over => {
                    self.reader = None;
                    self.world.run();
                    return step;
                }
            }
        }
    }

    /// Lets the keeper do all that is due, and everybody what follows from it.
    pub(super) fn keep(&mut self) -> Step {
        self.world.run();
        let mut keeper = self.keeper.take().expect("it is not over");
        loop {
            let step = keeper.step();
            self.world.run();
            match step {
                Step::Again => {}
                Step::Over => break,
                Step::Wait(_) => {
                    self.keeper = Some(keeper);
                    return step;
                }
            }
        }
        drop(keeper);
        self.world.run();
        Step::Over
    }

    pub(super) fn connect(&mut self) -> usize {
        let peer = self.world.connect();
        self.keep();
        peer
    }

    pub(super) fn publish(&mut self, peer: usize, body: &str) -> u32 {
        self.world.send(peer, |raw| raw.publish("t", body))
    }

    pub(super) fn answer(&mut self, peer: usize, request: u32) -> Option<String> {
        self.world.peers[peer].read().take_answer(request)
    }

    pub(super) fn fail(&self, fault: impl Into<Option<Fault>>) {
        self.state().fault = fault.into();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.store.lock().expect("no panic under the lock")
    }

    /// Why the broker ended.
    pub(super) fn error(&self) -> Option<String> {
        self.world.shared.store_error().map(|error| error.to_string())
    }

    /// Whether the topic that was published to is stored.
    pub(super) fn has_topic(&self) -> bool {
        self.state().rows.iter().any(|row| matches!(row, Row::Topic(_)))
    }

    /// Whether all tasks have ended, once what reads has noticed that it may.
    pub(super) fn is_over(&mut self) -> bool {
        let _ = self.fetch();
        self.world.shared.tasks().none(Waker::noop())
    }

    /// All connections are closed without an answer to `request`, and no others are accepted.
    pub(super) fn assert_ended(&mut self, peer: usize, request: u32) {
        assert_eq!(self.answer(peer, request), None, "nobody knows whether it is stored");
        assert!(self.world.is_over(peer));
        assert!(matches!(self.world.shared.accept(), Ok(None)));
        self.world.peers.clear();
        self.world.run();
        assert!(self.is_over(), "housekeeping ended as well");
    }
}

/// Whether a waker was woken.
#[derive(Default)]
pub(super) struct Woken(AtomicBool);

impl Woken {
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
