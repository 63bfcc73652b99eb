//! The real client against the real broker, over connections that break.

use zaichik_client::{Answer, ErrorClass, Link, LinkError, PublishOptions, RequestError, SubscribeOptions};
use zaichik_proto::TopicOptions;

use crate::client::{create, publish, subscribe};
use crate::world::{Sub, World, ms, record, secs};

#[test]
fn p_12_another_instance_ends_pending_publishes_as_unknown_and_restarts_subscriptions() {
    let mut world = World::new();
    let client = world.client();
    create(&mut world, client, "t", TopicOptions::new().retain_forever());
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new().window(9));
    for body in ["a", "b", "c"] {
        publish(&mut world, client, "t", body).unwrap();
    }
    assert_eq!(world.take(client, sub), ["0=a", "1=b", "2=c"]);
    world.call(client, |client, now| client.commit_quiet(now, sub, 1)).unwrap();
    // A publish is in flight when the broker goes away.
    let pending = world
        .call(client, |client, now| client.publish(now, "t", &[record(b"pending")], PublishOptions::new()));
    world.break_after(client, 1_000_000, 0);
    world.step();
    world.break_link(client, false);
    world.settle();
    world.restart(77);
    world.break_link(client, true);
    world.advance(secs(10));
    let answer = world.answer(client, pending.unwrap());
    let Some(Err(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.class(), ErrorClass::Unknown, "{error}");
    assert_eq!(world.take(client, sub), ["restarted 0"]);
    assert_eq!(publish(&mut world, client, "t", "new"), Ok(0));
    assert_eq!(world.take(client, sub), ["0=new"]);
    assert_eq!(world.call(client, |client, _| client.instance()), Some(77));
}

#[test]
fn p4_after_a_reconnect_subscriptions_continue_after_their_last_commit() {
    let mut world = World::new();
    let (client, other) = (world.client(), world.client());
    create(&mut world, client, "t", TopicOptions::new().retain_forever());
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new().window(3));
    for body in ["0", "1", "2", "3", "4"] {
        publish(&mut world, other, "t", body).unwrap();
    }
    assert_eq!(world.take(client, sub), ["0=0", "1=1", "2=2"]);
    world.done(client, |client, now| client.commit(now, sub, 0)).unwrap();
    world.break_link(client, false);
    world.settle();
    publish(&mut world, other, "t", "5").unwrap();
    world.break_link(client, true);
    world.advance(secs(10));
    assert_eq!(world.connects(client), 2);
    // Messages read but not committed are redelivered in order, and so are unread ones.
    assert_eq!(world.take(client, sub), ["reconnected 1 1", "1=1", "2=2", "3=3"]);
    world.done(client, zaichik_client::Client::commit_last).unwrap();
    assert_eq!(world.take(client, sub), ["4=4", "5=5"]);
}

#[test]
fn r9_no_gap_is_reported_for_messages_committed_without_a_connection() {
    let mut world = World::new();
    let (client, other) = (world.client(), world.client());
    create(&mut world, client, "t", TopicOptions::new().retention_ttl(secs(2)));
    let options = SubscribeOptions::new().durable(zaichik_client::DurableOptions::new("d"));
    let sub = subscribe(&mut world, client, "t", options);
    for body in ["0", "1"] {
        publish(&mut world, other, "t", body).unwrap();
    }
    assert_eq!(world.take(client, sub), ["0=0"]);
    world.break_link(client, false);
    world.settle();
    let request = world.call(client, |client, now| client.commit(now, sub, 0)).unwrap();
    assert_eq!(world.answer(client, request), None, "the broker does not have it yet");
    world.advance(secs(3));
    world.break_link(client, true);
    world.advance(secs(10));
    // The broker's cursor is still at 0 and both messages have expired; only the second one was lost.
    assert_eq!(world.take(client, sub), ["reconnected 1 1", "1..2 expired"]);
    assert!(matches!(world.answer(client, request), Some(Ok(Answer::Committed { .. }))));
}

#[test]
fn p4_committed_messages_are_not_redelivered_after_an_attach_whose_answer_was_lost() {
    let mut world = World::new();
    let (client, other) = (world.client(), world.client());
    create(&mut world, client, "t", TopicOptions::new().retain_forever());
    let options = SubscribeOptions::new().durable(zaichik_client::DurableOptions::new("d"));
    let sub = subscribe(&mut world, client, "t", options);
    for body in ["0", "1"] {
        publish(&mut world, other, "t", body).unwrap();
    }
    assert_eq!(world.take(client, sub), ["0=0"]);
    world.break_link(client, false);
    world.settle();
    let request = world.call(client, |client, now| client.commit(now, sub, 0)).unwrap();
    assert_eq!(world.answer(client, request), None, "the broker does not have it yet");
    // The next connection breaks in the answer to Subscribe, after the Welcome of 68 bytes.
    world.break_after(client, usize::MAX, 70);
    world.break_link(client, true);
    world.advance(secs(10));
    assert_eq!(world.connects(client), 3);
    assert_eq!(world.take(client, sub), ["reconnected 1 1", "1=1"]);
    assert_eq!(world.answer(client, request), Some(Ok(Answer::Committed { cursor: 1 })));
}

#[test]
fn d6_a_seek_that_never_arrived_leaves_a_durable_cursor_where_it_was() {
    let mut world = World::new();
    let (client, other) = (world.client(), world.client());
    create(&mut world, client, "t", TopicOptions::new().retain_forever());
    let options = SubscribeOptions::new().window(8).durable(zaichik_client::DurableOptions::new("d"));
    let sub = subscribe(&mut world, client, "t", options);
    for body in ["0", "1"] {
        publish(&mut world, other, "t", body).unwrap();
    }
    assert_eq!(world.take(client, sub), ["0=0", "1=1"]);
    world.done(client, |client, now| client.commit(now, sub, 0)).unwrap();
    // The seek does not arrive, while the broker keeps delivering.
    world.hold_after(client, 0);
    let to = zaichik_proto::Start::Latest;
    let seek = world.call(client, |client, now| client.seek(now, sub, to)).unwrap();
    publish(&mut world, other, "t", "2").unwrap();
    world.settle();
    world.break_link(client, true);
    world.release(client);
    world.advance(secs(10));
    assert!(matches!(world.answer(client, seek), Some(Err(RequestError::Disconnected { .. }))));
    // The broker never received the seek, and its cursor counts.
    assert_eq!(world.take(client, sub), ["reconnected 1 1", "1=1", "2=2"]);
}

#[test]
fn p4_after_a_reconnect_lost_messages_are_reported() {
    let mut world = World::new();
    let (client, other) = (world.client(), world.client());
    create(&mut world, client, "t", TopicOptions::new().retain_forever().max_messages(2));
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new());
    publish(&mut world, other, "t", "0").unwrap();
    assert_eq!(world.take(client, sub), ["0=0"]);
    world.done(client, zaichik_client::Client::commit_last).unwrap();
    world.break_link(client, false);
    world.settle();
    for body in ["1", "2", "3", "4"] {
        publish(&mut world, other, "t", body).unwrap();
    }
    world.break_link(client, true);
    world.advance(secs(10));
    assert_eq!(world.take(client, sub), ["reconnected 1 3", "3=3"]);
}

#[test]
fn p_06_a_connection_that_breaks_at_each_byte_stores_each_publish_at_most_once() {
    let (mut known, mut unknown, mut unknown_and_stored) = (0, 0, 0);
    for (there, back) in (0..400).map(|at| (at, usize::MAX)).chain((1..120).map(|at| (usize::MAX, at))) {
        let mut world = World::new();
        let client = world.client();
        create(&mut world, client, "t", TopicOptions::new().retain_forever());
        let before = world.broker.stats().records_accepted;
        world.break_after(client, there, back);
        let requests: Vec<_> = ["a", "b", "c", "d"]
            .map(|body| {
                let records = [record(body.as_bytes())];
                world.call(client, |client, now| client.publish(now, "t", &records, PublishOptions::new()))
            })
            .into_iter()
            .map(Result::unwrap)
            .collect();
        world.advance(secs(60));
        let mut sure = 0;
        for request in requests {
            match world.answer(client, request).expect("each publish is answered") {
                Ok(_) => sure += 1,
                Err(error) => {
                    assert_eq!(error.class(), ErrorClass::Unknown, "{error}");
                    unknown += 1;
                }
            }
        }
        known += sure;
        let reader = world.connect();
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
        let mut bodies: Vec<_> = reader.records().into_iter().map(|one| one.body).collect();
        assert_eq!(bodies.len() as u64, world.broker.stats().records_accepted - before);
        assert!(bodies.len() >= sure, "cut at {there}/{back}: acknowledged messages are stored");
        unknown_and_stored += bodies.len() - sure;
        bodies.sort_unstable();
        bodies.dedup();
        assert_eq!(bodies.len() as u64, world.broker.stats().records_accepted - before, "none twice");
    }
    assert!(
        known > 1_000 && unknown > 100 && unknown_and_stored > 10,
        "{known} {unknown} {unknown_and_stored}"
    );
}

#[test]
fn p4_a_publish_that_was_never_sent_is_sent_after_the_reconnect() {
    let mut world = World::new();
    let client = world.client();
    publish(&mut world, client, "t", "a").unwrap();
    world.break_link(client, false);
    world.settle();
    let request = world
        .call(client, |client, now| client.publish(now, "t", &[record(b"b")], PublishOptions::new()))
        .unwrap();
    assert_eq!(world.answer(client, request), None);
    world.advance(secs(3));
    world.break_link(client, true);
    world.advance(secs(10));
    assert!(matches!(world.answer(client, request), Some(Ok(Answer::Published(_)))));
    assert_eq!(world.broker.stats().records_accepted, 2);
}

#[test]
fn p4_a_deadline_without_a_connection_reports_that_nothing_was_sent() {
    let mut world = World::new();
    let client = world.client();
    publish(&mut world, client, "t", "a").unwrap();
    world.break_link(client, false);
    world.settle();
    let options = PublishOptions::new().deadline(secs(5));
    let request =
        world.call(client, |client, now| client.publish(now, "t", &[record(b"b")], options)).unwrap();
    world.advance(ms(4_999));
    assert_eq!(world.answer(client, request), None);
    world.advance(ms(1));
    let answer = world.answer(client, request);
    assert!(matches!(answer, Some(Err(RequestError::NotSent { .. }))), "{answer:?}");
    world.break_link(client, true);
    world.advance(secs(60));
    assert_eq!(world.broker.stats().records_accepted, 1);
}

#[test]
fn a_wrong_address_is_reported_at_once() {
    let mut world = World::new();
    let client = world.client();
    world.break_link(client, false);
    world.settle();
    assert_eq!(world.link(client), Link::Closed(Some(LinkError::ConnectFailed)));
}

#[test]
fn heartbeats_keep_an_idle_connection_alive() {
    let mut world = World::with(|config| config.wire.heartbeat_millis = 30_000);
    let client = world.client();
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new());
    world.advance(secs(3_600));
    assert_eq!(world.connects(client), 1);
    publish(&mut world, client, "t", "still here").unwrap();
    assert_eq!(world.take(client, sub), ["0=still here"]);
}

#[test]
fn s_05_a_client_survives_a_broker_that_drains() {
    let mut world = World::new();
    let client = world.client();
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new());
    publish(&mut world, client, "t", "a").unwrap();
    assert_eq!(world.take(client, sub), ["0=a"]);
    world.drain(secs(10));
    world.settle();
    let request = world
        .call(client, |client, now| client.publish(now, "t", &[record(b"b")], PublishOptions::new()))
        .unwrap();
    world.advance(secs(1));
    assert_eq!(world.answer(client, request), None, "the refusal is retryable, so it is retried");
    world.done(client, zaichik_client::Client::commit_last).unwrap();
    world.settle();
    assert_eq!(world.broker.session_count(), 0, "no work is outstanding");
    world.restart(78);
    world.advance(secs(10));
    assert!(matches!(world.answer(client, request), Some(Ok(Answer::Published(_)))));
    assert_eq!(world.take(client, sub)[0], "restarted 0");
}
