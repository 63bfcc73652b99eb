//! Acknowledgements that want no answer (rule G3).

use bytes::Buf;
use zaichik_proto::{OffsetRange, Refusal, RefusalCode};

use super::peer::Peer;
use super::sent::{Effect, Sent};
use super::shared::{acked, deliver, joined, offering, one, open, take};
use crate::{ClientConfig, Hold, Link, LinkError, RequestError, SubscriptionId, Violation};

/// A member that has taken the first of three messages from offset 9 on.
fn holding(peer: &mut Peer) -> (SubscriptionId, Hold) {
    let sub = joined(peer);
    deliver(peer, sub, 9, 3, 1, 0);
    let (_, hold) = take(peer, sub);
    (sub, hold)
}

#[test]
fn g3_an_ack_that_wants_no_answer_is_one_quiet_frame() {
    let mut peer = open();
    let (sub, hold) = holding(&mut peer);
    let ranges = [OffsetRange { first: 9, count: 2 }, OffsetRange { first: 11, count: 1 }];
    peer.client.ack_quiet(peer.now, hold, &ranges).unwrap();
    let sent = peer.sent_one();
    let (request, subscription, effect) = (sent.request(), sub.0, Effect::Acknowledged { quiet: true });
    let offsets = vec![(9, 2), (11, 1)];
    assert_eq!(sent, Sent::Settle { request, subscription, rewind: 0, effect, offsets });
    assert_eq!((peer.answer(), peer.client.poll_refused()), (None, None));
    peer.client.close(peer.now);
    assert!(matches!(peer.sent_one(), Sent::Close), "nothing is awaited");
}

#[test]
fn g3_what_is_wrong_with_a_quiet_ack_is_counted() {
    let mut peer = open();
    let (_, hold) = holding(&mut peer);
    peer.client.ack_quiet(peer.now, hold, &[OffsetRange { first: 9, count: 40 }]).unwrap();
    let request = peer.sent_one().request();
    let not_held = [OffsetRange { first: 12, count: 3 }, OffsetRange { first: 20, count: 1 }];
    acked(&mut peer, request, 9, &not_held);
    let refusal = Refusal::with_value(RefusalCode::NotHeld, 20);
    assert_eq!(peer.client.poll_refused(), Some((4, refusal)));
    peer.refuse(request, RefusalCode::NotSubscribed, 0);
    assert_eq!(
        peer.client.poll_refused().map(|(count, refusal)| (count, refusal.code)),
        Some((1, RefusalCode::NotSubscribed))
    );
    assert!(matches!(peer.client.link(), Link::Open));
    // A broker that answers although all of it is held breaks the protocol.
    acked(&mut peer, request, 12, &[]);
    let answer = Violation::Answer { request };
    assert_eq!(peer.client.link(), Link::Closed(Some(LinkError::Violation(answer))));
}

#[test]
fn g3_a_quiet_ack_that_can_not_be_sent_is_an_error() {
    let mut peer = open();
    let (sub, hold) = holding(&mut peer);
    let returned = Err(RequestError::Returned { topic: "t".into() });
    assert_eq!(peer.client.ack_quiet(peer.now, hold, &[]), Err(RequestError::InvalidRanges));
    let unknown = Hold { subscription: SubscriptionId(77), ..hold };
    let missing = Err(RequestError::NoSubscription(SubscriptionId(77)));
    assert_eq!(peer.client.ack_quiet(peer.now, unknown, &one(9)), missing);
    peer.disconnect();
    assert_eq!(peer.client.ack_quiet(peer.now, hold, &one(9)), returned);
    peer.connect(1);
    let sent = peer.sent_one();
    assert_eq!(peer.client.ack_quiet(peer.now, hold, &one(9)), returned);
    peer.attached(&sent, 9, 0, 0);
    assert_eq!(peer.client.ack_quiet(peer.now, hold, &one(9)), returned, "it is redelivered");
    peer.event(sub);
    deliver(&mut peer, sub, 9, 1, 2, 0);
    let (_, hold) = take(&mut peer, sub);
    assert_eq!(peer.client.ack_quiet(peer.now, hold, &one(9)), Ok(()));
    peer.client.ping(peer.now).unwrap();
    peer.client.close(peer.now);
    assert_eq!(peer.client.ack_quiet(peer.now, hold, &one(9)), Err(RequestError::Closed));
}

#[test]
fn g3_quiet_acks_that_wait_to_be_written_are_bounded() {
    let mut config = ClientConfig::new(7);
    config.max_outbound_bytes = 1_000;
    let mut peer = offering(config);
    peer.connect(1);
    let (_, hold) = holding(&mut peer);
    let mut written = 0;
    while peer.client.ack_quiet(peer.now, hold, &one(9)).is_ok() {
        written += 1;
        assert!(written < 100, "{} bytes wait", peer.client.outbound().remaining());
    }
    assert_eq!(peer.client.ack_quiet(peer.now, hold, &one(9)), Err(RequestError::Full));
    assert_eq!(peer.sent().len(), written);
    assert_eq!(peer.client.ack_quiet(peer.now, hold, &one(9)), Ok(()));
    // No request waits, so there is room for as many answered ones as ever.
    assert!(peer.client.ack(peer.now, hold, &one(9)).is_ok());
}
