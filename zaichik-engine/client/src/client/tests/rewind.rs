//! Nacks and seeks.

use core::time::Duration;

use zaichik_proto::{Gap, GapReason, RefusalCode, ServerFrame, Start};

use super::peer::{Peer, Sent, Target};
use crate::client::{
    Answer, ClientConfig, DurableOptions, ErrorClass, Event, Link, RequestError, RequestId, SubscribeOptions,
    SubscriptionId,
};

const NOW: Duration = Duration::ZERO;

fn nack(peer: &mut Peer, sub: SubscriptionId, offset: u64) -> RequestId {
    peer.client.nack(peer.now, sub, offset, NOW).unwrap()
}

/// A subscription whose first `taken` messages of four were taken.
fn delivered(peer: &mut Peer, taken: usize) -> SubscriptionId {
    let sub = peer.subscribe("t", 8, 0);
    peer.deliver(sub, 0, &[b"0", b"1", b"2", b"3"]);
    for _ in 0..taken {
        peer.message(sub);
    }
    sub
}

fn refused_with(result: Result<RequestId, RequestError>) -> (RefusalCode, u64) {
    match result {
        Err(RequestError::Refused { refusal, .. }) => (refusal.code, refusal.value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_08_after_a_nack_only_what_comes_again_is_handed_out() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    while peer.client.poll_ready().is_some() {}
    let id = peer.client.nack(peer.now, sub, 1, Duration::from_millis(5)).unwrap();
    let Sent::Nack { request, subscription, offset: 1, delay_micros: 5_000 } = peer.sent_one() else {
        panic!("no nack");
    };
    assert_eq!(subscription, sub.0);
    assert_eq!(peer.incoming(sub), None, "what was buffered is stale");
    peer.deliver(sub, 4, &[b"4"]);
    assert_eq!(peer.incoming(sub), None, "and so is what arrives");
    peer.done(request, 1);
    assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 1 }));
    peer.deliver(sub, 5, &[b"5"]);
    assert_eq!(peer.incoming(sub), None);
    peer.deliver_rewound(sub, 1, 1, &[b"1", b"2", b"3"]);
    assert_eq!(peer.client.poll_ready(), Some(sub));
    for offset in 1..4 {
        assert_eq!(peer.message(sub).offset, offset);
    }
    assert_eq!(peer.incoming(sub), None);
}

#[test]
fn a4_the_new_deliveries_may_come_before_the_answer() {
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
fn a4_a_gap_tells_the_rewind_too() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    nack(&mut peer, sub, 1);
    let request = peer.sent_one().request();
    let gap = Gap { subscription: sub.0, rewind: 1, reason: GapReason::Expired, from: 1, to: 3 };
    peer.send(&ServerFrame::Gap(gap));
    peer.done(request, 1);
    assert_eq!(peer.incoming(sub), Some(Event::Gap { from: 1, to: 3, reason: GapReason::Expired }));
    assert_eq!(peer.incoming(sub), None);
}

#[test]
fn a_12_what_was_taken_back_is_committed_only_after_it_was_taken_again() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    nack(&mut peer, sub, 1);
    let request = peer.sent_one().request();
    assert_eq!(peer.client.last_taken(), None);
    assert_eq!(peer.client.commit_last(peer.now), Err(RequestError::NothingToCommit));
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 1)), (RefusalCode::CommitAhead, 1));
    peer.done(request, 1);
    // What is before it was not taken back.
    peer.client.commit_quiet(peer.now, sub, 0).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Commit { offset: 0, .. }));
    peer.deliver_rewound(sub, 1, 1, &[b"1"]);
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 1)), (RefusalCode::CommitAhead, 1));
    assert_eq!(peer.message(sub).offset, 1);
    peer.client.commit_last(peer.now).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Commit { offset: 1, .. }));
}

#[test]
fn a_nack_without_a_connection_takes_back_what_was_received_behind_it() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 1);
    peer.disconnect();
    let id = peer.client.nack(peer.now, sub, 0, Duration::ZERO).unwrap();
    assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 0 }));
    assert_eq!(peer.incoming(sub), None, "what was buffered comes again, behind what was nacked");
}

#[test]
fn a_nack_leaves_the_last_message_of_another_subscription_to_the_bare_commit() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    let other = peer.subscribe("u", 1, 0);
    peer.deliver(other, 0, &[b"0"]);
    peer.message(other);
    nack(&mut peer, sub, 0);
    assert_eq!(peer.client.last_taken(), Some((other, 0)));
}

#[test]
fn a_11_a_nack_below_what_is_committed_is_done_without_a_byte_sent() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    peer.client.commit_quiet(peer.now, sub, 1).unwrap();
    peer.sent();
    let id = nack(&mut peer, sub, 1);
    assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 0 }));
    assert!(peer.sent().is_empty());
    assert_eq!(peer.message(sub).offset, 3);
}

#[test]
fn a4_what_no_broker_would_take_back_is_refused_without_a_byte_sent() {
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

/// The broker's cursor may be further than the client knows: past a gap, a dead letter, a batch.
#[test]
fn a_11_a_nack_without_effect_at_the_broker_takes_nothing_back() {
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
fn a4_nacks_before_the_first_answer_count_one_after_the_other() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 4);
    nack(&mut peer, sub, 2);
    nack(&mut peer, sub, 1);
    let sent = peer.sent();
    peer.done(sent[0].request(), 1);
    peer.deliver_rewound(sub, 1, 2, &[b"2"]);
    assert_eq!(peer.incoming(sub), None, "it will come again");
    peer.done(sent[1].request(), 2);
    peer.deliver_rewound(sub, 2, 1, &[b"1"]);
    assert_eq!(peer.message(sub).offset, 1);
    assert_eq!(peer.incoming(sub), None);
}

#[test]
fn a4_the_second_of_two_nacks_may_be_without_effect() {
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
fn a4_a_connection_that_breaks_delivers_again_anyway() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    let id = nack(&mut peer, sub, 1);
    peer.sent();
    peer.disconnect();
    assert_eq!(peer.answer_to(id), Ok(Answer::Rewound { rewind: 0 }));
    assert_eq!(peer.incoming(sub), None, "what was buffered is stale");
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 1)), (RefusalCode::CommitAhead, 1));
    // Without a connection there is nobody to tell.
    let id = nack(&mut peer, sub, 0);
    assert!(peer.answer_to(id).is_ok());
    peer.connect(1);
    let resumed = peer.sent_one();
    peer.subscribed(&resumed, 0);
    assert_eq!(refused_with(peer.client.commit(peer.now, sub, 0)), (RefusalCode::CommitAhead, 0));
    peer.deliver(sub, 0, &[b"0"]);
    assert!(matches!(peer.incoming(sub), Some(Event::Reconnected { .. })));
    assert_eq!(peer.message(sub).offset, 0);
}

#[test]
fn a4_what_was_taken_before_a_reconnect_and_comes_again_need_not_be_asked_for() {
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
    assert!(matches!(peer.incoming(sub), Some(Event::Reconnected { .. })));
    assert_eq!((peer.message(sub).offset, peer.message(sub).offset), (0, 1));
}

#[test]
fn a_nack_that_is_not_answered_in_time_still_holds_back_what_may_be_stale() {
    let mut peer = Peer::open();
    let sub = delivered(&mut peer, 3);
    let id = nack(&mut peer, sub, 1);
    let request = peer.sent_one().request();
    peer.advance(Duration::from_secs(30));
    assert!(matches!(peer.answer_to(id), Err(RequestError::Unknown { .. })));
    assert_eq!(peer.incoming(sub), None);
    peer.done(request, 1);
    peer.deliver_rewound(sub, 1, 1, &[b"1"]);
    assert_eq!(peer.message(sub).offset, 1);
}

#[test]
fn d_06_a_seek_moves_the_subscription_and_forgets_what_was_committed() {
    for done_first in [true, false] {
        let mut peer = Peer::open();
        let sub = delivered(&mut peer, 3);
        peer.client.commit_quiet(peer.now, sub, 2).unwrap();
        peer.sent();
        let id = peer.client.seek(peer.now, sub, Start::Offset(1)).unwrap();
        let sent = peer.sent_one();
        let target = Target::Number(sub.0);
        assert_eq!(sent, Sent::Seek { request: sent.request(), target, to: Start::Offset(1) });
        assert_eq!(peer.incoming(sub), None);
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
fn d6_without_a_window_a_seek_neither_keeps_what_is_stale_nor_stops_reading() {
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
    assert_eq!(peer.incoming(sub), None);
    // What the last seek brings is handed out, since its answer may wait behind more than the client may keep.
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
fn d6_after_a_reconnect_a_subscription_goes_on_from_where_it_was_moved_to() {
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
    // Moved again while the Subscribe is on its way, and while there is no connection.
    peer.client.seek(peer.now, sub, Start::Earliest).unwrap();
    let seek = peer.sent_one();
    peer.subscribed(&resumed, 1);
    peer.deliver(sub, 1, &[b"stale"]);
    peer.done(seek.request(), 1);
    assert_eq!(peer.incoming(sub), None);
    peer.disconnect();
    let id = peer.client.seek(peer.now, sub, Start::Time(5)).unwrap();
    while let Some((answered, result)) = peer.answer() {
        assert!(answered <= id && result.is_ok());
    }
    peer.connect(1);
    let resumed = peer.sent_one();
    assert!(matches!(resumed, Sent::Subscribe { start: Start::Time(5), .. }), "{resumed:?}");
    // Refused for the moment: the next attempt asks for the newest position.
    peer.refuse(resumed.request(), RefusalCode::TopicsFull, 1);
    peer.client.seek(peer.now, sub, Start::Offset(9)).unwrap();
    let resumed = peer.sent_one();
    assert!(matches!(resumed, Sent::Subscribe { start: Start::Offset(9), .. }), "{resumed:?}");
    peer.subscribed(&resumed, 9);
    peer.deliver(sub, 9, &[b"9"]);
    assert_eq!(peer.incoming(sub), Some(Event::Reconnected { from: 9, start: 9 }));
    assert_eq!(peer.message(sub).offset, 9);
    peer.client.commit_quiet(peer.now, sub, 9).unwrap();
    peer.disconnect();
    peer.connect(1);
    let sent = peer.sent_one();
    assert!(matches!(sent, Sent::Subscribe { start: Start::Offset(10), .. }), "{sent:?}");
}

#[test]
fn p5_another_instance_begins_at_the_original_position_whatever_was_sought() {
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
    assert_eq!(peer.incoming(sub), None);
    peer.done(again[1].request(), 1);
    assert!(peer.answer_to(id).is_ok());
    peer.deliver_rewound(sub, 1, 3, &[b"3"]);
    assert_eq!(peer.message(sub).offset, 3);
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
fn d6_a_seek_of_a_durable_subscription_is_not_taken_for_done_when_its_connection_breaks() {
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
    assert!(matches!(peer.incoming(sub), Some(Event::Reconnected { from: 0, start: 0 })));
    assert_eq!(peer.message(sub).offset, 0);
}

#[test]
fn d6_a_seek_by_somebody_else_is_followed() {
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
fn p5_restarted_is_told_before_what_a_seek_brings() {
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
    assert_eq!(peer.incoming(sub), Some(Event::Restarted { start: 0 }));
    assert_eq!(peer.message(sub).offset, 5);
}
