//! Messages, commits and the bounds of buffers.

use core::time::Duration;

use zaichik_proto::{Fenced, Gap, GapReason, Record, RefusalCode, ServerFrame, Unsubscribed};

use super::peer::Peer;
use super::sent::Sent;
use crate::{
    Answer, ClientConfig, Event, Link, LinkError, RequestError, SubscribeOptions, SubscriptionId, Violation,
};
use zaichik_proto::Timestamp;

fn gap(peer: &mut Peer, subscription: SubscriptionId, from: u64, to: u64, reason: GapReason) {
    peer.send(&ServerFrame::Gap(Gap { subscription: subscription.0, rewind: 0, reason, from, to }));
}

fn violation(peer: &Peer) -> Violation {
    match peer.client.link() {
        Link::Closed(Some(LinkError::Violation(violation))) => violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a5_a_message_carries_everything_and_borrows_the_frame() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 8, 40);
    let records = [
        Record {
            key: Some(b"k"),
            headers: &[("a", b"1"), ("b", b"2")],
            body: b"first",
            timestamp: 9,
            ..Record::default()
        },
        Record { key: Some(b""), tombstone: true, timestamp: 10, ..Record::default() },
    ];
    peer.deliver_records(sub, 0, 40, &records);
    assert_eq!(peer.client.poll_ready(), Some(sub));
    assert_eq!(peer.client.poll_ready(), None);
    let message = peer.message(sub);
    assert_eq!(&*message.topic, "t");
    assert_eq!((message.offset, message.attempt), (40, 1));
    assert_eq!(message.timestamp, Timestamp::from_micros(9));
    assert_eq!(message.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(message.headers.iter().collect::<Vec<_>>(), [("a", &b"1"[..]), ("b", b"2")]);
    assert_eq!(message.headers.get("b"), Some(&b"2"[..]));
    assert_eq!(&message.body[..], b"first");
    let tombstone = peer.message(sub);
    assert_eq!((tombstone.offset, tombstone.tombstone), (41, true));
    assert_eq!(tombstone.key.as_deref(), Some(&b""[..]));
    assert!(tombstone.headers.is_empty() && tombstone.body.is_empty());
    assert_eq!(peer.event(sub), None);
}

#[test]
fn a_message_is_not_copied_out_of_the_received_buffer() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 1, 0);
    peer.client.inbound().reserve(4_096);
    let room = peer.client.inbound().spare_capacity_mut().as_ptr_range();
    peer.deliver(sub, 0, &[&[1; 100]]);
    let body = peer.message(sub).body;
    assert!(room.contains(&body.as_ptr().cast()));
}

#[test]
fn a_02_a_commit_is_sent_once_and_answered() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 4, 0);
    peer.deliver(sub, 0, &[b"a", b"b", b"c"]);
    peer.message(sub);
    peer.message(sub);
    let id = peer.client.commit(peer.now, sub, 1).unwrap();
    let Sent::Commit { request, offset: 1, quiet: false, .. } = peer.sent_one() else {
        panic!("no commit");
    };
    peer.done(request, 2);
    assert_eq!(peer.answer_to(id), Ok(Answer::Committed { cursor: 2 }));
    // Rule A-04: the same commit and an older one succeed, and nothing is sent.
    for offset in [1, 0] {
        let id = peer.client.commit(peer.now, sub, offset).unwrap();
        assert_eq!(peer.answer_to(id), Ok(Answer::Committed { cursor: 2 }));
    }
    assert!(peer.sent().is_empty());
}

#[test]
fn a_05_a_commit_of_a_message_not_taken_is_refused_without_sending_a_byte() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 4, 0);
    peer.deliver(sub, 0, &[b"a", b"b"]);
    peer.message(sub);
    match peer.client.commit_quiet(peer.now, sub, 1) {
        Err(RequestError::Refused { refusal, .. }) => {
            assert_eq!((refusal.code, refusal.value), (RefusalCode::CommitAhead, 1));
        }
        other => panic!("{other:?}"),
    }
    assert!(peer.sent().is_empty());
}

#[test]
fn a_06_a_commit_needs_a_subscription_with_a_window() {
    let mut peer = Peer::open();
    let unknown = SubscriptionId(99);
    let missing = peer.client.commit(peer.now, unknown, 0);
    assert_eq!(missing, Err(RequestError::NoSubscription(unknown)));
    let free = peer.subscribe("t", 0, 0);
    peer.deliver(free, 0, &[b"a"]);
    peer.message(free);
    match peer.client.commit(peer.now, free, 0) {
        Err(RequestError::Refused { refusal, .. }) => assert_eq!(refusal.code, RefusalCode::CommitsOff),
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.client.commit_last(peer.now), Err(RequestError::NothingToCommit));
}

#[test]
fn a_07_commit_last_commits_the_last_message_taken() {
    let mut peer = Peer::open();
    let (one, two) = (peer.subscribe("a", 2, 0), peer.subscribe("b", 2, 10));
    assert_eq!(peer.client.commit_last(peer.now), Err(RequestError::NothingToCommit));
    peer.deliver(one, 0, &[b"x", b"y"]);
    peer.deliver(two, 10, &[b"z"]);
    peer.message(one);
    peer.message(two);
    peer.client.commit_last(peer.now).unwrap();
    assert!(
        matches!(peer.sent_one(), Sent::Commit { subscription, offset: 10, .. } if subscription == two.0)
    );
    peer.message(one);
    peer.client.commit_last(peer.now).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Commit { subscription, offset: 1, .. } if subscription == one.0));
}

#[test]
fn a_07_messages_that_are_discarded_do_not_count_as_taken() {
    let mut peer = Peer::open();
    let (read, dropped) = (peer.subscribe("t", 8, 0), peer.subscribe("u", 8, 0));
    peer.deliver(read, 0, &[b"0"]);
    peer.deliver(dropped, 0, &[b"0", b"1"]);
    peer.message(read);
    peer.client.unsubscribe(peer.now, dropped).unwrap();
    let unsubscribe = peer.sent_one();
    peer.client.discard_events(dropped);
    assert_eq!(peer.client.last_taken(), Some((read, 0)));
    peer.unsubscribed(&unsubscribe, Some(1));
    peer.client.discard_events(dropped);
    assert_eq!(peer.client.last_taken(), Some((read, 0)));
    peer.client.check_invariants();
    assert_eq!(peer.client.commit(peer.now, dropped, 0), Err(RequestError::NoSubscription(dropped)));
}

#[test]
fn a_quiet_commit_asks_for_no_answer_and_its_refusal_is_counted() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 1, 0);
    peer.deliver(sub, 0, &[b"a"]);
    peer.message(sub);
    peer.client.commit_quiet(peer.now, sub, 0).unwrap();
    let Sent::Commit { request, quiet: true, .. } = peer.sent_one() else {
        panic!("not a quiet commit");
    };
    peer.refuse(request, RefusalCode::NotSubscribed, 0);
    assert!(matches!(peer.client.poll_refused(), Some((1, _))));
    assert_eq!(peer.client.link(), Link::Open);
    assert_eq!(peer.answer(), None);
}

#[test]
fn r9_gaps_are_reported_in_order_and_adjacent_ones_merge() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 4, 0);
    peer.deliver(sub, 0, &[b"a"]);
    gap(&mut peer, sub, 1, 3, GapReason::Expired);
    gap(&mut peer, sub, 3, 5, GapReason::Limit);
    peer.deliver(sub, 5, &[b"b"]);
    assert_eq!(peer.message(sub).offset, 0);
    let merged = Event::Gap { from: 1, to: 5, reason: GapReason::Limit };
    assert_eq!(peer.event(sub), Some(merged));
    assert!(peer.client.commit_quiet(peer.now, sub, 4).is_ok(), "its offsets count as delivered");
    assert_eq!(peer.message(sub).offset, 5);
}

#[test]
fn a4_deliveries_with_an_old_rewind_number_are_dropped() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 4, 0);
    peer.deliver(sub, 0, &[b"a", b"b"]);
    peer.message(sub);
    peer.deliver_rewound(sub, 1, 0, &[b"a"]);
    peer.deliver(sub, 2, &[b"c"]);
    peer.deliver_rewound(sub, 1, 1, &[b"b"]);
    assert_eq!(peer.message(sub).offset, 0);
    assert_eq!(peer.message(sub).offset, 1);
    assert_eq!(peer.event(sub), None);
}

#[test]
fn a_broker_that_breaks_the_order_or_the_window_is_a_violation() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 2, 5);
    peer.deliver(sub, 4, &[b"before the start"]);
    assert!(matches!(violation(&peer), Violation::OffsetBack { after: 5, got: 4, .. }));

    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 2, 0);
    peer.deliver(sub, 0, &[b"a", b"b", b"c"]);
    assert!(matches!(violation(&peer), Violation::Window { window: 2, .. }));

    let mut peer = Peer::open();
    peer.deliver(SubscriptionId(9), 0, &[b"a"]);
    assert_eq!(violation(&peer), Violation::Subscription { subscription: 9 });

    let mut peer = Peer::open();
    let (_, early) = peer.client.subscribe(peer.now, "t", SubscribeOptions::new()).unwrap();
    peer.deliver(early, 0, &[b"a"]);
    assert!(matches!(violation(&peer), Violation::Subscription { .. }));

    let mut peer = Peer::open();
    let (_, early) = peer.client.subscribe(peer.now, "t", SubscribeOptions::new()).unwrap();
    peer.send(&ServerFrame::Fenced(Fenced { subscription: early.0, epoch: 2 }));
    assert!(matches!(violation(&peer), Violation::Subscription { .. }));
}

#[test]
fn a9_after_unsubscribed_only_the_end_is_reported() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 4, 0);
    peer.deliver(sub, 0, &[b"a", b"b"]);
    let id = peer.client.unsubscribe(peer.now, sub).unwrap();
    assert_eq!(peer.client.unsubscribe(peer.now, sub), Err(RequestError::NoSubscription(sub)));
    let sent = peer.sent_one();
    peer.deliver(sub, 2, &[b"in flight"]);
    assert_eq!(peer.message(sub).offset, 0);
    peer.unsubscribed(&sent, Some(2));
    assert_eq!(peer.answer_to(id), Ok(Answer::Unsubscribed { last_offset: Some(2) }));
    assert_eq!(peer.event(sub), Some(Event::Ended(Some(2))));
    assert_eq!(peer.event(sub), None);
    assert_eq!(peer.client.commit(peer.now, sub, 0), Err(RequestError::NoSubscription(sub)));
    peer.deliver(sub, 3, &[b"after the end"]);
    assert!(matches!(violation(&peer), Violation::Subscription { .. }));
}

#[test]
fn a_subscription_that_the_broker_ends_hands_out_what_was_received() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 4, 0);
    peer.deliver(sub, 0, &[b"a"]);
    peer.send(&ServerFrame::Unsubscribed(Unsubscribed {
        request: 0,
        subscription: sub.0,
        last_offset: Some(0),
    }));
    assert_eq!(peer.message(sub).offset, 0);
    assert_eq!(peer.event(sub), Some(Event::Ended(Some(0))));
}

#[test]
fn a_refused_subscribe_leaves_nothing_behind() {
    let mut peer = Peer::open();
    let (id, sub) = peer.client.subscribe(peer.now, "t", SubscribeOptions::new()).unwrap();
    let sent = peer.sent_one();
    peer.refuse(sent.request(), RefusalCode::TopicsFull, 5);
    assert!(matches!(peer.answer_to(id), Err(RequestError::Refused { .. })));
    assert_eq!(peer.event(sub), None);
    assert_eq!(peer.client.unsubscribe(peer.now, sub), Err(RequestError::NoSubscription(sub)));
}

#[test]
fn subscriptions_count_until_their_end_is_taken() {
    let mut peer = Peer::new(ClientConfig::new(1));
    peer.limits.max_subscriptions = 1;
    peer.connect(1);
    let sub = peer.subscribe("t", 1, 0);
    let full = RequestError::TooManySubscriptions { limit: 1 };
    let options = SubscribeOptions::new();
    assert_eq!(peer.client.subscribe(peer.now, "u", options.clone()), Err(full.clone()));
    peer.client.unsubscribe(peer.now, sub).unwrap();
    let sent = peer.sent_one();
    peer.unsubscribed(&sent, None);
    assert_eq!(peer.client.subscribe(peer.now, "u", options.clone()), Err(full));
    assert_eq!(peer.event(sub), Some(Event::Ended(None)));
    assert!(peer.client.subscribe(peer.now, "u", options).is_ok());
}

#[test]
fn window_0_pauses_reading_when_too_much_is_buffered_and_then_silence_does_not_count() {
    let mut config = ClientConfig::new(1);
    config.buffer_bytes = 1_000;
    let mut peer = Peer::open_with(config);
    let free = peer.subscribe("t", 0, 0);
    let mut offset = 0;
    while peer.client.wants_read() {
        peer.deliver(free, offset, &[&[0; 300]]);
        offset += 1;
    }
    assert_eq!(offset, 4, "one more than the bound");
    assert_eq!(peer.client.next_timeout(), None);
    peer.advance(Duration::from_mins(10));
    assert_eq!(peer.client.link(), Link::Open);
    peer.message(free);
    assert!(peer.client.wants_read());
    let due = peer.client.next_timeout().unwrap();
    peer.now = peer.now.max(due);
    peer.client.handle_timeout(peer.now);
    assert_eq!(peer.client.link(), Link::Open, "the silence was the client's own");
    assert_eq!(peer.client.next_timeout(), Some(peer.now + Duration::from_secs(30)));
}

#[test]
fn a_request_behind_messages_that_are_not_taken_says_so_at_its_deadline() {
    let mut config = ClientConfig::new(1);
    config.buffer_bytes = 10;
    let mut peer = Peer::open_with(config);
    let sub = peer.subscribe("t", 0, 0);
    peer.deliver(sub, 0, &[&[0; 100]]);
    assert!(!peer.client.wants_read());
    let id = peer.publish("t", b"x").unwrap();
    peer.sent();
    peer.advance(Duration::from_secs(30));
    let error = peer.answer_to(id).unwrap_err();
    assert_eq!(error, RequestError::Unread { topic: "t".into() });
    assert_eq!(error.class(), crate::ErrorClass::Unknown);
}

#[test]
fn a1_a_window_is_taken_until_a_commit_or_a_nack() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 2, 0);
    peer.deliver(sub, 0, &[b"0"]);
    gap(&mut peer, sub, 1, 9, GapReason::Expired);
    peer.message(sub);
    peer.event(sub);
    assert!(!peer.client.is_window_taken(sub), "a gap does not count");
    peer.deliver(sub, 9, &[b"9"]);
    assert!(!peer.client.is_window_taken(sub), "there is a message to take");
    peer.message(sub);
    assert!(peer.client.is_window_taken(sub));
    peer.client.commit_quiet(peer.now, sub, 0).unwrap();
    assert!(!peer.client.is_window_taken(sub));
    peer.deliver(sub, 10, &[b"10"]);
    peer.message(sub);
    assert!(peer.client.is_window_taken(sub));
}

#[test]
fn a8_windowed_subscriptions_never_stop_reading() {
    let mut config = ClientConfig::new(1);
    (config.buffer_bytes, config.max_in_flight) = (1, 1);
    (config.max_outbound_bytes, config.max_in_flight_bytes) = (1, 1);
    let mut peer = Peer::open_with(config);
    let sub = peer.subscribe("t", 1, 0);
    for offset in 0..100 {
        peer.deliver(sub, offset, &[&[0; 5_000]]);
        assert!(peer.client.wants_read());
        assert_eq!(peer.message(sub).offset, offset);
        // Inside the handler, before the commit.
        let id = peer.publish("t", b"echo").unwrap();
        let request = peer.sent_one().request();
        peer.ack(&[(request, 1, offset + 1)]);
        assert!(peer.answer_to(id).is_ok());
        peer.client.commit_quiet(peer.now, sub, offset).unwrap();
        assert!(matches!(peer.sent_one(), Sent::Commit { .. }));
    }
}

#[test]
fn silence_does_not_count_while_reading_is_paused() {
    let mut config = ClientConfig::new(1);
    config.buffer_bytes = 1;
    let mut peer = Peer::open_with(config);
    let sub = peer.subscribe("t", 0, 0);
    peer.deliver(sub, 0, &[b"more than one byte"]);
    assert!(!peer.client.wants_read());
    for _ in 0..12 {
        peer.advance(Duration::from_secs(30));
    }
    assert_eq!(peer.client.link(), Link::Open);
    assert_eq!(peer.message(sub).offset, 0);
    // From here on the broker's silence counts.
    peer.advance(Duration::from_mins(2));
    assert_ne!(peer.client.link(), Link::Open);
}
