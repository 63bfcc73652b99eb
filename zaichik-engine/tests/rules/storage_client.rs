//! Chapter B: a client of a broker that is restored from its rows.

use zaichik_client::{DurableOptions, ProducerIdentity, PublishOptions, SubscribeOptions};
use zaichik_engine::store::Row;
use zaichik_proto::TopicOptions;

use crate::client::{create, publish, subscribe};
use crate::world::{INSTANCE, World, record, secs};

#[test]
fn b1_a_client_notices_a_reconnect_and_nothing_else() {
    let mut world = World::new();
    let client = world.client_with(|config| config.producer = Some(ProducerIdentity::new(77)));
    create(&mut world, client, "t", TopicOptions::new().retain_forever());
    let sub = subscribe(
        &mut world,
        client,
        "t",
        SubscribeOptions::new().window(9).durable(DurableOptions::new("d")),
    );
    for body in ["a", "b", "c"] {
        publish(&mut world, client, "t", body).unwrap();
    }
    assert_eq!(world.take(client, sub), ["0=a", "1=b", "2=c"]);
    world.done(client, |client, now| client.commit(now, sub, 1)).unwrap();
    // The broker ends when it has applied a publish and its answer is on its way.
    let pending = world
        .call(client, |client, now| client.publish(now, "t", &[record(b"d")], PublishOptions::new()))
        .unwrap();
    world.break_after(client, 1_000_000, 0);
    world.step();
    world.break_link(client, false);
    world.settle();
    world.recover();
    world.break_link(client, true);
    world.advance(secs(10));
    let answer = world.answer(client, pending);
    assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
    assert_eq!(publish(&mut world, client, "t", "e"), Ok(4), "it was stored once");
    assert_eq!(world.take(client, sub), ["reconnected 2 2", "2=c", "3=d", "4=e"]);
    assert_eq!(world.call(client, |client, _| client.instance()), Some(INSTANCE));
}

#[test]
fn b2_a_client_with_window_0_does_not_hand_out_again_what_was_taken_before_the_cursor_was_stored() {
    let mut world = World::new();
    world.topic(TopicOptions::new().retain_forever());
    let client = world.client();
    let options = SubscribeOptions::new().window(0).durable(DurableOptions::new("d"));
    let sub = subscribe(&mut world, client, "t", options);
    publish(&mut world, client, "t", "a").unwrap();
    assert_eq!(world.take(client, sub), ["0=a"]);
    let cursor = world.broker.rows().find(|row| matches!(row, Row::Cursor(_))).expect("a cursor");
    publish(&mut world, client, "t", "b").unwrap();
    assert_eq!(world.take(client, sub), ["1=b"]);
    // The last commit had the record, but not yet that it was delivered.
    let is_cursor = |row: &Row| matches!(row, Row::Cursor(_));
    let rows = world.broker.rows().map(|row| if is_cursor(&row) { cursor.clone() } else { row });
    let rows: Vec<_> = rows.collect();
    world.break_link(client, false);
    world.recover_from(&rows, world.now);
    world.break_link(client, true);
    world.advance(secs(10));
    assert_eq!(publish(&mut world, client, "t", "c"), Ok(2));
    assert_eq!(world.take(client, sub), ["reconnected 2 2", "2=c"]);
}
