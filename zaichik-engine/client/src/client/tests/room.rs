//! Requests that were given up leave their room to others, however long the broker refuses their numbers (rule P4).

use core::time::Duration;

use zaichik_proto::{RefusalCode, ServerFrame};

use super::peer::Peer;
use super::producer::{config, gaps, known_with, numbered, publish_for};
use super::sent::Sent;
use crate::{Answer, ClientConfig, RequestError};

const SECOND: Duration = Duration::from_secs(1);

/// A client with room for one request, whose number 100 was given up but may have reached the broker, which refuses to
/// remember the producer.
fn given_up(room: impl FnOnce(&mut ClientConfig)) -> Peer {
    let mut config = config();
    room(&mut config);
    let mut peer = Peer::open_with(config);
    let given_up = publish_for(&mut peer, b"a", SECOND);
    peer.sent_one();
    peer.disconnect();
    peer.advance(SECOND);
    assert!(matches!(peer.answer_to(given_up), Err(RequestError::Unknown { .. })));
    peer.connect(1);
    let empty = peer.sent_one();
    assert_eq!(numbered(std::slice::from_ref(&empty)), [(100, &b""[..])]);
    peer.refuse(empty.request(), RefusalCode::ProducersFull, 1);
    peer
}

#[test]
fn p4_the_empty_batch_of_a_request_that_was_given_up_takes_no_room() {
    let bounds: [fn(&mut ClientConfig); 3] = [
        |config| config.max_in_flight = 1,
        |config| config.max_in_flight_bytes = 1,
        |config| config.max_outbound_bytes = 1,
    ];
    for bound in bounds {
        let mut peer = given_up(bound);
        assert!(peer.client.has_room());
        let ping = peer.client.ping(peer.now).unwrap();
        assert!(!peer.client.has_room());
        let Sent::Ping(nonce) = peer.sent_one() else { panic!("no ping") };
        peer.send(&ServerFrame::Pong { nonce });
        assert_eq!(peer.answer_to(ping), Ok(Answer::Pong));
        // A later publish waits for the producer's turn, and its deadline holds.
        let held_back = publish_for(&mut peer, b"b", SECOND / 1_000);
        assert!(!peer.client.has_room());
        peer.advance(SECOND / 1_000);
        assert!(matches!(peer.answer_to(held_back), Err(RequestError::HeldBack { .. })));
        assert!(peer.client.has_room());
    }
}

#[test]
fn p4_no_number_is_assigned_while_as_many_as_there_is_room_for_are_not_used_up() {
    let mut config = config();
    config.max_in_flight = 2;
    let mut peer = known_with(config);
    let first = publish_for(&mut peer, b"a", SECOND);
    let sent = peer.sent_one();
    peer.refuse(sent.request(), RefusalCode::Busy, 1_000_000);
    assert!(matches!(peer.answer_to(first), Err(RequestError::Refused { .. })));
    let second = publish_for(&mut peer, b"b", SECOND + SECOND / 2);
    peer.advance(SECOND);
    let sent = peer.sent();
    assert_eq!(numbered(&sent), [(101, &b""[..]), (102, b"b")]);
    peer.refuse(sent[0].request(), RefusalCode::Busy, 1_000_000);
    gaps(&mut peer, &sent[1..], 101);
    peer.advance(SECOND / 2);
    assert!(matches!(peer.answer_to(second), Err(RequestError::HeldBack { .. })));
    let third = publish_for(&mut peer, b"c", 30 * SECOND);
    peer.advance(SECOND / 2);
    let sent = peer.sent();
    assert_eq!(numbered(&sent), [(101, &b""[..]), (102, b"")], "both numbers are still to be used up");
    peer.batched(sent[0].request(), &[], &[]);
    let fresh = peer.sent_one();
    assert_eq!(numbered(std::slice::from_ref(&fresh)), [(103, &b"c"[..])]);
    peer.batched(sent[1].request(), &[], &[]);
    peer.ack(&[(fresh.request(), 1, 1)]);
    assert!(peer.answer_to(third).is_ok());
}
