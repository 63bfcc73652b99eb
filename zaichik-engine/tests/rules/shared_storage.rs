//! Chapters B and G: a shared subscription after a restart.

use zaichik_engine::store::{Key, Row};
use zaichik_proto::{Start, Version};

use crate::dead_letter::bodies;
use crate::shared::{G, member, offsets, topic};
use crate::world::{Sub, World, secs, us};

const SECOND: u64 = 1_000_000;

/// Rules G14, B1 and B2.
#[test]
fn g14_ranges_failures_and_delays_are_stored_and_what_is_held_is_not() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c", "d", "e", "f"]);
    let terms = G.window(5).deadline(60 * SECOND).dead_letter(2, "dead");
    let one = member(&mut world, terms);
    assert_eq!(offsets(&one).len(), 5);
    assert_eq!(world.ask(&one, one.ack(1, &[(1, 1), (3, 1)])), "acked to 0");
    assert_eq!(world.ask(&one, one.give_back(1, &[(2, 1)], 10 * SECOND)), "acked to 0");
    world.recover();
    let two = world.connect_as(Version::Two);
    assert_eq!(world.ask(&two, two.join(terms.window(9))), "0..6");
    assert_eq!(offsets(&two), [(0, 1), (4, 1), (5, 1)], "attempts count from the restart on");
    world.advance(us(10 * SECOND - 1));
    assert!(offsets(&two).is_empty());
    world.advance(us(1));
    assert_eq!(offsets(&two), [(2, 1)]);
    assert_eq!(world.ask(&two, two.give_back(1, &[(2, 1)], 0)), "acked to 0");
    assert_eq!(bodies(&mut world), ["c"], "its second failure");
    assert_eq!(world.ask(&two, two.ack(1, &[(0, 1), (4, 2)])), "acked to 6");
}

/// Rules G13, G14.
#[test]
fn g14_a_seek_and_the_mode_are_stored() {
    let mut world = World::new();
    topic(&mut world, &["a", "b"]);
    let one = member(&mut world, G.by_key().span(1));
    assert_eq!(world.ask(&one, one.seek(1, Start::Offset(1))), "done 1");
    world.recover();
    let two = world.connect_as(Version::Two);
    assert_eq!(world.ask(&two, two.join(G)), "refused ModeDiffers");
    assert_eq!(world.ask(&two, two.subscribe_to(Sub::new(1, "t").durable("g"))), "refused ModeDiffers");
    assert_eq!(world.ask(&two, two.join(G.by_key())), "1..2");
    assert_eq!(two.stream(), ["1/1=b"]);
    assert_eq!(world.ask(&two, two.ack_of(1, &[(1, 1)], 0, false)), "acked to 1 not 1..2");
}

/// Rules D5 and B3.
#[test]
fn g14_the_time_without_members_counts_from_the_restart() {
    let mut world = World::new();
    topic(&mut world, &["a"]);
    let one = member(&mut world, G.inactive_ttl(10 * SECOND));
    world.ask(&one, one.ack(1, &[(0, 1)]));
    one.cut();
    world.advance(secs(9));
    world.recover();
    world.advance(us(10 * SECOND - 1));
    let two = world.connect_as(Version::Two);
    assert_eq!(world.ask(&two, two.join(G.inactive_ttl(10 * SECOND))), "1..1");
    two.cut();
    world.advance(secs(10));
    let three = world.connect_as(Version::Two);
    assert_eq!(world.ask(&three, three.join(G)), "0..1");
}

/// Rules B4 and G14.
#[test]
fn g14_a_row_that_contradicts_others_is_refused() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c"]);
    let one = member(&mut world, G.window(3));
    world.ask(&one, one.ack(1, &[(1, 1)]));
    world.ask(&one, one.subscribe_to(Sub::new(2, "t").durable("d")));
    world.settle();
    let rows: Vec<Row> = world.broker.rows().collect();
    let with = |change: &dyn Fn(&mut Row)| {
        let mut rows = rows.clone();
        rows.iter_mut().for_each(change);
        rows.sort_by_key(Row::key);
        world.restore(&crate::world::encoded(&rows), world.now).map(drop)
    };
    let group = |key: &str| format!("the shared subscription {key} of topic 0");
    assert_eq!(with(&|_| {}), Ok(()));
    let beyond = with(&|row| {
        if let Row::Group(group) = row {
            group.done = vec![(1, 4)];
        }
    })
    .unwrap_err();
    assert!(beyond.to_string().contains(&group("g")), "{beyond}");
    let twice = with(&|row| {
        if let Row::Group(group) = row {
            group.name = "d".into();
        }
    })
    .unwrap_err();
    assert!(twice.to_string().contains(&group("d")), "{twice}");
    let touching = with(&|row| {
        if let Row::Group(group) = row {
            group.done = vec![(0, 1)];
        }
    })
    .unwrap_err();
    assert!(touching.to_string().contains("what is done"), "{touching}");
    let settled = with(&|row| {
        if let Row::Group(group) = row {
            group.failures = vec![(1, 1)];
        }
    })
    .unwrap_err();
    assert!(settled.to_string().contains("failures"), "{settled}");
    let unknown = with(&|row| {
        if let Row::Group(group) = row {
            group.topic = 7;
        }
    })
    .unwrap_err();
    assert!(unknown.to_string().contains("topic 7"), "{unknown}");
    assert!(rows.iter().any(|row| row.key() == Key::Group { topic: 0, name: "g".into() }));
}

/// Rule B7.
#[test]
fn g14_another_instance_forgets_what_is_beyond_the_end() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c"]);
    let one = member(&mut world, G.window(3));
    world.ask(&one, one.ack(1, &[(0, 1), (2, 1)]));
    world.settle();
    let mut rows: Vec<Row> = world.broker.rows().collect();
    for row in &mut rows {
        if let Row::Group(group) = row {
            (group.cursor, group.done) = (1, vec![(2, 3), (5, 9)]);
        }
    }
    world.lose_commits(&rows, 99);
    let two = world.connect_as(Version::Two);
    assert_eq!(world.ask(&two, two.join(G.window(3))), "1..3");
    assert_eq!(offsets(&two), [(1, 1)]);
}
