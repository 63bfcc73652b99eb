//! Batches: local checks and answers.

use core::time::Duration;

use bytes::Buf;
use zaichik_proto::{AckLevel, NameError, Record, RefusalCode, Start};

use super::peer::Peer;
use super::producer::{config, known};
use super::sent::{Op, Sent};
use crate::{
    Answer, Batch, ClientConfig, ErrorClass, Link, LinkError, PublishOptions, RequestError, RequestId,
    SubscriptionId, Violation,
};

pub(super) fn body(body: &[u8]) -> Record<'_> {
    Record { body, ..Record::default() }
}

pub(super) fn send(peer: &mut Peer, batch: &Batch) -> Result<RequestId, RequestError> {
    peer.client.send_batch(peer.now, batch, PublishOptions::new())
}

/// A subscription from offset 0 whose first two messages were taken.
pub(super) fn taken(peer: &mut Peer, topic: &str) -> SubscriptionId {
    let sub = peer.subscribe(topic, 4, 0);
    peer.deliver(sub, 0, &[b"0", b"1", b"2"]);
    peer.message(sub);
    peer.message(sub);
    sub
}

pub(super) fn committing(sub: SubscriptionId, offset: u64) -> Batch {
    Batch::new().publish("out", &[body(b"x")]).commit(sub, offset).clone()
}

pub(super) fn start(sent: &Sent) -> Start {
    match sent {
        Sent::Subscribe { start, .. } => *start,
        other => panic!("{other:?}"),
    }
}

#[test]
fn x1_a_batch_is_one_frame_and_its_answer_has_a_receipt_for_each_publish() {
    let mut peer = known();
    let sub = taken(&mut peer, "in");
    let mut batch = Batch::new();
    batch.publish("a", &[body(b"1"), body(b"2"), body(b"3")]).commit(sub, 1).publish("b", &[body(b"4")]);
    assert_eq!(batch.len(), 3);
    let id = send(&mut peer, &batch).unwrap();
    let sent = peer.sent_one();
    let Sent::Batch { request, ref operations, .. } = sent else {
        panic!("{sent:?}");
    };
    let publish = |topic: &str, bodies: &[&[u8]]| Op::Publish {
        topic: topic.into(),
        bodies: bodies.iter().map(|body| body.to_vec()).collect(),
    };
    let commit = Op::Commit { subscription: sub.0, offset: 1 };
    assert_eq!(*operations, [publish("a", &[b"1", b"2", b"3"]), commit, publish("b", &[b"4"])]);
    peer.batched(request, &[(0, 7), (2, u64::MAX)], &[(0, 1, 3), (2, 0, 9)]);
    let Ok(Answer::Batched(receipt)) = peer.answer_to(id) else {
        panic!("not batched");
    };
    let first = &receipt.publishes[0];
    assert_eq!((0..3).map(|record| first.offset(record).unwrap()).collect::<Vec<_>>(), [7, 3, 8]);
    assert_eq!((receipt.publishes[1].first_offset, receipt.publishes[1].offset(0)), (None, Some(9)));
}

#[test]
fn x_11_an_empty_batch_is_sent_and_answered() {
    let mut peer = known();
    let id = send(&mut peer, &Batch::new()).unwrap();
    let request = peer.sent_one().request();
    peer.batched(request, &[], &[]);
    assert!(matches!(peer.answer_to(id), Ok(Answer::Batched(receipt)) if receipt.publishes.is_empty()));
}

#[test]
fn x1_commits_count_when_the_answer_comes_and_deliveries_continue_meanwhile() {
    let mut peer = known();
    let sub = taken(&mut peer, "in");
    let id = send(&mut peer, &committing(sub, 1)).unwrap();
    let request = peer.sent_one().request();
    assert_eq!(peer.message(sub).offset, 2);
    peer.deliver(sub, 3, &[b"3"]);
    assert_eq!(peer.message(sub).offset, 3);
    peer.batched(request, &[(0, 0)], &[]);
    assert!(peer.answer_to(id).is_ok());
    // It is committed now, so nothing is sent.
    let again = peer.client.commit(peer.now, sub, 1).unwrap();
    assert_eq!(peer.answer_to(again), Ok(Answer::Committed { cursor: 2 }));
    assert!(peer.sent().is_empty());
}

#[test]
fn x1_a_refused_batch_commits_nothing_and_names_the_operation() {
    let mut peer = known();
    let sub = taken(&mut peer, "in");
    let mut batch = committing(sub, 1);
    batch.publish("large", &[body(b"y")]);
    let id = send(&mut peer, &batch).unwrap();
    let request = peer.sent_one().request();
    peer.refuse_operation(request, RefusalCode::TooLarge, 2);
    let error = peer.answer_to(id).unwrap_err();
    let RequestError::Refused { topic, refusal } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((&**topic, refusal.operation), ("large", 2));
    assert!(error.to_string().starts_with("operation 2 of the batch, topic \"large\""), "{error}");
    assert_eq!(error.class(), ErrorClass::Refused);
    peer.client.commit(peer.now, sub, 1).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Commit { offset: 1, .. }), "it was not committed");
}

#[test]
fn x1_answers_that_do_not_fit_the_batch_are_violations() {
    type Case = (&'static [(u32, u64)], &'static [(u32, u32, u64)]);
    let cases: [Case; 8] = [
        (&[], &[]),
        (&[(0, 7)], &[]),
        (&[(0, 7), (1, 8)], &[]),
        (&[(0, 7), (2, 8), (3, 9)], &[]),
        (&[(0, u64::MAX), (2, 8)], &[]),
        (&[(0, 7), (2, 8)], &[(1, 0, 0)]),
        (&[(0, 7), (2, 8)], &[(2, 0, 0)]),
        (&[(0, 7), (2, u64::MAX)], &[(2, 1, 0)]),
    ];
    for (index, (results, duplicates)) in cases.into_iter().enumerate() {
        let mut peer = known();
        let sub = taken(&mut peer, "in");
        let mut batch = committing(sub, 1);
        batch.publish("b", &[body(b"y")]);
        send(&mut peer, &batch).unwrap();
        let request = peer.sent_one().request();
        peer.batched(request, results, duplicates);
        let error = LinkError::Violation(Violation::Offsets { request });
        assert_eq!(peer.client.link(), Link::Closed(Some(error)), "{index}");
    }
    let mut peer = known();
    peer.publish("t", b"no batch").unwrap();
    let request = peer.sent_one().request();
    peer.batched(request, &[(0, 1)], &[]);
    let error = LinkError::Violation(Violation::Answer { request });
    assert_eq!(peer.client.link(), Link::Closed(Some(error)));
}

#[test]
fn x_09_an_invalid_batch_is_refused_without_sending_a_byte() {
    let mut peer = Peer::new(config());
    (peer.limits.max_message, peer.limits.max_records, peer.limits.max_frame) = (100, 3, 4_196);
    peer.connect(1);
    let sub = taken(&mut peer, "in");
    let refused = |peer: &mut Peer, batch: &Batch| {
        let error = send(peer, batch).unwrap_err();
        assert!(!peer.client.outbound().has_remaining());
        assert_eq!(error.class(), ErrorClass::Refused, "{error}");
        error
    };
    let in_batch = |operation, error| RequestError::InBatch { operation, error: Box::new(error) };
    let one = || Batch::new().publish("a", &[body(b"")]).clone();

    let name = in_batch(1, RequestError::InvalidTopic(NameError::Reserved));
    assert_eq!(refused(&mut peer, one().publish("$x", &[body(b"")]).publish("", &[])), name);
    assert_eq!(refused(&mut peer, one().publish("a", &[])), in_batch(1, RequestError::NoRecords));
    let large = RequestError::TooLarge { limit: 100, got: 101 };
    assert_eq!(refused(&mut peer, one().publish("a", &[body(&[0; 101])])), large);
    let many = RequestError::TooManyRecords { limit: 3, got: 4 };
    assert_eq!(refused(&mut peer, one().publish("b", &[body(b""), body(b""), body(b"")])), many);
    match refused(&mut peer, one().commit(sub, 2)) {
        RequestError::InBatch { operation: 1, error } => {
            assert!(
                matches!(*error, RequestError::Refused { refusal, .. } if refusal.code == RefusalCode::CommitAhead)
            );
        }
        other => panic!("{other:?}"),
    }
    let missing = in_batch(0, RequestError::NoSubscription(SubscriptionId(99)));
    assert_eq!(refused(&mut peer, Batch::new().commit(SubscriptionId(99), 0)), missing);

    let mut full = Batch::new();
    for _ in 0..Batch::MAX_OPERATIONS {
        full.commit(sub, 0);
    }
    let frame = RequestError::TooLarge { limit: 4_196, got: 38 + 13_000 };
    assert_eq!(refused(&mut peer, &full), frame);
    assert_eq!(refused(&mut peer, full.commit(sub, 0)), RequestError::BatchTooLong { limit: 1_000 });
    assert_eq!(full.len(), 1_000);
    let none = PublishOptions::new().ack(AckLevel::None);
    let error = peer.client.send_batch(peer.now, &one(), none).unwrap_err();
    assert_eq!(error, RequestError::BatchUnanswered);
}

#[test]
fn x4_a_batch_with_a_retryable_refusal_is_retried_until_its_deadline() {
    for with_producer in [true, false] {
        let mut peer = if with_producer { known() } else { Peer::open_with(ClientConfig::new(7)) };
        let sub = taken(&mut peer, "in");
        let options = PublishOptions::new().deadline(Duration::from_secs(1));
        let id = peer.client.send_batch(peer.now, &committing(sub, 1), options).unwrap();
        let first = peer.sent_one();
        let error = loop {
            peer.refuse_operation(first.request(), RefusalCode::TopicFull, 0);
            if let Some((answered, result)) = peer.answer() {
                assert_eq!(answered, id);
                break result.unwrap_err();
            }
            peer.now = peer.client.next_timeout().unwrap();
            peer.client.handle_timeout(peer.now);
            assert_eq!(peer.sent_one(), first);
        };
        assert!(matches!(error, RequestError::Refused { .. }), "{error:?}");
        assert_eq!(error.class(), ErrorClass::Retryable);
    }
}
