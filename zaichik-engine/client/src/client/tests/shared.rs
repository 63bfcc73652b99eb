//! Shared subscriptions: members that settle their messages one by one (chapter G).

use core::time::Duration;

use zaichik_proto::{
    Acked, Delivery, Gap, GapReason, Item, Items, List, MemberItem, Members, OffsetRange, Record, Records,
    Refusal, RefusalCode, ServerFrame, SharedState, Start, Version, Welcome,
};

use super::peer::Peer;
use super::producer::config;
use super::sent::{Effect, Op, Sent};
use crate::{
    Answer, Batch, ClientConfig, ErrorClass, Event, Hold, Link, LinkError, PublishOptions, RequestError,
    RequestId, SharedOptions, SubscribeOptions, SubscriptionId,
};

/// A peer before its connection, whose broker has shared subscriptions.
pub(super) fn offering(config: ClientConfig) -> Peer {
    let mut peer = Peer::new(config);
    (peer.version, peer.capabilities) = (Version::Two, Welcome::SHARED);
    peer
}

pub(super) fn open() -> Peer {
    let mut peer = offering(ClientConfig::new(7));
    peer.connect(1);
    peer
}

pub(super) fn options() -> SubscribeOptions {
    SubscribeOptions::new().window(4).start(Start::Latest).shared(SharedOptions::new("workers"))
}

/// A member that has joined.
pub(super) fn joined(peer: &mut Peer) -> SubscriptionId {
    let (id, sub) = peer.client.subscribe(peer.now, "t", options()).unwrap();
    let sent = peer.sent_one();
    peer.attached(&sent, 5, 0, 0);
    assert!(matches!(peer.answer_to(id), Ok(Answer::Subscribed(_))));
    sub
}

pub(super) fn deliver(
    peer: &mut Peer,
    sub: SubscriptionId,
    first_offset: u64,
    count: u32,
    attempt: u32,
    rewind: u32,
) {
    let mut bytes = Vec::new();
    for _ in 0..count {
        Record { body: b"job", timestamp: 5, ..Record::default() }.encode(&mut bytes);
    }
    let records = Records::from_encoded(count, &bytes);
    peer.send(&ServerFrame::Delivery(Delivery {
        subscription: sub.0,
        rewind,
        attempt,
        first_offset,
        records,
    }));
}

/// Takes a message, and returns what it is settled with.
pub(super) fn take(peer: &mut Peer, sub: SubscriptionId) -> (u64, Hold) {
    let offset = peer.message(sub).offset;
    (offset, peer.client.hold(sub).unwrap())
}

pub(super) const fn one(first: u64) -> [OffsetRange; 1] {
    [OffsetRange { first, count: 1 }]
}

pub(super) fn acked(peer: &mut Peer, request: u32, cursor: u64, not_held: &[OffsetRange]) {
    let mut bytes = Vec::new();
    let not_held = List::encode_into(&mut bytes, not_held.iter().copied());
    peer.send(&ServerFrame::Acked(Acked { request, cursor, not_held }));
}

fn refused(result: Result<RequestId, RequestError>) -> RefusalCode {
    match result {
        Err(RequestError::Refused { refusal, .. }) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn g1_a_member_joins_with_its_options() {
    let mut peer = open();
    let shared = SharedOptions::new("workers").by_key().ack_deadline(Duration::from_secs(9));
    let shared = shared.inactive_ttl(Duration::from_mins(1));
    peer.client.subscribe(peer.now, "t", SubscribeOptions::new().shared(shared)).unwrap();
    let sent = peer.sent_one();
    let Sent::SubscribeShared { ref name, start, by_key: true, ack_deadline_micros: 9_000_000, .. } = sent
    else {
        panic!("{sent:?}");
    };
    assert!(matches!(sent, Sent::SubscribeShared { inactive_ttl_micros: 60_000_000, .. }), "{sent:?}");
    assert_eq!((&name[..], start), ("workers", Start::Earliest));
    let both = options().durable("billing".into());
    assert_eq!(peer.client.subscribe(peer.now, "t", both), Err(RequestError::DurableAndShared));
    let unnamed = SubscribeOptions::new().shared("".into());
    let error = peer.client.subscribe(peer.now, "t", unnamed);
    assert_eq!(error, Err(RequestError::InvalidDurableName { got: 0 }));
}

#[test]
fn g1_a_broker_that_does_not_offer_it_gets_no_request() {
    let refusal = Refusal::new(RefusalCode::Unsupported);
    let unsupported = RequestError::Refused { topic: "t".into(), refusal };
    let mut peer = Peer::open();
    assert_eq!(peer.client.subscribe(peer.now, "t", options()), Err(unsupported.clone()));
    let described = peer.client.describe_shared(peer.now, "t", "workers").unwrap();
    assert_eq!(peer.answer_to(described), Err(unsupported.clone()));
    // The broker may not be known yet.
    let mut peer = Peer::new(ClientConfig::new(7));
    let (id, sub) = peer.client.subscribe(peer.now, "t", options()).unwrap();
    peer.connect(1);
    assert_eq!(peer.answer_to(id), Err(unsupported));
    assert!(peer.sent().is_empty());
    assert_eq!(peer.client.hold(sub), None);
    // Or another one may be at its place later.
    let mut peer = open();
    let sub = joined(&mut peer);
    peer.disconnect();
    peer.capabilities = 0;
    peer.connect(2);
    assert!(peer.sent().is_empty());
    assert_eq!(peer.event(sub), Some(Event::Refused(refusal)));
}

#[test]
fn g3_an_ack_is_done_with_the_answer_of_the_broker() {
    let mut peer = open();
    let sub = joined(&mut peer);
    deliver(&mut peer, sub, 9, 2, 1, 0);
    deliver(&mut peer, sub, 6, 1, 2, 0);
    let taken = [take(&mut peer, sub), take(&mut peer, sub), take(&mut peer, sub)];
    assert_eq!(taken.map(|(offset, _)| offset), [9, 10, 6], "they come in the order of the broker");
    let hold = taken[0].1;
    let ranges = [OffsetRange { first: 9, count: 2 }, OffsetRange { first: 6, count: 1 }];
    let id = peer.client.ack(peer.now, hold, &ranges).unwrap();
    let sent = peer.sent_one();
    let request = sent.request();
    let (subscription, effect) = (sub.0, Effect::Acknowledged { quiet: false });
    let offsets = vec![(9, 2), (6, 1)];
    assert_eq!(sent, Sent::Settle { request, subscription, rewind: 0, effect, offsets });
    assert_eq!(peer.answer(), None);
    acked(&mut peer, request, 5, &one(6));
    assert_eq!(peer.answer_to(id), Ok(Answer::Acked { cursor: 5, not_held: one(6).to_vec() }));
}

#[test]
fn g5_messages_are_given_back_and_their_deadline_is_extended() {
    let mut peer = open();
    let sub = joined(&mut peer);
    deliver(&mut peer, sub, 9, 2, 1, 0);
    let (_, hold) = take(&mut peer, sub);
    let id = peer.client.nack_shared(peer.now, hold, &one(9), Duration::from_millis(5)).unwrap();
    let sent = peer.sent_one();
    let given_back = Effect::GivenBack { delay_micros: 5_000 };
    assert!(matches!(&sent, Sent::Settle { effect, .. } if *effect == given_back), "{sent:?}");
    assert_eq!(peer.message(sub).offset, 10, "nothing else waits for it");
    acked(&mut peer, sent.request(), 9, &[]);
    assert_eq!(peer.answer_to(id), Ok(Answer::Acked { cursor: 9, not_held: Vec::new() }));
    let id = peer.client.extend(peer.now, hold, &one(10)).unwrap();
    let sent = peer.sent_one();
    assert!(matches!(&sent, Sent::Settle { effect: Effect::Extended, .. }), "{sent:?}");
    acked(&mut peer, sent.request(), 9, &[]);
    assert!(peer.answer_to(id).is_ok());
}

#[test]
fn g3_requests_that_the_broker_would_not_take_are_not_sent() {
    let mut peer = open();
    let sub = joined(&mut peer);
    deliver(&mut peer, sub, 9, 1, 1, 0);
    let (offset, hold) = take(&mut peer, sub);
    assert_eq!(refused(peer.client.commit(peer.now, sub, offset)), RefusalCode::CommitShared);
    assert_eq!(refused(peer.client.commit_last(peer.now)), RefusalCode::CommitShared);
    assert_eq!(refused(peer.client.nack(peer.now, sub, offset, Duration::ZERO)), RefusalCode::CommitShared);
    let mut batch = Batch::new();
    batch.commit(sub, offset);
    let error = peer.client.send_batch(peer.now, &batch, PublishOptions::new()).unwrap_err();
    assert!(matches!(error, RequestError::InBatch { operation: 0, .. }), "{error:?}");
    for invalid in [
        Vec::new(),
        vec![OffsetRange { first: 0, count: 1 }; 1_025],
        vec![OffsetRange { first: 0, count: 0 }],
        vec![OffsetRange { first: u64::MAX, count: 1 }],
    ] {
        assert_eq!(peer.client.ack(peer.now, hold, &invalid), Err(RequestError::InvalidRanges));
        batch = Batch::new();
        batch.ack(hold, &invalid);
        assert!(peer.client.send_batch(peer.now, &batch, PublishOptions::new()).is_err());
    }
    let exclusive = peer.subscribe("t", 1, 0);
    assert_eq!(peer.client.hold(exclusive), None);
    let forged = Hold { subscription: exclusive, ..hold };
    assert_eq!(refused(peer.client.ack(peer.now, forged, &one(0))), RefusalCode::ModeDiffers);
    let (_, quick) = peer.client.subscribe(peer.now, "t", options().window(0)).unwrap();
    let sent = peer.sent_one();
    peer.attached(&sent, 5, 0, 0);
    let hold = peer.client.hold(quick).unwrap();
    assert_eq!(refused(peer.client.ack(peer.now, hold, &one(0))), RefusalCode::CommitsOff);
    assert!(peer.sent().is_empty());
}

#[test]
fn g10_what_a_connection_held_is_redelivered_and_can_not_be_settled_any_more() {
    let mut peer = open();
    let sub = joined(&mut peer);
    deliver(&mut peer, sub, 9, 3, 1, 0);
    let (offset, hold) = take(&mut peer, sub);
    let acks = [offset, 10].map(|offset| peer.client.ack(peer.now, hold, &one(offset)).unwrap());
    peer.sent();
    let extend = peer.client.extend(peer.now, hold, &one(10)).unwrap();
    let unsent = peer.client.ack(peer.now, hold, &one(11)).unwrap();
    peer.disconnect();
    for ack in acks {
        let error = peer.answer_to(ack).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Unknown, "the broker may have it");
    }
    let returned = RequestError::Returned { topic: "t".into() };
    assert_eq!(peer.answer_to(extend), Err(returned.clone()));
    assert_eq!(peer.answer_to(unsent), Err(returned.clone()));
    assert_eq!(peer.event(sub), None, "what was not taken is redelivered");
    assert_eq!(peer.client.ack(peer.now, hold, &one(offset)), Err(returned.clone()));
    peer.connect(1);
    let sent = peer.sent_one();
    assert!(matches!(sent, Sent::SubscribeShared { start: Start::Latest, .. }), "{sent:?}");
    peer.attached(&sent, 7, 0, 0);
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 7, start: 7 }));
    assert_eq!(peer.client.ack(peer.now, hold, &one(offset)), Err(returned.clone()));
    let mut batch = Batch::new();
    batch.ack(hold, &one(offset));
    let error = peer.client.send_batch(peer.now, &batch, PublishOptions::new()).unwrap_err();
    assert_eq!(error, RequestError::InBatch { operation: 0, error: returned.into() });
    assert_eq!(error.class(), ErrorClass::Refused);
    deliver(&mut peer, sub, 9, 1, 2, 0);
    let (offset, hold) = take(&mut peer, sub);
    assert!(peer.client.ack(peer.now, hold, &one(offset)).is_ok());
}

#[test]
fn g14_another_instance_is_reported_and_joined_at_the_original_start() {
    let mut peer = open();
    let sub = joined(&mut peer);
    deliver(&mut peer, sub, 9, 3, 1, 0);
    peer.message(sub);
    peer.disconnect();
    peer.connect(2);
    let sent = peer.sent_one();
    assert!(matches!(sent, Sent::SubscribeShared { start: Start::Latest, .. }), "{sent:?}");
    peer.attached(&sent, 0, 0, 0);
    assert_eq!(peer.event(sub), Some(Event::Restarted { start: 0 }));
    assert_eq!(peer.event(sub), None);
}

#[test]
fn g13_a_seek_makes_what_was_received_before_it_stale() {
    let mut peer = open();
    let sub = joined(&mut peer);
    deliver(&mut peer, sub, 9, 2, 1, 0);
    let (_, before) = take(&mut peer, sub);
    deliver(&mut peer, sub, 3, 1, 1, 1);
    deliver(&mut peer, sub, 11, 1, 1, 0);
    let (offset, after) = take(&mut peer, sub);
    assert_eq!((offset, peer.event(sub)), (3, None));
    for (hold, rewind) in [(before, 0), (after, 1)] {
        peer.client.ack(peer.now, hold, &one(3)).unwrap();
        let sent = peer.sent_one();
        assert!(matches!(&sent, Sent::Settle { rewind: sent, .. } if *sent == rewind), "{sent:?}");
    }
    let seek = peer.client.seek(peer.now, sub, Start::Offset(0)).unwrap();
    let request = peer.sent_one().request();
    peer.done(request, 2);
    assert_eq!(peer.answer_to(seek), Ok(Answer::Rewound { rewind: 2 }));
    deliver(&mut peer, sub, 0, 1, 1, 2);
    assert_eq!(peer.message(sub).offset, 0);
}

#[test]
fn g8_gaps_that_are_not_adjacent_are_reported_apart() {
    let mut peer = open();
    let sub = joined(&mut peer);
    for (from, to) in [(9, 11), (11, 12), (4, 5)] {
        let reason = GapReason::Expired;
        peer.send(&ServerFrame::Gap(Gap { subscription: sub.0, rewind: 0, reason, from, to }));
    }
    let reason = GapReason::Expired;
    assert_eq!(peer.event(sub), Some(Event::Gap { from: 9, to: 12, reason }));
    assert_eq!(peer.event(sub), Some(Event::Gap { from: 4, to: 5, reason }));
}

#[test]
fn g9_a_batch_acknowledges_and_is_settled_before_the_subscription_joins_again() {
    let mut peer = offering(config());
    peer.connect(1);
    let sub = joined(&mut peer);
    deliver(&mut peer, sub, 9, 2, 1, 0);
    let (_, hold) = take(&mut peer, sub);
    let mut batch = Batch::new();
    batch.publish("out", &[Record { body: b"done", ..Record::default() }]).ack(hold, &one(9));
    let id = peer.client.send_batch(peer.now, &batch, PublishOptions::new()).unwrap();
    let sent = peer.sent_one();
    let Sent::Batch { operations, .. } = &sent else { panic!("{sent:?}") };
    assert_eq!(operations[1], Op::Ack { subscription: sub.0, rewind: 0, offsets: vec![(9, 1)] });
    peer.disconnect();
    peer.connect(1);
    assert_eq!(peer.sent_one(), sent);
    peer.batched(sent.request(), &[(0, 4)], &[]);
    assert!(matches!(peer.answer_to(id), Ok(Answer::Batched(_))));
    let again = peer.sent_one();
    assert!(matches!(again, Sent::SubscribeShared { .. }), "{again:?}");
    peer.attached(&again, 10, 0, 0);
    deliver(&mut peer, sub, 10, 1, 2, 0);
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 10, start: 10 }));
    let (_, hold) = take(&mut peer, sub);
    let mut batch = Batch::new();
    batch.ack(hold, &one(10));
    let id = peer.client.send_batch(peer.now, &batch, PublishOptions::new()).unwrap();
    let request = peer.sent_one().request();
    peer.refuse(request, RefusalCode::NotHeld, 10);
    assert_eq!(peer.answer_to(id).map_err(|error| error.class()), Err(ErrorClass::Refused));
}

#[test]
fn g3_with_window_0_what_was_received_can_be_taken_after_the_connection_is_gone() {
    let mut peer = open();
    let (_, sub) = peer.client.subscribe(peer.now, "t", options().window(0)).unwrap();
    let sent = peer.sent_one();
    peer.attached(&sent, 5, 0, 0);
    deliver(&mut peer, sub, 9, 2, 1, 0);
    peer.disconnect();
    assert_eq!(peer.message(sub).offset, 9);
    peer.connect(1);
    let sent = peer.sent_one();
    peer.attached(&sent, 11, 0, 0);
    assert_eq!(peer.message(sub).offset, 10, "it is acknowledged, so it is not redelivered");
    assert_eq!(peer.event(sub), Some(Event::Reconnected { from: 11, start: 11 }));
}

#[test]
fn g11_a_description_has_the_state_and_the_members() {
    let mut peer = open();
    let id = peer.client.describe_shared(peer.now, "t", "workers").unwrap();
    let request = peer.sent_one().request();
    let state = SharedState { cursor: 4, end: 9, blocked_by: u64::MAX, members: 1, ..SharedState::default() };
    let mut bytes = Vec::new();
    let item = MemberItem { client: "w1", window: 8, in_flight: 2, oldest_micros: 7, stuck: true };
    item.write(&mut bytes);
    let members = Items::from_encoded(1, &bytes);
    peer.send(&ServerFrame::Members(Members { request, state, members }));
    let Ok(Answer::Shared(info)) = peer.answer_to(id) else { panic!("not described") };
    assert_eq!((info.cursor, info.end, info.ack_deadline, info.blocked_by), (4, 9, None, None));
    assert_eq!(
        (&info.members[0].client[..], info.members[0].in_flight, info.members[0].stuck),
        ("w1", 2, true)
    );
}

#[test]
fn g3_another_answer_breaks_the_protocol() {
    for is_ack in [true, false] {
        let mut peer = open();
        let sub = joined(&mut peer);
        deliver(&mut peer, sub, 9, 1, 1, 0);
        let (_, hold) = take(&mut peer, sub);
        if is_ack {
            peer.client.ack(peer.now, hold, &one(9)).unwrap();
            let request = peer.sent_one().request();
            peer.done(request, 0);
        } else {
            peer.client.seek(peer.now, sub, Start::Latest).unwrap();
            let request = peer.sent_one().request();
            acked(&mut peer, request, 0, &[]);
        }
        assert!(matches!(peer.client.link(), Link::Closed(Some(LinkError::Violation(_)))));
    }
}
