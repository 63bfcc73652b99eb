//! Durable subscriptions and dead letters, from the client's side.

use core::time::Duration;

use zaichik_proto::{Fenced, Gap, GapReason, NameError, OnConflict, RefusalCode, ServerFrame, Start};

use super::peer::Peer;
use super::sent::{Attach, Sent};
use crate::{
    Answer, DurableOptions, ErrorClass, Event, Link, LinkError, RequestError, SubscribeOptions,
    SubscriptionId,
};

fn options(name: &str) -> SubscribeOptions {
    SubscribeOptions::new().window(8).durable(DurableOptions::new(name))
}

/// A durable subscription attached with this epoch and rewind number.
fn attach(peer: &mut Peer, start: u64, epoch: u32, rewind: u32) -> SubscriptionId {
    let (id, sub) = peer.client.subscribe(peer.now, "t", options("worker")).unwrap();
    let sent = peer.sent_one();
    peer.attached(&sent, start, epoch, rewind);
    assert!(matches!(peer.answer_to(id), Ok(Answer::Subscribed(_))));
    sub
}

/// Epoch and start of the Subscribe after a reconnect.
fn reattached(sent: &Sent) -> (u32, Start) {
    match sent {
        Sent::Subscribe { durable: Some(durable), start, .. } => (durable.epoch, *start),
        other => panic!("{other:?}"),
    }
}

fn reconnect(peer: &mut Peer, instance: u128) -> Sent {
    peer.disconnect();
    peer.connect(instance);
    peer.sent_one()
}

#[test]
fn d1_a_subscribe_carries_all_options() {
    let mut peer = Peer::open();
    let durable =
        DurableOptions::new("worker").on_conflict(OnConflict::Reject).inactive_ttl(Duration::from_secs(5));
    let options = SubscribeOptions::new().durable(durable).dead_letter(3, "dead");
    peer.client.subscribe(peer.now, "t", options).unwrap();
    let Sent::Subscribe { durable, dead_letter, .. } = peer.sent_one() else {
        panic!("no Subscribe");
    };
    let expected = Attach {
        name: "worker".into(),
        on_conflict: OnConflict::Reject,
        epoch: 0,
        inactive_ttl_micros: 5_000_000,
    };
    assert_eq!((durable, dead_letter), (Some(expected), (3, "dead".into())));
}

#[test]
fn d1_names_are_checked_before_any_byte_is_sent() {
    let mut peer = Peer::open();
    let long = "x".repeat(256);
    for (name, got) in [("", 0), (&*long, 256)] {
        let error = peer.client.subscribe(peer.now, "t", options(name)).unwrap_err();
        assert_eq!(error, RequestError::InvalidDurableName { got });
        assert_eq!(error.class(), ErrorClass::Refused);
    }
    let dead = SubscribeOptions::new().dead_letter(1, "$dead");
    let error = peer.client.subscribe(peer.now, "t", dead).unwrap_err();
    assert_eq!(error, RequestError::InvalidDeadLetter(NameError::Reserved));
    assert!(peer.sent().is_empty());
    // Several names on one topic, including the longest one.
    for name in ["a", "b", &long[1..]] {
        peer.client.subscribe(peer.now, "t", options(name)).unwrap();
    }
    assert_eq!(peer.sent().len(), 3);
}

#[test]
fn d_01_a_reconnect_attaches_with_the_last_epoch_and_resumes_after_the_last_commit() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 4, 3, 7);
    peer.deliver_rewound(sub, 7, 4, &[b"4", b"5", b"6"]);
    peer.message(sub);
    peer.message(sub);
    peer.client.commit_quiet(peer.now, sub, 4).unwrap();
    peer.sent();
    let sent = reconnect(&mut peer, 1);
    assert_eq!(reattached(&sent), (3, Start::Offset(5)));
    peer.attached(&sent, 5, 4, 8);
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 5, start: 5 }));
    peer.deliver_rewound(sub, 8, 5, &[b"5"]);
    assert_eq!(peer.message(sub).offset, 5);
    let sent = reconnect(&mut peer, 1);
    assert_eq!(reattached(&sent), (4, Start::Offset(5)));
}

#[test]
fn d2_commits_without_a_connection_are_sent_later_and_their_messages_are_not_returned_again() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 0, 1, 0);
    peer.deliver(sub, 0, &[b"0", b"1"]);
    peer.message(sub);
    peer.sent();
    peer.disconnect();
    peer.message(sub);
    peer.client.commit_quiet(peer.now, sub, 1).unwrap();
    peer.connect(1);
    let sent = peer.sent_one();
    peer.attached(&sent, 0, 2, 1);
    peer.deliver_rewound(sub, 1, 0, &[b"0", b"1", b"2"]);
    assert!(matches!(peer.sent_one(), Sent::Commit { offset: 1, quiet: true, .. }));
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 2, start: 2 }));
    assert_eq!(peer.message(sub).offset, 2);
}

#[test]
fn d4_only_the_uncommitted_part_of_a_gap_is_reported() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 0, 1, 0);
    peer.deliver(sub, 0, &[b"0", b"1"]);
    peer.sent();
    peer.disconnect();
    peer.message(sub);
    peer.client.commit_quiet(peer.now, sub, 0).unwrap();
    peer.connect(1);
    let sent = peer.sent_one();
    peer.attached(&sent, 0, 2, 1);
    let gap = Gap { subscription: sub.0, rewind: 1, reason: GapReason::Expired, from: 0, to: 2 };
    peer.send(&ServerFrame::Gap(gap));
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 1, start: 1 }));
    assert_eq!(peer.event(sub), Some(Event::Gap { from: 1, to: 2, reason: GapReason::Expired }));
}

#[test]
fn d4_a_gap_that_ends_at_the_last_commit_is_not_reported() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 0, 1, 0);
    peer.deliver(sub, 0, &[b"0", b"1"]);
    peer.sent();
    peer.disconnect();
    peer.message(sub);
    peer.client.commit_quiet(peer.now, sub, 0).unwrap();
    peer.connect(1);
    let sent = peer.sent_one();
    peer.attached(&sent, 0, 2, 1);
    let gap = Gap { subscription: sub.0, rewind: 1, reason: GapReason::Expired, from: 0, to: 1 };
    peer.send(&ServerFrame::Gap(gap));
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 1, start: 1 }));
    assert_eq!(peer.event(sub), None);
}

#[test]
fn d6_a_cursor_that_another_client_moved_overrides_earlier_commits() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 0, 1, 0);
    peer.deliver(sub, 0, &[b"0", b"1"]);
    peer.message(sub);
    peer.message(sub);
    peer.client.commit_quiet(peer.now, sub, 1).unwrap();
    peer.sent();
    let sent = reconnect(&mut peer, 1);
    // Raised by the attachment and by a seek.
    peer.attached(&sent, 0, 2, 2);
    peer.deliver_rewound(sub, 2, 0, &[b"0"]);
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 0, start: 0 }));
    assert!(peer.client.commit(peer.now, sub, 0).is_err(), "it has not been taken since");
    assert_eq!(peer.message(sub).offset, 0);
}

#[test]
fn d_08_fenced_at_the_reconnect_is_final() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 0, 1, 0);
    let sent = reconnect(&mut peer, 1);
    peer.refuse(sent.request(), RefusalCode::SubscriptionFenced, 2);
    assert_eq!(peer.event(sub), Some(Event::Fenced));
    assert_eq!(peer.event(sub), None);
    peer.disconnect();
    peer.connect(1);
    assert!(peer.sent().is_empty());
    assert_eq!(peer.client.commit(peer.now, sub, 0), Err(RequestError::NoSubscription(sub)));
}

#[test]
fn d_03_a_fenced_subscription_reports_it_and_frames_in_transit_are_refused() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 0, 1, 0);
    peer.deliver(sub, 0, &[b"0", b"1", b"2"]);
    for _ in 0..3 {
        peer.message(sub);
    }
    let commit = peer.client.commit(peer.now, sub, 0).unwrap();
    let nack = peer.client.nack(peer.now, sub, 1, Duration::ZERO).unwrap();
    let seek = peer.client.seek(peer.now, sub, Start::Latest).unwrap();
    let sent = peer.sent();
    peer.send(&ServerFrame::Fenced(Fenced { subscription: sub.0, epoch: 2 }));
    for (sent, id) in sent.iter().zip([commit, nack, seek]) {
        peer.refuse(sent.request(), RefusalCode::SubscriptionFenced, 2);
        match peer.answer_to(id) {
            Err(RequestError::Refused { refusal, .. }) => {
                assert_eq!(refusal.code, RefusalCode::SubscriptionFenced);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(peer.event(sub), Some(Event::Fenced));
    assert_eq!(peer.event(sub), None);
}

#[test]
fn d3_an_unsubscribe_during_fencing_drops_frames_in_transit() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 0, 1, 0);
    let id = peer.client.unsubscribe(peer.now, sub).unwrap();
    let sent = peer.sent_one();
    // The refusal overtakes frames that were queued earlier.
    peer.refuse(sent.request(), RefusalCode::SubscriptionFenced, 2);
    peer.deliver(sub, 0, &[b"0"]);
    peer.send(&ServerFrame::Fenced(Fenced { subscription: sub.0, epoch: 2 }));
    assert_eq!(peer.client.link(), Link::Open);
    assert_eq!(peer.answer_to(id), Ok(Answer::Unsubscribed { last_offset: None }));
    assert_eq!(peer.event(sub), Some(Event::Ended(None)));
    assert_eq!(peer.event(sub), None);
    // Now the broker has ended it as well.
    peer.deliver(sub, 1, &[b"1"]);
    assert!(matches!(peer.client.link(), Link::Closed(Some(LinkError::Violation(_)))));
}

#[test]
fn d_04_a_held_subscription_is_an_error_of_the_first_subscribe() {
    let mut peer = Peer::open();
    let (id, sub) = peer.client.subscribe(peer.now, "t", options("worker")).unwrap();
    let sent = peer.sent_one();
    peer.refuse(sent.request(), RefusalCode::SubscriptionHeld, 0);
    match peer.answer_to(id) {
        Err(RequestError::Refused { refusal, .. }) => {
            assert_eq!(refusal.code, RefusalCode::SubscriptionHeld);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.event(sub), None);
}

#[test]
fn p5_on_another_instance_it_begins_at_its_original_position_without_an_epoch() {
    let mut peer = Peer::open();
    let sub = attach(&mut peer, 4, 3, 7);
    peer.deliver_rewound(sub, 7, 4, &[b"4"]);
    peer.message(sub);
    peer.client.commit_quiet(peer.now, sub, 4).unwrap();
    let sent = reconnect(&mut peer, 2);
    assert_eq!(reattached(&sent), (0, Start::Earliest));
    peer.attached(&sent, 0, 1, 0);
    peer.deliver(sub, 0, &[b"0"]);
    assert_eq!(peer.event(sub), Some(Event::Restarted { start: 0 }));
    assert_eq!(peer.message(sub).offset, 0);
}

/// A durable subscription of which messages 0 and 1 were taken.
fn with_two_taken(peer: &mut Peer) -> SubscriptionId {
    let sub = attach(peer, 0, 1, 0);
    peer.deliver(sub, 0, &[b"0", b"1"]);
    assert_eq!((peer.message(sub).offset, peer.message(sub).offset), (0, 1));
    sub
}

#[test]
fn p4_a_commit_that_the_broker_did_not_receive_is_sent_again_and_then_answered() {
    let mut peer = Peer::open();
    let sub = with_two_taken(&mut peer);
    let id = peer.client.commit(peer.now, sub, 0).unwrap();
    peer.sent();
    let sent = reconnect(&mut peer, 1);
    let later = peer.client.commit(peer.now, sub, 1).unwrap();
    peer.attached(&sent, 0, 2, 1);
    assert_eq!(peer.sent(), [], "the broker would refuse it before it redelivers the message");
    assert_eq!(peer.answer(), None);
    peer.deliver_rewound(sub, 1, 0, &[b"0", b"1"]);
    let commits = peer.sent();
    let answered = commits.iter().filter(|sent| matches!(sent, Sent::Commit { quiet: false, .. }));
    let requests: Vec<_> = answered.map(Sent::request).collect();
    assert_eq!((requests.len(), peer.answer()), (2, None), "{commits:?}");
    peer.done(requests[0], 2);
    peer.done(requests[1], 2);
    assert_eq!(peer.answer_to(id), Ok(Answer::Committed { cursor: 2 }));
    assert_eq!(peer.answer_to(later), Ok(Answer::Committed { cursor: 2 }));
    let again = peer.client.commit(peer.now, sub, 1).unwrap();
    assert_eq!(peer.answer_to(again), Ok(Answer::Committed { cursor: 2 }), "the broker has it");
    peer.client.check_invariants();
}

#[test]
fn p4_a_commit_whose_answer_was_lost_is_answered_by_the_reattachment() {
    let mut peer = Peer::open();
    let sub = with_two_taken(&mut peer);
    let id = peer.client.commit(peer.now, sub, 0).unwrap();
    peer.sent();
    let sent = reconnect(&mut peer, 1);
    assert_eq!(peer.answer(), None);
    peer.attached(&sent, 1, 2, 1);
    assert_eq!(peer.answer_to(id), Ok(Answer::Committed { cursor: 1 }));
    assert_eq!(peer.sent(), []);
}

#[test]
fn p4_a_commit_that_can_not_be_confirmed_is_unknown() {
    enum End {
        Deadline,
        Restart,
        Fenced,
        Moved,
        Close,
    }
    for end in [End::Deadline, End::Restart, End::Fenced, End::Moved, End::Close] {
        let mut peer = Peer::open();
        let sub = with_two_taken(&mut peer);
        let sent_before = peer.client.commit(peer.now, sub, 0).unwrap();
        peer.sent();
        peer.disconnect();
        let unsent = peer.client.commit(peer.now, sub, 1).unwrap();
        match end {
            End::Deadline => peer.advance(Duration::from_secs(30)),
            End::Restart => peer.connect(2),
            End::Fenced => {
                peer.connect(1);
                let attach = peer.sent_one();
                peer.refuse(attach.request(), RefusalCode::SubscriptionFenced, 2);
            }
            End::Moved => {
                peer.connect(1);
                let attach = peer.sent_one();
                peer.attached(&attach, 0, 2, 5);
            }
            End::Close => {
                peer.client.close(peer.now);
                peer.advance(Duration::from_secs(10));
            }
        }
        for id in [sent_before, unsent] {
            assert_eq!(peer.answer_to(id).unwrap_err().class(), ErrorClass::Unknown);
        }
        assert_eq!(peer.answer(), None);
        peer.client.check_invariants();
    }
}

#[test]
fn a4_a_nack_of_a_durable_subscription_succeeds_only_with_the_brokers_answer() {
    let mut peer = Peer::open();
    let sub = with_two_taken(&mut peer);
    let sent = peer.client.nack(peer.now, sub, 1, Duration::ZERO).unwrap();
    peer.sent();
    let unsent = peer.client.nack(peer.now, sub, 0, Duration::ZERO).unwrap();
    peer.disconnect();
    assert!(matches!(peer.answer_to(sent), Err(RequestError::Unknown { .. })));
    assert!(matches!(peer.answer_to(unsent), Err(RequestError::Disconnected { .. })));

    let mut peer = Peer::open();
    let sub = with_two_taken(&mut peer);
    peer.disconnect();
    let without = peer.client.nack(peer.now, sub, 1, Duration::ZERO).unwrap_err();
    assert_eq!(without, RequestError::Disconnected { topic: "t".into() });
}
