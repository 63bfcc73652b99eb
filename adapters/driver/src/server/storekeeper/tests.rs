//! A store that does what the test says, kept in steps: nothing waits for a time.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use zaichik_engine::store::{Fetch, Row};
use zaichik_engine::{Broker, BrokerConfig, Seed};
use zaichik_proto::AckLevel;
use zaichik_testkit::{Rows, record};

use super::*;
use crate::server::world::World;

const HOUR: Duration = Duration::from_hours(1);

const FULL: &str = "refused Busy 1000000";

/// A broker and its store.
struct Stored {
    world: World,
    keeper: Option<Storekeeper>,
    store: Arc<Mutex<State>>,
}

/// What the store has, and what it does next.
#[derive(Default)]
struct State {
    rows: Rows,
    commits: u64,
    tends: u64,
    is_closed: bool,
    /// What it does instead of a commit.
    fault: Option<Fault>,
}

#[derive(Clone, Copy)]
enum Fault {
    Full,
    /// There is space for commits, but only for those that bring little.
    Reserve,
    Failed,
    Panics,
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
            Some(Fault::Reserve | Fault::NotTended | Fault::NotClosed) | None => {}
        }
        let mut state = self.state();
        state.rows.apply(commit);
        state.commits = state.commits.saturating_add(1);
        Ok(())
    }

    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        Ok(self.state().rows.fetch(fetch))
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

fn because(why: &'static str) -> Arc<dyn Error + Send + Sync> {
    Arc::new(io::Error::other(why))
}

impl Stored {
    fn new() -> Self {
        Self::with(None)
    }

    /// Its store has a fault from the beginning.
    fn with(fault: impl Into<Option<Fault>>) -> Self {
        let mut broker =
            Broker::new(BrokerConfig::default(), Seed::new(1, 2)).expect("the defaults are valid");
        broker.begin_storing();
        let state = State { fault: fault.into(), ..State::default() };
        let (world, store) = (World::of(broker), Arc::new(Mutex::new(state)));
        let keeper = Storekeeper::new(&world.shared, Box::new(InMemory(Arc::clone(&store))));
        let mut stored = Self { world, keeper: Some(keeper), store };
        stored.keep();
        stored
    }

    /// Lets the keeper do all that is due, and everybody what follows from it.
    fn keep(&mut self) -> Step {
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

    fn connect(&mut self) -> usize {
        let peer = self.world.connect();
        self.keep();
        peer
    }

    fn publish(&mut self, peer: usize, body: &str) -> u32 {
        self.world.send(peer, |raw| raw.publish("t", body))
    }

    fn answer(&mut self, peer: usize, request: u32) -> Option<String> {
        self.world.peers[peer].read().take_answer(request)
    }

    fn fail(&self, fault: impl Into<Option<Fault>>) {
        self.state().fault = fault.into();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.store.lock().expect("no panic under the lock")
    }

    /// Why the broker ended.
    fn error(&self) -> Option<String> {
        self.world.shared.store_error().map(|error| error.to_string())
    }

    /// Whether the topic that was published to is stored.
    fn has_topic(&self) -> bool {
        self.state().rows.iter().any(|row| matches!(row, Row::Topic(_)))
    }

    /// Whether all tasks have ended.
    fn is_over(&self) -> bool {
        self.world.shared.tasks().none(Waker::noop())
    }

    /// All connections are closed without an answer to `request`, and no others are accepted.
    fn assert_ended(&mut self, peer: usize, request: u32) {
        assert_eq!(self.answer(peer, request), None, "nobody knows whether it is stored");
        assert!(self.world.is_over(peer));
        assert!(matches!(self.world.shared.accept(), Ok(None)));
        self.world.peers.clear();
        self.world.run();
        assert!(self.is_over(), "housekeeping ended as well");
    }
}

#[test]
fn b_50_a_store_with_nothing_but_its_reserve_makes_commits_and_publishes_are_refused() {
    for was_full in [true, false] {
        let mut stored = if was_full { Stored::with(Fault::Reserve) } else { Stored::new() };
        let peer = stored.connect();
        if !was_full {
            let request = stored.publish(peer, "x");
            stored.fail(Fault::Reserve);
            stored.keep();
            assert_eq!(
                stored.answer(peer, request).as_deref(),
                Some("@0 new"),
                "the reserve has space for it"
            );
        }
        for _ in 0..2 {
            let request = stored.publish(peer, "y");
            stored.keep();
            assert_eq!(stored.answer(peer, request).as_deref(), Some(FULL));
        }
        stored.fail(None);
        assert!(
            matches!(stored.keep(), Step::Wait(time) if time <= TEND_EVERY),
            "it looks for space now and then"
        );
        let request = stored.publish(peer, "y");
        stored.keep();
        let expected = if was_full { "@0 new" } else { "@1" };
        assert_eq!(stored.answer(peer, request).as_deref(), Some(expected));
    }
}

fn is_tried_again(step: &Step) -> bool {
    matches!(step, Step::Wait(time) if *time <= RETRY)
}

#[test]
fn b_13_an_answer_leaves_when_the_store_has_the_record() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    let request = stored.publish(peer, "x");
    assert_eq!(stored.answer(peer, request), None);
    stored.keep();
    assert_eq!(stored.answer(peer, request).as_deref(), Some("@0 new"));
    assert!(stored.has_topic());
}

#[test]
fn b_15_what_waits_is_never_answered_when_the_store_fails() {
    for fault in [Fault::Failed, Fault::NotTended] {
        let mut stored = Stored::new();
        let (peer, idle) = (stored.connect(), stored.connect());
        let request = stored.publish(peer, "x");
        stored.fail(fault);
        assert_eq!(stored.keep(), Step::Over);
        assert!(stored.world.is_over(idle));
        assert!(stored.error().is_some());
        stored.assert_ended(peer, request);
    }
}

#[test]
fn b_15_a_store_that_panics_has_failed() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    let request = stored.publish(peer, "x");
    stored.fail(Fault::Panics);
    let mut keeper = stored.keeper.take().expect("it is not over");
    // As the thread does, it ends with its steps.
    let ended = catch_unwind(AssertUnwindSafe(move || keeper.step()));
    assert!(ended.is_err());
    stored.world.run();
    assert_eq!(stored.error(), Some(Panicked.to_string()));
    stored.assert_ended(peer, request);
}

#[test]
fn a_store_that_cannot_be_closed_has_failed() {
    let mut stored = Stored::new();
    stored.fail(Fault::NotClosed);
    stored.world.shared.drain(HOUR);
    assert_eq!(stored.keep(), Step::Over);
    assert_eq!(stored.error().as_deref(), Some("not closed"));
    assert!(stored.is_over());
}

#[test]
fn a_commit_without_space_is_tried_again_and_answered_when_there_is_some() {
    let mut stored = Stored::new();
    let (peer, reader) = (stored.connect(), stored.connect());
    let subscribe = zaichik_testkit::Sub::new(1, "t").window(9);
    stored.world.send(reader, |raw| raw.subscribe_to(subscribe));
    stored.keep();
    stored.world.peers[reader].read().take_stream();
    stored.fail(Fault::Full);
    let before = stored.state().tends;
    let request = stored.publish(peer, "x");
    for _ in 0..3 {
        assert!(is_tried_again(&stored.keep()));
        assert_eq!(stored.answer(peer, request), None);
    }
    // What comes meanwhile is refused, behind what waits on its connection.
    let next = stored.publish(peer, "y");
    let other = stored.connect();
    let third = stored.publish(other, "z");
    assert!(is_tried_again(&stored.keep()));
    assert_eq!(stored.answer(other, third).as_deref(), Some(FULL));
    stored.world.send(peer, |raw| raw.ping(5));
    assert_eq!(stored.world.peers[peer].read().take_control(), ["pong 5"], "the peer is not given up");
    assert!(stored.world.peers[reader].read().take_stream().is_empty());
    assert_eq!(stored.state().tends, before + 1, "nothing else is done while a commit waits");
    stored.fail(None);
    stored.keep();
    let answers = [request, next].map(|request| stored.answer(peer, request));
    assert_eq!(answers.map(Option::unwrap_or_default), ["@0", FULL]);
    assert_eq!(stored.world.peers[reader].read().take_stream(), ["1/0=x"]);
    let again = stored.publish(peer, "y");
    stored.keep();
    assert_eq!(stored.answer(peer, again).as_deref(), Some("@1"), "there is space");
    assert_eq!(stored.error(), None);
}

#[test]
fn b_16_the_last_commit_is_made_before_a_broker_counts_as_stopped() {
    for is_dropped in [false, true] {
        let mut stored = Stored::new();
        let peer = stored.connect();
        let commits = stored.state().commits;
        // Nobody waits for it.
        stored.world.send(peer, |raw| raw.publish_with("t", AckLevel::None, &[record(b"x")]));
        stored.world.tasks[peer + 1].future = None;
        if is_dropped {
            stored.world.shared.abandon();
        } else {
            stored.world.shared.drain(HOUR);
        }
        stored.world.run();
        assert!(!stored.is_over(), "the store is left");
        assert_eq!(stored.keep(), Step::Over);
        assert!(stored.is_over());
        assert!(stored.state().commits > commits && stored.state().is_closed);
        assert!(stored.has_topic());
        assert_eq!(stored.error(), None);
    }
}

#[test]
fn a_store_without_space_is_waited_for_until_the_grace_of_a_stop_is_over() {
    for has_connection in [true, false] {
        let mut stored = Stored::new();
        let peer = stored.connect();
        stored.fail(Fault::Full);
        let request = stored.publish(peer, "x");
        assert!(is_tried_again(&stored.keep()));
        stored.world.shared.drain(HOUR);
        if !has_connection {
            stored.world.peers.clear();
        }
        for _ in 0..3 {
            assert!(is_tried_again(&stored.keep()), "the grace is not over");
            assert!(!stored.is_over());
        }
        stored.world.shared.drain(Duration::ZERO);
        assert_eq!(stored.keep(), Step::Over);
        assert_eq!(stored.error().as_deref(), Some("the test said so"));
        assert!(!stored.state().is_closed);
        if has_connection {
            stored.assert_ended(peer, request);
        } else {
            assert!(stored.is_over());
        }
    }
}

#[test]
fn space_that_is_found_during_a_stop_ends_it_in_order() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    stored.fail(Fault::Full);
    let request = stored.publish(peer, "x");
    stored.world.shared.drain(HOUR);
    assert!(is_tried_again(&stored.keep()));
    stored.fail(None);
    assert_ne!(stored.keep(), Step::Over, "the peer has not closed");
    assert_eq!(stored.answer(peer, request).as_deref(), Some("@0 new"));
    stored.world.peers.clear();
    stored.world.run();
    assert_eq!(stored.keep(), Step::Over);
    assert!(stored.is_over() && stored.state().is_closed);
    assert_eq!(stored.error(), None);
}

#[test]
fn a_store_without_space_is_not_waited_for_once_nobody_needs_its_broker() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    stored.fail(Fault::Full);
    stored.publish(peer, "x");
    assert!(is_tried_again(&stored.keep()));
    stored.world.shared.drain(HOUR);
    stored.world.shared.abandon();
    assert_eq!(stored.keep(), Step::Over);
    assert!(stored.world.is_over(peer) && stored.is_over());
}

#[test]
fn a_commit_that_is_due_wakes_the_store() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    let flag = Arc::new(Woken::default());
    let keeper = stored.keeper.as_ref().expect("it is not over");
    keeper.wake_with(&Waker::from(Arc::clone(&flag)));
    assert!(!flag.take());
    stored.publish(peer, "x");
    assert!(flag.take(), "somebody waits");
    stored.keep();
    stored.world.shared.drain(HOUR);
    stored.world.peers.clear();
    stored.world.run();
    assert!(flag.take(), "it closes the store now");
}

/// Whether a waker was woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl Woken {
    fn take(&self) -> bool {
        self.0.swap(false, std::sync::atomic::Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
