//! Requests, their local checks, their bounds and their answers.

use bytes::Buf;
use zaichik_proto::{
    AckLevel, Counter, CounterValue, Counters, Items, List, NameError, Page, Record, RecordError, Refusal,
    RefusalCode, Refused, ServerFrame, TopicOptions, TopicReady, TopicStatus,
};

use super::peer::Peer;
use super::sent::Sent;
use crate::{
    Answer, ClientConfig, ErrorClass, Link, LinkError, PublishOptions, RequestError, SubscribeOptions,
    Violation,
};

fn body(body: &[u8]) -> Record<'_> {
    Record { body, ..Record::default() }
}

fn violation(peer: &Peer) -> Violation {
    match peer.client.link() {
        Link::Closed(Some(LinkError::Violation(violation))) => violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_made_before_the_handshake_are_sent_after_it_in_order() {
    let mut peer = Peer::new(ClientConfig::new(1));
    let options = TopicOptions::new();
    peer.client.create_topic(peer.now, "a", &options).unwrap();
    peer.publish("a", b"1").unwrap();
    peer.client.subscribe(peer.now, "a", SubscribeOptions::new()).unwrap();
    peer.publish("a", b"2").unwrap();
    peer.connect(1);
    let kinds: Vec<_> = peer
        .sent()
        .into_iter()
        .map(|sent| match sent {
            Sent::CreateTopic { .. } => "create",
            Sent::Publish { .. } => "publish",
            Sent::Subscribe { .. } => "subscribe",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["create", "publish", "subscribe", "publish"]);
}

#[test]
fn topic_requests_are_answered() {
    let mut peer = Peer::open();
    let create = peer.client.create_topic(peer.now, "a", &TopicOptions::new()).unwrap();
    let alter = peer.client.alter_topic(peer.now, "a", &TopicOptions::new()).unwrap();
    let refused = peer.client.create_topic(peer.now, "b", &TopicOptions::new()).unwrap();
    let sent = peer.sent();
    peer.done(sent[1].request(), 0);
    assert_eq!(peer.answer_to(alter), Ok(Answer::Altered));
    peer.send(&ServerFrame::TopicReady(TopicReady {
        request: sent[0].request(),
        status: TopicStatus::Created,
    }));
    assert_eq!(peer.answer_to(create), Ok(Answer::Topic(TopicStatus::Created)));
    peer.refuse(sent[2].request(), RefusalCode::SettingsDiffer, 1);
    let error = peer.answer_to(refused).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused);
    let text = error.to_string();
    assert_eq!(
        text,
        "topic \"b\": the topic exists with other settings; these differ: retention_ttl; to change them, alter the topic"
    );
    assert_eq!(peer.client.link(), Link::Open);
}

#[test]
fn p1_runs_duplicates_and_refusals_answer_publishes_in_the_order_sent() {
    let mut peer = Peer::open();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let records = [body(b"a"), body(b"b")];
        ids.push(peer.client.publish(peer.now, "t", &records, PublishOptions::new()).unwrap());
    }
    let three = [body(b"a"), body(b"b"), body(b"c")];
    ids.push(peer.client.publish(peer.now, "t", &three, PublishOptions::new()).unwrap());
    ids.push(peer.publish("t", b"refused").unwrap());
    ids.push(peer.publish("t", b"last").unwrap());
    let wires: Vec<_> = peer.sent().iter().map(Sent::request).collect();
    peer.ack(&[(wires[0], 2, 10), (wires[2], 1, 20)]);
    for (index, first) in [(0, 10), (1, 12), (2, 20)] {
        let Ok(Answer::Published(receipt)) = peer.answer_to(ids[index]) else {
            panic!("publish {index}");
        };
        assert_eq!((receipt.first_offset, receipt.count), (Some(first), 2));
        assert_eq!(
            (receipt.offset(0), receipt.offset(1), receipt.offset(2)),
            (Some(first), Some(first + 1), None)
        );
    }
    peer.published(wires[3], Some(22), &[(1, 4)]);
    let Ok(Answer::Published(receipt)) = peer.answer_to(ids[3]) else {
        panic!("no receipt");
    };
    let offsets: Vec<_> = (0..3).map(|record| receipt.offset(record).unwrap()).collect();
    assert_eq!(offsets, [22, 4, 23]);
    assert!(receipt.is_duplicate(1) && !receipt.is_duplicate(2));
    peer.refuse(wires[4], RefusalCode::TooLarge, 9);
    assert!(matches!(peer.answer_to(ids[4]), Err(RequestError::Refused { .. })));
    peer.ack(&[(wires[5], 1, 24)]);
    assert!(peer.answer_to(ids[5]).is_ok());
    assert_eq!(peer.answer(), None);
}

#[test]
fn answers_that_fit_no_request_are_violations() {
    type Script = fn(&mut Peer, u32, u32);
    let scripts: [Script; 8] = [
        |peer, _, second| peer.ack(&[(second, 1, 0)]),
        |peer, first, _| peer.ack(&[(first, 3, 0)]),
        |peer, _, second| peer.published(second, Some(0), &[]),
        |peer, first, _| peer.done(first, 0),
        |peer, first, _| peer.published(first, None, &[]),
        |peer, first, _| peer.published(first, Some(0), &[(0, 0)]),
        |peer, first, _| peer.published(first, Some(0), &[(1, 0)]),
        |peer, _, second| peer.refuse(second.wrapping_add(1), RefusalCode::Busy, 0),
    ];
    for (index, script) in scripts.into_iter().enumerate() {
        let mut peer = Peer::open();
        let ids = [peer.publish("t", b"1").unwrap(), peer.publish("t", b"2").unwrap()];
        let sent = peer.sent();
        script(&mut peer, sent[0].request(), sent[1].request());
        let violation = violation(&peer);
        assert!(
            matches!(violation, Violation::Answer { .. } | Violation::Offsets { .. }),
            "{index}: {violation:?}"
        );
        // A run that is too long first answers the requests that it can.
        for id in ids {
            let answer = peer.answer_to(id);
            assert!(matches!(answer, Err(RequestError::Unknown { .. }) | Ok(_)), "{index}: {answer:?}");
        }
    }
}

#[test]
fn p_09_a_request_above_a_limit_is_refused_without_sending_a_byte() {
    let mut peer = Peer::new(ClientConfig::new(1));
    (peer.limits.max_message, peer.limits.max_records, peer.limits.max_window) = (100, 2, 4);
    peer.limits.max_frame = 400;
    peer.connect(1);
    let publish = |peer: &mut Peer, topic: &str, records: &[Record<'_>]| {
        let result = peer.client.publish(peer.now, topic, records, PublishOptions::new());
        assert!(!peer.client.outbound().has_remaining());
        result.unwrap_err()
    };
    let key = [7; 51];
    let large = Record { key: Some(&key), body: &[0; 50], ttl_micros: Some(1), ..Record::default() };
    let too_large = RequestError::TooLarge { limit: 100, got: 101 };
    assert_eq!(publish(&mut peer, "t", &[large]), too_large);
    let three = [body(b""), body(b""), body(b"")];
    assert_eq!(publish(&mut peer, "t", &three), RequestError::TooManyRecords { limit: 2, got: 3 });
    assert_eq!(publish(&mut peer, "t", &[]), RequestError::NoRecords);
    let reserved = RequestError::InvalidTopic(NameError::Reserved);
    assert_eq!(publish(&mut peer, "$sys", &[body(b"")]), reserved);
    let tombstone = Record { tombstone: true, ..Record::default() };
    let bad = RequestError::BadRecord { index: 1, error: RecordError::BadTombstone };
    assert_eq!(publish(&mut peer, "t", &[body(b""), tombstone]), bad);
    let dated = Record { timestamp: 1, ..Record::default() };
    let set = RequestError::BadRecord { index: 0, error: RecordError::TimestampSet };
    assert_eq!(publish(&mut peer, "t", &[dated]), set);
    let wide = SubscribeOptions::new().window(5);
    let window = peer.client.subscribe(peer.now, "t", wide).unwrap_err();
    assert_eq!(window, RequestError::WindowTooLarge { limit: 4, got: 5 });
    assert_eq!(window.class(), ErrorClass::Refused);
    assert_eq!(peer.client.link(), Link::Open);
    assert!(peer.publish("t", &[0; 100]).is_ok());
}

#[test]
fn a_queued_request_above_limits_learned_later_is_not_sent() {
    let mut peer = Peer::new(ClientConfig::new(1));
    let large = peer.publish("t", &[0; 101]).unwrap();
    let quiet = PublishOptions::new().ack(AckLevel::None);
    let lost = peer.client.publish(peer.now, "t", &[body(&[0; 101])], quiet).unwrap();
    peer.publish("t", &[0; 100]).unwrap();
    peer.limits.max_message = 100;
    peer.connect(1);
    assert!(matches!(peer.sent_one(), Sent::Publish { bodies, .. } if bodies[0].len() == 100));
    assert_eq!(peer.answer_to(lost), Ok(Answer::Queued));
    assert_eq!(peer.answer_to(large), Err(RequestError::TooLarge { limit: 100, got: 101 }));
    assert_eq!(peer.client.poll_refused(), Some((1, Refusal::with_value(RefusalCode::TooLarge, 100))));
}

#[test]
fn a_client_with_too_many_requests_is_full_until_an_answer_is_polled() {
    let mut config = ClientConfig::new(1);
    config.max_in_flight = 2;
    let mut peer = Peer::open_with(config);
    peer.publish("t", b"1").unwrap();
    peer.publish("t", b"2").unwrap();
    let full = peer.publish("t", b"3").unwrap_err();
    assert_eq!((full.class(), full), (ErrorClass::Retryable, RequestError::Full));
    let sent = peer.sent();
    peer.ack(&[(sent[0].request(), 1, 0)]);
    assert_eq!(peer.publish("t", b"3"), Err(RequestError::Full), "the answer was not polled");
    assert!(peer.answer().is_some());
    peer.publish("t", b"3").unwrap();
}

#[test]
fn bytes_that_wait_to_be_written_are_bounded() {
    let mut config = ClientConfig::new(1);
    config.max_outbound_bytes = 1_000;
    let mut peer = Peer::open_with(config);
    let quiet = PublishOptions::new().ack(AckLevel::None);
    let mut accepted = 0;
    while peer.client.publish(peer.now, "t", &[body(&[0; 300])], quiet).is_ok() {
        accepted += 1;
        assert!(peer.answer().is_some());
    }
    assert_eq!(accepted, 3, "two of 336 bytes fit, and one more may exceed the limit");
    assert_eq!(peer.sent().len(), 3);
    assert!(peer.client.publish(peer.now, "t", &[body(b"")], quiet).is_ok());
}

#[test]
fn kept_bytes_are_bounded_and_freed_in_the_end() {
    let mut config = ClientConfig::new(1);
    (config.max_outbound_bytes, config.max_in_flight_bytes) = (1_000, 3_000);
    let mut peer = Peer::open_with(config);
    let mut wires = Vec::new();
    while peer.publish("t", &[0; 300]).is_ok() {
        wires.extend(peer.sent().iter().map(Sent::request));
    }
    assert_eq!(wires.len(), 9);
    peer.ack(&[(wires[0], 9, 0)]);
    while peer.answer().is_some() {}
    assert!(peer.publish("t", &[0; 300]).is_ok());
}

#[test]
fn p1_refusals_of_publishes_without_acknowledgement_are_counted() {
    let mut peer = Peer::open();
    let options = PublishOptions::new().ack(AckLevel::None);
    let id = peer.client.publish(peer.now, "t", &[body(b"")], options).unwrap();
    assert_eq!(peer.answer_to(id), Ok(Answer::Queued));
    let refusal = Refusal::new(RefusalCode::TopicFull);
    for count in [2, 3] {
        peer.send(&ServerFrame::Refused(Refused { request: 0, count, refusal, repeated: None }));
    }
    assert_eq!(peer.client.poll_refused(), Some((5, refusal)));
    assert_eq!(peer.client.poll_refused(), None);
}

#[test]
fn descriptions_and_removals_are_answered() {
    let mut peer = Peer::open();
    let ids = [
        peer.client.describe_broker(peer.now).unwrap(),
        peer.client.describe_topics(peer.now, 0).unwrap(),
        peer.client.describe_subscriptions(peer.now, None, 7).unwrap(),
        peer.client.remove_durable(peer.now, "t", "worker").unwrap(),
    ];
    let wires: Vec<_> = peer.sent().iter().map(Sent::request).collect();
    let value = CounterValue { counter: Counter::Topics, value: 7 };
    let mut bytes = Vec::new();
    let values = List::encode_into(&mut bytes, [value]);
    peer.send(&ServerFrame::Counters(Counters { request: wires[0], values }));
    assert_eq!(peer.answer_to(ids[0]), Ok(Answer::Counters(vec![value])));
    peer.send(&ServerFrame::Topics(Page { request: wires[1], next: Some(270), items: Items::EMPTY }));
    assert_eq!(peer.answer_to(ids[1]), Ok(Answer::Topics { topics: Vec::new(), next: Some(270) }));
    peer.send(&ServerFrame::Subscriptions(Page { request: wires[2], next: None, items: Items::EMPTY }));
    assert_eq!(peer.answer_to(ids[2]), Ok(Answer::Subscriptions { subscriptions: Vec::new(), next: None }));
    peer.done(wires[3], 0);
    assert_eq!(peer.answer_to(ids[3]), Ok(Answer::Removed));
    assert_eq!(peer.client.link(), Link::Open);
}

#[test]
fn an_answer_to_another_kind_of_request_is_a_violation() {
    type Script = fn(&mut Peer, u32);
    let scripts: [Script; 3] = [
        |peer, request| {
            let mut bytes = Vec::new();
            let values = List::encode_into(&mut bytes, []);
            peer.send(&ServerFrame::Counters(Counters { request, values }));
        },
        |peer, request| {
            peer.send(&ServerFrame::Topics(Page { request, next: None, items: Items::EMPTY }));
        },
        |peer, request| {
            peer.send(&ServerFrame::Subscriptions(Page { request, next: None, items: Items::EMPTY }));
        },
    ];
    for script in scripts {
        let mut peer = Peer::open();
        peer.client.remove_durable(peer.now, "t", "worker").unwrap();
        let request = peer.sent_one().request();
        script(&mut peer, request);
        assert!(matches!(violation(&peer), Violation::Answer { .. }));
    }
}

#[test]
fn a_page_that_is_followed_by_an_earlier_one_is_a_violation() {
    for (from, next, is_right) in [(0, 1, true), (0, 0, false), (7, 8, true), (7, 7, false), (7, 3, false)] {
        for of_topics in [true, false] {
            let mut peer = Peer::open();
            let asked = if of_topics {
                peer.client.describe_topics(peer.now, from)
            } else {
                peer.client.describe_subscriptions(peer.now, None, from)
            };
            let id = asked.unwrap();
            let request = peer.sent_one().request();
            peer.send(&if of_topics {
                ServerFrame::Topics(Page { request, next: Some(next), items: Items::EMPTY })
            } else {
                ServerFrame::Subscriptions(Page { request, next: Some(next), items: Items::EMPTY })
            });
            if is_right {
                assert!(peer.answer_to(id).is_ok(), "{from}, {next}");
            } else {
                assert!(matches!(violation(&peer), Violation::Answer { .. }), "{from}, {next}");
            }
        }
    }
    // No page follows a single topic.
    let mut peer = Peer::open();
    peer.client.describe_topic(peer.now, "t").unwrap();
    let request = peer.sent_one().request();
    peer.send(&ServerFrame::Topics(Page { request, next: Some(1), items: Items::EMPTY }));
    assert!(matches!(violation(&peer), Violation::Answer { .. }));
}

#[test]
fn a_ping_of_the_application_is_answered() {
    let mut peer = Peer::open();
    let id = peer.client.ping(peer.now).unwrap();
    let Sent::Ping(nonce) = peer.sent_one() else {
        panic!("no ping");
    };
    peer.send(&ServerFrame::Pong { nonce });
    assert_eq!(peer.answer_to(id), Ok(Answer::Pong));
}
