//! Idempotent producers: numbers, what comes back, what is sent again.

use core::time::Duration;

use bytes::Buf;
use zaichik_proto::{AckLevel, Producer, Record, RefusalCode, TopicOptions};

use super::peer::{Peer, Sent};
use crate::{
    Answer, Batch, ClientConfig, ErrorClass, Link, LinkError, ProducerIdentity, PublishOptions, RequestError,
    RequestId, Violation,
};

pub(super) fn config() -> ClientConfig {
    let mut config = ClientConfig::new(7);
    config.producer = Some(ProducerIdentity::new(0xabcd).epoch(3).first_sequence(100));
    config
}

/// A client whose broker knows its producer: number 100 is used up.
pub(super) fn known() -> Peer {
    let mut peer = Peer::open_with(config());
    let id = peer.publish("t", b"first").unwrap();
    let request = peer.sent_one().request();
    peer.ack(&[(request, 1, 0)]);
    assert!(peer.answer_to(id).is_ok());
    peer
}

fn publish_all(peer: &mut Peer, bodies: &[&[u8]]) -> Vec<RequestId> {
    bodies.iter().map(|body| peer.publish("t", body).unwrap()).collect()
}

fn publish_for(peer: &mut Peer, body: &[u8], deadline: Duration) -> RequestId {
    let record = Record { body, ..Record::default() };
    let options = PublishOptions::new().deadline(deadline);
    peer.client.publish(peer.now, "t", &[record], options).unwrap()
}

/// Number and body of each publish that was sent.
fn numbered(sent: &[Sent]) -> Vec<(u64, &[u8])> {
    sent.iter().map(|sent| (sent.sequence(), sent.body())).collect()
}

/// Answers everything that was sent behind a request that was not applied.
fn gaps(peer: &mut Peer, sent: &[Sent], expected: u64) {
    for sent in sent {
        peer.refuse(sent.request(), RefusalCode::SequenceGap, expected);
    }
}

fn sleep_until_due(peer: &mut Peer) {
    peer.now = peer.client.next_timeout().unwrap();
    peer.client.handle_timeout(peer.now);
}

#[test]
fn p3_publishes_and_batches_share_one_row_of_numbers_and_quiet_ones_have_none() {
    let mut peer = known();
    let record = Record { body: b"q", ..Record::default() };
    peer.publish("t", b"a").unwrap();
    peer.client.send_batch(peer.now, Batch::new().publish("u", &[record]), PublishOptions::new()).unwrap();
    let quiet = PublishOptions::new().ack(AckLevel::None);
    peer.client.publish(peer.now, "t", &[record], quiet).unwrap();
    let durable = PublishOptions::new().ack(AckLevel::Durable);
    peer.client.publish(peer.now, "t", &[record], durable).unwrap();
    let producers: Vec<_> = peer
        .sent()
        .into_iter()
        .map(|sent| match sent {
            Sent::Publish { producer, .. } | Sent::Batch { producer, .. } => producer,
            other => panic!("{other:?}"),
        })
        .collect();
    let with = |sequence| Some(Producer { id: 0xabcd, epoch: 3, sequence });
    assert_eq!(producers, [with(101), with(102), None, with(103)]);
}

#[test]
fn p3_what_expires_before_it_is_sent_leaves_no_hole() {
    let mut config = config();
    config.retry_first_connect = true;
    let mut peer = Peer::new(config);
    let short = publish_for(&mut peer, b"short", Duration::from_secs(1));
    peer.publish("t", b"long").unwrap();
    peer.advance(Duration::from_secs(1));
    assert!(matches!(peer.answer_to(short), Err(RequestError::NotSent { .. })));
    peer.connect(1);
    assert_eq!(numbered(&peer.sent()), [(100, &b"long"[..])]);
}

#[test]
fn p3_one_request_goes_out_at_a_time_until_the_broker_knows_the_producer() {
    let mut peer = Peer::open_with(config());
    let ids = publish_all(&mut peer, &[b"1", b"2", b"3"]);
    let first = peer.sent_one();
    // Refused for the moment: the broker has forgotten it, and would take any number as the first one.
    peer.refuse(first.request(), RefusalCode::TopicFull, 0);
    sleep_until_due(&mut peer);
    assert_eq!(peer.sent_one(), first);
    peer.ack(&[(first.request(), 1, 0)]);
    assert!(peer.answer_to(ids[0]).is_ok());
    let sent = peer.sent();
    assert_eq!(numbered(&sent), [(101, &b"2"[..]), (102, b"3")]);
    peer.ack(&[(sent[0].request(), 2, 1)]);
    // Long silence, and it may be forgotten again.
    for _ in 0..25 {
        peer.advance(Duration::from_secs(25));
        peer.send(&zaichik_proto::ServerFrame::Ping { nonce: 1 });
        peer.sent();
    }
    publish_all(&mut peer, &[b"4", b"5"]);
    assert_eq!(numbered(&peer.sent()), [(103, &b"4"[..])]);
}

#[test]
fn p3_a_refusal_for_the_moment_brings_back_everything_behind_it_and_all_goes_out_again_in_order() {
    let mut peer = known();
    let ids = publish_all(&mut peer, &[b"a", b"b", b"c"]);
    let sent = peer.sent();
    peer.refuse(sent[0].request(), RefusalCode::Busy, 40_000);
    let late = peer.publish("t", b"d").unwrap();
    gaps(&mut peer, &sent[1..2], 101);
    peer.advance(Duration::from_millis(60));
    assert!(peer.sent().is_empty(), "one is still without an answer");
    assert_eq!(peer.answer(), None);
    gaps(&mut peer, &sent[2..], 101);
    let again = peer.sent();
    let expected: [(u64, &[u8]); 4] = [(101, b"a"), (102, b"b"), (103, b"c"), (104, b"d")];
    assert_eq!(numbered(&again), expected);
    peer.ack(&[(again[0].request(), 4, 1)]);
    for id in ids.into_iter().chain([late]) {
        assert!(matches!(peer.answer_to(id), Ok(Answer::Published(_))));
    }
}

#[test]
fn p3_nothing_goes_out_before_the_wait_is_over() {
    let mut peer = known();
    publish_all(&mut peer, &[b"a", b"b"]);
    let sent = peer.sent();
    peer.refuse(sent[0].request(), RefusalCode::Busy, 5_000_000);
    gaps(&mut peer, &sent[1..], 101);
    assert_eq!(peer.client.next_timeout(), Some(peer.now + Duration::from_secs(5)));
    peer.advance(Duration::from_micros(4_999_999));
    assert!(peer.sent().is_empty());
    peer.advance(Duration::from_micros(1));
    assert_eq!(peer.sent(), sent);
}

#[test]
fn p3_other_requests_do_not_wait_for_what_came_back() {
    let mut peer = known();
    publish_all(&mut peer, &[b"a"]);
    let request = peer.sent_one().request();
    peer.refuse(request, RefusalCode::TopicFull, 0);
    peer.publish("t", b"b").unwrap();
    peer.client.ping(peer.now).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Ping(_)));
}

#[test]
fn p3_every_refusal_for_the_moment_is_retried_and_delays_grow() {
    let codes = [
        RefusalCode::Busy,
        RefusalCode::TopicFull,
        RefusalCode::KeysFull,
        RefusalCode::TopicsFull,
        RefusalCode::Draining,
        RefusalCode::ProducersFull,
    ];
    let mut peer = known();
    let id = peer.publish("t", b"a").unwrap();
    let first = peer.sent_one();
    for (index, code) in codes.into_iter().enumerate() {
        peer.refuse(first.request(), code, 0);
        let wait = peer.client.next_timeout().unwrap().since(peer.now);
        assert!(wait >= Duration::from_millis(10 << index), "{code} {wait:?}");
        sleep_until_due(&mut peer);
        assert_eq!(peer.sent_one(), first, "{code}");
    }
    peer.ack(&[(first.request(), 1, 1)]);
    assert!(peer.answer_to(id).is_ok());
}

#[test]
fn p3_a_deadline_that_passes_meanwhile_is_a_refusal_and_the_next_one_takes_the_number() {
    let mut peer = known();
    let refused = publish_for(&mut peer, b"a", Duration::from_millis(500));
    let behind = publish_for(&mut peer, b"b", Duration::from_millis(500));
    let kept = peer.publish("t", b"c").unwrap();
    let unsent = {
        let sent = peer.sent();
        peer.refuse(sent[0].request(), RefusalCode::Busy, 400_000);
        let unsent = publish_for(&mut peer, b"d", Duration::from_millis(100));
        gaps(&mut peer, &sent[1..2], 101);
        peer.advance(Duration::from_millis(100));
        gaps(&mut peer, &sent[2..], 101);
        unsent
    };
    // Made behind it, and never sent.
    let error = peer.answer_to(unsent).unwrap_err();
    assert!(matches!(error, RequestError::HeldBack { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Retryable);
    peer.advance(Duration::from_millis(300));
    let sent = peer.sent();
    peer.refuse(sent[0].request(), RefusalCode::Busy, 1_000_000);
    let error = peer.answer_to(refused).unwrap_err();
    assert!(matches!(error, RequestError::Refused { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Retryable);
    peer.advance(Duration::from_millis(100));
    // It is sent, and it is certain that it will come back.
    let error = peer.answer_to(behind).unwrap_err();
    assert!(matches!(error, RequestError::HeldBack { .. }), "{error:?}");
    gaps(&mut peer, &sent[1..], 101);
    let again = peer.sent();
    assert_eq!(numbered(&again), [(101, &b"c"[..])]);
    peer.ack(&[(again[0].request(), 1, 1)]);
    assert!(peer.answer_to(kept).is_ok());
}

#[test]
fn p_02_a_gap_that_nobody_expects_is_gone_along_with() {
    let mut peer = known();
    let ids = publish_all(&mut peer, &[b"a", b"b"]);
    let sent = peer.sent();
    gaps(&mut peer, &sent, 42);
    assert!(peer.sent().is_empty(), "not at once: a broker that refuses for ever is not to be kept busy");
    sleep_until_due(&mut peer);
    let again = peer.sent();
    assert_eq!(numbered(&again), [(42, &b"a"[..]), (43, b"b")]);
    peer.ack(&[(again[0].request(), 2, 1)]);
    for id in ids {
        assert!(peer.answer_to(id).is_ok());
    }
    let mut peer = known();
    publish_all(&mut peer, &[b"a"]);
    let sent = peer.sent_one();
    gaps(&mut peer, core::slice::from_ref(&sent), 101);
    let error = LinkError::Violation(Violation::Answer { request: sent.request() });
    assert_eq!(peer.client.link(), Link::Closed(Some(error)), "it expects what it got");
}

#[test]
fn p_04_final_refusals_use_the_number_up() {
    let mut peer = known();
    let ids = publish_all(&mut peer, &[b"a", b"b", b"c", b"d"]);
    let sent = peer.sent();
    peer.refuse(sent[0].request(), RefusalCode::TooLarge, 1);
    peer.refuse(sent[1].request(), RefusalCode::SequenceTooOld, 0);
    peer.refuse(sent[2].request(), RefusalCode::ProducerFenced, 4);
    let classes = [ErrorClass::Refused, ErrorClass::Unknown, ErrorClass::Fatal];
    for (id, class) in ids.iter().zip(classes) {
        assert_eq!(peer.answer_to(*id).unwrap_err().class(), class);
    }
    peer.ack(&[(sent[3].request(), 1, 1)]);
    assert!(peer.answer_to(ids[3]).is_ok());
    peer.publish("t", b"e").unwrap();
    assert_eq!(peer.sent_one().sequence(), 105);
}

#[test]
fn p_1_answers_out_of_turn_are_violations_between_publishes_and_batches_too() {
    let mut peer = known();
    let record = Record::default();
    peer.publish("t", b"a").unwrap();
    let batch = Batch::new().publish("t", &[record]).clone();
    peer.client.send_batch(peer.now, &batch, PublishOptions::new()).unwrap();
    let sent = peer.sent();
    peer.batched(sent[1].request(), &[(0, 1)], &[]);
    let error = Violation::Answer { request: sent[1].request() };
    assert_eq!(peer.client.link(), Link::Closed(Some(error.into())));
}

#[test]
fn p4_what_had_no_answer_is_sent_again_in_order_with_its_numbers_before_all_else() {
    let mut peer = known();
    let ids = publish_all(&mut peer, &[b"a", b"b"]);
    let batch = Batch::new().publish("u", &[Record { body: b"x", ..Record::default() }]).clone();
    let third = peer.client.send_batch(peer.now, &batch, PublishOptions::new()).unwrap();
    let sent = peer.sent();
    peer.disconnect();
    let create = peer.client.create_topic(peer.now, "t", &TopicOptions::new()).unwrap();
    let last = peer.publish("t", b"c").unwrap();
    assert_eq!(peer.answer(), None, "the application hears nothing of it");
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
fn p_06_a_publish_cut_at_any_byte_goes_out_again_with_its_number() {
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
        // Twice cut: what left once may have been applied, whatever became of it the second time.
        peer.advance(Duration::from_secs(20));
        assert!(matches!(peer.answer_to(first), Err(RequestError::Unknown { .. })));
        peer.connect(1);
        let again = peer.sent();
        assert_eq!(numbered(&again), [(101, &b"a"[..]), (102, b"b")], "cut at {cut}");
        peer.published(again[0].request(), Some(1), &[]);
        peer.ack(&[(again[1].request(), 1, 2)]);
        assert!(peer.answer_to(second).is_ok());
        assert_eq!(peer.answer(), None);
    }
}

#[test]
fn p4_what_certainly_did_not_leave_gives_its_number_back_if_it_expires() {
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
fn p4_unknown_at_the_deadline_is_still_sent_again_so_that_no_hole_blocks_the_rest() {
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
    assert_eq!(numbered(&again), [(101, &b"short"[..]), (102, b"long")]);
    peer.published(again[0].request(), Some(1), &[]);
    peer.ack(&[(again[1].request(), 1, 2)]);
    assert!(peer.answer_to(long).is_ok());
    assert_eq!(peer.answer(), None);
}

#[test]
fn p3_what_nobody_waits_for_is_not_retried_when_it_is_refused() {
    let mut peer = known();
    publish_for(&mut peer, b"short", Duration::from_secs(1));
    peer.publish("t", b"long").unwrap();
    let sent = peer.sent();
    peer.advance(Duration::from_secs(1));
    assert!(peer.answer().is_some());
    peer.refuse(sent[0].request(), RefusalCode::TopicFull, 0);
    gaps(&mut peer, &sent[1..], 101);
    assert_eq!(numbered(&peer.sent()), [(101, &b"long"[..])]);
}

#[test]
fn p4_what_was_to_be_sent_again_behind_a_refusal_was_not_applied_either() {
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
    // There is room for three: the fourth still waits when the first one comes back, for good.
    let frame = 65;
    peer.write(frame);
    let sent = peer.received_one().unwrap();
    assert_eq!((sent.sequence(), sent.body()), (101, &b"a"[..]));
    peer.refuse(sent.request(), RefusalCode::Busy, 2_000_000);
    assert!(matches!(peer.answer_to(short), Err(RequestError::Refused { .. })));
    let again = peer.sent();
    assert_eq!(numbered(&again), [(102, &b"b"[..]), (103, b"c")]);
    gaps(&mut peer, &again, 101);
    let last = peer.sent();
    assert_eq!(numbered(&last), [(101, &b"b"[..]), (102, b"c"), (103, b"d")]);
    peer.ack(&[(last[0].request(), 3, 1)]);
    for id in ids {
        assert!(peer.answer_to(id).is_ok());
    }
}

#[test]
fn p4_after_9_min_without_a_connection_what_may_be_applied_is_unknown_and_the_rest_stays() {
    let mut peer = known();
    let day = Duration::from_hours(24);
    let gone = publish_for(&mut peer, b"gone", day);
    peer.sent();
    peer.advance(Duration::from_secs(10));
    let kept = publish_for(&mut peer, b"kept", day);
    peer.disconnect();
    let left = Duration::from_mins(9).saturating_sub(Duration::from_secs(10));
    assert_eq!(peer.client.next_timeout(), Some(peer.now + left), "counted from when it was last heard");
    peer.advance(left.saturating_sub(Duration::from_micros(1)));
    assert_eq!(peer.answer(), None);
    peer.advance(Duration::from_micros(1));
    assert_eq!(peer.answer_to(gone), Err(RequestError::Unknown { topic: "t".into() }));
    peer.connect(1);
    let sent = peer.sent_one();
    assert_eq!((sent.sequence(), sent.body()), (102, &b"kept"[..]));
    // It had not been applied.
    gaps(&mut peer, core::slice::from_ref(&sent), 101);
    sleep_until_due(&mut peer);
    let again = peer.sent_one();
    assert_eq!(again.sequence(), 101);
    peer.ack(&[(again.request(), 1, 1)]);
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
    assert!(peer.sent().is_empty());
    assert!(matches!(peer.answer_to(gone), Err(RequestError::Unknown { .. })));
}

#[test]
fn p4_connections_in_between_do_not_make_the_9_min_longer() {
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
            // The broker has it in time: its answer counts, and a broken connection ends the matter.
            assert_eq!((peer.answer(), peer.client.link()), (None, Link::Open));
            peer.disconnect();
            peer.advance(Duration::ZERO);
        } else {
            // It is in the output, and must not leave any more.
            assert!(matches!(peer.client.link(), Link::Connect { .. }));
        }
        assert!(matches!(peer.answer_to(pending), Err(RequestError::Unknown { .. })), "{leaves}");
        peer.connect(1);
        assert!(peer.sent().is_empty());
    }
}

#[test]
fn p_12_another_instance_gets_only_what_was_never_sent() {
    let mut peer = known();
    let pending = peer.publish("t", b"pending").unwrap();
    peer.sent();
    let unsent = peer.publish("t", b"unsent").unwrap();
    peer.disconnect();
    let queued = peer.publish("t", b"queued").unwrap();
    peer.connect(2);
    assert_eq!(peer.answer_to(pending), Err(RequestError::Unknown { topic: "t".into() }));
    let first = peer.sent_one();
    assert_eq!((first.sequence(), first.body()), (102, &b"unsent"[..]), "its broker is to know it first");
    peer.ack(&[(first.request(), 1, 0)]);
    let second = peer.sent_one();
    assert_eq!((second.sequence(), second.body()), (103, &b"queued"[..]));
    peer.ack(&[(second.request(), 1, 1)]);
    assert!(peer.answer_to(unsent).is_ok() && peer.answer_to(queued).is_ok());
}

#[test]
fn s_05_what_a_draining_broker_refuses_goes_to_the_next_connection() {
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
fn p4_closing_waits_for_what_is_sent_again_but_not_for_what_was_reported() {
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
fn p4_a_client_that_is_closed_tells_what_may_have_happened() {
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

#[test]
fn p3_numbers_that_are_used_up_are_refused_and_never_wrap() {
    let mut config = ClientConfig::new(7);
    config.producer = Some(ProducerIdentity::new(1).first_sequence(u64::MAX - 1));
    let mut peer = Peer::open_with(config);
    let last = peer.publish("t", b"last").unwrap();
    let sent = peer.sent_one();
    assert_eq!(sent.sequence(), u64::MAX - 1);
    peer.ack(&[(sent.request(), 1, 0)]);
    assert!(peer.answer_to(last).is_ok());
    let over = peer.publish("t", b"over").unwrap();
    let error = peer.answer_to(over).unwrap_err();
    assert_eq!((error.class(), error), (ErrorClass::Fatal, RequestError::SequencesExhausted));
    assert!(peer.sent().is_empty());
}

#[test]
fn p_09_the_producer_counts_against_the_frame_limit() {
    let mut peer = Peer::new(config());
    (peer.limits.max_message, peer.limits.max_frame) = (100, 4_196);
    peer.connect(1);
    // 12 bytes with the topic, 28 for the producer, 16 around each body.
    let exact = [&[0; 84]; 41].map(|body| Record { body, ..Record::default() });
    let mut publish = |last: &[u8]| {
        let last = Record { body: last, ..Record::default() };
        let records: Vec<_> = exact.iter().copied().chain([last]).collect();
        peer.client.publish(peer.now, "t", &records, PublishOptions::new())
    };
    assert_eq!(publish(&[0; 41]), Err(RequestError::TooLarge { limit: 4_196, got: 4_197 }));
    assert!(publish(&[0; 40]).is_ok());
    assert!(matches!(peer.sent_one(), Sent::Publish { bodies, .. } if bodies.len() == 42));
}
