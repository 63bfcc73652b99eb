//! The effect of a broken connection on batches, and on the subscriptions in which they commit.

use core::time::Duration;

use bytes::Buf;
use zaichik_proto::{FaultCode, RefusalCode, Start, TopicOptions, Version};

use super::batch::{body, committing, send, start, taken};
use super::peer::Peer;
use super::producer::{config, known, sleep_until_due};
use super::sent::Sent;
use crate::{
    Answer, Batch, ClientConfig, DurableOptions, ErrorClass, Event, PublishOptions, RequestError,
    SubscribeOptions,
};

#[test]
fn x_03_an_applied_batch_is_answered_on_the_next_connection_before_its_subscriptions_resume() {
    let mut peer = known();
    let (sub, other) = (taken(&mut peer, "in"), peer.subscribe("other", 1, 5));
    let id = send(&mut peer, &committing(sub, 1)).unwrap();
    let sent = peer.sent_one();
    peer.disconnect();
    peer.connect(1);
    let again = peer.sent();
    assert!(matches!(again[0], Sent::Subscribe { subscription, .. } if subscription == other.0));
    assert_eq!(
        again[1..],
        *core::slice::from_ref(&sent),
        "the subscription waits for the outcome of the batch"
    );
    peer.batched(sent.request(), &[(0, 4)], &[]);
    assert!(matches!(peer.answer_to(id), Ok(Answer::Batched(_))));
    let resumed = peer.sent_one();
    assert_eq!(start(&resumed), Start::Offset(2));
    peer.subscribed(&resumed, 2);
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 2, start: 2 }));
    peer.deliver(sub, 2, &[b"2"]);
    assert_eq!(peer.message(sub).offset, 2);
}

#[test]
fn x_03_a_batch_that_was_not_applied_has_no_effect_and_its_messages_are_redelivered() {
    let refusals: [(RefusalCode, u64); 3] =
        [(RefusalCode::NotSubscribed, 0), (RefusalCode::Draining, 0), (RefusalCode::SequenceGap, 100)];
    for (code, value) in refusals {
        let mut peer = known();
        let sub = taken(&mut peer, "in");
        let id = send(&mut peer, &committing(sub, 1)).unwrap();
        let sent = peer.sent_one();
        peer.disconnect();
        peer.connect(1);
        assert_eq!(peer.sent_one(), sent);
        if code == RefusalCode::NotSubscribed {
            peer.refuse_operation(sent.request(), code, 1);
        } else {
            peer.refuse(sent.request(), code, value);
            assert_eq!(peer.answer(), None, "the first attempt may still arrive");
            sleep_until_due(&mut peer);
            for empty in peer.sent() {
                assert!(
                    matches!(&empty, Sent::Batch { operations, .. } if operations.is_empty()),
                    "{empty:?}"
                );
                peer.batched(empty.request(), &[], &[]);
            }
        }
        let error = peer.answer_to(id).unwrap_err();
        assert!(matches!(error, RequestError::NotApplied { .. }), "{code}: {error:?}");
        assert_eq!(error.class(), ErrorClass::Retryable);
        let resumed = peer.sent_one();
        assert_eq!(start(&resumed), Start::Offset(0), "{code}");
        peer.subscribed(&resumed, 0);
        peer.deliver(sub, 0, &[b"0"]);
        assert!(matches!(peer.event(sub), Some(Event::Reconnected { from: 0, start: 0 })));
        assert_eq!(peer.message(sub).offset, 0);
    }
}

#[test]
fn x_03_not_subscribed_on_the_same_connection_is_a_refusal() {
    let mut peer = known();
    let sub = taken(&mut peer, "in");
    let id = send(&mut peer, &committing(sub, 1)).unwrap();
    let sent = peer.sent_one();
    peer.refuse_operation(sent.request(), RefusalCode::NotSubscribed, 1);
    match peer.answer_to(id) {
        Err(RequestError::Refused { topic, .. }) => assert_eq!(&*topic, "in"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn x_03_an_unsent_batch_fails_at_once_if_it_commits_and_is_queued_if_not() {
    for config in [config(), ClientConfig::new(7)] {
        let mut peer = Peer::open_with(config);
        let sub = taken(&mut peer, "in");
        let commits = send(&mut peer, &committing(sub, 1)).unwrap();
        let plain = send(&mut peer, Batch::new().publish("out", &[body(b"y")])).unwrap();
        peer.client.outbound().advance(20);
        peer.disconnect();
        let error = peer.answer_to(commits).unwrap_err();
        assert_eq!(error, RequestError::NotApplied { topic: "out".into() });
        // Until the messages are redelivered, a batch has nothing to commit.
        let early = send(&mut peer, &committing(sub, 1)).unwrap_err();
        assert_eq!(early, RequestError::NotApplied { topic: "in".into() });
        peer.connect(1);
        let sent = peer.sent();
        assert!(matches!(sent[..], [Sent::Subscribe { .. }, Sent::Batch { .. }]), "{sent:?}");
        peer.subscribed(&sent[0], 0);
        let early = send(&mut peer, &committing(sub, 1)).unwrap_err();
        assert!(matches!(early, RequestError::NotApplied { .. }), "{early:?}");
        peer.deliver(sub, 0, &[b"0", b"1"]);
        peer.batched(sent[1].request(), &[(0, 0)], &[]);
        assert!(peer.answer_to(plain).is_ok());
        assert!(send(&mut peer, &committing(sub, 1)).is_ok());
    }
}

#[test]
fn x_03_a_subscription_waits_for_every_batch_that_commits_on_it() {
    let mut peer = known();
    let sub = taken(&mut peer, "in");
    let ids: Vec<_> = (0..2).map(|offset| send(&mut peer, &committing(sub, offset)).unwrap()).collect();
    let sent = peer.sent();
    // Broken twice, so the batches that it waits for are counted again.
    for _ in 0..2 {
        peer.disconnect();
        peer.connect(1);
        assert_eq!(peer.sent(), sent);
    }
    peer.batched(sent[0].request(), &[(0, 0)], &[]);
    assert!(peer.answer_to(ids[0]).is_ok());
    assert!(peer.sent().is_empty());
    peer.refuse_operation(sent[1].request(), RefusalCode::NotSubscribed, 1);
    assert!(matches!(peer.answer_to(ids[1]), Err(RequestError::NotApplied { .. })));
    assert_eq!(start(&peer.sent_one()), Start::Offset(1));
}

#[test]
fn x_03_a_batch_whose_deadline_passed_still_holds_its_subscription_until_it_is_settled() {
    let mut peer = known();
    let sub = taken(&mut peer, "in");
    let options = PublishOptions::new().deadline(Duration::from_secs(1));
    let id = peer.client.send_batch(peer.now, &committing(sub, 1), options).unwrap();
    peer.sent();
    peer.disconnect();
    peer.advance(Duration::from_secs(1));
    assert!(matches!(peer.answer_to(id), Err(RequestError::Unknown { .. })));
    peer.connect(1);
    let asked = peer.sent_one();
    assert!(matches!(&asked, Sent::Batch { operations, .. } if operations.is_empty()), "what became of it");
    peer.batched(asked.request(), &[(0, 0)], &[]);
    assert_eq!(peer.answer(), None);
    assert_eq!(start(&peer.sent_one()), Start::Offset(2));
}

#[test]
fn p5_a_batch_without_an_answer_is_unknown_on_another_instance_and_after_9_min() {
    for instance in [2, 1] {
        let mut peer = known();
        let sub = taken(&mut peer, "in");
        let hour = PublishOptions::new().deadline(Duration::from_hours(1));
        let id = peer.client.send_batch(peer.now, &committing(sub, 1), hour).unwrap();
        peer.sent();
        peer.disconnect();
        if instance == 1 {
            peer.advance(Duration::from_mins(9));
        }
        peer.connect(instance);
        assert!(matches!(peer.answer_to(id), Err(RequestError::Unknown { .. })));
        let expected = if instance == 1 { Start::Offset(0) } else { Start::Earliest };
        let sent = peer.sent();
        assert_eq!(start(&sent[0]), expected);
        assert_eq!(sent.len(), if instance == 1 { 2 } else { 1 }, "an empty batch uses up its number");
    }
}

#[test]
fn without_a_producer_the_outcome_of_a_sent_batch_is_unknown() {
    let mut peer = Peer::open();
    let sub = taken(&mut peer, "in");
    let id = send(&mut peer, &committing(sub, 1)).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Batch { producer: None, .. }));
    peer.disconnect();
    assert!(matches!(peer.answer_to(id), Err(RequestError::Unknown { .. })));
    peer.connect(1);
    assert_eq!(start(&peer.sent_one()), Start::Offset(0));
}

#[test]
fn a_batch_made_before_a_seek_commits_nothing_after_it() {
    let mut peer = known();
    let sub = taken(&mut peer, "in");
    send(&mut peer, &committing(sub, 1)).unwrap();
    let request = peer.sent_one().request();
    peer.client.seek(peer.now, sub, Start::Offset(0)).unwrap();
    let seek = peer.sent_one().request();
    peer.deliver_rewound(sub, 1, 0, &[b"0"]);
    peer.batched(request, &[(0, 0)], &[]);
    peer.done(seek, 1);
    assert_eq!(peer.message(sub).offset, 0);
}

#[test]
fn an_unsubscribed_subscription_does_not_resume_after_its_batch() {
    let mut peer = known();
    let sub = taken(&mut peer, "in");
    send(&mut peer, &committing(sub, 1)).unwrap();
    let sent = peer.sent_one();
    peer.disconnect();
    peer.connect(1);
    assert_eq!(peer.sent_one(), sent);
    peer.client.unsubscribe(peer.now, sub).unwrap();
    peer.batched(sent.request(), &[(0, 0)], &[]);
    assert!(peer.sent().is_empty());
    assert!(matches!(peer.event(sub), Some(Event::Ended(_))));
}

#[test]
fn batches_are_sent_in_the_order_of_all_requests() {
    let mut peer = Peer::new(config());
    peer.client.create_topic(peer.now, "t", &TopicOptions::new()).unwrap();
    send(&mut peer, Batch::new().publish("t", &[body(b"x")])).unwrap();
    peer.client.subscribe(peer.now, "t", SubscribeOptions::new()).unwrap();
    peer.publish("t", b"y").unwrap();
    peer.connect(1);
    let sent = peer.sent();
    assert!(
        matches!(sent[..], [Sent::CreateTopic { .. }, Sent::Batch { .. }, Sent::Subscribe { .. }]),
        "the publish waits until the broker knows its producer: {sent:?}"
    );
}

#[test]
fn p4_a_commit_after_a_transaction_that_never_arrived_is_ok_only_when_the_broker_has_it() {
    for version in [Version::One, Version::Two] {
        let mut peer = known();
        let options = SubscribeOptions::new().window(1).durable(DurableOptions::new("worker"));
        let (id, sub) = peer.client.subscribe(peer.now, "in", options).unwrap();
        let attach = peer.sent_one();
        peer.attached(&attach, 0, 1, 0);
        assert!(peer.answer_to(id).is_ok());
        peer.deliver(sub, 0, &[b"0"]);
        peer.message(sub);
        let options = PublishOptions::new().deadline(Duration::from_secs(1));
        let lost = peer.client.send_batch(peer.now, &committing(sub, 0), options).unwrap();
        peer.sent();
        peer.fatal(FaultCode::Stopped);
        peer.advance(Duration::from_secs(1));
        assert!(matches!(peer.answer_to(lost), Err(RequestError::Unknown { .. })));
        peer.version = version;
        peer.connect(1);
        let empty = peer.sent_one();
        assert!(matches!(&empty, Sent::Batch { operations, .. } if operations.is_empty()), "{empty:?}");
        peer.batched(empty.request(), &[], &[]);
        let commit = peer.client.commit(peer.now, sub, 0).unwrap();
        let attach = peer.sent_one();
        peer.attached(&attach, 0, 2, 1);
        assert_eq!(peer.answer(), None, "{version:?}: the broker's cursor is at 0");
        peer.deliver_rewound(sub, 1, 0, &[b"0"]);
        let sent = peer.sent();
        let awaited = sent.iter().find(|sent| matches!(sent, Sent::Commit { quiet: false, .. }));
        let request = awaited.unwrap_or_else(|| panic!("{sent:?}")).request();
        assert_eq!(peer.answer(), None, "{version:?}");
        peer.done(request, 1);
        assert_eq!(peer.answer_to(commit), Ok(Answer::Committed { cursor: 1 }));
    }
}
