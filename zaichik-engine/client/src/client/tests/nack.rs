//! Nacks.

use core::time::Duration;

use zaichik_proto::{Fenced, Gap, GapReason, RefusalCode, ServerFrame, Start};

use super::peer::Peer;
use super::sent::Sent;
use crate::{Answer, ErrorClass, Event, RequestError, RequestId, SubscriptionId};

const NOW: Duration = Duration::ZERO;

pub(super) fn nack(peer: &mut Peer, sub: SubscriptionId, offset: u64) -> RequestId {
    peer.client.nack(peer.now, sub, offset, NOW).unwrap()
}

/// A subscription whose first `taken` messages of four were taken.
pub(super) fn delivered(peer: &mut Peer, taken: usize) -> SubscriptionId {
    let sub = peer.subscribe("t", 8, 0);
    peer.deliver(sub, 0, &[b"0", b"1", b"2", b"3"]);
    for _ in 0..taken {
        peer.message(sub);
    }
    sub
}

pub(super) fn refused_with(result: Result<RequestId, RequestError>) -> (RefusalCode, u64) {
    match result {
        Err(RequestError::Refused { refusal, .. }) => (refusal.code, refusal.value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_08_after_a_nack_only_redelivered_messages_are_handed_out() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    while peer.client.poll_ready().is_some() {}
    let id = peer.client.nack(peer.now, sub, 1, Duration::from_millis(5)).unwrap();
    let Sent::Nack { request, subscription, offset: 1, delay_micros: 5_000 } = peer.sent_one() else {
        panic!("no nack");
    };
    assert_eq!(subscription, sub.0);
    assert_eq!(peer.event(sub), None, "what was buffered is stale");
    peer.deliver(sub, 4, &[b"4"]);
    assert_eq!(peer.event(sub), None, "and so is what arrives");
    peer.done(request, 1);
    assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 1 }));
    peer.deliver(sub, 5, &[b"5"]);
    assert_eq!(peer.event(sub), None);
    peer.deliver_rewound(sub, 1, 1, &[b"1", b"2", b"3"]);
    assert_eq!(peer.client.poll_ready(), Some(sub));
    for offset in 1..4 {
        assert_eq!(peer.message(sub).offset, offset);
    }
    assert_eq!(peer.event(sub), None);
}

#[test]
fn a4_the_new_deliveries_may_precede_the_answer() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    let id = nack(&mut peer, sub, 1);
    let request = peer.sent_one().request();
    peer.deliver_rewound(sub, 1, 1, &[b"1"]);
    peer.done(request, 1);
    assert!(peer.answer_to(id).is_ok());
    peer.deliver_rewound(sub, 1, 2, &[b"2"]);
    assert_eq!((peer.message(sub).offset, peer.message(sub).offset), (1, 2));
}

#[test]
fn a4_a_gap_also_reveals_the_rewind() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    nack(&mut peer, sub, 1);
    let request = peer.sent_one().request();
    let gap = Gap { subscription: sub.0, rewind: 1, reason: GapReason::Expired, from: 1, to: 3 };
    peer.send(&ServerFrame::Gap(gap));
    peer.done(request, 1);
    assert_eq!(peer.event(sub), Some(Event::Gap { from: 1, to: 3, reason: GapReason::Expired }));
    assert_eq!(peer.event(sub), None);
}

#[test]
fn a_12_a_nacked_message_is_committed_only_after_it_is_taken_again() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    nack(&mut peer, sub, 1);
    let request = peer.sent_one().request();
    assert_eq!(peer.client.last_taken(), None);
    assert_eq!(peer.client.commit_last(peer.now), Err(RequestError::NothingToCommit));
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 1)), (RefusalCode::CommitAhead, 1));
    peer.done(request, 1);
    // Earlier messages were not rewound.
    peer.client.commit_quiet(peer.now, sub, 0).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Commit { offset: 0, .. }));
    peer.deliver_rewound(sub, 1, 1, &[b"1"]);
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 1)), (RefusalCode::CommitAhead, 1));
    assert_eq!(peer.message(sub).offset, 1);
    peer.client.commit_last(peer.now).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Commit { offset: 1, .. }));
}

#[test]
fn a_nack_without_a_connection_drops_what_was_received_after_it() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 1);
    peer.disconnect();
    let id = peer.client.nack(peer.now, sub, 0, Duration::ZERO).unwrap();
    assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 0 }));
    assert_eq!(peer.event(sub), None, "buffered messages are redelivered after the nacked one");
}

#[test]
fn a_nack_does_not_affect_commit_last_on_another_subscription() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    let other = peer.subscribe("u", 1, 0);
    peer.deliver(other, 0, &[b"0"]);
    peer.message(other);
    nack(&mut peer, sub, 0);
    assert_eq!(peer.client.last_taken(), Some((other, 0)));
}

#[test]
fn a_11_a_nack_of_a_committed_message_is_an_error_without_sending_a_byte() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    peer.client.commit_quiet(peer.now, sub, 1).unwrap();
    peer.sent();
    let error = peer.client.nack(peer.now, sub, 0, NOW).unwrap_err();
    assert_eq!(error, RequestError::AlreadyCommitted { topic: "t".into(), offset: 0, cursor: 2 });
    assert_eq!(error.class(), ErrorClass::Refused);
    assert!(peer.sent().is_empty());
    assert_eq!(peer.message(sub).offset, 3);
}

#[test]
fn a4_an_invalid_nack_is_refused_without_sending_a_byte() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 2);
    let ahead = peer.client.nack(peer.now, sub, 2, NOW);
    assert_eq!(refused_with(ahead), (RefusalCode::NackAhead, 2));
    let free = peer.subscribe("u", 0, 0);
    peer.deliver(free, 0, &[b"0"]);
    peer.message(free);
    assert_eq!(refused_with(peer.client.nack(peer.now, free, 0, NOW)), (RefusalCode::CommitsOff, 0));
    let unknown = SubscriptionId(99);
    assert_eq!(peer.client.nack(peer.now, unknown, 0, NOW), Err(RequestError::NoSubscription(unknown)));
    assert_eq!(
        peer.client.seek(peer.now, unknown, Start::Latest),
        Err(RequestError::NoSubscription(unknown))
    );
    assert!(peer.sent().is_empty());
}

/// The broker's cursor may be further ahead than the client knows: past a gap, a dead letter or a batch.
#[test]
fn a_11_a_nack_without_effect_at_the_broker_changes_nothing() {
    for refused in [false, true] {
        let mut peer = Peer::open();
        let sub = delivered(&mut peer, 3);
        while peer.client.poll_ready().is_some() {}
        nack(&mut peer, sub, 1);
        let request = peer.sent_one().request();
        peer.deliver(sub, 4, &[b"4"]);
        if refused {
            peer.refuse(request, RefusalCode::SubscriptionFenced, 2);
            assert_eq!(peer.answer().unwrap().1.unwrap_err().class(), ErrorClass::Refused);
        } else {
            peer.done(request, 0);
        }
        assert!(peer.client.commit(peer.now, sub, 2).is_ok(), "it was taken");
        assert_eq!(peer.client.poll_ready(), Some(sub));
        assert_eq!((peer.message(sub).offset, peer.message(sub).offset), (3, 4));
    }
}

#[test]
fn a4_nacks_before_the_first_answer_apply_in_order() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 4);
    nack(&mut peer, sub, 2);
    nack(&mut peer, sub, 1);
    let sent = peer.sent();
    peer.done(sent[0].request(), 1);
    peer.deliver_rewound(sub, 1, 2, &[b"2"]);
    assert_eq!(peer.event(sub), None, "it will be redelivered");
    peer.done(sent[1].request(), 2);
    peer.deliver_rewound(sub, 2, 1, &[b"1"]);
    assert_eq!(peer.message(sub).offset, 1);
    assert_eq!(peer.event(sub), None);
}

#[test]
fn a4_the_second_of_two_nacks_may_have_no_effect() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 4);
    nack(&mut peer, sub, 2);
    nack(&mut peer, sub, 1);
    let sent = peer.sent();
    peer.deliver_rewound(sub, 1, 2, &[b"2"]);
    peer.done(sent[0].request(), 1);
    peer.done(sent[1].request(), 1);
    assert_eq!(peer.message(sub).offset, 2);
}

#[test]
fn a4_a_broken_connection_redelivers_without_a_nack() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    let id = nack(&mut peer, sub, 1);
    peer.sent();
    peer.disconnect();
    assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 0 }));
    assert_eq!(peer.event(sub), None, "what was buffered is stale");
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 1)), (RefusalCode::CommitAhead, 1));
    // Without a connection nothing can be sent.
    let id = nack(&mut peer, sub, 0);
    assert!(peer.answer_to(id).is_ok());
    peer.connect(1);
    let resumed = peer.sent_one();
    peer.subscribed(&resumed, 0);
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 0)), (RefusalCode::CommitAhead, 0));
    peer.deliver(sub, 0, &[b"0"]);
    assert!(matches!(peer.event(sub), Some(Event::Reconnected { .. })));
    assert_eq!(peer.message(sub).offset, 0);
}

#[test]
fn a4_a_message_that_a_reconnect_redelivers_needs_no_nack() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    peer.disconnect();
    peer.connect(1);
    let resumed = peer.sent_one();
    peer.subscribed(&resumed, 0);
    let id = nack(&mut peer, sub, 1);
    assert!(peer.answer_to(id).is_ok());
    assert!(peer.sent().is_empty(), "the broker has not delivered it on this connection");
    peer.deliver(sub, 0, &[b"0", b"1"]);
    assert!(matches!(peer.event(sub), Some(Event::Reconnected { .. })));
    assert_eq!((peer.message(sub).offset, peer.message(sub).offset), (0, 1));
}

#[test]
fn a_nack_that_is_not_answered_in_time_still_holds_back_messages_that_may_be_stale() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    let id = nack(&mut peer, sub, 1);
    let request = peer.sent_one().request();
    peer.advance(Duration::from_secs(30));
    assert!(matches!(peer.answer_to(id), Err(RequestError::Unknown { .. })));
    assert_eq!(peer.event(sub), None);
    peer.done(request, 1);
    peer.deliver_rewound(sub, 1, 1, &[b"1"]);
    assert_eq!(peer.message(sub).offset, 1);
}

#[test]
fn a_nack_of_an_ended_subscription_does_not_succeed_when_its_connection_breaks() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 2);
    let id = nack(&mut peer, sub, 0);
    peer.send(&ServerFrame::Fenced(Fenced { subscription: sub.0, epoch: 0 }));
    assert_eq!(peer.event(sub), Some(Event::Fenced));
    peer.disconnect();
    assert!(matches!(peer.answer_to(id), Err(RequestError::Disconnected { .. })));
}
