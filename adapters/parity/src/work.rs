//! Connections that make the broker work (rule S14), beside a client that behaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use futures::future::join;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, CompactionMode, Counter, CreateTopic, Hello, MAGIC, Publish, Record,
    Records, RefusalCode, Seek, SeekTarget, Start, Subscribe, TopicOptions, Unsubscribe,
};
use zaichik_tokio::{Client, Subscription};

use crate::messages::next_message;
use crate::process::Broker;
use crate::script;

/// Connections of each attack.
const ATTACKERS: usize = 10;

/// Messages that the client publishes, receives and commits during each attack.
const MESSAGES: usize = 100;

/// Records or keys of an attacked topic.
const RECORDS: u32 = 4_000;

/// An attack's name, what a connection sends once, and what it sends again and again.
type Attack = (&'static str, Vec<u8>, Vec<u8>);

/// Seeks, subscriptions that end at once, and settings that kill many records. Nothing of the client is refused.
pub fn s14_peers_that_make_work_keep_nobody_from_being_served(path: &str) {
    for (name, opening, repeated) in [seeks(), subscriptions(), settings()] {
        let broker = Broker::start(path);
        let address = broker.address();
        script::block_on(async {
            let honest = Client::connect(&address).await.expect("the broker listens");
            let mut messages = honest.subscribe("honest").await.expect("subscribed");
            let received = Arc::new(AtomicU64::new(0));
            for _ in 0..ATTACKERS {
                let stream = TcpStream::connect(&address).await.expect("the broker listens");
                tokio::spawn(attack(stream, opening.clone(), repeated.clone(), Arc::clone(&received)));
            }
            for _ in 0..MESSAGES {
                exchange(&honest, &mut messages).await;
            }
            // The attack goes on.
            let before = received.load(Ordering::Relaxed);
            while received.load(Ordering::Relaxed) == before {
                exchange(&honest, &mut messages).await;
            }
            let info = honest.broker_info().await.expect("answered");
            let busy = info.counter(Counter::refusals(RefusalCode::Busy));
            assert_eq!(busy.unwrap_or_default(), 0, "{name}");
        });
        broker.signal("TERM");
        broker.signal("TERM");
        let (_, log) = broker.end();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Publishes a message, receives it and commits it.
async fn exchange(honest: &Client, messages: &mut Subscription) {
    honest.publish("honest", "x").await.expect("accepted");
    next_message(messages).await.commit().await.expect("committed");
}

/// Sends without a pause, and reads all answers.
async fn attack(stream: TcpStream, opening: Vec<u8>, repeated: Vec<u8>, received: Arc<AtomicU64>) {
    let (mut reader, mut writer) = stream.into_split();
    let writing = async {
        let mut bytes = opening;
        while writer.write_all(&bytes).await.is_ok() {
            bytes.clone_from(&repeated);
        }
    };
    let reading = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = reader.read(&mut buffer).await
            && count > 0
        {
            received.fetch_add(count as u64, Ordering::Relaxed);
        }
    };
    join(writing, reading).await;
}

fn seeks() -> Attack {
    let mut opening = hello();
    create(&mut opening, "stored", TopicOptions::new().retain_forever());
    publish(&mut opening, "stored", |_| None);
    subscribe(&mut opening, "stored");
    let mut repeated = BytesMut::new();
    let to = Start::Offset(u64::from(RECORDS).saturating_sub(1));
    ClientFrame::Seek(Seek { request: 1, target: SeekTarget::Subscription(1), to }).encode(&mut repeated);
    ("seeks", opening.to_vec(), repeated.repeat(1_000))
}

fn subscriptions() -> Attack {
    let mut repeated = BytesMut::new();
    subscribe(&mut repeated, "subscribed");
    ClientFrame::Unsubscribe(Unsubscribe { request: 1, subscription: 1 }).encode(&mut repeated);
    ("subscriptions", hello().to_vec(), repeated.repeat(1_000))
}

fn settings() -> Attack {
    let (mut opening, mut repeated) = (hello(), BytesMut::new());
    let latest = TopicOptions::new().retain_forever().compaction(CompactionMode::Latest);
    create(&mut opening, "keys", latest);
    publish(&mut repeated, "keys", Some);
    for max_messages in [1, u64::MAX] {
        let options = TopicOptions::new().max_messages(max_messages);
        ClientFrame::AlterTopic(AlterTopic { request: 1, topic: b"keys", options }).encode(&mut repeated);
    }
    ("settings", opening.to_vec(), repeated.to_vec())
}

fn hello() -> BytesMut {
    let mut bytes = BytesMut::from(&MAGIC[..]);
    ClientFrame::Hello(Hello { version: 1, name: "attacker", token: b"" }).encode(&mut bytes);
    bytes
}

fn create(bytes: &mut BytesMut, topic: &str, options: TopicOptions) {
    ClientFrame::CreateTopic(CreateTopic { request: 1, topic: topic.as_bytes(), options }).encode(bytes);
}

fn publish(bytes: &mut BytesMut, topic: &str, key: impl Fn(u32) -> Option<u32>) {
    let mut records = Vec::new();
    for number in 0..RECORDS {
        let key = key(number).map(u32::to_le_bytes);
        Record { key: key.as_ref().map(|key| &key[..]), ..Record::default() }.encode(&mut records);
    }
    let records = Records::from_encoded(RECORDS, &records);
    let topic = topic.as_bytes();
    ClientFrame::Publish(Publish { request: 1, ack: AckLevel::Accepted, producer: None, topic, records })
        .encode(bytes);
}

fn subscribe(bytes: &mut BytesMut, topic: &str) {
    ClientFrame::Subscribe(Subscribe {
        request: 1,
        subscription: 1,
        topic: topic.as_bytes(),
        start: Start::Earliest,
        window: 1,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    })
    .encode(bytes);
}
