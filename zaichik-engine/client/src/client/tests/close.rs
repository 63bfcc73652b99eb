//! Orderly closing of a client.

use core::time::Duration;

use zaichik_proto::{AckLevel, Goodbye, GoodbyeReason, Record, ServerFrame, TopicOptions};

use super::peer::Peer;
use super::sent::Sent;
use crate::{ClientConfig, ErrorClass, Link, LinkError, PublishOptions, RequestError};

fn goodbye(peer: &mut Peer, reason: GoodbyeReason) {
    peer.send(&ServerFrame::Goodbye(Goodbye { reason, grace_millis: 0 }));
}

#[test]
fn close_waits_for_answers_then_sends_close_then_waits_for_goodbye() {
    let mut peer = Peer::open();
    let id = peer.publish("t", b"owed").unwrap();
    let request = peer.sent_one().request();
    peer.client.close(peer.now);
    assert!(peer.sent().is_empty());
    assert_eq!(peer.client.link(), Link::Open);
    let refused = peer.publish("t", b"late").unwrap_err();
    assert_eq!((refused.class(), refused), (ErrorClass::Fatal, RequestError::Closed));
    peer.ack(&[(request, 1, 0)]);
    assert!(peer.answer_to(id).is_ok());
    assert_eq!(peer.sent(), [Sent::Close]);
    assert_eq!(peer.client.link(), Link::Closing);
    goodbye(&mut peer, GoodbyeReason::Closed);
    assert_eq!(peer.client.link(), Link::Closed(None));
    assert_eq!(peer.client.next_timeout(), None);
}

#[test]
fn the_end_of_the_stream_counts_as_goodbye() {
    let mut peer = Peer::open();
    peer.client.close(peer.now);
    assert_eq!(peer.sent(), [Sent::Close]);
    peer.disconnect();
    assert_eq!(peer.client.link(), Link::Closed(None));
}

#[test]
fn a_client_without_pending_requests_closes_without_a_connection() {
    let mut peer = Peer::new(ClientConfig::new(1));
    peer.client.close(peer.now);
    assert_eq!(peer.client.link(), Link::Closed(None));
}

#[test]
fn close_reconnects_for_pending_requests() {
    let mut peer = Peer::open();
    peer.disconnect();
    let id = peer.publish("t", b"owed").unwrap();
    let quiet = PublishOptions::new().ack(AckLevel::None);
    peer.client.publish(peer.now, "t", &[Record::default()], quiet).unwrap();
    assert!(peer.answer().is_some());
    peer.client.close(peer.now);
    peer.connect(1);
    let sent = peer.sent();
    assert_eq!(sent.len(), 2);
    peer.ack(&[(sent[0].request(), 1, 0)]);
    assert!(peer.answer_to(id).is_ok());
    assert_eq!(peer.sent(), [Sent::Close]);
}

#[test]
fn the_drain_deadline_ends_the_wait() {
    let mut peer = Peer::open();
    let publish = peer.publish("t", b"owed").unwrap();
    let create = peer.client.create_topic(peer.now, "t", &TopicOptions::new()).unwrap();
    peer.sent();
    peer.client.close(peer.now);
    peer.client.close(peer.now + Duration::from_secs(5));
    peer.advance(Duration::from_secs(10));
    assert_eq!(peer.client.link(), Link::Closed(Some(LinkError::DrainTimeout { unanswered: 2 })));
    assert!(matches!(peer.answer_to(publish), Err(RequestError::Unknown { .. })));
    assert!(matches!(peer.answer_to(create), Err(RequestError::Disconnected { .. })));
}

#[test]
fn close_waits_for_goodbye_only_until_the_drain_deadline() {
    let mut peer = Peer::open();
    peer.client.close(peer.now);
    peer.advance(Duration::from_secs(10));
    assert_eq!(peer.client.link(), Link::Closed(None));
}

#[test]
fn a_draining_broker_still_answers_and_is_reconnected_to() {
    let mut peer = Peer::open();
    let id = peer.publish("t", b"owed").unwrap();
    let request = peer.sent_one().request();
    goodbye(&mut peer, GoodbyeReason::Draining);
    assert_eq!(peer.client.link(), Link::Open);
    peer.ack(&[(request, 1, 0)]);
    assert!(peer.answer_to(id).is_ok());
    peer.disconnect();
    assert!(matches!(peer.client.link(), Link::Connect { .. }));
}

#[test]
fn messages_that_are_not_taken_do_not_keep_close_from_finishing() {
    let mut config = ClientConfig::new(1);
    config.buffer_bytes = 100;
    let mut peer = Peer::open_with(config);
    let (free, windowed) = (peer.subscribe("t", 0, 0), peer.subscribe("t", 1, 0));
    let id = peer.publish("t", b"owed").unwrap();
    let request = peer.sent_one().request();
    peer.deliver(free, 0, &[&[0; 200]]);
    assert!(!peer.client.wants_read());
    peer.client.close(peer.now);
    assert!(peer.client.wants_read());
    peer.deliver(free, 1, &[&[0; 200]]);
    peer.deliver(windowed, 0, &[b"last"]);
    peer.ack(&[(request, 1, 0)]);
    assert!(peer.answer_to(id).is_ok());
    assert_eq!(peer.sent(), [Sent::Close]);
    peer.deliver(free, 2, &[&[0; 200]]);
    goodbye(&mut peer, GoodbyeReason::Closed);
    assert_eq!(peer.client.link(), Link::Closed(None));
    assert_eq!(peer.message(free).offset, 0);
    assert_eq!(peer.event(free), None);
    assert_eq!(peer.message(windowed).offset, 0);
}

#[test]
fn unsent_publishes_without_acknowledgement_count_as_unanswered() {
    let mut peer = Peer::new(ClientConfig::new(1));
    let quiet = PublishOptions::new().ack(AckLevel::None);
    let record = Record::default();
    assert!(peer.client.publish(peer.now, "t", &[record], quiet).is_ok());
    peer.client.close(peer.now);
    peer.advance(Duration::from_secs(10));
    let error = LinkError::DrainTimeout { unanswered: 1 };
    assert_eq!(peer.client.link(), Link::Closed(Some(error)));
}
