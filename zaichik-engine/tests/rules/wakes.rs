//! Wakes one call at a time: how many each call hands out, and who hands out the rest (rule I16).

use std::collections::BTreeSet;

use bytes::{BufMut, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Session, SessionId, Timestamp, Turn};
use zaichik_testkit::{RawClient, Sub};

/// More than two calls hand out.
const READERS: usize = 600;

/// Maximum wakes of one call.
const WAKES_PER_CALL: usize = 256;

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

/// A broker with [`READERS`] connections that wait for a record of the topic "t", and one that has sent a publish.
struct Scene {
    broker: Broker,
    effects: Effects,
    readers: Vec<Line>,
    writer: Line,
}

/// A connection without a world: it exchanges only when the test says so.
struct Line {
    session: Session,
    raw: RawClient,
}

impl Scene {
    fn new() -> Self {
        let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2)).unwrap();
        let mut effects = Effects::new();
        let mut connect = || {
            let line = Line { session: broker.accept(NOW, &mut effects), raw: RawClient::new() };
            line.raw.hello(b"");
            line
        };
        let mut readers: Vec<_> = (0..READERS).map(|_| connect()).collect();
        let mut writer = connect();
        for reader in &mut readers {
            reader.raw.subscribe_to(Sub::new(1, "t"));
            reader.settle(&mut broker, &mut effects);
        }
        writer.settle(&mut broker, &mut effects);
        effects.clear();
        writer.raw.publish("t", "x");
        Self { broker, effects, readers, writer }
    }

    /// Takes the wakes of the last call.
    fn wakes(&mut self) -> BTreeSet<SessionId> {
        let wakes: Vec<_> = std::iter::from_fn(|| self.effects.pop_wake()).collect();
        let woken: BTreeSet<_> = wakes.iter().copied().collect();
        assert_eq!(woken.len(), wakes.len(), "each session is woken once");
        woken
    }

    fn all(&self) -> BTreeSet<SessionId> {
        self.readers.iter().map(|reader| reader.session.id()).collect()
    }
}

impl Line {
    fn exchange(&mut self, broker: &mut Broker, effects: &mut Effects) -> Turn {
        self.raw.outgoing(|bytes| self.session.inbound().put(bytes));
        self.session.handle_read(NOW);
        let turn = self.session.exchange(NOW, broker, effects);
        let mut received = BytesMut::new();
        received.put(self.session.outbound());
        self.raw.receive(&mut received);
        turn
    }

    fn settle(&mut self, broker: &mut Broker, effects: &mut Effects) {
        while self.exchange(broker, effects) == Turn::More {}
    }
}

#[test]
fn i16_wakes_are_handed_out_in_bounded_steps() {
    let mut scene = Scene::new();
    let mut woken = BTreeSet::new();
    for step in 0..3 {
        let Scene { broker, effects, writer, .. } = &mut scene;
        let turn = writer.exchange(broker, effects);
        let wakes = scene.wakes();
        assert_eq!(wakes.len(), WAKES_PER_CALL.min(READERS - step * WAKES_PER_CALL), "step {step}");
        assert_eq!(turn == Turn::More, step < 2, "the call says whether some remain");
        woken.extend(wakes);
    }
    assert_eq!(woken, scene.all());
    // The answer of the publish did not wait for the rest.
    assert_eq!(scene.writer.raw.take_log(), ["welcome", "#1 @0"]);
}

#[test]
fn i16_wakes_survive_a_session_that_ends_before_it_handed_them_out() {
    let mut scene = Scene::new();
    let Scene { broker, effects, writer, .. } = &mut scene;
    assert_eq!(writer.exchange(broker, effects), Turn::More);
    let mut woken = scene.wakes();
    let _ = scene.effects.take_rearm();
    scene.broker.detach(NOW, scene.writer.session.id(), &mut scene.effects);
    let wakes = scene.wakes();
    assert_eq!(wakes.len(), WAKES_PER_CALL, "the end of the session hands out the next of them");
    woken.extend(wakes);
    assert!(scene.effects.take_rearm(), "and asks for housekeeping");
    assert_eq!(scene.broker.next_timeout().map(|at| at <= NOW), Some(true), "at once");
    let _ = scene.broker.handle_timeout(NOW, &mut scene.effects);
    woken.extend(scene.wakes());
    assert_eq!(woken, scene.all(), "which hands out the rest");
}

#[test]
fn i16_a_session_hands_out_what_another_left() {
    let mut scene = Scene::new();
    let Scene { broker, effects, writer, .. } = &mut scene;
    let _ = writer.exchange(broker, effects);
    let mut woken = scene.wakes();
    for _ in 0..2 {
        let Scene { broker, effects, readers, .. } = &mut scene;
        let _ = readers.first_mut().unwrap().exchange(broker, effects);
        woken.extend(scene.wakes());
    }
    let first = scene.readers[0].session.id();
    assert_eq!(woken.difference(&scene.all()).count(), 0);
    assert_eq!(scene.all().difference(&woken).filter(|id| **id != first).count(), 0);
}
