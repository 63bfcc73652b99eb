//! Scripts: what happens to a broker, as data that shrinks well, and how both sides run it.

use std::collections::BTreeMap;

use proptest::collection::vec as vec_of;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use zaichik_proto::AckLevel;

use crate::model::{Answer, Event, FOREVER, Model, Options, Record, Request, Settings, Start};
use crate::peers::{MAX_MESSAGE, Peers};

/// Connections of every script.
const PEERS: usize = 3;

/// When every script begins.
const BEGIN: u64 = 1_000;

/// A broker's beginning and everything that happens to it.
#[derive(Clone)]
pub(crate) struct Script {
    defaults: Settings,
    first_offset: u64,
    lane_bytes: usize,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, or the clock goes back.
    Time(i64),
    /// A connection sends some requests at once.
    Send(usize, Vec<Action>),
    /// A connection ends and comes back.
    Reconnect(usize),
    Housekeep,
    Shrink,
}

/// A request, with numbers relative to what the model knows when it is sent.
#[derive(Debug, Clone)]
enum Action {
    Publish {
        topic: u8,
        ack: bool,
        records: Vec<Record>,
    },
    Subscribe {
        number: u32,
        topic: u8,
        start: From,
        window: u32,
        window_bytes: u32,
    },
    Unsubscribe {
        number: u32,
    },
    /// Commits so many offsets after the cursor.
    Commit {
        number: u32,
        ahead: i64,
    },
    Create {
        topic: u8,
        options: Options,
    },
    Alter {
        topic: u8,
        options: Options,
    },
}

#[derive(Debug, Clone, Copy)]
enum From {
    Earliest,
    Latest,
    /// So many offsets before the end.
    BeforeEnd(i64),
    /// So long before now.
    Ago(i64),
}

impl std::fmt::Debug for Script {
    /// A line for each step, also when a test framework asks for more.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}, from {}, lanes of {}", self.defaults, self.first_offset, self.lane_bytes)?;
        self.steps.iter().enumerate().try_for_each(|(index, step)| writeln!(f, "{index:3} {step:?}"))
    }
}

/// Runs a script on both sides and compares them step by step.
pub(crate) fn check(script: &Script) {
    let Script { defaults, first_offset, lane_bytes, steps } = script;
    let mut model = Model::new(*defaults, *first_offset, u64::from(MAX_MESSAGE));
    let mut peers = Peers::new(*defaults, *first_offset, *lane_bytes, PEERS, BEGIN);
    let (mut now, mut request) = (BEGIN, 0);
    let mut refused_silently = [0; PEERS];
    model.tick(now);
    for (step, index) in steps.iter().zip(0..) {
        let mut expected: BTreeMap<usize, Vec<(u32, Answer)>> = BTreeMap::new();
        match step {
            Step::Time(by) => {
                now = now.saturating_add_signed(*by);
                peers.set_time(now);
                continue;
            }
            Step::Send(peer, actions) => {
                model.tick(now);
                let mut requests = Vec::new();
                for action in actions {
                    request += 1;
                    let (ack, what) = action.resolve(&model, *peer);
                    let answer = model.request(*peer, &what);
                    if ack != AckLevel::None {
                        expected.entry(*peer).or_default().push((request, answer));
                    } else if matches!(answer, Answer::Refused(..)) {
                        refused_silently[*peer] += 1;
                    }
                    requests.push((request, ack, what));
                }
                peers.send(*peer, &requests);
            }
            Step::Reconnect(peer) => {
                model.tick(now);
                model.disconnect(*peer);
                peers.reconnect(*peer);
                refused_silently[*peer] = 0;
            }
            Step::Housekeep => {
                model.tick(now);
                peers.housekeep();
            }
            Step::Shrink => peers.shrink(),
        }
        let mut deliveries = model.deliver();
        for (peer, refused) in refused_silently.iter_mut().enumerate() {
            let received = peers.take(peer);
            let mut answers = received.answers;
            answers.sort_by_key(|(request, _)| *request);
            let expected = expected.remove(&peer).unwrap_or_default();
            assert_eq!(answers, expected, "answers to {peer} in step {index}: {step:?}");
            let mut events: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
            for (number, event) in received.events {
                events.entry(number).or_default().push(event);
            }
            let due = deliveries.extract_if(.., |(to, ..)| *to == peer);
            let due: BTreeMap<_, _> = due.map(|(_, number, events)| (number, events)).collect();
            assert_eq!(events, due, "deliveries to {peer} in step {index}: {step:?}");
            *refused -= i64::from(received.refused_silently);
            assert!(*refused >= 0, "more refusals reported than there were, in step {index}");
        }
        peers.verify();
    }
    let broker = peers.finish();
    broker.verify().unwrap();
    let ledger = broker.ledger();
    assert_eq!((ledger.sessions, ledger.subscriptions, ledger.retired), (0, 0, 0));
}

impl Action {
    fn resolve(&self, model: &Model, peer: usize) -> (AckLevel, Request) {
        let what = match self.clone() {
            Self::Publish { topic, ack, records } => {
                let ack = if ack { AckLevel::Accepted } else { AckLevel::None };
                return (ack, Request::Publish { topic, records });
            }
            Self::Subscribe { number, topic, start, window, window_bytes } => {
                let start = match start {
                    From::Earliest => Start::Earliest,
                    From::Latest => Start::Latest,
                    From::BeforeEnd(by) => Start::Offset(model.end(topic).saturating_sub_signed(by)),
                    From::Ago(by) => Start::Time(model.now().saturating_sub_signed(by)),
                };
                Request::Subscribe { number, topic, start, window, window_bytes }
            }
            Self::Unsubscribe { number } => Request::Unsubscribe { number },
            Self::Commit { number, ahead } => {
                let cursor = model.cursor(peer, number).unwrap_or_default();
                Request::Commit { number, offset: cursor.saturating_add_signed(ahead) }
            }
            Self::Create { topic, options } => Request::Create { topic, options },
            Self::Alter { topic, options } => Request::Alter { topic, options },
        };
        (AckLevel::Accepted, what)
    }
}

/// Scripts about retention, compaction, windows, all at once; everything is small, because bugs live at limits.
pub(crate) fn scripts() -> impl Strategy<Value = Script> {
    let first_offset = prop_oneof![6 => Just(0), 1 => Just(u64::MAX - 8)];
    let lane_bytes = select(vec![4 << 10, 256 << 10]);
    (settings(), first_offset, lane_bytes, vec_of(step(), 1..60)).prop_map(
        |(defaults, first_offset, lane_bytes, steps)| Script { defaults, first_offset, lane_bytes, steps },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => select(vec![0, 1, 1, 2, 3, 3, 5, 10, -4, 999_998, 1_000_000]).prop_map(Step::Time),
        14 => (0..PEERS, vec_of(action(), 1..4)).prop_map(|(peer, actions)| Step::Send(peer, actions)),
        1 => (0..PEERS, record(select(vec![30_000, 70_000, 100_001]))).prop_map(|(peer, record)| {
            // Alone: one exchange applies a bounded number of bytes, and delivers in between.
            Step::Send(peer, vec![Action::Publish { topic: 0, ack: true, records: vec![record] }])
        }),
        1 => (0..PEERS).prop_map(Step::Reconnect),
        2 => Just(Step::Housekeep),
        1 => Just(Step::Shrink),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let topic = || select(vec![0, 0, 0, 1]);
    let number = || 1..3u32;
    let start = prop_oneof![
        4 => Just(From::Earliest),
        1 => Just(From::Latest),
        2 => (-3..8i64).prop_map(From::BeforeEnd),
        2 => (-2..12i64).prop_map(From::Ago),
    ];
    let window = select(vec![0, 1, 1, 3]);
    let window_bytes = select(vec![1 << 20, 1 << 20, 1, 40, 60]);
    let len = || prop_oneof![20 => 0..24usize, 2 => Just(700)];
    let records = prop_oneof![4 => vec_of(record(len()), 1), 2 => vec_of(record(len()), 1..5)];
    prop_oneof![
        10 => (topic(), prop::bool::weighted(0.8), records)
            .prop_map(|(topic, ack, records)| Action::Publish { topic, ack, records }),
        4 => (number(), topic(), start, window, window_bytes).prop_map(
            |(number, topic, start, window, window_bytes)| {
                Action::Subscribe { number, topic, start, window, window_bytes }
            }
        ),
        1 => number().prop_map(|number| Action::Unsubscribe { number }),
        7 => (number(), -1..4i64).prop_map(|(number, ahead)| Action::Commit { number, ahead }),
        1 => (topic(), options()).prop_map(|(topic, options)| Action::Create { topic, options }),
        2 => (topic(), options()).prop_map(|(topic, options)| Action::Alter { topic, options }),
    ]
}

fn record(len: impl Strategy<Value = usize>) -> impl Strategy<Value = Record> {
    let key = option::weighted(0.6, select(vec!["", "a", "b", "c", "long"]));
    let ttl = option::weighted(0.3, select(vec![1, 3, 5, 10, 2_000_000, FOREVER]));
    (key, len, any::<u8>(), ttl).prop_map(|(key, len, byte, ttl)| Record {
        key: key.map(|key| key.as_bytes().to_vec()),
        body: vec![byte; len],
        ttl,
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let bounds = (max_messages(), max_bytes(), any::<bool>(), max_keys());
    (ttl(), window(), bounds).prop_map(|(ttl, window, (max_messages, max_bytes, reject, max_keys))| {
        Settings { ttl, window, max_messages, max_bytes, reject, max_keys }
    })
}

fn options() -> impl Strategy<Value = Options> {
    let or_zero = |some: BoxedStrategy<u64>| option::weighted(0.3, prop_oneof![30 => some, 1 => Just(0)]);
    let bounds = (or_zero(max_messages().boxed()), or_zero(max_bytes().boxed()), or_zero(max_keys().boxed()));
    let times = (option::weighted(0.4, ttl()), option::weighted(0.3, window()));
    (times, option::weighted(0.3, any::<bool>()), bounds).prop_map(
        |((ttl, window), reject, (max_messages, max_bytes, max_keys))| Options {
            ttl,
            window,
            max_messages,
            max_bytes,
            reject,
            max_keys,
        },
    )
}

fn ttl() -> impl Strategy<Value = u64> {
    select(vec![0, 0, 1, 3, 5, 10, 2_000_000, FOREVER, FOREVER])
}

fn window() -> impl Strategy<Value = u64> {
    select(vec![0, 3, 5, 10, 2_000_000, FOREVER])
}

fn max_messages() -> impl Strategy<Value = u64> {
    select(vec![1, 2, 3, 5, FOREVER, FOREVER])
}

fn max_bytes() -> impl Strategy<Value = u64> {
    select(vec![20, 50, 100, 200, FOREVER, FOREVER])
}

fn max_keys() -> impl Strategy<Value = u64> {
    select(vec![1, 2, 3, FOREVER])
}
