//! The real client against the real broker: end to end in simulated time.

use zaichik_client::{
    Answer, ErrorClass, Event, Link, LinkError, ProducerIdentity, PublishOptions, RequestError, RequestId,
    SubscribeOptions, SubscriptionId,
};
use zaichik_proto::{
    AckLevel, GapReason, Overflow, Producer, Record, RefusalCode, TopicOptions, TopicStatus,
};

use crate::world::{RemoteId, Sub, World, ms, record, secs};

fn publish(world: &mut World, client: RemoteId, topic: &str, body: &str) -> Result<u64, RequestError> {
    let answer = world.done(client, |client, now| {
        client.publish(now, topic, &[record(body.as_bytes())], PublishOptions::new())
    })?;
    let Answer::Published(receipt) = answer else { panic!("{answer:?}") };
    Ok(receipt.offset(0).unwrap())
}

fn subscribe(world: &mut World, client: RemoteId, topic: &str, options: SubscribeOptions) -> SubscriptionId {
    let (request, id) = world.call(client, |client, now| client.subscribe(now, topic, options)).unwrap();
    let answer = world.answer(client, request);
    assert!(matches!(answer, Some(Ok(Answer::Subscribed(start))) if start.subscription == id), "{answer:?}");
    id
}

fn create(world: &mut World, client: RemoteId, topic: &str, options: TopicOptions) {
    let answer = world.done(client, |client, now| client.create_topic(now, topic, &options));
    assert_eq!(answer, Ok(Answer::Topic(TopicStatus::Created)));
}

#[test]
fn end_to_end_a_conversation() {
    let mut world = World::new();
    let client = world.client();
    create(&mut world, client, "t", TopicOptions::new().retention_ttl(secs(60)));
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new());
    assert_eq!(publish(&mut world, client, "t", "a"), Ok(0));
    assert_eq!(publish(&mut world, client, "t", "b"), Ok(1));
    assert_eq!(world.take(client, sub), ["0=a"]);
    let cursor = world.done(client, zaichik_client::Client::commit_last);
    assert_eq!(cursor, Ok(Answer::Committed { cursor: 1 }));
    assert_eq!(world.take(client, sub), ["1=b"]);
    let ended = world.done(client, |client, now| client.unsubscribe(now, sub));
    assert_eq!(ended, Ok(Answer::Unsubscribed { last_offset: Some(1) }));
    assert_eq!(world.take(client, sub), ["Ended(Some(1))"]);
    assert_eq!(world.done(client, zaichik_client::Client::ping), Ok(Answer::Pong));
    world.call(client, zaichik_client::Client::close);
    world.settle();
    assert_eq!(world.link(client), Link::Closed(None));
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn end_to_end_all_parts_of_a_message_arrive() {
    let mut world = World::new();
    let client = world.client();
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new());
    let headers: [(&str, &[u8]); 2] = [("trace", &[1, 2]), ("empty", b"")];
    let full = Record { key: Some(b"k"), headers: &headers, ..record(b"body") };
    world.done(client, |client, now| client.publish(now, "t", &[full], PublishOptions::new())).unwrap();
    let at = world.now();
    let incoming = world.call(client, |client, _| client.poll_event(sub));
    let Some(Event::Message(message)) = incoming else { panic!("{incoming:?}") };
    assert_eq!((message.offset, message.attempt, message.timestamp), (0, 1, at));
    assert_eq!((message.key.as_deref(), &message.body[..]), (Some(&b"k"[..]), &b"body"[..]));
    assert!(message.headers.iter().eq(headers));
}

#[test]
fn a_07_a_bare_commit_commits_the_last_message_read() {
    let mut world = World::new();
    let client = world.client();
    let one = subscribe(&mut world, client, "one", SubscribeOptions::new());
    let two = subscribe(&mut world, client, "two", SubscribeOptions::new());
    for topic in ["one", "two"] {
        for body in ["a", "b"] {
            publish(&mut world, client, topic, body).unwrap();
        }
    }
    assert_eq!(world.take(client, two), ["0=a"]);
    assert_eq!(world.take(client, one), ["0=a"]);
    world.done(client, zaichik_client::Client::commit_last).unwrap();
    assert_eq!(world.take(client, one), ["1=b"]);
    assert!(world.take(client, two).is_empty());
    let request = world.call(client, |client, now| client.commit(now, two, 0)).unwrap();
    assert_eq!(world.answer(client, request), Some(Ok(Answer::Committed { cursor: 1 })));
    assert_eq!(world.take(client, two), ["1=b"]);
    world.done(client, zaichik_client::Client::commit_last).unwrap();
    assert_eq!(world.take(client, two), Vec::<String>::new());
}

#[test]
fn a_18_publishing_from_a_handler_with_the_smallest_buffers() {
    let mut world = World::with(|config| config.output_buffer = 1);
    let client = world.client_with(|config| {
        config.max_in_flight = 1;
        config.max_in_flight_bytes = 1;
        config.max_outbound_bytes = 1;
        config.buffer_bytes = 1;
    });
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new());
    publish(&mut world, client, "t", "0").unwrap();
    for offset in 0..100_u64 {
        assert_eq!(world.take(client, sub), [format!("{offset}={offset}")]);
        // The handler publishes on the same connection and commits once the publish is answered.
        assert_eq!(publish(&mut world, client, "t", &(offset + 1).to_string()), Ok(offset + 1));
        world.done(client, zaichik_client::Client::commit_last).unwrap();
    }
}

#[test]
fn a5_a_gap_reaches_the_application() {
    let mut world = World::new();
    let client = world.client();
    create(&mut world, client, "t", TopicOptions::new().retain_forever().max_messages(2));
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new());
    for body in ["0", "1", "2", "3"] {
        publish(&mut world, client, "t", body).unwrap();
    }
    assert_eq!(world.take(client, sub), ["0=0"]);
    world.done(client, zaichik_client::Client::commit_last).unwrap();
    assert_eq!(world.take(client, sub), ["1..2 limit", "2=2"]);
    assert!(GapReason::Limit > GapReason::Expired);
}

#[test]
fn p_09_an_oversized_message_is_a_local_error_and_no_byte_is_sent() {
    let mut world = World::with(|config| config.wire.max_message = 1_000);
    let client = world.client();
    publish(&mut world, client, "t", "first").unwrap();
    let before = world.bytes_sent(client);
    let large = vec![b'x'; 1_001];
    let result =
        world.call(client, |client, now| client.publish(now, "t", &[record(&large)], PublishOptions::new()));
    assert_eq!(result, Err(RequestError::TooLarge { limit: 1_000, got: 1_001 }));
    world.settle();
    assert_eq!(world.bytes_sent(client), before);
    assert_eq!(publish(&mut world, client, "t", &"x".repeat(1_000)), Ok(1));
}

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
    let committed = world.done(client, |client, now| client.commit(now, sub, 0));
    assert_eq!(committed, Ok(Answer::Committed { cursor: 1 }));
    world.advance(secs(3));
    world.break_link(client, true);
    world.advance(secs(10));
    // The broker's cursor is still at 0 and both messages have expired; only the second one was lost.
    assert_eq!(world.take(client, sub), ["reconnected 1 1", "1..2 expired"]);
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
    let committed = world.done(client, |client, now| client.commit(now, sub, 0));
    assert_eq!(committed, Ok(Answer::Committed { cursor: 1 }));
    // The next connection breaks in the answer to Subscribe, after the Welcome of 68 bytes.
    world.break_after(client, usize::MAX, 70);
    world.break_link(client, true);
    world.advance(secs(10));
    assert_eq!(world.connects(client), 3);
    assert_eq!(world.take(client, sub), ["reconnected 1 1", "1=1"]);
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
fn r5_a_publish_with_a_retryable_refusal_is_retried() {
    let mut world = World::new();
    let (client, consumer) = (world.client(), world.client());
    let options = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    create(&mut world, client, "t", options);
    let sub = subscribe(&mut world, consumer, "t", SubscribeOptions::new());
    publish(&mut world, client, "t", "a").unwrap();
    let send = |world: &mut World, body: &'static str| {
        let options = PublishOptions::new().deadline(secs(20));
        world
            .call(client, |client, now| client.publish(now, "t", &[record(body.as_bytes())], options))
            .unwrap()
    };
    let request = send(&mut world, "b");
    world.advance(secs(10));
    assert_eq!(world.answer(client, request), None);
    assert_eq!(world.take(consumer, sub), ["0=a"]);
    world.done(consumer, zaichik_client::Client::commit_last).unwrap();
    world.advance(secs(2));
    assert!(matches!(world.answer(client, request), Some(Ok(Answer::Published(_)))));
    // No reader commits any more: at the deadline the refusal becomes the result.
    let request = send(&mut world, "c");
    world.advance(secs(20));
    let Some(Err(RequestError::Refused { refusal, .. })) = world.answer(client, request) else { panic!() };
    assert_eq!(refusal.code, RefusalCode::TopicFull);
}

#[test]
fn close_waits_for_unanswered_requests() {
    let mut world = World::new();
    let client = world.client();
    let requests: Vec<_> = (0..50)
        .map(|_| {
            world.call(client, |client, now| client.publish(now, "t", &[record(b"x")], PublishOptions::new()))
        })
        .map(Result::unwrap)
        .collect();
    // Close was called before the client was connected.
    world.call(client, zaichik_client::Client::close);
    let refused = world.call(client, zaichik_client::Client::ping);
    assert_eq!(refused, Err(RequestError::Closed));
    world.settle();
    assert_eq!(world.link(client), Link::Closed(None));
    for request in requests {
        assert!(matches!(world.answer(client, request), Some(Ok(Answer::Published(_)))));
    }
    assert_eq!(world.broker.stats().records_accepted, 50);
}

#[test]
fn close_gives_up_at_its_deadline() {
    let mut world = World::new();
    let client = world.client_with(|config| config.drain_timeout = secs(4));
    publish(&mut world, client, "t", "a").unwrap();
    world.break_link(client, false);
    world.settle();
    let request = world
        .call(client, |client, now| client.publish(now, "t", &[record(b"b")], PublishOptions::new()))
        .unwrap();
    world.call(client, zaichik_client::Client::close);
    world.advance(ms(3_999));
    assert!(matches!(world.link(client), Link::Connect { .. }));
    world.advance(ms(1));
    assert_eq!(world.link(client), Link::Closed(Some(LinkError::DrainTimeout { unanswered: 1 })));
    assert!(matches!(world.answer(client, request), Some(Err(_))));
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

#[test]
fn window_0_never_exceeds_the_buffer_and_loses_nothing() {
    let mut world = World::new();
    let client = world.client_with(|config| config.buffer_bytes = 10_000);
    let writer = world.client();
    create(&mut world, client, "t", TopicOptions::new().retain_forever());
    let sub = subscribe(&mut world, client, "t", SubscribeOptions::new().window(0));
    let body = "x".repeat(1_000);
    for _ in 0..600 {
        publish(&mut world, writer, "t", &body).unwrap();
    }
    assert!(!world.call(client, |client, _| client.wants_read()));
    let mut seen = 0;
    for _ in 0..1_000 {
        let taken = world.take(client, sub).len();
        if taken == 0 {
            break;
        }
        seen += taken;
    }
    assert_eq!(seen, 600);
}

#[test]
fn a_publish_without_acknowledgement_is_queued_and_its_refusals_are_counted() {
    let mut world = World::new();
    let client = world.client();
    create(&mut world, client, "t", TopicOptions::new().retain_forever().max_bytes(20));
    for body in [&b"ok"[..], b"too long for the topic", b"this one as well"] {
        let options = PublishOptions::new().ack(AckLevel::None);
        let answer = world.done(client, |client, now| client.publish(now, "t", &[record(body)], options));
        assert_eq!(answer, Ok(Answer::Queued));
    }
    world.advance(secs(2));
    let (count, refusal) = world.call(client, |client, _| client.poll_refused()).unwrap();
    assert_eq!((count, refusal.code, refusal.value), (2, RefusalCode::TooLarge, 20));
    assert_eq!(world.broker.stats().records_accepted, 1);
}

/// A client whose publish of "old" left on a connection that broke, and was refused on the next one until its deadline;
/// its number, and the answer so far.
fn given_up(world: &mut World) -> (RemoteId, RequestId, Producer) {
    world.topic(TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject));
    let client = world.client_with(|config| config.producer = Some(ProducerIdentity::new(77)));
    let publish = |world: &mut World, body: &str, deadline| {
        let (records, options) = ([record(body.as_bytes())], PublishOptions::new().deadline(deadline));
        world.call(client, |client, now| client.publish(now, "t", &records, options)).unwrap()
    };
    let first = publish(world, "first", secs(60));
    assert!(matches!(world.answer(client, first), Some(Ok(_))));
    let old = publish(world, "old", ms(500));
    while !world.has_left(client) {
        world.step();
    }
    world.break_link(client, true);
    let sequence = ProducerIdentity::new(77).first_sequence + 1;
    (client, old, Producer { id: 77, epoch: ProducerIdentity::new(77).epoch, sequence })
}

fn make_room(world: &mut World) {
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.alter("t", TopicOptions::new().max_messages(10))), "done 0");
}

fn publish_new(world: &mut World, client: RemoteId) -> RequestId {
    let records = [record(b"new")];
    world.call(client, |client, now| client.publish(now, "t", &records, PublishOptions::new())).unwrap()
}

#[test]
fn p4_bytes_that_arrive_after_a_client_gave_up_are_not_stored_and_answer_nothing_else() {
    let mut world = World::new();
    let (client, old, producer) = given_up(&mut world);
    world.advance(secs(3));
    let answer = world.answer(client, old);
    assert!(matches!(&answer, Some(Err(RequestError::Refused { .. }))), "{answer:?}");
    make_room(&mut world);
    let late = world.connect();
    let request = late.publish_as(Some(producer), "t", AckLevel::Accepted, &[record(b"old")]);
    assert_eq!(world.ask(&late, request), "refused SequenceTooOld", "its number was used up");
    let new = publish_new(&mut world, client);
    let Some(Ok(Answer::Published(receipt))) = world.answer(client, new) else { panic!("it is refused") };
    assert_eq!(receipt.offset(0), Some(1));
    assert_eq!(world.everything(), ["1/0=first", "1/1=new"]);
}

#[test]
fn p4_bytes_that_arrive_before_the_empty_batch_are_reported_as_stored() {
    let mut world = World::new();
    let (client, old, producer) = given_up(&mut world);
    world.advance(ms(200));
    assert!(world.answer_so_far(client, old).is_none());
    make_room(&mut world);
    let late = world.connect();
    let request = late.publish_as(Some(producer), "t", AckLevel::Accepted, &[record(b"old")]);
    assert_eq!(world.ask(&late, request), "@1");
    let new = publish_new(&mut world, client);
    world.advance(secs(3));
    let Some(Ok(Answer::Published(receipt))) = world.answer(client, old) else { panic!("it is stored") };
    assert!(receipt.is_repeated());
    assert_eq!(receipt.offset(0), Some(1));
    assert!(matches!(world.answer(client, new), Some(Ok(_))));
    assert_eq!(world.everything(), ["1/0=first", "1/1=old", "1/2=new"]);
}
