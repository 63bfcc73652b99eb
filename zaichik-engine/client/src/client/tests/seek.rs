//! Seeks.

use zaichik_proto::{RefusalCode, Start};

use super::nack::{delivered, refused_with};
use super::peer::Peer;
use super::sent::{Sent, Target};
use crate::{Answer, ClientConfig, DurableOptions, Event, Link, RequestError, SubscribeOptions};

#[test]
fn d_06_a_seek_moves_the_subscription_and_voids_earlier_commits() {
    for done_first in [true, false] {
        let mut peer = Peer::open();
        let sub = delivered(&mut peer, 3);
        peer.client.commit_quiet(peer.now, sub, 2).unwrap();
        peer.sent();
        let id = peer.client.seek(peer.now, sub, Start::Offset(1)).unwrap();
        let sent = peer.sent_one();
        let target = Target::Number(sub.0);
        assert_eq!(sent, Sent::Seek { request: sent.request(), target, to: Start::Offset(1) });
        assert_eq!(peer.event(sub), None);
        assert_eq!(refused_with(peer.client.commit(peer.now, sub, 0)), (RefusalCode::CommitAhead, 0));
        assert_eq!(peer.client.last_taken(), None);
        if done_first {
            peer.done(sent.request(), 1);
        }
        peer.deliver(sub, 4, &[b"stale"]);
        peer.deliver_rewound(sub, 1, 1, &[b"1", b"2"]);
        if !done_first {
            peer.done(sent.request(), 1);
        }
        assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 1 }));
        assert_eq!(peer.message(sub).offset, 1);
        assert_eq!(refused_with(peer.client.commit(peer.now, sub, 2)), (RefusalCode::CommitAhead, 2));
        peer.client.commit_quiet(peer.now, sub, 1).unwrap();
        assert!(matches!(peer.sent_one(), Sent::Commit { offset: 1, .. }));
        assert_eq!(peer.message(sub).offset, 2);
    }
}

#[test]
fn d6_without_a_window_a_seek_neither_keeps_stale_messages_nor_stops_reading() {
    let mut config = ClientConfig::new(7);
    config.buffer_bytes = 100;
    let mut peer = Peer::open_with(config);
    let sub = peer.subscribe("t", 0, 0);
    peer.deliver(sub, 0, &[&[0; 200]]);
    assert!(!peer.client.wants_read());
    let first = peer.client.seek(peer.now, sub, Start::Offset(4)).unwrap();
    let second = peer.client.seek(peer.now, sub, Start::Offset(9)).unwrap();
    let sent = peer.sent();
    for offset in 1..4 {
        assert!(peer.client.wants_read());
        peer.deliver(sub, offset, &[&[0; 200]]);
    }
    peer.deliver_rewound(sub, 1, 4, &[&[0; 200]]);
    assert!(peer.client.wants_read());
    assert_eq!(peer.event(sub), None);
    // Messages from the last seek's position are handed out before its answer, which may be behind more messages than
    // the client may buffer.
    peer.deliver_rewound(sub, 2, 9, &[&[0; 200]]);
    assert!(!peer.client.wants_read());
    assert_eq!(peer.message(sub).offset, 9);
    peer.done(sent[0].request(), 1);
    peer.done(sent[1].request(), 2);
    assert!(peer.answer_to(first).is_ok() && peer.answer_to(second).is_ok());
    peer.deliver_rewound(sub, 2, 10, &[b"10"]);
    assert_eq!(peer.message(sub).offset, 10);
}

#[test]
fn d6_after_a_reconnect_a_subscription_resumes_from_where_it_was_moved_to() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    peer.client.commit_quiet(peer.now, sub, 2).unwrap();
    let id = peer.client.seek(peer.now, sub, Start::Offset(1)).unwrap();
    peer.sent();
    peer.disconnect();
    assert!(peer.answer_to(id).is_ok());
    peer.connect(1);
    let resumed = peer.sent_one();
    assert!(matches!(resumed, Sent::Subscribe { start: Start::Offset(1), .. }), "{resumed:?}");
    // Moved again while the Subscribe is in transit, and while there is no connection.
    peer.client.seek(peer.now, sub, Start::Earliest).unwrap();
    let seek = peer.sent_one();
    peer.subscribed(&resumed, 1);
    peer.deliver(sub, 1, &[b"stale"]);
    peer.done(seek.request(), 1);
    assert_eq!(peer.event(sub), None);
    peer.disconnect();
    let id = peer.client.seek(peer.now, sub, Start::Time(5)).unwrap();
    while let Some((answered, result)) = peer.answer() {
        assert!(answered <= id && result.is_ok());
    }
    peer.connect(1);
    let resumed = peer.sent_one();
    assert!(matches!(resumed, Sent::Subscribe { start: Start::Time(5), .. }), "{resumed:?}");
    // A retryable refusal: the next attempt asks for the newest position.
    peer.refuse(resumed.request(), RefusalCode::TopicsFull, 1);
    peer.client.seek(peer.now, sub, Start::Offset(9)).unwrap();
    let resumed = peer.sent_one();
    assert!(matches!(resumed, Sent::Subscribe { start: Start::Offset(9), .. }), "{resumed:?}");
    peer.subscribed(&resumed, 9);
    peer.deliver(sub, 9, &[b"9"]);
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 9, start: 9 }));
    assert_eq!(peer.message(sub).offset, 9);
    peer.client.commit_quiet(peer.now, sub, 9).unwrap();
    peer.disconnect();
    peer.connect(1);
    let sent = peer.sent_one();
    assert!(matches!(sent, Sent::Subscribe { start: Start::Offset(10), .. }), "{sent:?}");
}

/// Rule D6.
#[test]
fn d6_a_message_that_a_seek_makes_stale_does_not_move_the_position_that_was_sought() {
    let mut peer = Peer::open();
    let sub = peer.subscribe("t", 4, 0);
    peer.client.seek(peer.now, sub, Start::Offset(9)).unwrap();
    peer.deliver(sub, 0, &[b"stale"]);
    peer.disconnect();
    peer.connect(1);
    assert!(matches!(peer.sent_one(), Sent::Subscribe { start: Start::Offset(9), .. }));
}

/// Rule D6.
#[test]
fn d6_of_two_seeks_in_flight_the_last_one_says_where_a_new_connection_resumes() {
    for window in [0, 4] {
        let mut peer = Peer::open();
        let sub = peer.subscribe("t", window, 0);
        peer.client.seek(peer.now, sub, Start::Offset(2)).unwrap();
        peer.client.seek(peer.now, sub, Start::Offset(9)).unwrap();
        peer.deliver_rewound(sub, 1, 2, &[b"stale"]);
        peer.disconnect();
        peer.connect(1);
        assert!(matches!(peer.sent_one(), Sent::Subscribe { start: Start::Offset(9), .. }), "{window}");
    }
}

#[test]
fn p5_another_instance_begins_at_the_original_position_despite_seeks() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    peer.client.seek(peer.now, sub, Start::Offset(2)).unwrap();
    peer.sent();
    peer.disconnect();
    peer.connect(2);
    let sent = peer.sent_one();
    assert!(matches!(sent, Sent::Subscribe { start: Start::Earliest, .. }), "{sent:?}");
}

#[test]
fn a_seek_behind_an_unanswered_subscribe_is_sent_again_with_it() {
    let mut peer = Peer::open();
    let (_, sub) = peer.client.subscribe(peer.now, "t", SubscribeOptions::new().window(8)).unwrap();
    let id = peer.client.seek(peer.now, sub, Start::Offset(3)).unwrap();
    let sent = peer.sent();
    peer.disconnect();
    peer.connect(1);
    let again = peer.sent();
    assert_eq!(again, sent);
    peer.subscribed(&again[0], 0);
    assert!(peer.answer().is_some());
    peer.deliver(sub, 0, &[b"0"]);
    assert_eq!(peer.event(sub), None);
    peer.done(again[1].request(), 1);
    assert!(peer.answer_to(id).is_ok());
    peer.deliver_rewound(sub, 1, 3, &[b"3"]);
    assert_eq!(peer.message(sub).offset, 3);
}

/// The answer to a seek is in the lane that is sent first, so it may arrive before the Subscribed in front of it.
#[test]
fn d6_a_seek_that_is_answered_before_the_subscribed_leaves_nothing_stale() {
    for durable in [false, true] {
        let mut peer = Peer::open();
        let options = SubscribeOptions::new().window(8);
        let options = if durable { options.durable(DurableOptions::new("worker")) } else { options };
        let (_, sub) = peer.client.subscribe(peer.now, "t", options).unwrap();
        let sent = peer.sent_one();
        let epoch = u32::from(durable);
        peer.attached(&sent, 0, epoch, 0);
        peer.deliver(sub, 0, &[b"0"]);
        assert_eq!(peer.message(sub).offset, 0);
        peer.disconnect();
        peer.connect(1);
        let sent = peer.sent_one();
        peer.answer();
        let id = peer.client.seek(peer.now, sub, Start::Offset(5)).unwrap();
        let seek = peer.sent_one();
        peer.done(seek.request(), u64::from(epoch) + 1);
        assert_eq!(peer.answer(), None, "it is not known yet where the subscription was");
        peer.attached(&sent, 0, epoch * 2, epoch);
        assert!(peer.answer_to(id).is_ok());
        peer.deliver_rewound(sub, epoch, 0, &[b"0"]);
        peer.deliver_rewound(sub, epoch + 1, 5, &[b"5"]);
        assert_eq!(peer.message(sub).offset, 5);
    }
}

#[test]
fn an_answer_twice_to_a_seek_before_the_subscribed_is_a_violation() {
    let mut peer = Peer::open();
    let (_, sub) = peer.client.subscribe(peer.now, "t", SubscribeOptions::new()).unwrap();
    peer.client.seek(peer.now, sub, Start::Offset(3)).unwrap();
    let sent = peer.sent();
    peer.done(sent[1].request(), 1);
    assert_eq!(peer.client.link(), Link::Open);
    peer.done(sent[1].request(), 1);
    assert_ne!(peer.client.link(), Link::Open);
}

#[test]
fn a_refused_seek_moves_nothing() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    let id = peer.client.seek(peer.now, sub, Start::Latest).unwrap();
    let request = peer.sent_one().request();
    peer.refuse(request, RefusalCode::Unsupported, 0);
    assert!(matches!(peer.answer_to(id), Err(RequestError::Refused { .. })));
    assert_eq!(peer.message(sub).offset, 3);
    assert!(peer.client.commit(peer.now, sub, 2).is_ok());
}

#[test]
fn d_06_a_seek_by_name_names_topic_and_subscription() {
    let mut peer = Peer::open();
    let id = peer.client.seek_durable(peer.now, "t", "worker", Start::Latest).unwrap();
    let sent = peer.sent_one();
    let target = Target::Name { topic: "t".into(), name: "worker".into() };
    assert_eq!(sent, Sent::Seek { request: sent.request(), target, to: Start::Latest });
    peer.done(sent.request(), 4);
    assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 4 }));
    let long = "x".repeat(256);
    for (name, got) in [("", 0), (&*long, 256)] {
        let error = peer.client.seek_durable(peer.now, "t", name, Start::Latest).unwrap_err();
        assert_eq!(error, RequestError::InvalidDurableName { got });
    }
    let longest = peer.client.seek_durable(peer.now, &long[1..], &long[1..], Start::Latest).unwrap();
    let request = peer.sent_one().request();
    peer.refuse(request, RefusalCode::NotSubscribed, 0);
    assert!(matches!(peer.answer_to(longest), Err(RequestError::Refused { .. })));
}

#[test]
fn d6_a_seek_of_a_durable_subscription_is_not_reported_as_done_when_its_connection_breaks() {
    let mut peer = Peer::open();
    let options = SubscribeOptions::new().window(8).durable(DurableOptions::new("worker"));
    let (id, sub) = peer.client.subscribe(peer.now, "t", options).unwrap();
    let sent = peer.sent_one();
    peer.attached(&sent, 0, 1, 0);
    assert!(peer.answer_to(id).is_ok());
    let id = peer.client.seek(peer.now, sub, Start::Offset(7)).unwrap();
    peer.sent();
    peer.disconnect();
    assert!(matches!(peer.answer_to(id), Err(RequestError::Disconnected { .. })));
    let early = peer.client.seek(peer.now, sub, Start::Offset(7)).unwrap_err();
    assert!(matches!(early, RequestError::Disconnected { .. }));
    peer.connect(1);
    let sent = peer.sent_one();
    peer.attached(&sent, 0, 2, 1);
    peer.deliver_rewound(sub, 1, 0, &[b"0"]);
    assert!(matches!(peer.event(sub), Some(Event::Reconnected { from: 0, start: 0 })));
    assert_eq!(peer.message(sub).offset, 0);
}

#[test]
fn d6_a_seek_by_another_client_is_followed() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    peer.client.commit_quiet(peer.now, sub, 2).unwrap();
    peer.sent();
    peer.deliver_rewound(sub, 1, 0, &[b"0", b"1"]);
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 0)), (RefusalCode::CommitAhead, 0));
    assert_eq!((peer.message(sub).offset, peer.message(sub).offset), (0, 1));
    assert_eq!(peer.client.link(), Link::Open);
}

#[test]
fn p5_restarted_is_reported_before_messages_that_follow_a_seek() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    peer.disconnect();
    peer.connect(2);
    let sent = peer.sent_one();
    peer.subscribed(&sent, 0);
    peer.client.seek(peer.now, sub, Start::Offset(5)).unwrap();
    let request = peer.sent_one().request();
    peer.done(request, 1);
    peer.deliver_rewound(sub, 1, 5, &[b"5"]);
    assert_eq!(peer.event(sub), Some(Event::Restarted { start: 0 }));
    assert_eq!(peer.message(sub).offset, 5);
}
