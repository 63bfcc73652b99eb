//! Retryable refusals, deadlines, and unknown outcomes.

use core::time::Duration;

use bytes::Buf;
use zaichik_proto::{Record, RefusalCode, TopicOptions};

use super::peer::Peer;
use super::sent::Sent;
use crate::{Answer, ClientConfig, ErrorClass, Link, PublishOptions, RequestError};

#[test]
fn r5_a_retryable_refusal_is_tried_again_with_growing_delays() {
    let mut peer = Peer::open();
    let id = peer.publish("t", b"again").unwrap();
    let first = peer.sent_one();
    let mut delays = Vec::new();
    for _ in 0..10 {
        peer.refuse(first.request(), RefusalCode::TopicFull, 0);
        let due = peer.client.next_timeout().unwrap();
        delays.push(due.since(peer.now));
        peer.client.handle_timeout(peer.now);
        assert!(peer.sent().is_empty(), "not before it is due");
        peer.now = due;
        peer.client.handle_timeout(due);
        assert_eq!(peer.sent_one(), first);
    }
    for (index, delay) in delays.iter().enumerate() {
        let base = Duration::from_millis((10 << index).min(1_000));
        assert!(*delay >= base && *delay <= base * 3 / 2, "{index}: {delay:?}");
    }
    peer.ack(&[(first.request(), 1, 3)]);
    assert!(matches!(peer.answer_to(id), Ok(Answer::Published(_))));
}

#[test]
fn a_broker_without_memory_or_space_names_the_delay() {
    for code in [RefusalCode::Busy, RefusalCode::StorageFull] {
        let mut peer = Peer::open();
        peer.publish("t", b"later").unwrap();
        let request = peer.sent_one().request();
        peer.refuse(request, code, 7_000_000);
        assert_eq!(peer.client.next_timeout(), Some(peer.now + Duration::from_secs(7)));
    }
}

#[test]
fn the_refusal_is_reported_when_the_deadline_leaves_no_time() {
    let mut peer = Peer::open();
    let id = peer.publish("t", b"never").unwrap();
    let request = peer.sent_one().request();
    let start = peer.now;
    let error = loop {
        peer.refuse(request, RefusalCode::TopicFull, 0);
        if let Some((answered, result)) = peer.answer() {
            assert_eq!(answered, id);
            break result.unwrap_err();
        }
        peer.now = peer.client.next_timeout().unwrap();
        peer.client.handle_timeout(peer.now);
        assert_eq!(peer.sent_one().request(), request);
    };
    assert!(matches!(error, RequestError::Refused { .. }));
    assert_eq!(error.class(), ErrorClass::Retryable);
    let waited = peer.now.since(start);
    assert!(waited >= Duration::from_secs(28) && waited <= Duration::from_secs(30), "{waited:?}");
    assert_eq!(peer.client.link(), Link::Open);
}

#[test]
fn a_final_refusal_is_reported_at_once() {
    let mut peer = Peer::open();
    let id = peer.publish("t", b"no").unwrap();
    let request = peer.sent_one().request();
    peer.refuse(request, RefusalCode::NotDurable, 0);
    let error = peer.answer_to(id).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused);
}

#[test]
fn without_an_answer_at_the_deadline_the_outcome_is_unknown_and_a_late_answer_still_fits() {
    let mut peer = Peer::open();
    let record = Record::default();
    let short = PublishOptions::new().deadline(Duration::from_secs(1));
    let first = peer.client.publish(peer.now, "t", &[record], short).unwrap();
    let second = peer.publish("t", b"2").unwrap();
    let sent = peer.sent();
    peer.advance(Duration::from_secs(1));
    let error = peer.answer_to(first).unwrap_err();
    assert_eq!(error, RequestError::Unknown { topic: "t".into() });
    assert_eq!(error.class(), ErrorClass::Unknown);
    // The late answer belongs to the first one, not to the second.
    peer.ack(&[(sent[0].request(), 2, 8)]);
    let Ok(Answer::Published(receipt)) = peer.answer_to(second) else {
        panic!("no receipt");
    };
    assert_eq!(receipt.first_offset, Some(9));
    assert_eq!(peer.answer(), None);
}

#[test]
fn a_publish_that_never_had_a_connection_was_not_sent() {
    let mut peer = Peer::new(ClientConfig::new(1));
    let id = peer.publish("t", b"nobody").unwrap();
    let create = peer.client.create_topic(peer.now, "t", &TopicOptions::new()).unwrap();
    peer.advance(Duration::from_secs(30));
    let error = peer.answer_to(id).unwrap_err();
    assert_eq!(error, RequestError::NotSent { topic: "t".into() });
    assert_eq!(error.class(), ErrorClass::Retryable);
    assert_eq!(peer.answer_to(create), Err(RequestError::NotSent { topic: "t".into() }));
    peer.connect(1);
    assert!(peer.sent().is_empty());
}

#[test]
fn p4_a_publish_is_unknown_if_its_last_byte_was_sent_and_queued_again_if_not() {
    let mut whole = Peer::open();
    whole.publish("t", b"body").unwrap();
    let len = whole.client.outbound().remaining();
    for cut in 0..=len {
        let mut peer = Peer::open();
        let id = peer.publish("t", b"body").unwrap();
        let queued = peer.publish("t", b"next").unwrap();
        peer.client.outbound().advance(cut);
        peer.disconnect();
        if cut == len {
            let unknown = RequestError::Unknown { topic: "t".into() };
            assert_eq!(peer.answer_to(id), Err(unknown));
        }
        assert_eq!(peer.answer(), None, "cut at {cut}");
        peer.connect(1);
        let bodies: Vec<_> = peer
            .sent()
            .into_iter()
            .map(|sent| match sent {
                Sent::Publish { mut bodies, .. } => bodies.remove(0),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: &[&[u8]] = if cut == len { &[b"next"] } else { &[b"body", b"next"] };
        assert_eq!(bodies, expected, "cut at {cut}");
        assert!(queued > id);
    }
}

#[test]
fn p4_other_requests_on_a_broken_connection_end_as_disconnected() {
    let mut peer = Peer::open();
    let create = peer.client.create_topic(peer.now, "t", &TopicOptions::new()).unwrap();
    let ping = peer.client.ping(peer.now).unwrap();
    peer.sent();
    peer.disconnect();
    let error = peer.answer_to(create).unwrap_err();
    assert_eq!(error, RequestError::Disconnected { topic: "t".into() });
    assert_eq!(error.class(), ErrorClass::Retryable);
    assert!(matches!(peer.answer_to(ping), Err(RequestError::Disconnected { .. })));
}

#[test]
fn a_refused_publish_keeps_its_delay_over_a_broken_connection() {
    let mut peer = Peer::open();
    let id = peer.publish("t", b"patient").unwrap();
    let sent = peer.sent_one();
    peer.refuse(sent.request(), RefusalCode::Draining, 0);
    peer.disconnect();
    peer.advance(Duration::from_millis(20));
    peer.connect(1);
    assert_eq!(peer.sent_one(), sent);
    peer.ack(&[(sent.request(), 1, 0)]);
    assert!(peer.answer_to(id).is_ok());
}
