//! Publishes that arrive in one read are accepted as if each had arrived alone (docs/adr/0005, 0007).

use proptest::prelude::*;
use zaichik_proto::{AckLevel, Overflow, Subject, TopicOptions};

use crate::world::{Peer, Sub, World, keyed, mortal, put, record, secs};

/// A step of publishing.
#[derive(Debug, Clone)]
enum Step {
    /// Consecutive publishes to a topic of one record with only a body.
    Alike {
        topic: usize,
        sizes: Vec<usize>,
        acknowledged: bool,
    },
    Keyed(usize),
    Mortal(usize),
    Several(usize, usize),
    TooLarge(usize),
    Refused,
    /// Requests that depend on the records published before them.
    Describe(usize),
    Subscribe(usize),
    Batch(usize),
    Alter(usize, u64),
}

const TOPICS: [&str; 2] = ["t", "other"];

/// Bytes of the largest message.
const LARGEST: u32 = 2_000;

fn step() -> impl Strategy<Value = Step> {
    let topic = || 0..TOPICS.len();
    let size = prop_oneof![8 => 0..40usize, 1 => 1_000..1_900usize];
    let alike = (topic(), prop::collection::vec(size, 1..60), any::<bool>());
    prop_oneof![
        8 => alike.prop_map(|(topic, sizes, acknowledged)| Step::Alike { topic, sizes, acknowledged }),
        1 => topic().prop_map(Step::Keyed),
        1 => topic().prop_map(Step::Mortal),
        1 => (topic(), 1..4usize).prop_map(|(topic, count)| Step::Several(topic, count)),
        1 => topic().prop_map(Step::TooLarge),
        1 => Just(Step::Refused),
        1 => topic().prop_map(Step::Describe),
        1 => topic().prop_map(Step::Subscribe),
        1 => topic().prop_map(Step::Batch),
        1 => (topic(), 1..90u64).prop_map(|(topic, messages)| Step::Alter(topic, messages)),
    ]
}

fn settings() -> impl Strategy<Value = TopicOptions> {
    let overflow = prop_oneof![Just(Overflow::DropOldest), Just(Overflow::Reject)];
    let life = prop_oneof![
        3 => Just(TopicOptions::new().retain_forever()),
        1 => Just(TopicOptions::new()),
        1 => Just(TopicOptions::new().retain_forever().compaction_window(secs(9))),
    ];
    (life, overflow, 1..90u64, 20..4_000u64).prop_map(|(life, overflow, messages, bytes)| {
        life.overflow(overflow).max_messages(messages).max_bytes(bytes)
    })
}

/// The outcome: the answers, the number of silent refusals, and the contents afterwards.
fn outcome(steps: &[Step], options: &TopicOptions, has_waiting: bool, together: bool) -> Vec<String> {
    let mut world = World::with(|config| config.wire.max_message = LARGEST).checked_at_rest();
    let peer = world.topic(*options);
    if has_waiting {
        // A detached subscription, so that a topic with `retention_ttl = 0` keeps records.
        let reader = world.connect();
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").durable("d")));
        reader.cut();
    }
    let mut requests = Vec::new();
    for step in steps {
        send(&peer, step, |request| {
            requests.push(request);
            if !together {
                world.settle();
            }
        });
    }
    world.settle();
    let mut outcome: Vec<String> = requests.into_iter().map(|request| peer.answer(request)).collect();
    outcome.push(format!("{} refused silently", peer.silent()));
    outcome.extend(world.everything());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1_000).durable("d")));
    outcome.extend(reader.stream());
    outcome
}

/// Sends the requests of a step, and calls `sent` for each.
fn send(peer: &Peer, step: &Step, mut sent: impl FnMut(u32)) {
    match step {
        Step::Alike { topic, sizes, acknowledged } => {
            let ack = if *acknowledged { AckLevel::Accepted } else { AckLevel::None };
            for (size, letter) in sizes.iter().zip((b'a'..=b'z').cycle()) {
                sent(peer.publish_with(TOPICS[*topic], ack, &[record(&vec![letter; *size])]));
            }
        }
        Step::Keyed(topic) => sent(peer.publish_keyed(TOPICS[*topic], "key", "keyed")),
        Step::Mortal(topic) => sent(peer.publish_all(TOPICS[*topic], &[mortal("mortal", 5_000_000)])),
        Step::Several(topic, count) => {
            sent(peer.publish_all(TOPICS[*topic], &vec![keyed("other", b"one of several"); *count]));
        }
        Step::TooLarge(topic) => sent(peer.publish(TOPICS[*topic], &"x".repeat(LARGEST as usize + 1))),
        Step::Refused => sent(peer.publish("$bad", "x")),
        Step::Describe(topic) => sent(peer.describe(Subject::Topic { topic: TOPICS[*topic].as_bytes() })),
        Step::Subscribe(topic) => {
            sent(peer.subscribe_to(Sub::new(1, TOPICS[*topic]).window(1)));
            peer.unsubscribe(1);
        }
        Step::Batch(topic) => {
            sent(peer.batch(&[put(TOPICS[*topic], "first"), put(TOPICS[*topic], "second")]));
        }
        Step::Alter(topic, messages) => {
            sent(peer.alter(TOPICS[*topic], TopicOptions::new().max_messages(*messages)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p1_publishes_in_one_read_have_the_same_outcome_as_one_by_one(
        steps in prop::collection::vec(step(), 1..12),
        options in settings(),
        has_waiting in any::<bool>(),
    ) {
        let one_by_one = outcome(&steps, &options, has_waiting, false);
        prop_assert_eq!(outcome(&steps, &options, has_waiting, true), one_by_one);
    }
}
