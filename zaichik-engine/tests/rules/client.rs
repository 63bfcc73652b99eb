//! The real client against the real broker: end to end in simulated time.

use zaichik_client::{
    Answer, Event, Link, LinkError, ProducerIdentity, PublishOptions, RequestError, RequestId,
    SubscribeOptions, SubscriptionId,
};
use zaichik_proto::{
    AckLevel, GapReason, Overflow, Producer, Record, RefusalCode, TopicOptions, TopicStatus,
};

use crate::world::{RemoteId, World, ms, record, secs};

pub(crate) fn publish(
    world: &mut World,
    client: RemoteId,
    topic: &str,
    body: &str,
) -> Result<u64, RequestError> {
    let answer = world.done(client, |client, now| {
        client.publish(now, topic, &[record(body.as_bytes())], PublishOptions::new())
    })?;
    let Answer::Published(receipt) = answer else { panic!("{answer:?}") };
    Ok(receipt.offset(0).unwrap())
}

pub(crate) fn subscribe(
    world: &mut World,
    client: RemoteId,
    topic: &str,
    options: SubscribeOptions,
) -> SubscriptionId {
    let (request, id) = world.call(client, |client, now| client.subscribe(now, topic, options)).unwrap();
    let answer = world.answer(client, request);
    assert!(matches!(answer, Some(Ok(Answer::Subscribed(start))) if start.subscription == id), "{answer:?}");
    id
}

pub(crate) fn create(world: &mut World, client: RemoteId, topic: &str, options: TopicOptions) {
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
    let at = world.now;
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
