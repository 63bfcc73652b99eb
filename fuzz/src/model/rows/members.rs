//! Shared subscriptions (chapter G).

use zaichik_proto::RefusalCode;

use super::{DURABLE, KEEP, World, record, refused, refused_for, subscribed};
use crate::model::sharing::{How, Range, Settle};
use crate::model::words::{Answer, Join, Operation, Request, Settings, Start, Subscribe, Target};

/// A member with number 1 and window 3 of subscription 0 of topic 0.
const MEMBER: Join = Join {
    number: 1,
    topic: 0,
    name: 0,
    start: Start::Earliest,
    window: 3,
    window_bytes: 0,
    max_attempts: 0,
    dead_letter: None,
    ack_deadline: 10,
    max_span: 0,
    inactive_ttl: 0,
    by_key: false,
};

const ACK: How = How::Ack { quiet: false };

fn join(world: &mut World, session: u64, join: Join) -> Answer {
    world.ask(session, &Request::Join(join))
}

fn settle(world: &mut World, session: u64, how: How, ranges: &[Range]) -> Answer {
    let rewind = world.model.groups[0].rewind;
    world.ask(session, &Request::Settle(Settle { how, number: 1, rewind, ranges: ranges.to_vec() }))
}

fn acked(cursor: u64, not_held: &[Range]) -> Answer {
    Answer::Acked { cursor, not_held: not_held.to_vec() }
}

fn published(settings: Settings, bodies: &[&str]) -> World {
    let mut world = World::new(settings);
    world.publish(0, bodies);
    world
}

#[test]
fn g_03_the_cursor_is_the_lowest_offset_that_is_not_acknowledged() {
    let mut world = published(KEEP, &["a", "b", "c", "d"]);
    assert_eq!(join(&mut world, 1, MEMBER), subscribed(0, 0, 0, 4));
    assert_eq!(world.took(1, 1), ["0 a", "1 b", "2 c"]);
    assert_eq!(settle(&mut world, 1, ACK, &[(1, 2)]), acked(0, &[]));
    assert_eq!(world.took(1, 1), ["3 d"]);
    assert_eq!(settle(&mut world, 1, ACK, &[(0, 2)]), acked(3, &[(1, 1)]), "1 is done already");
}

#[test]
fn g_04_what_another_member_holds_is_named() {
    let mut world = published(KEEP, &["a", "b", "c", "d"]);
    join(&mut world, 1, MEMBER);
    join(&mut world, 2, MEMBER);
    assert_eq!((world.took(1, 1).len(), world.took(2, 1)), (3, vec!["3 d".to_owned()]));
    assert_eq!(settle(&mut world, 2, ACK, &[(2, 9), (0, 1)]), acked(0, &[(0, 1), (2, 1), (4, 7)]));
    assert_eq!(settle(&mut world, 1, ACK, &[(0, 3)]), acked(4, &[]));
}

#[test]
fn g_02_what_a_member_held_comes_back_lowest_first() {
    let mut world = published(KEEP, &["a", "b", "c", "d"]);
    join(&mut world, 1, MEMBER);
    join(&mut world, 2, MEMBER);
    world.took(2, 1);
    world.disconnect(1);
    assert_eq!(world.took(2, 1), ["0 a 2/0", "1 b 2/0"], "as far as its window has room");
}

#[test]
fn g_05_and_g_06_delays_and_deadlines_are_exact() {
    let mut world = published(KEEP, &["a", "b"]);
    join(&mut world, 1, MEMBER);
    world.took(1, 1);
    assert_eq!(settle(&mut world, 1, How::GiveBack { delay: 5 }, &[(0, 1)]), acked(0, &[]));
    world.at(4);
    assert!(world.took(1, 1).is_empty());
    assert_eq!(settle(&mut world, 1, How::Extend, &[(0, 2)]), acked(0, &[(0, 1)]));
    world.at(5);
    assert_eq!(world.took(1, 1), ["0 a 2/0"]);
    world.at(13);
    assert!(world.took(1, 1).is_empty(), "its time has begun again");
    world.at(14);
    assert_eq!(world.took(1, 1), ["1 b 2/0"]);
    join(&mut world, 2, MEMBER);
    world.model.housekeep();
    world.model.tick(15);
    world.model.housekeep();
    assert_eq!(settle(&mut world, 1, ACK, &[(0, 1)]), acked(1, &[]), "late, and nobody else has got it");
}

#[test]
fn g_07_one_record_of_a_key_at_a_time() {
    let mut world = World::new(KEEP);
    join(&mut world, 1, Join { by_key: true, ..MEMBER });
    let keyed = [("k", "a"), ("k", "b"), ("l", "c"), ("k", "d")];
    world.publish_records(0, keyed.iter().map(|(key, body)| record(Some(key), body)).collect());
    assert_eq!(world.took(1, 1), ["0 a", "2 c"]);
    settle(&mut world, 1, How::GiveBack { delay: 0 }, &[(0, 1)]);
    assert_eq!(world.took(1, 1), ["0 a 2/0"], "it blocks its key");
    settle(&mut world, 1, ACK, &[(0, 1)]);
    assert_eq!(world.took(1, 1), ["1 b"]);
    assert_eq!(settle(&mut world, 1, ACK, &[(1, 1)]), acked(2, &[]));
    assert_eq!(world.took(1, 1), ["3 d"]);
}

#[test]
fn g_08_nothing_new_beyond_the_span() {
    let mut world = published(KEEP, &["a", "b", "c"]);
    join(&mut world, 1, Join { max_span: 2, ..MEMBER });
    assert_eq!(world.took(1, 1), ["0 a", "1 b"]);
    settle(&mut world, 1, ACK, &[(1, 1)]);
    assert!(world.took(1, 1).is_empty());
    settle(&mut world, 1, ACK, &[(0, 1)]);
    assert_eq!(world.took(1, 1), ["2 c"]);
}

#[test]
fn g_09_a_record_that_fails_too_often_is_a_dead_letter() {
    let mut world = published(KEEP, &["a", "b"]);
    join(&mut world, 1, Join { max_attempts: 2, dead_letter: Some(3), ..MEMBER });
    settle(&mut world, 1, How::GiveBack { delay: 0 }, &[(0, 1)]);
    world.at(10);
    assert_eq!(world.took(1, 1), ["0 a", "1 b", "0 a 2/0", "1 b 2/0"], "the deadline is the second failure");
    assert_eq!(world.model.topic(3).unwrap().end(), 1);
    assert_eq!(world.model.groups[0].cursor, 1);
    assert_eq!(world.ask(1, &Request::Unsubscribe { number: 1 }), Answer::Unsubscribed { last: Some(1) });
    assert_eq!(world.model.topic(3).unwrap().end(), 1, "that is no failure");
}

#[test]
fn g_10_a_batch_acknowledges_everything_or_nothing() {
    let mut world = published(KEEP, &["a", "b"]);
    join(&mut world, 1, MEMBER);
    let ack = |ranges: &[Range]| Operation::Ack { number: 1, rewind: 0, ranges: ranges.to_vec() };
    let Answer::Refused { code, value, operation } = world.batch(1, vec![ack(&[(0, 1)]), ack(&[(1, 2)])])
    else {
        panic!("it is refused");
    };
    assert_eq!((code, value, operation), (RefusalCode::NotHeld, 2, 1));
    assert_eq!(world.model.groups[0].cursor, 0);
    world.batch(1, vec![ack(&[(1, 1), (0, 1)])]);
    assert_eq!(world.model.groups[0].cursor, 2);
}

#[test]
fn g1_a_name_stands_for_one_way_of_subscribing() {
    let mut world = published(KEEP, &["a"]);
    join(&mut world, 1, MEMBER);
    assert_eq!(world.subscribe(2, DURABLE), refused_for(RefusalCode::ModeDiffers, 0));
    assert_eq!(
        join(&mut world, 2, Join { by_key: true, ..MEMBER }),
        refused_for(RefusalCode::ModeDiffers, 0)
    );
    assert_eq!(
        join(&mut world, 1, Join { number: 2, ..MEMBER }),
        refused_for(RefusalCode::AlreadySubscribed, 0)
    );
    assert_eq!(world.commit(1, 0), refused(RefusalCode::CommitShared, 0));
    assert_eq!(
        world.subscribe(2, Subscribe { number: 2, ..DURABLE }),
        refused_for(RefusalCode::ModeDiffers, 0)
    );
    let remove = Request::RemoveDurable { topic: 0, name: 0 };
    assert_eq!(world.ask(2, &remove), refused(RefusalCode::SubscriptionHeld, 0));
    world.disconnect(1);
    assert_eq!(world.ask(2, &remove), Answer::Done(0));
}

#[test]
fn g13_a_seek_clears_everything() {
    let mut world = published(KEEP, &["a", "b", "c"]);
    join(&mut world, 1, MEMBER);
    settle(&mut world, 1, ACK, &[(1, 1)]);
    world.took(1, 1);
    assert_eq!(world.seek(1, Target::Number(1), Start::Offset(1)), Answer::Done(1));
    assert_eq!(world.took(1, 1), ["1 b 1/1", "2 c 1/1"]);
    let late = Settle { how: ACK, number: 1, rewind: 0, ranges: vec![(1, 1)] };
    assert_eq!(world.ask(1, &Request::Settle(late)), acked(1, &[(1, 1)]));
}

#[test]
fn g14_what_is_done_survives_a_restart_and_nothing_is_in_flight() {
    let mut world = published(KEEP, &["a", "b", "c"]);
    join(&mut world, 1, MEMBER);
    settle(&mut world, 1, ACK, &[(1, 1)]);
    settle(&mut world, 1, How::GiveBack { delay: 50 }, &[(2, 1)]);
    world.disconnect(1);
    world.took(1, 1);
    world.model.restart();
    assert_eq!(join(&mut world, 1, MEMBER), subscribed(0, 0, 0, 3));
    assert_eq!(world.took(1, 1), ["0 a"], "its attempts are counted again");
    world.at(50);
    assert_eq!(world.took(1, 1), ["0 a 2/0", "2 c"]);
}
