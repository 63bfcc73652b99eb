//! The state that a new connection restores, and the state that it does not.

use core::time::Duration;

use zaichik_proto::{Fenced, RefusalCode, ServerFrame, Start};

use super::peer::Peer;
use super::sent::Sent;
use crate::{Answer, ClientConfig, Event, Link, LinkError, RequestError, SubscribeOptions, SubscriptionId};

/// Reconnects to this instance; returns the Subscribe of each subscription.
fn reconnect(peer: &mut Peer, instance: u128) -> Vec<Sent> {
    peer.disconnect();
    peer.connect(instance);
    peer.sent()
}

fn start(sent: &Sent) -> Start {
    match sent {
        Sent::Subscribe { start, .. } => *start,
        other => panic!("{other:?}"),
    }
}

fn commit(peer: &mut Peer, sub: SubscriptionId, offset: u64) {
    peer.client.commit_quiet(peer.now, sub, offset).unwrap();
}

#[test]
fn p4_subscriptions_resume_after_the_last_commit() {
    let mut peer = Peer::open();
    let one = peer.subscribe("a", 4, 5);
    let two = peer.subscribe("b", 4, 7);
    peer.deliver(one, 5, &[b"5", b"6", b"7"]);
    for _ in 0..2 {
        peer.message(one);
    }
    commit(&mut peer, one, 5);
    let sent = reconnect(&mut peer, 1);
    assert_eq!(sent.iter().map(start).collect::<Vec<_>>(), [Start::Offset(6), Start::Offset(7)]);
    assert_eq!(peer.event(one), None, "what was not taken is dropped");
    peer.subscribed(&sent[0], 6);
    peer.subscribed(&sent[1], 9);
    assert_eq!(peer.event(one), Some(Event::Reconnected { from: 6, start: 6 }));
    assert_eq!(peer.event(two), Some(Event::Reconnected { from: 7, start: 9 }));
    peer.deliver(one, 6, &[b"6"]);
    assert_eq!(peer.message(one).offset, 6);
}

#[test]
fn p4_an_unread_delivery_can_be_taken_until_the_new_connection() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 4, 0);
    peer.deliver(sub, 0, &[b"0", b"1"]);
    peer.sent();
    peer.disconnect();
    assert_eq!(peer.message(sub).offset, 0);
    let id = peer.client.commit(peer.now, sub, 0).unwrap();
    assert_eq!(peer.answer_to(id), Ok(Answer::Committed { cursor: 1 }));
    peer.connect(1);
    assert_eq!(start(&peer.sent_one()), Start::Offset(1));
}

#[test]
fn p4_window_0_resumes_after_the_last_message_taken() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 0, 3);
    peer.deliver(sub, 3, &[b"3", b"4"]);
    peer.message(sub);
    let sent = reconnect(&mut peer, 1);
    assert_eq!(start(&sent[0]), Start::Offset(4));
    peer.subscribed(&sent[0], 6);
    // Broken again before the application took the event: the next event still covers everything missed.
    let sent = reconnect(&mut peer, 1);
    assert_eq!(start(&sent[0]), Start::Offset(4));
    peer.subscribed(&sent[0], 7);
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 4, start: 7 }));
    let sent = reconnect(&mut peer, 1);
    assert_eq!(start(&sent[0]), Start::Offset(7));
}

#[test]
fn a_commit_made_after_the_reconnect_still_counts() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 1, 0);
    peer.deliver(sub, 0, &[b"0"]);
    peer.message(sub);
    let sent = reconnect(&mut peer, 1);
    // The handler finishes between the new Subscribe and the redelivery.
    let id = peer.client.commit(peer.now, sub, 0).unwrap();
    assert_eq!(peer.answer_to(id), Ok(Answer::Committed { cursor: 1 }));
    peer.subscribed(&sent[0], 0);
    assert!(peer.sent().is_empty());
    peer.deliver(sub, 0, &[b"0"]);
    assert!(matches!(peer.sent_one(), Sent::Commit { offset: 0, quiet: true, .. }));
    assert!(matches!(peer.event(sub), Some(Event::Reconnected { .. })));
    assert_eq!(peer.event(sub), None, "it was already processed");
    peer.deliver(sub, 1, &[b"1"]);
    assert_eq!(peer.message(sub).offset, 1);
}

#[test]
fn a_commit_after_the_redelivery_is_sent() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 1, 0);
    peer.deliver(sub, 0, &[b"0"]);
    peer.message(sub);
    let sent = reconnect(&mut peer, 1);
    peer.subscribed(&sent[0], 0);
    peer.deliver(sub, 0, &[b"0"]);
    commit(&mut peer, sub, 0);
    assert!(matches!(peer.sent_one(), Sent::Commit { offset: 0, .. }));
    assert!(matches!(peer.event(sub), Some(Event::Reconnected { .. })));
    assert_eq!(peer.event(sub), None);
}

#[test]
fn p_12_another_instance_starts_the_subscription_again_and_resends_nothing() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 4, 5);
    peer.deliver(sub, 5, &[b"5", b"6"]);
    peer.message(sub);
    commit(&mut peer, sub, 5);
    let pending = peer.publish("a", b"pending").unwrap();
    peer.sent();
    let sent = reconnect(&mut peer, 2);
    assert_eq!(peer.answer_to(pending), Err(RequestError::Unknown { topic: "a".into() }));
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(start(&sent[0]), Start::Earliest);
    assert_eq!(peer.client.commit_last(peer.now), Err(RequestError::NothingToCommit));
    assert!(peer.client.commit(peer.now, sub, 5).is_err(), "an offset of the other instance");
    peer.subscribed(&sent[0], 0);
    peer.deliver(sub, 0, &[b"new"]);
    assert_eq!(peer.event(sub), Some(Event::Restarted { start: 0 }));
    assert_eq!(peer.message(sub).offset, 0);
}

#[test]
fn p5_restarted_is_reported_even_if_the_next_connection_also_breaks() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 4, 5);
    let sent = reconnect(&mut peer, 2);
    // Before the answer, and after it.
    assert_eq!(start(&sent[0]), Start::Earliest);
    let sent = reconnect(&mut peer, 2);
    assert_eq!(start(&sent[0]), Start::Earliest);
    peer.subscribed(&sent[0], 3);
    let sent = reconnect(&mut peer, 2);
    assert_eq!(start(&sent[0]), Start::Offset(3));
    peer.subscribed(&sent[0], 3);
    assert_eq!(peer.event(sub), Some(Event::Restarted { start: 3 }));
    assert_eq!(peer.event(sub), None);
}

#[test]
fn p4_an_unanswered_subscribe_is_sent_again() {
    let mut peer = Peer::open();
    let (id, sub) = peer.client.subscribe(peer.now, "a", SubscribeOptions::new()).unwrap();
    let first = peer.sent_one();
    let sent = reconnect(&mut peer, 2);
    assert_eq!(sent, [first]);
    peer.subscribed(&sent[0], 0);
    assert!(matches!(peer.answer_to(id), Ok(Answer::Subscribed(_))));
    assert_eq!(peer.event(sub), None, "nothing to reconnect to");
}

#[test]
fn restored_subscriptions_precede_queued_requests() {
    let mut peer = Peer::open();
    peer.subscribe("a", 1, 0);
    peer.disconnect();
    peer.publish("a", b"queued").unwrap();
    peer.connect(1);
    let sent = peer.sent();
    assert!(matches!(sent.as_slice(), [Sent::Subscribe { .. }, Sent::Publish { .. }]), "{sent:?}");
}

#[test]
fn an_unsubscribe_completes_at_the_latest_when_the_connection_breaks() {
    let mut peer = Peer::open();
    let (one, two) = (peer.subscribe("a", 1, 0), peer.subscribe("b", 1, 0));
    let first = peer.client.unsubscribe(peer.now, one).unwrap();
    peer.sent();
    peer.disconnect();
    let ended = Ok(Answer::Unsubscribed { last_offset: None });
    assert_eq!(peer.answer_to(first), ended);
    let second = peer.client.unsubscribe(peer.now, two).unwrap();
    assert_eq!(peer.answer_to(second), ended);
    peer.connect(1);
    assert!(peer.sent().is_empty());
    for sub in [one, two] {
        assert_eq!(peer.event(sub), Some(Event::Ended(None)));
        assert_eq!(peer.event(sub), None);
    }
}

#[test]
fn unsubscribing_before_the_subscribe_is_answered_ends_both() {
    let mut peer = Peer::open();
    let (subscribe, sub) = peer.client.subscribe(peer.now, "a", SubscribeOptions::new()).unwrap();
    let unsubscribe = peer.client.unsubscribe(peer.now, sub).unwrap();
    peer.sent();
    peer.disconnect();
    assert!(matches!(peer.answer_to(subscribe), Err(RequestError::Disconnected { .. })));
    assert!(peer.answer_to(unsubscribe).is_ok());
    peer.connect(1);
    assert!(peer.sent().is_empty());
    assert_eq!(peer.event(sub), Some(Event::Ended(None)));
}

#[test]
fn a_refused_resubscribe_is_tried_again_or_ends_the_subscription() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 1, 0);
    let sent = reconnect(&mut peer, 1);
    peer.refuse(sent[0].request(), RefusalCode::Busy, 50_000);
    peer.advance(Duration::from_millis(50));
    let again = peer.sent();
    assert_eq!(again, sent);
    peer.refuse(again[0].request(), RefusalCode::SubscriptionsFull, 1);
    assert!(matches!(peer.event(sub), Some(Event::Refused(_))));
    assert_eq!(peer.event(sub), None);
    assert!(reconnect(&mut peer, 1).is_empty());
}

#[test]
fn unsubscribing_while_a_resubscribe_waits_or_is_refused_ends_it_for_good() {
    let mut peer = Peer::open();
    let (waits, sent) = (peer.subscribe("a", 1, 0), peer.subscribe("b", 1, 0));
    let frames = reconnect(&mut peer, 1);
    peer.refuse(frames[0].request(), RefusalCode::TopicsFull, 1);
    let first = peer.client.unsubscribe(peer.now, waits).unwrap();
    assert!(peer.answer_to(first).is_ok());
    let second = peer.client.unsubscribe(peer.now, sent).unwrap();
    let unsubscribe = peer.sent_one();
    peer.refuse(frames[1].request(), RefusalCode::TopicsFull, 1);
    peer.refuse(unsubscribe.request(), RefusalCode::NotSubscribed, 0);
    assert!(peer.answer_to(second).is_ok());
    peer.advance(Duration::from_secs(5));
    assert!(peer.sent().is_empty());
    for sub in [waits, sent] {
        assert_eq!(peer.event(sub), Some(Event::Ended(None)));
        assert_eq!(peer.event(sub), None);
    }
}

#[test]
fn messages_committed_while_disconnected_take_no_room_in_the_window() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 1, 0);
    peer.deliver(sub, 0, &[b"0"]);
    peer.message(sub);
    let sent = reconnect(&mut peer, 1);
    peer.subscribed(&sent[0], 0);
    peer.deliver(sub, 0, &[b"0"]);
    commit(&mut peer, sub, 0);
    peer.deliver(sub, 1, &[b"1"]);
    assert!(matches!(peer.event(sub), Some(Event::Reconnected { .. })));
    assert_eq!(peer.message(sub).offset, 1);
}

#[test]
fn d3_fenced_is_final() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("a", 1, 0);
    peer.send(&ServerFrame::Fenced(Fenced { subscription: sub.0, epoch: 2 }));
    assert_eq!(peer.event(sub), Some(Event::Fenced));
    assert!(reconnect(&mut peer, 1).is_empty());
}

#[test]
fn without_reconnect_an_unanswered_commit_is_not_reported_as_done() {
    let mut config = ClientConfig::new(1);
    config.reconnect = false;
    let mut peer = Peer::open_with(config);
    let sub = peer.subscribe("a", 1, 0);
    peer.deliver(sub, 0, &[b"0"]);
    peer.message(sub);
    let commit = peer.client.commit(peer.now, sub, 0).unwrap();
    peer.sent();
    peer.disconnect();
    let answer = peer.answer_to(commit);
    assert!(answer.is_err(), "{answer:?}");
}

#[test]
fn without_reconnect_a_broken_connection_closes_the_client() {
    let mut config = ClientConfig::new(1);
    config.reconnect = false;
    let mut peer = Peer::open_with(config);
    let idle = peer.subscribe("b", 1, 0);
    let sub = peer.subscribe("a", 1, 0);
    peer.deliver(sub, 0, &[b"0"]);
    while peer.client.poll_ready().is_some() {}
    let unknown = peer.publish("a", b"sent").unwrap();
    peer.sent();
    let unsent = peer.publish("a", b"unsent").unwrap();
    peer.disconnect();
    assert_eq!(peer.client.link(), Link::Closed(Some(LinkError::Disconnected)));
    assert!(matches!(peer.answer_to(unknown), Err(RequestError::Unknown { .. })));
    assert_eq!(peer.answer_to(unsent), Err(RequestError::Closed));
    let mut ready = [peer.client.poll_ready(), peer.client.poll_ready()];
    ready.sort_unstable();
    assert_eq!(ready, [Some(idle), Some(sub)], "both have ended");
    assert_eq!(peer.message(sub).offset, 0);
    assert_eq!(peer.event(sub), None);
}

#[test]
fn a_connection_that_breaks_as_soon_as_it_is_open_does_not_reset_the_delays() {
    let mut peer = Peer::open();
    let mut delay = Duration::ZERO;
    for _ in 0..12 {
        peer.disconnect();
        let Link::Connect { at } = peer.client.link() else {
            panic!("{:?}", peer.client.link());
        };
        delay = at.since(peer.now);
        peer.connect(1);
    }
    assert!(delay >= Duration::from_secs(5));
    peer.advance(Duration::from_secs(5));
    peer.disconnect();
    let Link::Connect { at } = peer.client.link() else {
        panic!("{:?}", peer.client.link());
    };
    assert!(at.since(peer.now) <= Duration::from_millis(75));
}
