//! Idempotent producers: sequence numbers and refusals.

use core::time::Duration;

use zaichik_proto::{AckLevel, Producer, Record, RefusalCode};

use super::peer::Peer;
use super::sent::Sent;
use crate::{
    Answer, Batch, ClientConfig, ErrorClass, Link, LinkError, ProducerIdentity, PublishOptions, RequestError,
    RequestId, Violation,
};

pub(super) fn config() -> ClientConfig {
    let mut config = ClientConfig::new(7);
    config.producer = Some(ProducerIdentity::new(0xabcd).epoch(3).first_sequence(100));
    config
}

/// A client whose broker knows its producer: sequence number 100 is used up.
pub(super) fn known() -> Peer {
    known_with(config())
}

pub(super) fn known_with(config: ClientConfig) -> Peer {
    let mut peer = Peer::open_with(config);
    let id = peer.publish("t", b"first").unwrap();
    let request = peer.sent_one().request();
    peer.ack(&[(request, 1, 0)]);
    assert!(peer.answer_to(id).is_ok());
    peer
}

pub(super) fn publish_all(peer: &mut Peer, bodies: &[&[u8]]) -> Vec<RequestId> {
    bodies.iter().map(|body| peer.publish("t", body).unwrap()).collect()
}

pub(super) fn publish_for(peer: &mut Peer, body: &[u8], deadline: Duration) -> RequestId {
    let record = Record { body, ..Record::default() };
    let options = PublishOptions::new().deadline(deadline);
    peer.client.publish(peer.now, "t", &[record], options).unwrap()
}

/// Sequence number and body of each publish that was sent.
pub(super) fn numbered(sent: &[Sent]) -> Vec<(u64, &[u8])> {
    sent.iter().map(|sent| (sent.sequence(), sent.body())).collect()
}

/// Refuses requests sent after one that was not applied.
pub(super) fn gaps(peer: &mut Peer, sent: &[Sent], expected: u64) {
    for sent in sent {
        peer.refuse(sent.request(), RefusalCode::SequenceGap, expected);
    }
}

pub(super) fn sleep_until_due(peer: &mut Peer) {
    peer.now = peer.client.next_timeout().unwrap();
    peer.client.handle_timeout(peer.now);
}

#[test]
fn p3_publishes_and_batches_share_one_sequence_and_unacknowledged_publishes_have_no_number() {
    let mut peer = known();
    let record = Record { body: b"q", ..Record::default() };
    peer.publish("t", b"a").unwrap();
    peer.client.send_batch(peer.now, Batch::new().publish("u", &[record]), PublishOptions::new()).unwrap();
    let quiet = PublishOptions::new().ack(AckLevel::None);
    peer.client.publish(peer.now, "t", &[record], quiet).unwrap();
    let durable = PublishOptions::new().ack(AckLevel::Durable);
    peer.client.publish(peer.now, "t", &[record], durable).unwrap();
    let sequence = |sequence| Some(Producer { id: 0xabcd, epoch: 3, sequence });
    let first = peer.sent();
    assert_eq!(producers(&first), [sequence(101), sequence(102)]);
    peer.ack(&[(first[0].request(), 1, 1)]);
    peer.batched(first[1].request(), &[(0, 0)], &[]);
    assert_eq!(producers(&peer.sent()), [None, sequence(103)]);
}

fn producers(sent: &[Sent]) -> Vec<Option<Producer>> {
    let producers = sent.iter().map(|sent| match sent {
        Sent::Publish { producer, .. } | Sent::Batch { producer, .. } => *producer,
        other => panic!("{other:?}"),
    });
    producers.collect()
}

#[test]
fn p3_a_request_that_expires_unsent_leaves_no_gap() {
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
fn p3_one_request_is_sent_at_a_time_until_the_broker_knows_the_producer() {
    let mut peer = Peer::open_with(config());
    let ids = publish_all(&mut peer, &[b"1", b"2", b"3"]);
    let first = peer.sent_one();
    // A retryable refusal: the broker has forgotten the producer, and would accept any number as the first one.
    peer.refuse(first.request(), RefusalCode::TopicFull, 0);
    sleep_until_due(&mut peer);
    assert_eq!(peer.sent_one(), first);
    peer.ack(&[(first.request(), 1, 0)]);
    assert!(peer.answer_to(ids[0]).is_ok());
    let sent = peer.sent();
    assert_eq!(numbered(&sent), [(101, &b"2"[..]), (102, b"3")]);
    peer.ack(&[(sent[0].request(), 2, 1)]);
    // After a long silence the producer may be forgotten again.
    for _ in 0..25 {
        peer.advance(Duration::from_secs(25));
        peer.send(&zaichik_proto::ServerFrame::Ping { nonce: 1 });
        peer.sent();
    }
    publish_all(&mut peer, &[b"4", b"5"]);
    assert_eq!(numbered(&peer.sent()), [(103, &b"4"[..])]);
}

#[test]
fn p3_after_a_retryable_refusal_everything_behind_it_is_sent_again_in_order() {
    let mut peer = known();
    let ids = publish_all(&mut peer, &[b"a", b"b", b"c"]);
    let sent = peer.sent();
    peer.refuse(sent[0].request(), RefusalCode::Busy, 40_000);
    let late = peer.publish("t", b"d").unwrap();
    gaps(&mut peer, &sent[1..2], 101);
    peer.advance(Duration::from_millis(60));
    assert!(peer.sent().is_empty(), "one is still unanswered");
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
fn p3_nothing_is_sent_before_the_delay_is_over() {
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
fn p3_other_requests_do_not_wait_for_a_refused_publish() {
    let mut peer = known();
    publish_all(&mut peer, &[b"a"]);
    let request = peer.sent_one().request();
    peer.refuse(request, RefusalCode::TopicFull, 0);
    peer.publish("t", b"b").unwrap();
    peer.client.ping(peer.now).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Ping(_)));
}

#[test]
fn p3_every_retryable_refusal_is_retried_with_growing_delays() {
    let codes = [
        RefusalCode::Busy,
        RefusalCode::TopicFull,
        RefusalCode::KeysFull,
        RefusalCode::TopicsFull,
        RefusalCode::Draining,
        RefusalCode::ProducersFull,
        RefusalCode::StorageFull,
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
fn p4_an_empty_batch_uses_up_the_number_of_a_publish_that_expires_while_refused() {
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
    // Requested after it, and never sent.
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
    // It is in flight, and nothing says yet that it is refused as well.
    let error = peer.answer_to(behind).unwrap_err();
    assert!(matches!(error, RequestError::Unknown { .. }), "{error:?}");
    gaps(&mut peer, &sent[1..], 101);
    let again = peer.sent();
    // No number is used for another request.
    assert_eq!(numbered(&again), [(101, &b""[..]), (102, b""), (103, b"c")]);
    peer.batched(again[0].request(), &[], &[]);
    peer.batched(again[1].request(), &[], &[]);
    peer.ack(&[(again[2].request(), 1, 1)]);
    assert!(peer.answer_to(kept).is_ok());
}

#[test]
fn p4_a_publish_in_flight_behind_a_refused_one_is_unknown_at_its_deadline() {
    let second = Duration::from_secs(1);
    let mut peer = known();
    let refused = publish_for(&mut peer, b"a", second);
    let behind = publish_for(&mut peer, b"b", second);
    let sent = peer.sent();
    peer.refuse(sent[0].request(), RefusalCode::StorageFull, 1_000_000);
    assert!(matches!(peer.answer_to(refused), Err(RequestError::Refused { .. })), "it can't be sent in time");
    peer.advance(second);
    assert!(matches!(peer.answer_to(behind), Err(RequestError::Unknown { .. })));
    // The broker has not read it when the connection breaks. It uses up the number before it first, then reads it.
    peer.disconnect();
    peer.connect(1);
    let empty = peer.sent();
    assert_eq!(numbered(&empty), [(101, &b""[..]), (102, b"")]);
    peer.batched(empty[0].request(), &[], &[]);
    peer.published(empty[1].request(), Some(1), &[]);
    peer.publish("t", b"c").unwrap();
    assert_eq!(numbered(&peer.sent()), [(103, &b"c"[..])]);
}

#[test]
fn p_02_an_unexpected_sequence_gap_is_followed() {
    let mut peer = known();
    let ids = publish_all(&mut peer, &[b"a", b"b"]);
    let sent = peer.sent();
    gaps(&mut peer, &sent, 100);
    assert!(peer.sent().is_empty(), "not at once: a broker that always refuses must not be kept busy");
    sleep_until_due(&mut peer);
    let again = peer.sent();
    // What the number was used for is not known, so it is not used for anything else.
    assert_eq!(numbered(&again), [(100, &b""[..]), (101, b"a"), (102, b"b")]);
    peer.batched(again[0].request(), &[], &[]);
    peer.ack(&[(again[1].request(), 2, 1)]);
    for id in ids {
        assert!(peer.answer_to(id).is_ok());
    }
    let mut peer = known();
    publish_all(&mut peer, &[b"a"]);
    let sent = peer.sent_one();
    gaps(&mut peer, core::slice::from_ref(&sent), 101);
    let error = LinkError::Violation(Violation::Answer { request: sent.request() });
    assert_eq!(peer.client.link(), Link::Closed(Some(error)), "it expects the number that it received");
}

#[test]
fn p_04_a_final_refusal_uses_up_the_number() {
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
fn p1_answers_out_of_turn_are_violations_between_publishes_and_batches_too() {
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
fn p3_sequence_numbers_run_out_instead_of_wrapping_around() {
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
