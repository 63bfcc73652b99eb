//! Durable subscriptions.

use zaichik_proto::RefusalCode;

use super::{DURABLE, KEEP, PLAIN, World, refused, refused_for, subscribed};
use crate::model::words::{Answer, Durable, Settings, Start, Subscribe, Target};

/// A durable subscription that its client last held under this epoch.
fn held_under(epoch: u32, reject: bool) -> Subscribe {
    let durable = Durable { name: 0, reject, epoch, inactive_ttl: 0 };
    Subscribe { durable: Some(durable), ..DURABLE }
}

fn published(settings: Settings) -> World {
    let mut world = World::new(settings);
    world.publish(0, &["a", "b", "c"]);
    world
}

#[test]
fn d_01_it_continues_at_its_cursor() {
    let mut world = published(KEEP);
    assert_eq!(world.subscribe(1, DURABLE), subscribed(1, 0, 0, 3));
    world.commit(1, 0);
    world.commit(1, 1);
    world.disconnect(1);
    world.took(1, 1);
    assert_eq!(world.subscribe(2, DURABLE), subscribed(2, 1, 2, 3));
    assert_eq!(world.took(2, 1), ["2 c 2/1"]);
}

#[test]
fn d_02_uncommitted_records_are_redelivered() {
    let mut world = published(KEEP);
    world.subscribe(1, Subscribe { window: 3, ..DURABLE });
    world.commit(1, 0);
    world.disconnect(1);
    world.subscribe(1, Subscribe { window: 3, ..DURABLE });
    assert_eq!(world.took(1, 1)[3..], ["1 b 2/1", "2 c 2/1"]);
}

#[test]
fn d_03_a_second_attach_takes_over() {
    let mut world = published(KEEP);
    world.subscribe(1, DURABLE);
    assert_eq!(world.subscribe(2, DURABLE), subscribed(2, 1, 0, 3));
    assert_eq!(world.took(1, 1), ["0 a", "fenced 2"]);
    let fenced = refused(RefusalCode::SubscriptionFenced, 2);
    assert_eq!(world.commit(1, 0), fenced);
    assert_eq!(world.nack(1, 0, 0), fenced);
    assert_eq!(world.seek(1, Target::Number(1), Start::Latest), fenced);
    assert_eq!(world.took(2, 1), ["0 a 2/1"]);
    assert_eq!(world.subscribe(1, PLAIN), subscribed(0, 0, 0, 3), "the number is free again");
}

#[test]
fn d_04_a_second_attach_is_refused_on_request() {
    let mut world = published(KEEP);
    world.subscribe(1, DURABLE);
    assert_eq!(world.subscribe(2, held_under(0, true)), refused_for(RefusalCode::SubscriptionHeld, 0));
    assert_eq!(world.commit(1, 0), Answer::Done(1));
    assert_eq!(world.subscribe(2, held_under(1, true)), subscribed(2, 1, 1, 3), "its holder reconnects");
}

#[test]
fn d_05_it_is_forgotten_exactly_when_its_time_is_over() {
    let mut world = published(KEEP);
    world.subscribe(1, DURABLE);
    world.commit(1, 0);
    world.disconnect(1);
    world.model.tick(99);
    assert_eq!(world.subscribe(1, DURABLE), subscribed(2, 1, 1, 3));
    world.disconnect(1);
    world.model.tick(199);
    assert_eq!(world.subscribe(1, DURABLE), subscribed(1, 0, 0, 3));
}

#[test]
fn d5_an_expired_one_does_not_count_and_keeps_no_records_even_without_housekeeping() {
    let mut world = World::new(Settings { reject: true, max_messages: 1, ..KEEP });
    world.model.bounds.max_durables = 1;
    world.subscribe(1, DURABLE);
    world.subscribe(2, PLAIN);
    world.publish(0, &["a"]);
    world.commit(2, 0);
    world.disconnect(1);
    let durable = Some(Durable { name: 1, reject: false, epoch: 0, inactive_ttl: 0 });
    let other = Subscribe { durable, number: 2, ..PLAIN };
    world.model.tick(99);
    assert_eq!(world.subscribe(2, other), refused_for(RefusalCode::SubscriptionsFull, 1));
    assert_eq!(world.publish(0, &["b"]), refused(RefusalCode::TopicFull, 0));
    world.model.tick(100);
    assert_eq!(world.publish(0, &["b"]), super::published(1));
    assert_eq!(world.subscribe(2, other), subscribed(1, 0, 1, 2));
}

#[test]
fn d_06_a_seek_backwards_redelivers_and_one_beyond_the_end_waits() {
    let mut world = published(KEEP);
    world.subscribe(1, DURABLE);
    world.commit(1, 0);
    world.took(1, 1);
    assert_eq!(world.seek(1, Target::Number(1), Start::Offset(0)), Answer::Done(1));
    assert_eq!(world.took(1, 1), ["0 a 1/1"], "attempts below the cursor are forgotten");
    assert_eq!(world.seek(2, Target::Name { topic: 0, name: 0 }, Start::Offset(4)), Answer::Done(2));
    world.publish(0, &["d", "e"]);
    assert_eq!(world.took(1, 1), ["4 e 1/2"]);
    let unknown = world.seek(2, Target::Name { topic: 0, name: 1 }, Start::Latest);
    assert_eq!(unknown, refused(RefusalCode::NotSubscribed, 0));
    let unknown = world.seek(2, Target::Name { topic: 5, name: 0 }, Start::Latest);
    assert_eq!(unknown, refused(RefusalCode::UnknownTopic, 0));
}

#[test]
fn d_06_a_live_only_cursor_does_not_move_backwards() {
    let mut world = World::new(Settings { ttl: 0, ..KEEP });
    world.subscribe(1, DURABLE);
    world.publish(0, &["a", "b", "c"]);
    world.commit(1, 0);
    world.took(1, 1);
    world.seek(1, Target::Number(1), Start::Offset(0));
    assert_eq!(world.took(1, 1), ["1 b 2/1"]);
    world.seek(1, Target::Number(1), Start::Latest);
    assert!(world.took(1, 1).is_empty());
}

#[test]
fn d_07_one_name_on_two_topics_is_two_subscriptions() {
    let mut world = published(KEEP);
    world.publish(1, &["x"]);
    assert_eq!(world.subscribe(1, DURABLE), subscribed(1, 0, 0, 3));
    assert_eq!(world.subscribe(2, Subscribe { topic: 1, ..DURABLE }), subscribed(1, 0, 0, 1));
    assert_eq!((world.took(1, 1), world.took(2, 1)), (vec!["0 a".into()], vec!["0 x".into()]));
}

#[test]
fn d_08_a_fenced_client_stays_fenced() {
    let mut world = published(KEEP);
    world.subscribe(1, DURABLE);
    world.subscribe(2, DURABLE);
    world.disconnect(1);
    assert_eq!(world.subscribe(1, held_under(1, false)), refused_for(RefusalCode::SubscriptionFenced, 2));
}

#[test]
fn r_13_records_that_expired_while_it_was_detached_are_a_gap() {
    let mut world = published(Settings { ttl: 10, ..KEEP });
    world.subscribe(1, DURABLE);
    world.disconnect(1);
    world.took(1, 1);
    world.at(10);
    world.publish(0, &["d"]);
    assert_eq!(world.subscribe(1, DURABLE), subscribed(2, 1, 0, 4));
    assert_eq!(world.took(1, 1), ["0..3 expired", "3 d 1/1"]);
}

#[test]
fn r_14_live_only_keeps_records_for_a_detached_subscription() {
    let mut world = World::new(Settings { ttl: 0, ..KEEP });
    world.subscribe(1, DURABLE);
    world.disconnect(1);
    world.publish(0, &["a", "b", "c"]);
    world.subscribe(1, Subscribe { window: 3, ..DURABLE });
    assert_eq!(world.took(1, 1), ["0 a 1/1", "1 b 1/1", "2 c 1/1"]);
}
