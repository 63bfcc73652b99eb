//! The requests that an idempotent producer resends after a broken connection, and those that it gives up on.

use core::time::Duration;

use bytes::Buf;
use zaichik_proto::{Record, RefusalCode, TopicOptions};

use super::peer::Peer;
use super::producer::{config, gaps, known, numbered, publish_all, publish_for, sleep_until_due};
use super::sent::Sent;
use crate::{Answer, Batch, Link, PublishOptions, RequestError};

#[test]
fn p4_unanswered_requests_are_sent_again_first_in_order_under_their_numbers() {
    let mut peer = known();
    let ids = publish_all(&mut peer, &[b"a", b"b"]);
    let batch = Batch::new().publish("u", &[Record { body: b"x", ..Record::default() }]).clone();
    let third = peer.client.send_batch(peer.now, &batch, PublishOptions::new()).unwrap();
    let sent = peer.sent();
    peer.disconnect();
    let create = peer.client.create_topic(peer.now, "t", &TopicOptions::new()).unwrap();
    let last = peer.publish("t", b"c").unwrap();
    assert_eq!(peer.answer(), None, "the application does not notice");
    peer.connect(1);
    let again = peer.sent();
    assert_eq!(again[..3], sent[..]);
    assert!(matches!(again[3], Sent::CreateTopic { .. }));
    assert_eq!(again[4].sequence(), 104);
    peer.ack(&[(again[0].request(), 2, 1)]);
    peer.batched(again[2].request(), &[(0, 0)], &[]);
    assert!(peer.answer_to(ids[0]).is_ok() && peer.answer_to(ids[1]).is_ok());
    assert!(matches!(peer.answer_to(third), Ok(Answer::Batched(_))));
    peer.ack(&[(again[4].request(), 1, 3)]);
    assert!(peer.answer_to(last).is_ok());
    assert!(create < last);
}

#[test]
fn p_06_a_publish_cut_off_at_any_byte_is_sent_again_under_its_number() {
    let mut whole = known();
    whole.publish("t", b"a").unwrap();
    let len = whole.client.outbound().remaining();
    for cut in 0..=len {
        let mut peer = known();
        let first = publish_for(&mut peer, b"a", Duration::from_secs(20));
        let second = peer.publish("t", b"b").unwrap();
        peer.client.outbound().advance(cut);
        peer.disconnect();
        peer.connect(1);
        let again = peer.sent();
        assert_eq!(numbered(&again), [(101, &b"a"[..]), (102, b"b")], "cut at {cut}");
        peer.disconnect();
        // Cut off twice: a publish sent completely once may have been applied, whatever happened the second time.
        peer.advance(Duration::from_secs(20));
        assert!(matches!(peer.answer_to(first), Err(RequestError::Unknown { .. })));
        peer.connect(1);
        let again = peer.sent();
        // Nobody waits for it any more: an empty batch asks what became of it.
        assert_eq!(numbered(&again), [(101, &b""[..]), (102, b"b")], "cut at {cut}");
        peer.published(again[0].request(), Some(1), &[]);
        peer.ack(&[(again[1].request(), 1, 2)]);
        assert!(peer.answer_to(second).is_ok());
        assert_eq!(peer.answer(), None);
    }
}

#[test]
fn p4_a_publish_that_was_not_sent_gives_its_number_back_when_it_expires() {
    let mut peer = known();
    let gone = publish_for(&mut peer, b"a", Duration::from_secs(1));
    peer.publish("t", b"b").unwrap();
    peer.client.outbound().advance(10);
    peer.disconnect();
    peer.advance(Duration::from_secs(1));
    assert!(matches!(peer.answer_to(gone), Err(RequestError::NotSent { .. })));
    peer.connect(1);
    assert_eq!(numbered(&peer.sent()), [(101, &b"b"[..])]);
}

#[test]
fn p4_an_empty_batch_replaces_a_publish_reported_as_unknown_to_leave_no_gap() {
    let mut peer = known();
    let short = publish_for(&mut peer, b"short", Duration::from_secs(1));
    let long = peer.publish("t", b"long").unwrap();
    peer.sent();
    peer.advance(Duration::from_secs(1));
    let unknown = Err(RequestError::Unknown { topic: "t".into() });
    assert_eq!(peer.answer_to(short), unknown);
    peer.disconnect();
    peer.connect(1);
    let again = peer.sent();
    assert_eq!(numbered(&again), [(101, &b""[..]), (102, b"long")]);
    peer.published(again[0].request(), Some(1), &[]);
    peer.ack(&[(again[1].request(), 1, 2)]);
    assert!(peer.answer_to(long).is_ok());
    assert_eq!(peer.answer(), None);
}

#[test]
fn p3_a_publish_reported_as_unknown_is_not_retried_when_it_is_refused() {
    let mut peer = known();
    publish_for(&mut peer, b"short", Duration::from_secs(1));
    peer.publish("t", b"long").unwrap();
    let sent = peer.sent();
    peer.advance(Duration::from_secs(1));
    assert!(peer.answer().is_some());
    peer.refuse(sent[0].request(), RefusalCode::TopicFull, 0);
    gaps(&mut peer, &sent[1..], 101);
    sleep_until_due(&mut peer);
    assert_eq!(numbered(&peer.sent()), [(101, &b""[..]), (102, b"long")]);
}

#[test]
fn p4_requests_behind_a_refused_one_keep_their_numbers() {
    let mut config = config();
    config.max_outbound_bytes = 150;
    let mut peer = Peer::open_with(config);
    let first = peer.publish("t", b"first").unwrap();
    let request = peer.sent_one().request();
    peer.ack(&[(request, 1, 0)]);
    assert!(peer.answer_to(first).is_ok());
    let short = publish_for(&mut peer, b"a", Duration::from_secs(1));
    peer.sent();
    let mut ids = Vec::new();
    for body in [b"b", b"c", b"d"] {
        ids.push(peer.publish("t", body).unwrap());
        peer.sent();
    }
    peer.disconnect();
    peer.connect(1);
    // There is room for three: the fourth still waits when the first one is refused for good.
    let frame = 65;
    peer.write(frame);
    let sent = peer.received_one().unwrap();
    assert_eq!((sent.sequence(), sent.body()), (101, &b"a"[..]));
    peer.refuse(sent.request(), RefusalCode::Busy, 2_000_000);
    assert_eq!(peer.answer(), None, "the first attempt may still arrive");
    let again = peer.sent();
    assert_eq!(numbered(&again), [(102, &b"b"[..]), (103, b"c")]);
    gaps(&mut peer, &again, 101);
    let last = peer.sent();
    assert_eq!(numbered(&last), [(101, &b""[..]), (102, b"b"), (103, b"c"), (104, b"d")]);
    peer.batched(last[0].request(), &[], &[]);
    assert!(matches!(peer.answer_to(short), Err(RequestError::Refused { .. })), "it never will");
    peer.ack(&[(last[1].request(), 3, 1)]);
    for id in ids {
        assert!(peer.answer_to(id).is_ok());
    }
}

#[test]
fn p4_after_9_min_without_a_connection_only_requests_that_may_be_applied_are_unknown() {
    let mut peer = known();
    let day = Duration::from_hours(24);
    let gone = publish_for(&mut peer, b"gone", day);
    peer.sent();
    peer.advance(Duration::from_secs(10));
    let kept = publish_for(&mut peer, b"kept", day);
    peer.disconnect();
    let left = Duration::from_mins(9).saturating_sub(Duration::from_secs(10));
    assert_eq!(
        peer.client.next_timeout(),
        Some(peer.now + left),
        "counted from the time at which the broker was last heard"
    );
    peer.advance(left.saturating_sub(Duration::from_micros(1)));
    assert_eq!(peer.answer(), None);
    peer.advance(Duration::from_micros(1));
    assert_eq!(peer.answer_to(gone), Err(RequestError::Unknown { topic: "t".into() }));
    peer.connect(1);
    // Its number is not used for another one.
    let sent = peer.sent_one();
    assert_eq!((sent.sequence(), sent.body()), (101, &b""[..]));
    peer.batched(sent.request(), &[], &[]);
    let sent = peer.sent_one();
    assert_eq!((sent.sequence(), sent.body()), (102, &b"kept"[..]));
    peer.ack(&[(sent.request(), 1, 1)]);
    assert!(peer.answer_to(kept).is_ok());
}

#[test]
fn p4_a_connection_just_after_the_9_min_resends_nothing_even_if_no_timer_fired() {
    let mut peer = known();
    let gone = publish_for(&mut peer, b"gone", Duration::from_hours(1));
    peer.sent();
    peer.disconnect();
    peer.now = peer.now + Duration::from_mins(9);
    peer.connect(1);
    assert_eq!(numbered(&peer.sent()), [(101, &b""[..])]);
    assert!(matches!(peer.answer_to(gone), Err(RequestError::Unknown { .. })));
}

#[test]
fn p4_connections_in_between_do_not_extend_the_9_min() {
    for leaves in [true, false] {
        let mut peer = known();
        let pending = publish_for(&mut peer, b"pending", Duration::from_hours(1));
        peer.sent();
        peer.disconnect();
        peer.advance(Duration::from_secs(530));
        peer.connect(1);
        if leaves {
            peer.sent();
        }
        peer.advance(Duration::from_secs(10));
        if leaves {
            // The broker received it in time: its answer counts, and a broken connection makes the outcome unknown.
            assert_eq!((peer.answer(), peer.client.link()), (None, Link::Open));
            peer.disconnect();
            peer.advance(Duration::ZERO);
        } else {
            // It is in the output, and must not be sent now.
            assert!(matches!(peer.client.link(), Link::Connect { .. }));
        }
        assert!(matches!(peer.answer_to(pending), Err(RequestError::Unknown { .. })), "{leaves}");
        peer.connect(1);
        assert_eq!(numbered(&peer.sent()), [(101, &b""[..])]);
    }
}

#[test]
fn p_12_another_instance_receives_only_requests_that_were_never_sent() {
    let mut peer = known();
    let pending = peer.publish("t", b"pending").unwrap();
    peer.sent();
    let unsent = peer.publish("t", b"unsent").unwrap();
    peer.disconnect();
    let queued = peer.publish("t", b"queued").unwrap();
    peer.connect(2);
    assert_eq!(peer.answer_to(pending), Err(RequestError::Unknown { topic: "t".into() }));
    let first = peer.sent_one();
    assert_eq!(
        (first.sequence(), first.body()),
        (102, &b"unsent"[..]),
        "one at a time until the broker knows the producer"
    );
    peer.ack(&[(first.request(), 1, 0)]);
    let second = peer.sent_one();
    assert_eq!((second.sequence(), second.body()), (103, &b"queued"[..]));
    peer.ack(&[(second.request(), 1, 1)]);
    assert!(peer.answer_to(unsent).is_ok() && peer.answer_to(queued).is_ok());
}

#[test]
fn s_05_requests_that_a_draining_broker_refuses_use_the_next_connection() {
    let mut peer = known();
    let ids = publish_all(&mut peer, &[b"a", b"b"]);
    let sent = peer.sent();
    peer.refuse(sent[0].request(), RefusalCode::Draining, 0);
    peer.refuse(sent[1].request(), RefusalCode::Draining, 0);
    peer.disconnect();
    peer.advance(Duration::from_millis(50));
    peer.connect(2);
    let first = peer.sent_one();
    assert_eq!(first, sent[0]);
    peer.ack(&[(first.request(), 1, 0)]);
    let second = peer.sent_one();
    assert_eq!(second, sent[1]);
    peer.ack(&[(second.request(), 1, 1)]);
    assert!(peer.answer_to(ids[0]).is_ok() && peer.answer_to(ids[1]).is_ok());
}

#[test]
fn p4_closing_waits_for_resends_except_those_already_reported() {
    let mut peer = known();
    let reported = publish_for(&mut peer, b"reported", Duration::from_secs(1));
    peer.sent();
    peer.advance(Duration::from_secs(1));
    assert!(matches!(peer.answer_to(reported), Err(RequestError::Unknown { .. })));
    let owed = peer.publish("t", b"owed").unwrap();
    peer.sent();
    peer.disconnect();
    peer.client.close(peer.now);
    peer.connect(1);
    let again = peer.sent();
    assert_eq!(again.len(), 2);
    peer.published(again[0].request(), Some(1), &[]);
    assert_eq!(peer.client.link(), Link::Open);
    peer.ack(&[(again[1].request(), 1, 2)]);
    assert!(peer.answer_to(owed).is_ok());
    assert_eq!(peer.sent(), [Sent::Close]);

    let mut peer = known();
    publish_for(&mut peer, b"reported", Duration::from_secs(1));
    peer.sent();
    peer.advance(Duration::from_secs(1));
    peer.disconnect();
    peer.client.close(peer.now);
    assert_eq!(peer.client.link(), Link::Closed(None));
    assert_eq!(peer.client.next_timeout(), None);
}

#[test]
fn p4_a_closed_client_reports_what_may_have_been_applied() {
    let mut config = config();
    config.reconnect = false;
    let mut peer = Peer::open_with(config);
    let first = peer.publish("t", b"first").unwrap();
    let request = peer.sent_one().request();
    peer.ack(&[(request, 1, 0)]);
    assert!(peer.answer_to(first).is_ok());
    let maybe = peer.publish("t", b"maybe").unwrap();
    peer.sent();
    let never = peer.publish("t", b"never").unwrap();
    peer.disconnect();
    assert!(matches!(peer.answer_to(maybe), Err(RequestError::Unknown { .. })));
    assert_eq!(peer.answer_to(never), Err(RequestError::Closed));
}
