//! Chapter S: broken, slow and hostile connections, alongside which honest clients are served as usual.

use std::time::Duration;

use futures::future::join_all;
use zaichik_driver::{Client, Runtime, TopicOptions};
use zaichik_proto::{
    ClientFrame, Commit, FaultCode, FrameHeader, Hello, Limits, MAGIC, Publish, Record, Records, ServerFrame,
};
use zaichik_testkit::{Sub, encoded, record, requests};

use crate::broker::{Broker, next, next_message, put};
use crate::faults::{Direction, Fault};
use crate::form::Form;
use crate::peer::Peer;
use crate::proxy::Proxy;

/// Everything that the broker sends to a peer whose only frame is garbage.
async fn replies<F: Form>(broker: &Broker<F>, garbage: &[u8]) -> Vec<String> {
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
    let sub = Sub::new(1, "t").durable("DURABLE");
    let mut not_text = requests(|client| client.subscribe_to(sub)).to_vec();
    let name = not_text.windows(7).position(|bytes| bytes == b"DURABLE").expect("the name");
    not_text[name] = 0xff;
    let mut stamped = Vec::new();
    Record { timestamp: 1, ..record(b"x") }.encode(&mut stamped);
    let mut wrong_direction = bytes::BytesMut::new();
    ServerFrame::Pong { nonce: 1 }.encode(&mut wrong_direction);
    let commit = Commit { request: 0, subscription: 1, offset: 0, rewind: None, quiet: false };
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

pub(crate) async fn s_04_garbage_ends_only_its_own_connection<F: Form>() {
    let broker = Broker::<F>::start().await;
    let honest = broker.client().await;
    let mut subscription = honest.subscribe("calm").await.expect("subscribed");
    for (round, (code, bytes)) in garbage().into_iter().enumerate() {
        assert_eq!(replies(&broker, &bytes).await, [format!("fatal {code}")]);
        // The frame before it is served, the frame after it is not.
        let before = encoded(&ClientFrame::Ping { nonce: 7 });
        let log = replies(&broker, &[&before[..], &bytes[..], &before[..]].concat()).await;
        assert_eq!(log, ["pong 7".to_owned(), format!("fatal {code}")]);
        put(&honest, "calm", "still here").await;
        assert_eq!(next(&mut subscription).await, format!("{round}=still here"));
        subscription.commit().await.expect("committed");
    }
    // Fatal arrives although the peer has sent much more than the broker will read.
    let (code, mut bytes) = garbage().swap_remove(1);
    bytes.resize(1 << 20, 0);
    for _ in 0..8 {
        assert_eq!(replies(&broker, &bytes).await, [format!("fatal {code}")]);
    }
    // An incomplete frame at the end of the stream is discarded, and is not a violation.
    let peer = broker.peer().await;
    peer.send_bytes(&frame(ClientFrame::Close.kind(), b"")[..7]);
    peer.finish().await;
    assert!(peer.end().await.is_empty());
    broker.stop().await;
}

pub(crate) async fn s13_a_length_above_the_limit_is_refused_by_its_header<F: Form>() {
    let broker = Broker::<F>::start().await;
    let limit = Limits::default().max_frame;
    for kind in [ClientFrame::Close.kind(), 0x04, 0x0a, 0x80, 0xff] {
        for body_len in [limit + 1, 1 << 31, u32::MAX - 1, u32::MAX] {
            let header = FrameHeader { body_len, kind }.to_bytes();
            assert_eq!(replies(&broker, &header).await, ["fatal FrameTooLarge"], "{kind:#x} {body_len}");
        }
    }
    // Before the handshake the limit is smaller.
    let peer = broker.dial().await;
    peer.send_bytes(&MAGIC);
    peer.send_bytes(&FrameHeader { body_len: Limits::MAX_HANDSHAKE_FRAME + 1, kind: 0x01 }.to_bytes());
    assert_eq!(peer.end().await, ["fatal FrameTooLarge"]);
    broker.stop().await;
}

pub(crate) async fn s13_extension_frames_of_a_later_version_are_skipped<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.peer().await;
    for kind in 0x80..=0xff {
        peer.send(&ClientFrame::Extension { kind, body: b"from the future" });
    }
    assert_eq!(peer.answer(peer.publish("t", "a")).await, "@0 new");
    for kind in [0x00, 0x10, 0x3f, 0x54, 0x7f] {
        assert_eq!(replies(&broker, &frame(kind, b"")).await, ["fatal UnknownKind"], "{kind:#x}");
    }
    for place in 5..8 {
        let mut bytes = encoded(&ClientFrame::Ping { nonce: 1 });
        bytes[place] = 0x80;
        assert_eq!(replies(&broker, &bytes).await, ["fatal ReservedBits"]);
    }
    peer.settle().await;
    broker.stop().await;
}

/// Pieces of one to seven bytes, each with a delay, in both directions.
pub(crate) async fn s2_split_and_late_bytes_have_no_effect<F: Form>() {
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
        let message = next_message(&mut subscription).await;
        assert_eq!(message.body, body);
        message.commit().await.expect("committed");
    }
    client.close().await.expect("closed");
}

pub(crate) async fn s2_a_slow_reader_gets_the_bytes_that_were_sent<F: Form>() {
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
        let message = next_message(&mut subscription).await;
        assert!(message.body.len() == 16 << 10 && message.body.iter().all(|byte| *byte == number));
    }
    broker.stop().await;
}

/// Peers with incomplete handshakes are closed with a reason, and an honest client finds room meanwhile.
pub(crate) async fn s1_handshakes_that_never_end_do_not_keep_clients_out<F: Form>() {
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
    let honest = honest.connect().await.expect("there is room eventually");
    put(&honest, "t", "served").await;
    for ended in join_all(slow.iter().map(Peer::end)).await {
        assert!(ended == ["fatal HandshakeTimeout"] || ended == ["fatal ServerFull"], "{ended:?}");
    }
    put(&honest, "t", "still served").await;
    broker.stop().await;
}

pub(crate) async fn s1_a_silent_peer_is_closed_at_the_handshake_timeout<F: Form>() {
    let broker = Broker::<F>::with(|config| config.handshake_timeout = Duration::from_millis(50)).await;
    let (silent, half) = (broker.dial().await, broker.dial().await);
    half.send_bytes(&MAGIC[..2]);
    for peer in [silent, half] {
        assert_eq!(peer.end().await, ["fatal HandshakeTimeout"]);
    }
    broker.stop().await;
}

pub(crate) async fn s4_a_peer_that_does_not_answer_pings_is_dropped<F: Form>() {
    let broker = Broker::<F>::with(|config| config.wire.heartbeat_millis = 100).await;
    let peer = broker.peer().await;
    assert_eq!(peer.end().await, ["ping 1", "ping 2", "fatal HeartbeatMissed"]);
    broker.stop().await;
}

/// Both ends drop a connection after its heartbeats, whichever direction loses the bytes.
pub(crate) async fn s4_a_frozen_connection_is_dropped_at_both_ends<F: Form>() {
    let broker = Broker::<F>::with(|config| config.wire.heartbeat_millis = 200).await;
    for direction in [Direction::ToBroker, Direction::FromBroker] {
        let proxy = Proxy::start::<F::Runtime>(&broker.address(), move |number| {
            // On the first connection the handshake and a request pass; the second connection works.
            if number == 0 { vec![Fault::Freeze(direction, 150)] } else { Vec::new() }
        })
        .await;
        let client = Client::<F::Runtime>::connect(proxy.address()).await.expect("the broker listens");
        let topic = format!("{direction:?}");
        // Once the direction is frozen the answer is lost, and the client resends on the next connection.
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

pub(crate) async fn s1_other_protocols_are_closed_without_an_answer<F: Form>() {
    let broker = Broker::<F>::start().await;
    let honest = broker.client().await;
    for bytes in STRANGERS {
        let stranger = broker.dial().await;
        stranger.send_bytes(bytes);
        assert!(stranger.end().await.is_empty(), "{bytes:?}");
        assert_eq!(stranger.received(), 0, "not one byte");
    }
    honest.ping().await.expect("other connections are served");
    broker.stop().await;
}

/// A raw peer through a proxy.
async fn through<R: Runtime>(proxy: &Proxy) -> Peer<R> {
    Peer::dial(proxy.address()).await.expect("the proxy listens")
}

/// The number of records in a topic, observed through another connection.
async fn records_of<F: Form>(broker: &Broker<F>, topic: &str) -> u64 {
    let peer = broker.peer().await;
    let answer = peer.answer(peer.subscribe_to(Sub::new(1, topic))).await;
    let end = answer.trim_end_matches(" new").split("..").nth(1).expect("an end");
    end.parse().expect("a number")
}

/// Cut at each byte that the broker receives or sends: no incomplete frame is applied, and every answered request was
/// applied.
pub(crate) async fn s6_a_session_cut_at_every_byte_is_applied_frame_by_frame<F: Form>() {
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

/// A client whose first connection breaks at any byte reconnects automatically: each accepted message is stored once,
/// and its subscription receives all of them in order.
pub(crate) async fn s6_a_client_recovers_from_a_cut_at_any_byte<F: Form>() {
    let broker = Broker::<F>::start().await;
    for direction in [Direction::ToBroker, Direction::FromBroker] {
        join_all((0..480).step_by(6).map(|cut| recover(&broker, direction, cut))).await;
    }
    broker.stop().await;
}

async fn recover<F: Form>(broker: &Broker<F>, direction: Direction, cut: u64) {
    let plan = move |number| if number == 0 { vec![Fault::Cut(direction, cut)] } else { Vec::new() };
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), plan).await;
    let topic = format!("recover/{direction:?}/{cut}");
    let owner = broker.client().await;
    owner.create_topic(&topic, TopicOptions::new().retain_forever()).await.expect("created");
    let client = Client::<F::Runtime>::builder(proxy.address()).configure(|config| {
        config.retry_first_connect = true;
        config.reconnect_min = Duration::from_millis(1);
    });
    let client = client.connect().await.expect("the second connection works");
    let mut subscription = client.subscribe(&topic).await.expect("subscribed eventually");
    for (offset, body) in ["a", "b", "c", "d"].into_iter().enumerate() {
        assert_eq!(put(&client, &topic, body).await, format!("@{offset}"), "{direction:?} {cut}");
    }
    assert_eq!(records_of(broker, &topic).await, 4, "{direction:?} {cut}");
    // An uncommitted message is redelivered on the next connection; each counts once.
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 4 {
        let event = next(&mut subscription).await;
        assert!(event.contains('=') || event.starts_with("reconnected"), "{direction:?} {cut}: {event}");
        if event.contains('=') {
            subscription.commit().await.expect("committed, or queued until the client reconnects");
            if seen.last() != Some(&event) {
                seen.push(event);
            }
        }
    }
    assert_eq!(seen, ["0=a", "1=b", "2=c", "3=d"], "{direction:?} {cut}");
    client.close().await.expect("closed");
}
