//! What only sockets show about single connections: cuts, garbage, silence, and that nobody else minds.

use std::time::Duration;

use crate::raw::{RawPeer, Running, encoded, within};
use zaichik_proto::{
    AckLevel, ClientFrame, FaultCode, FrameHeader, HEADER_LEN, MAGIC, Publish, Record, Records, ServerFrame,
    Start, Subscribe,
};
use zaichik_tokio::{Client, ClientError, TopicOptions};

fn publish(request: u32, records: &[u8]) -> ClientFrame<'_> {
    let records = Records::from_encoded(1, records);
    ClientFrame::Publish(Publish {
        request,
        ack: AckLevel::Accepted,
        producer: None,
        topic: b"split",
        records,
    })
}

fn record(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Record { body, ..Record::default() }.encode(&mut bytes);
    bytes
}

/// A peer whose only frame is garbage, and the code with which it is told.
async fn told(address: &str, garbage: &[u8]) -> FaultCode {
    let mut peer = RawPeer::open(address).await;
    peer.send_bytes(garbage).await;
    let code = peer
        .next(|frame| match frame {
            ServerFrame::Fatal(fatal) => fatal.code,
            other => panic!("expected a Fatal, got {other:?}"),
        })
        .await;
    assert_eq!(peer.rest().await, 0, "the last frame of the connection");
    code
}

#[tokio::test]
async fn w5_a_frame_split_across_two_segments_is_one_frame() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let mut peer = RawPeer::open(&broker.address).await;
        let records = record(b"in two parts");
        let frame = encoded(&publish(7, &records));
        for cut in [1, HEADER_LEN - 1, HEADER_LEN, HEADER_LEN + 3, frame.len() - 1] {
            let (head, tail) = frame.split_at(cut);
            // The answer to the ping shows that the first part was received without the second.
            let mut first = encoded(&ClientFrame::Ping { nonce: cut as u64 });
            first.extend_from_slice(head);
            peer.send_bytes(&first).await;
            peer.next(|frame| assert_eq!(frame, ServerFrame::Pong { nonce: cut as u64 })).await;
            peer.send_bytes(tail).await;
            peer.next(|frame| match frame {
                ServerFrame::Published(published) => assert_eq!(published.request, 7),
                ServerFrame::Acks(acks) => {
                    assert_eq!(acks.runs.iter().next().map(|run| run.request), Some(7));
                }
                other => panic!("expected an answer, got {other:?}"),
            })
            .await;
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn w13_strangers_are_closed_without_an_answer() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let honest = Client::connect(&broker.address).await.expect("the broker listens");
        let strangers: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
            b"*1\r\n$4\r\nPING\r\n",
            b"ZAI\x02",
        ];
        for bytes in strangers {
            let mut stranger = RawPeer::silent(&broker.address).await;
            stranger.send_bytes(bytes).await;
            assert_eq!(stranger.rest().await, 0);
        }
        honest.ping().await.expect("others are served");
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn w1_garbage_is_told_and_closed_and_nobody_else_minds() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let honest = Client::connect(&broker.address).await.expect("the broker listens");
        let mut subscription = honest.subscribe("calm").await.expect("subscribed");
        let huge = FrameHeader { body_len: u32::MAX, kind: ClientFrame::Close.kind() }.to_bytes();
        assert_eq!(told(&broker.address, &huge).await, FaultCode::FrameTooLarge);
        // The right direction is the other one: what the broker sends, sent to it.
        let mut wrong = bytes::BytesMut::new();
        ServerFrame::Pong { nonce: 1 }.encode(&mut wrong);
        assert_eq!(told(&broker.address, &wrong).await, FaultCode::WrongDirection);
        honest.publish("calm", "still here").await.expect("accepted");
        let message = subscription.next_message().await.expect("no gap").expect("a message");
        assert_eq!(message.body, "still here");
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn w8_a_peer_that_sends_nothing_is_told_and_closed() {
    within(async {
        let broker = Running::start(|config| config.handshake_timeout = Duration::from_millis(50)).await;
        let silent = RawPeer::silent(&broker.address).await;
        let mut half = RawPeer::silent(&broker.address).await;
        half.send_bytes(&MAGIC[..2]).await;
        let honest = Client::connect(&broker.address).await.expect("the broker listens");
        for mut peer in [silent, half] {
            peer.next(|frame| match frame {
                ServerFrame::Fatal(fatal) => assert_eq!(fatal.code, FaultCode::HandshakeTimeout),
                other => panic!("expected a Fatal, got {other:?}"),
            })
            .await;
            assert_eq!(peer.rest().await, 0);
        }
        honest.ping().await.expect("others are served");
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn w11_a_connection_cut_inside_a_frame_leaves_nothing_behind() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let records = record(b"never whole");
        let frame = encoded(&publish(1, &records));
        for cut in 0..frame.len() {
            let mut peer = RawPeer::open(&broker.address).await;
            peer.send_bytes(&frame[..cut]).await;
        }
        let honest = Client::connect(&broker.address).await.expect("the broker listens");
        let receipt = honest.publish("split", "whole").await.expect("accepted");
        assert_eq!(receipt.offset(0), Some(0), "no part of a frame was applied");
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_17_a_peer_that_stops_reading_hurts_nobody() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let publisher = Client::connect(&broker.address).await.expect("the broker listens");
        let options = TopicOptions::new().retain_forever().max_bytes(1 << 20);
        publisher.create_topic("flood", options).await.expect("created");

        let mut stuck = RawPeer::open(&broker.address).await;
        let subscribe = Subscribe {
            request: 1,
            subscription: 1,
            topic: b"flood",
            start: Start::Earliest,
            window: 0,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            durable: None,
        };
        stuck.send(&ClientFrame::Subscribe(subscribe)).await;
        stuck.next(|frame| assert!(matches!(frame, ServerFrame::Subscribed(_)))).await;

        // Far more than the buffers between the broker and the peer that does not read.
        let reader = Client::connect(&broker.address).await.expect("the broker listens");
        let mut subscription = reader.subscribe("flood").window(64).await.expect("subscribed");
        let body = vec![7; 64 << 10];
        for offset in 0..512 {
            let receipt = publisher.publish("flood", body.clone()).await.expect("accepted");
            assert_eq!(receipt.offset(0), Some(offset));
            let message = subscription.next_message().await.expect("no gap").expect("a message");
            assert_eq!(message.offset, offset);
            message.commit().await.expect("committed");
        }

        // It reads again: what is gone by now is a Gap in its place.
        let mut next = 0;
        while next < 512 {
            next = stuck
                .next(|frame| match frame {
                    ServerFrame::Delivery(delivery) => {
                        assert_eq!(delivery.first_offset, next);
                        next + u64::from(delivery.records.len())
                    }
                    ServerFrame::Gap(gap) => {
                        assert_eq!(gap.from, next);
                        gap.to
                    }
                    other => panic!("expected a Delivery or a Gap, got {other:?}"),
                })
                .await;
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_address_without_a_broker_is_an_error_at_once() {
    let broker = Running::start(|_| {}).await;
    let address = broker.address.clone();
    broker.stop().await;
    let failed = within(Client::connect(&address)).await;
    assert!(matches!(failed, Err(ClientError::Connect(_))), "{failed:?}");
}
