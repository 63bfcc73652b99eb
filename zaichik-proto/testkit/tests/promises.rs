//! The raw client detects a broker that violates the protocol.

use bytes::BytesMut;
use zaichik_proto::{
    Delivery, Done, Fenced, Gap, GapReason, Limits, Record, Records, ServerFrame, Start, Subscribed,
    TopicReady, TopicStatus, Unsubscribed, Welcome,
};
use zaichik_testkit::{RawClient, Sub, record};

/// The bytes of frames that a broker sends.
fn receive(client: &RawClient, frames: &[ServerFrame<'_>]) {
    let mut bytes = BytesMut::new();
    for frame in frames {
        frame.encode(&mut bytes);
    }
    // In two pieces, as a stream may deliver them.
    let mut tail = bytes.split_off(bytes.len() / 2);
    client.receive(&mut bytes);
    bytes.unsplit(tail.split());
    client.receive(&mut bytes);
    assert!(bytes.is_empty());
}

/// A client whose request 1 subscribed it to a topic from offset 5 on, under number 1.
fn subscribed() -> RawClient {
    let client = RawClient::new();
    client.hello(b"");
    let limits = Limits::default();
    receive(
        &client,
        &[ServerFrame::Welcome(Welcome { version: 1, instance: 7, limits, capabilities: 0, server: "" })],
    );
    assert_eq!((client.take_control(), client.instance()), (vec!["welcome".to_owned()], Some(7)));
    let request = client.subscribe_to(Sub::new(1, "t").from(Start::Offset(5)).window(9));
    receive(&client, &[start(request)]);
    assert_eq!(client.take_answer(request).as_deref(), Some("5..9"));
    client
}

fn start(request: u32) -> ServerFrame<'static> {
    let (subscription, epoch, rewind, created, start, end) = (1, 0, 0, false, 5, 9);
    ServerFrame::Subscribed(Subscribed { request, subscription, epoch, rewind, created, start, end })
}

/// A delivery of one record.
fn deliver(client: &RawClient, first_offset: u64, rewind: u32) {
    let mut bytes = Vec::new();
    Record { timestamp: 3, ..record(b"x") }.encode(&mut bytes);
    let (subscription, attempt, records) = (1, rewind.saturating_add(1), Records::from_encoded(1, &bytes));
    receive(
        client,
        &[ServerFrame::Delivery(Delivery { subscription, rewind, attempt, first_offset, records })],
    );
}

fn done(request: u32, value: u64) -> ServerFrame<'static> {
    ServerFrame::Done(Done { request, value })
}

#[test]
fn a_conversation_is_reported_as_short_texts() {
    let client = subscribed();
    deliver(&client, 5, 0);
    receive(
        &client,
        &[ServerFrame::Gap(Gap { subscription: 1, rewind: 0, reason: GapReason::Limit, from: 6, to: 8 })],
    );
    let nack = client.nack(1, 5, 0);
    receive(&client, &[done(nack, 1)]);
    // Frames sent before the rewind are dropped.
    deliver(&client, 8, 0);
    deliver(&client, 5, 1);
    let end = client.unsubscribe(1);
    let last_offset = Some(5);
    receive(
        &client,
        &[ServerFrame::Unsubscribed(Unsubscribed { request: end, subscription: 1, last_offset })],
    );
    assert_eq!(client.take_stream(), ["1/5=x", "1/6..8 limit", "1/5=x #2"]);
    let log = ["#1 5..9", "1/5=x", "1/6..8 limit", "#2 done 1", "1/5=x #2", "#3 ended 5"];
    assert_eq!(client.take_log()[1..], log);
    assert_eq!(
        client.take_records().iter().map(|one| (one.offset, one.attempt)).collect::<Vec<_>>(),
        [(5, 1), (5, 2)]
    );
}

#[test]
#[should_panic(expected = "no hole, no repetition")]
fn a_hole_is_detected() {
    let client = subscribed();
    deliver(&client, 5, 0);
    deliver(&client, 7, 0);
}

#[test]
#[should_panic(expected = "no hole, no repetition")]
fn a_repetition_within_a_rewind_is_detected() {
    let client = subscribed();
    deliver(&client, 5, 1);
    deliver(&client, 5, 1);
}

#[test]
#[should_panic(expected = "an existing subscription")]
fn a_delivery_after_fenced_is_detected() {
    let client = subscribed();
    receive(&client, &[ServerFrame::Fenced(Fenced { subscription: 1, epoch: 2 })]);
    deliver(&client, 5, 0);
}

#[test]
#[should_panic(expected = "must be answered before")]
fn answers_out_of_order_are_detected() {
    let client = subscribed();
    let (first, second) = (client.commit(1, 0), client.commit(1, 1));
    assert_eq!((first, second), (2, 3));
    receive(&client, &[done(second, 2)]);
}

#[test]
fn the_stream_lane_may_be_behind_the_control_lane() {
    let client = subscribed();
    let (end, create) = (client.unsubscribe(1), client.create("u", zaichik_proto::TopicOptions::new()));
    receive(
        &client,
        &[ServerFrame::TopicReady(TopicReady { request: create, status: TopicStatus::Created })],
    );
    let last_offset = None;
    receive(
        &client,
        &[ServerFrame::Unsubscribed(Unsubscribed { request: end, subscription: 1, last_offset })],
    );
    assert_eq!(client.take_answer(end).as_deref(), Some("ended"));
    assert_eq!(client.take_answer(create).as_deref(), Some("created"));
}

#[test]
#[should_panic(expected = "expects no answer")]
fn a_second_answer_is_detected() {
    let client = subscribed();
    let commit = client.commit(1, 0);
    receive(&client, &[done(commit, 1), done(commit, 1)]);
}
