//! W: what goes wrong between a broker and its peers; each time somebody honest is served as if nothing had.

use std::time::Duration;

use futures::future::join_all;
use zaichik_driver::{Client, Runtime, TopicOptions};
use zaichik_proto::{
    ClientFrame, Commit, Durable, FaultCode, FrameHeader, Hello, Limits, MAGIC, OnConflict, Publish, Record,
    Records, ServerFrame, Start, Subscribe,
};
use zaichik_testkit::{Sub, encoded, record};

use crate::broker::{Broker, next, put};
use crate::faults::{Direction, Fault};
use crate::form::Form;
use crate::peer::Peer;
use crate::proxy::Proxy;

/// A peer whose only frame is garbage, and all that it is told.
async fn told<F: Form>(broker: &Broker<F>, garbage: &[u8]) -> Vec<String> {
    let peer = broker.peer().await;
    peer.send_bytes(garbage);
    peer.end().await
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let body_len = u32::try_from(body.len()).expect("short");
    [&FrameHeader { body_len, kind }.to_bytes()[..], body].concat()
}

fn publish(count: u32, records: &[u8]) -> Vec<u8> {
    let records = Records::from_encoded(count, records);
    let (ack, topic) = (zaichik_proto::AckLevel::Accepted, b"t");
    encoded(&ClientFrame::Publish(Publish { request: 1, ack, producer: None, topic, records })).to_vec()
}

/// One frame for each fault that a frame can have.
fn garbage() -> Vec<(FaultCode, Vec<u8>)> {
    let ping = ClientFrame::Ping { nonce: 1 };
    let mut reserved = encoded(&ping).to_vec();
    reserved[5] = 1;
    let durable =
        Durable { name: "DURABLE", on_conflict: OnConflict::TakeOver, epoch: 0, inactive_ttl_micros: 0 };
    let subscribe = Subscribe {
        request: 1,
        subscription: 1,
        topic: b"t",
        start: Start::Earliest,
        window: 1,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: Some(durable),
    };
    let mut not_text = encoded(&ClientFrame::Subscribe(subscribe)).to_vec();
    let name = not_text.windows(7).position(|bytes| bytes == b"DURABLE").expect("the name");
    not_text[name] = 0xff;
    let mut stamped = Vec::new();
    Record { timestamp: 1, ..record(b"x") }.encode(&mut stamped);
    let mut wrong_direction = bytes::BytesMut::new();
    ServerFrame::Pong { nonce: 1 }.encode(&mut wrong_direction);
    let commit = Commit { request: 0, subscription: 1, offset: 0, quiet: false };
    let hello = Hello { version: 1, name: "again", token: b"" };
    vec![
        (FaultCode::OutOfPhase, encoded(&ClientFrame::Hello(hello)).to_vec()),
        (FaultCode::FrameTooLarge, FrameHeader { body_len: u32::MAX, kind: ping.kind() }.to_bytes().to_vec()),
        (FaultCode::UnknownKind, frame(0x20, b"")),
        (FaultCode::WrongDirection, wrong_direction.to_vec()),
        (FaultCode::ReservedBits, reserved),
        (FaultCode::BadLength, frame(ping.kind(), b"1234567")),
        (FaultCode::BadLength, frame(ping.kind(), b"123456789")),
        (FaultCode::BadValue, encoded(&ClientFrame::Commit(commit)).to_vec()),
        (FaultCode::CountTooLarge, publish(1_000, &stamped)),
        (FaultCode::NotUtf8, not_text),
        (FaultCode::BadRecord, publish(1, &stamped)),
    ]
}

pub(crate) async fn s_04_garbage_is_told_and_closed_and_nobody_else_minds<F: Form>() {
    let broker = Broker::<F>::start().await;
    let honest = broker.client().await;
    let mut subscription = honest.subscribe("calm").await.expect("subscribed");
    for (round, (code, bytes)) in garbage().into_iter().enumerate() {
        assert_eq!(told(&broker, &bytes).await, [format!("fatal {code}")]);
        // What came before it was served, what comes behind it is not.
        let before = encoded(&ClientFrame::Ping { nonce: 7 });
        let log = told(&broker, &[&before[..], &bytes[..], &before[..]].concat()).await;
        assert_eq!(log, ["pong 7".to_owned(), format!("fatal {code}")]);
        put(&honest, "calm", "still here").await;
        assert_eq!(next(&mut subscription).await, format!("{round}=still here"));
        subscription.commit().await.expect("committed");
    }
    // The last words arrive even if far more is on its way to the broker than it will ever read.
    let (code, mut bytes) = garbage().swap_remove(1);
    bytes.resize(1 << 20, 0);
    for _ in 0..8 {
        assert_eq!(told(&broker, &bytes).await, [format!("fatal {code}")]);
    }
    // A frame that was cut off is no breach: it is as if it had never begun.
    let peer = broker.peer().await;
    peer.send_bytes(&frame(ClientFrame::Close.kind(), b"")[..7]);
    peer.finish().await;
    assert!(peer.end().await.is_empty());
    broker.stop().await;
}

pub(crate) async fn w2_a_length_above_the_limit_is_refused_by_its_header<F: Form>() {
    let broker = Broker::<F>::start().await;
    let limit = Limits::default().max_frame;
    for kind in [ClientFrame::Close.kind(), 0x04, 0x0a, 0x80, 0xff] {
        for body_len in [limit + 1, 1 << 31, u32::MAX - 1, u32::MAX] {
            let header = FrameHeader { body_len, kind }.to_bytes();
            assert_eq!(told(&broker, &header).await, ["fatal FrameTooLarge"], "{kind:#x} {body_len}");
        }
    }
    // Before the handshake the limit is smaller.
    let peer = broker.dial().await;
    peer.send_bytes(&MAGIC);
    peer.send_bytes(&FrameHeader { body_len: Limits::MAX_HANDSHAKE_FRAME + 1, kind: 0x01 }.to_bytes());
    assert_eq!(peer.end().await, ["fatal FrameTooLarge"]);
    broker.stop().await;
}

pub(crate) async fn w6_what_a_later_version_sends_is_skipped<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.peer().await;
    for kind in 0x80..=0xff {
        peer.send(&ClientFrame::Extension { kind, body: b"from the future" });
    }
    assert_eq!(peer.answer(peer.publish("t", "a")).await, "@0 new");
    for kind in [0x00, 0x10, 0x3f, 0x54, 0x7f] {
        assert_eq!(told(&broker, &frame(kind, b"")).await, ["fatal UnknownKind"], "{kind:#x}");
    }
    for place in 5..8 {
        let mut bytes = encoded(&ClientFrame::Ping { nonce: 1 });
        bytes[place] = 0x80;
        assert_eq!(told(&broker, &bytes).await, ["fatal ReservedBits"]);
    }
    peer.settle().await;
    broker.stop().await;
}

/// Pieces of one to seven bytes, each a moment late, in both directions.
pub(crate) async fn w5_w10_split_and_late_bytes_change_nothing<F: Form>() {
    let broker = Broker::<F>::start().await;
    join_all((0..4).map(|seed| split(&broker, seed))).await;
    broker.stop().await;
}

async fn split<F: Form>(broker: &Broker<F>, seed: u64) {
    let plan = move |_| vec![Fault::Split { seed, most: 7 }, Fault::Delay { seed }];
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), plan).await;
    let client = Client::<F::Runtime>::connect(proxy.address()).await.expect("the broker listens");
    let topic = format!("t{seed}");
    client.create_topic(&topic, TopicOptions::new().retain_forever()).await.expect("created");
    let mut subscription = client.subscribe(&topic).window(4).await.expect("subscribed");
    let bodies: Vec<String> = (0..8).map(|number| number.to_string().repeat(number * 17)).collect();
    let published = join_all(bodies.iter().map(|body| client.publish(&topic, &body[..]))).await;
    for (offset, receipt) in published.into_iter().enumerate() {
        assert_eq!(receipt.expect("accepted").offset(0), Some(offset as u64));
    }
    for body in &bodies {
        let message = subscription.next_message().await.expect("no gap").expect("a message");
        assert_eq!(message.body, body);
        message.commit().await.expect("committed");
    }
    client.close().await.expect("closed");
}

pub(crate) async fn w10_a_slow_reader_gets_the_bytes_that_were_sent<F: Form>() {
    let broker = Broker::<F>::start().await;
    let plan = |number| vec![Fault::Split { seed: number as u64, most: 3_000 }];
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), plan).await;
    let writer = broker.client().await;
    writer.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for number in 0..64_u8 {
        put(&writer, "t", vec![number; 16 << 10]).await;
    }
    let reader = Client::<F::Runtime>::connect(proxy.address()).await.expect("the broker listens");
    let mut subscription = reader.subscribe("t").window(0).await.expect("subscribed");
    for number in 0..64_u8 {
        let message = subscription.next_message().await.expect("no gap").expect("a message");
        assert!(message.body.len() == 16 << 10 && message.body.iter().all(|byte| *byte == number));
    }
    broker.stop().await;
}

/// Who says nothing, or not enough, is told and closed; meanwhile there is room for who is honest.
pub(crate) async fn w8_handshakes_that_never_end_keep_nobody_out<F: Form>() {
    let broker = Broker::<F>::with(|config| {
        config.handshake_timeout = Duration::from_millis(500);
        config.max_handshakes = 8;
    })
    .await;
    let hello = {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&encoded(&ClientFrame::Hello(Hello { version: 1, name: "", token: b"" })));
        bytes
    };
    let mut slow = Vec::new();
    for number in 0..50 {
        let peer = broker.dial().await;
        peer.send_bytes(&hello[..number % hello.len()]);
        peer.flush().await;
        slow.push(peer);
    }
    let honest = broker.client_builder().retry_first_connect(true).configure(|config| {
        config.reconnect_max = Duration::from_millis(50);
    });
    let honest = honest.connect().await.expect("there is room in the end");
    put(&honest, "t", "served").await;
    for ended in join_all(slow.iter().map(Peer::end)).await {
        assert!(ended == ["fatal HandshakeTimeout"] || ended == ["fatal ServerFull"], "{ended:?}");
    }
    put(&honest, "t", "still served").await;
    broker.stop().await;
}

pub(crate) async fn w8_a_peer_that_says_nothing_is_told_and_closed<F: Form>() {
    let broker = Broker::<F>::with(|config| config.handshake_timeout = Duration::from_millis(50)).await;
    let (silent, half) = (broker.dial().await, broker.dial().await);
    half.send_bytes(&MAGIC[..2]);
    for peer in [silent, half] {
        assert_eq!(peer.end().await, ["fatal HandshakeTimeout"]);
    }
    broker.stop().await;
}

pub(crate) async fn w9_a_peer_that_answers_no_ping_is_given_up<F: Form>() {
    let broker = Broker::<F>::with(|config| config.wire.heartbeat_millis = 100).await;
    let peer = broker.peer().await;
    assert_eq!(peer.end().await, ["ping 1", "ping 2", "fatal HeartbeatMissed"]);
    broker.stop().await;
}

/// A peer from which nothing is heard is given up after its heartbeats, wherever its bytes are lost.
pub(crate) async fn w9_a_frozen_connection_is_given_up_at_both_ends<F: Form>() {
    let broker = Broker::<F>::with(|config| config.wire.heartbeat_millis = 200).await;
    for direction in [Direction::ToBroker, Direction::FromBroker] {
        let proxy = Proxy::start::<F::Runtime>(&broker.address(), move |number| {
            // The handshake and a request pass; the second connection works.
            if number == 0 { vec![Fault::Freeze(direction, 150)] } else { Vec::new() }
        })
        .await;
        let client = Client::<F::Runtime>::connect(proxy.address()).await.expect("the broker listens");
        let topic = format!("{direction:?}");
        // Sooner or later an answer does not come, and what was asked is asked again on the next connection.
        for offset in 0.. {
            assert_eq!(put(&client, &topic, "x").await.trim_end_matches(" new"), format!("@{offset}"));
            if proxy.connections() > 1 {
                break;
            }
        }
        client.close().await.expect("closed");
    }
    broker.stop().await;
}

/// First packets of other protocols, and near misses.
const STRANGERS: [&[u8]; 12] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"CONNECT {\"verbose\":false}\r\n",
    b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
    b"AMQP\x00\x00\x09\x01",
    b"\x00\x00\x00\x0e\x00\x12\x00\x03",
    b"\x00",
    b"ZAI\x02",
    b"zai\x01",
];

pub(crate) async fn w13_strangers_are_closed_without_an_answer<F: Form>() {
    let broker = Broker::<F>::start().await;
    let honest = broker.client().await;
    for bytes in STRANGERS {
        let stranger = broker.dial().await;
        stranger.send_bytes(bytes);
        assert!(stranger.end().await.is_empty(), "{bytes:?}");
        assert_eq!(stranger.received(), 0, "not even a byte");
    }
    honest.ping().await.expect("others are served");
    broker.stop().await;
}

/// A raw peer through a proxy.
async fn through<R: Runtime>(proxy: &Proxy) -> Peer<R> {
    Peer::dial(proxy.address()).await.expect("the proxy listens")
}

/// How many records a topic has, for who looks from elsewhere.
async fn records_of<F: Form>(broker: &Broker<F>, topic: &str) -> u64 {
    let peer = broker.peer().await;
    let answer = peer.answer(peer.subscribe_to(Sub::new(1, topic))).await;
    let end = answer.trim_end_matches(" new").split("..").nth(1).expect("an end");
    end.parse().expect("a number")
}

/// At each byte that the broker gets, and at each that it sends: no part of a frame is applied, and what was
/// answered was applied.
pub(crate) async fn w11_a_session_cut_at_every_byte_is_applied_frame_by_frame<F: Form>() {
    let broker = Broker::<F>::start().await;
    for direction in [Direction::ToBroker, Direction::FromBroker] {
        let plan = move |number| vec![Fault::Cut(direction, number as u64)];
        let proxy = Proxy::start::<F::Runtime>(&broker.address(), plan).await;
        for cut in 0..usize::MAX {
            let topic = format!("{direction:?}/{cut:03}");
            let peer = through::<F::Runtime>(&proxy).await;
            peer.hello(b"");
            let mut ends = Vec::new();
            peer.create(&topic, TopicOptions::new().retain_forever());
            for body in ["a", "b", "c"] {
                peer.publish(&topic, body);
                ends.push(peer.queued());
            }
            peer.close();
            let length = peer.queued();
            let log = peer.end().await;
            let answered = log.iter().filter(|one| one.contains('@')).count() as u64;
            let applied = records_of(&broker, &topic).await;
            assert!(applied >= answered, "cut at {cut}: {applied} applied, {log:?}");
            if direction == Direction::ToBroker {
                let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
                assert!(applied <= whole, "cut at {cut}: {applied} applied of {whole}");
            }
            if log.iter().any(|one| one == "goodbye closed") {
                assert!(direction == Direction::FromBroker || cut >= length);
                assert_eq!(applied, 3);
                break;
            }
        }
    }
    broker.stop().await;
}

/// A client whose first connection breaks anywhere mends it by itself: what it says was accepted was, once, and
/// its subscription sees all of it in order.
pub(crate) async fn w11_a_client_mends_a_connection_that_breaks_at_any_byte<F: Form>() {
    let broker = Broker::<F>::start().await;
    for direction in [Direction::ToBroker, Direction::FromBroker] {
        join_all((0..480).step_by(6).map(|cut| mend(&broker, direction, cut))).await;
    }
    broker.stop().await;
}

async fn mend<F: Form>(broker: &Broker<F>, direction: Direction, cut: u64) {
    let plan = move |number| if number == 0 { vec![Fault::Cut(direction, cut)] } else { Vec::new() };
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), plan).await;
    let topic = format!("mend/{direction:?}/{cut}");
    let owner = broker.client().await;
    owner.create_topic(&topic, TopicOptions::new().retain_forever()).await.expect("created");
    let client = Client::<F::Runtime>::builder(proxy.address()).configure(|config| {
        config.retry_first_connect = true;
        config.reconnect_min = Duration::from_millis(1);
    });
    let client = client.connect().await.expect("the second connection works");
    let mut subscription = client.subscribe(&topic).await.expect("subscribed, in the end");
    for (offset, body) in ["a", "b", "c", "d"].into_iter().enumerate() {
        assert_eq!(put(&client, &topic, body).await, format!("@{offset}"), "{direction:?} {cut}");
    }
    assert_eq!(records_of(broker, &topic).await, 4, "{direction:?} {cut}");
    // What was not committed when the connection broke comes again: each message counts once.
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 4 {
        let told = next(&mut subscription).await;
        assert!(told.contains('=') || told.starts_with("reconnected"), "{direction:?} {cut}: {told}");
        if told.contains('=') {
            subscription.commit().await.expect("committed, or remembered");
            if seen.last() != Some(&told) {
                seen.push(told);
            }
        }
    }
    assert_eq!(seen, ["0=a", "1=b", "2=c", "3=d"], "{direction:?} {cut}");
    client.close().await.expect("closed");
}
