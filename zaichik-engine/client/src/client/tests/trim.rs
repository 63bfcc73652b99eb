//! Trimming, which only some brokers offer (rule R10).

use zaichik_proto::{Refusal, RefusalCode, ServerFrame, Start, Trimmed, Version, Welcome};

use super::peer::Peer;
use super::sent::Sent;
use crate::{Answer, ClientConfig, Link, RequestError, TrimReceipt};

/// A peer before its connection, which speaks version 2.
fn peer(capabilities: u64) -> Peer {
    let mut peer = Peer::new(ClientConfig::new(1));
    (peer.version, peer.capabilities) = (Version::Two, capabilities);
    peer
}

fn unsupported() -> Result<Answer, RequestError> {
    let refusal = Refusal::new(RefusalCode::Unsupported);
    Err(RequestError::Refused { topic: "t".into(), refusal })
}

#[test]
fn r10_a_trim_is_answered_with_what_is_left() {
    let mut peer = peer(Welcome::TRIM);
    peer.connect(1);
    let trim = peer.client.trim_topic(peer.now, "t", Start::Offset(9)).unwrap();
    let sent = peer.sent_one();
    assert!(matches!(sent, Sent::TrimTopic { before: Start::Offset(9), .. }), "{sent:?}");
    peer.send(&ServerFrame::Trimmed(Trimmed { request: sent.request(), start: 9, removed: 4 }));
    assert_eq!(peer.answer_to(trim), Ok(Answer::Trimmed(TrimReceipt { start: 9, removed: 4 })));
}

#[test]
fn r10_a_broker_that_does_not_offer_it_gets_no_request() {
    // The capabilities that it offers are not the one that is needed.
    let mut newer = peer(!Welcome::TRIM);
    newer.connect(1);
    let mut older = Peer::open();
    for peer in [&mut newer, &mut older] {
        let trim = peer.client.trim_topic(peer.now, "t", Start::Latest).unwrap();
        assert_eq!(peer.answer_to(trim), unsupported());
        assert!(peer.sent().is_empty());
        assert_eq!(peer.client.link(), Link::Open, "the connection is usable");
    }
    // It may be made before the broker is known.
    let mut peer = peer(0);
    let trim = peer.client.trim_topic(peer.now, "t", Start::Latest).unwrap();
    peer.connect(1);
    assert_eq!(peer.answer_to(trim), unsupported());
}

#[test]
fn r10_a_trim_that_may_have_removed_everything_is_not_to_be_repeated_blindly() {
    for (before, is_harmless) in [(Start::Offset(9), true), (Start::Time(9), true), (Start::Latest, false)] {
        let mut peer = peer(Welcome::TRIM);
        peer.connect(1);
        let trim = peer.client.trim_topic(peer.now, "t", before).unwrap();
        peer.sent();
        peer.disconnect();
        let topic = "t".into();
        let expected =
            if is_harmless { RequestError::Disconnected { topic } } else { RequestError::Unknown { topic } };
        assert_eq!(peer.answer_to(trim), Err(expected), "{before:?}");
    }
}

#[test]
fn r10_another_answer_to_a_trim_breaks_the_protocol() {
    let mut peer = peer(Welcome::TRIM);
    peer.connect(1);
    peer.client.trim_topic(peer.now, "t", Start::Latest).unwrap();
    let wire = peer.sent_one().request();
    peer.done(wire, 0);
    assert!(matches!(peer.client.link(), Link::Closed(Some(_)) | Link::Connect { .. }));
    let mut peer = self::peer(Welcome::TRIM);
    peer.connect(1);
    peer.client.alter_topic(peer.now, "t", &zaichik_proto::TopicOptions::new()).unwrap();
    let request = peer.sent_one().request();
    peer.send(&ServerFrame::Trimmed(Trimmed { request, start: 0, removed: 0 }));
    assert!(matches!(peer.client.link(), Link::Closed(Some(_)) | Link::Connect { .. }));
}
