//! The order of a client's publishes (rule P6): those without an acknowledgement among those with a number.

use core::time::Duration;

use zaichik_proto::{AckLevel, Record, RefusalCode};

use super::peer::Peer;
use super::producer::{gaps, known, numbered, publish_for, sleep_until_due};
use super::sent::Sent;
use crate::{PublishOptions, RequestError};

const SECOND: Duration = Duration::from_secs(1);

/// Publishes without an acknowledgement.
fn quiet(peer: &mut Peer, body: &[u8]) {
    let options = PublishOptions::new().ack(AckLevel::None);
    peer.client.publish(peer.now, "t", &[Record { body, ..Record::default() }], options).unwrap();
    assert!(peer.answer().is_some(), "queued");
}

fn bodies(sent: &[Sent]) -> Vec<&[u8]> {
    sent.iter().map(Sent::body).collect()
}

#[test]
fn p6_an_unacknowledged_publish_waits_until_those_before_it_are_answered() {
    let mut peer = known();
    peer.publish("t", b"a").unwrap();
    quiet(&mut peer, b"b");
    peer.publish("t", b"c").unwrap();
    peer.client.ping(peer.now).unwrap();
    let sent = peer.sent();
    assert!(
        matches!(&sent[..], [Sent::Publish { .. }, Sent::Ping(_)]),
        "other requests do not wait: {sent:?}"
    );
    // It is resent before the one that waits.
    peer.refuse(sent[0].request(), RefusalCode::TopicFull, 0);
    sleep_until_due(&mut peer);
    let again = peer.sent_one();
    assert_eq!(again.body(), b"a");
    peer.ack(&[(again.request(), 1, 1)]);
    assert_eq!(bodies(&peer.sent()), [b"b", b"c"]);
}

#[test]
fn p6_an_unacknowledged_publish_does_not_wait_for_the_number_of_one_that_was_given_up() {
    let mut peer = known();
    let refused = publish_for(&mut peer, b"a", SECOND / 2);
    let behind = publish_for(&mut peer, b"b", SECOND / 2);
    quiet(&mut peer, b"c");
    peer.publish("t", b"d").unwrap();
    let sent = peer.sent();
    assert_eq!(numbered(&sent), [(101, &b"a"[..]), (102, b"b")]);
    peer.refuse(sent[0].request(), RefusalCode::Busy, 10_000_000);
    assert!(matches!(peer.answer_to(refused), Err(RequestError::Refused { .. })), "it can't be sent in time");
    gaps(&mut peer, &sent[1..], 101);
    let sent = peer.sent();
    assert_eq!(numbered(&sent), [(101, &b""[..]), (102, b"b")]);
    peer.refuse(sent[0].request(), RefusalCode::Busy, 10_000_000);
    gaps(&mut peer, &sent[1..], 101);
    assert!(peer.sent().is_empty(), "the second one is not answered");
    peer.advance(SECOND / 2);
    assert!(matches!(peer.answer_to(behind), Err(RequestError::HeldBack { .. })));
    // Nothing is left that it could overtake. Numbers wait for the end of the delay.
    assert_eq!(bodies(&peer.sent()), [b"c"]);
    peer.advance(10 * SECOND);
    assert_eq!(numbered(&peer.sent()), [(101, &b""[..]), (102, b""), (103, b"d")]);
    quiet(&mut peer, b"e");
    assert!(peer.sent().is_empty(), "the one before it has no answer");
}

#[test]
fn p6_an_unacknowledged_publish_follows_one_that_is_in_flight_and_reported_as_unknown() {
    let mut peer = known();
    let unknown = publish_for(&mut peer, b"a", SECOND);
    quiet(&mut peer, b"b");
    let first = peer.sent_one();
    peer.advance(SECOND);
    assert!(matches!(peer.answer_to(unknown), Err(RequestError::Unknown { .. })));
    assert_eq!(bodies(&peer.sent()), [b"b"], "on one connection, in this order");
    // Refused, it is not resent, so it can't take effect behind the other one.
    peer.refuse(first.request(), RefusalCode::Busy, 0);
    sleep_until_due(&mut peer);
    assert_eq!(numbered(&[peer.sent_one()]), [(101, &b""[..])]);
}

#[test]
fn p6_an_unacknowledged_publish_waits_while_it_is_open_whether_one_before_it_took_effect() {
    let mut peer = known();
    let lost = publish_for(&mut peer, b"a", 2 * SECOND);
    peer.sent();
    quiet(&mut peer, b"b");
    peer.disconnect();
    peer.connect(1);
    let again = peer.sent_one();
    assert_eq!(numbered(std::slice::from_ref(&again)), [(101, &b"a"[..])]);
    // It can't be sent again in time, but the first attempt may still arrive: an empty batch asks.
    peer.refuse(again.request(), RefusalCode::Busy, 10_000_000);
    let asks = peer.sent_one();
    assert_eq!(numbered(std::slice::from_ref(&asks)), [(101, &b""[..])]);
    peer.refuse(asks.request(), RefusalCode::Busy, 10_000_000);
    assert_eq!((peer.answer(), peer.sent()), (None, Vec::new()));
    peer.advance(2 * SECOND);
    assert!(matches!(peer.answer_to(lost), Err(RequestError::Unknown { .. })));
    assert_eq!(bodies(&peer.sent()), [b"b"]);
}
