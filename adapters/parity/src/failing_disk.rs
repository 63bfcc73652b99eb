//! A broker whose disk fails: what it has acknowledged is there at the next start.

use std::path::Path;
use std::process::Command;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zaichik_proto::{AckLevel, ClientFrame, HEADER_LEN, Hello, MAGIC, Publish, Record, Records};
use zaichik_tokio::{Client, ErrorClass, Start};

use crate::directory::Directory;
use crate::fault_layer::{Errno, Faults, Operation};
use crate::messages::{connect, next_message};
use crate::numbered::{Publishing, TOPIC, body, check, create_topics};
use crate::process::{Broker, command, refused};
use crate::script;

/// The kind of the frame that says why the broker closes a connection.
const FATAL: u8 = 0x50;

/// Small files, so that many are created, cut off and removed.
const SEGMENTS: (&str, &str) = ("ZAICHIK_STORAGE_SEGMENT_SIZE", "64KiB");

/// Everything that a broker does to its files while it runs, and how the disk refuses it.
const FAILURES: [(Operation, &str, Errno); 9] = [
    (Operation::Sync, "segment-", Errno::IO),
    (Operation::Write, "segment-", Errno::IO),
    (Operation::SyncDirectory, "", Errno::IO),
    (Operation::Create, "segment-", Errno::IO),
    (Operation::Create, "segment-", Errno::MFILE),
    (Operation::Truncate, "segment-", Errno::IO),
    (Operation::Remove, "segment-", Errno::IO),
    (Operation::Write, "FLOOR", Errno::IO),
    (Operation::Sync, "FLOOR", Errno::IO),
];

/// What a broker does to its files when it starts.
const AT_START: [(Operation, &str, Errno); 6] = [
    (Operation::Read, "FORMAT", Errno::IO),
    (Operation::Read, "segment-", Errno::IO),
    (Operation::Write, "segment-", Errno::IO),
    (Operation::Sync, "segment-", Errno::IO),
    (Operation::SyncDirectory, "", Errno::IO),
    (Operation::Write, "LOCK", Errno::IO),
];

/// Waits for the end of a broker whose disk fails: one line says why, and what to do.
async fn assert_failed(broker: Broker, data: &Path) -> String {
    let (code, log) = broker.ended().await;
    assert_eq!(code, Some(74), "{log}");
    let line = log.lines().last().expect("a line").to_owned();
    let place = format!("storage in {}: ", data.display());
    assert!(line.starts_with("zaichik") && line.contains(&place), "{log}");
    assert!(line.contains("what the broker has answered is stored"), "{log}");
    let errors = log.lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(errors, 1, "one line when it happens, and one at the end: {log}");
    line
}

/// One failure after the other ends the broker; to clients, each is a broken connection.
pub fn b6_a_broker_whose_disk_fails_loses_nothing_that_it_acknowledged(path: &str) {
    let directory = Directory::new();
    let faults = Faults::new(directory.path());
    let run = |port| Broker::run(faults.below(command(path, port).env(SEGMENTS.0, SEGMENTS.1)));
    let mut broker = run(0);
    let port = broker.port;
    script::block_on(async {
        let client = connect(port).await;
        create_topics(&client).await;
        let publishing = Publishing::start(client, 100);
        for (operation, file, error) in FAILURES {
            publishing.continue_for(20).await;
            let fault = faults.fail(operation, file, error, Some(1));
            let line = assert_failed(broker, &faults.data()).await;
            assert_eq!(fault.hits(), 1, "{operation:?} {file}");
            let system = std::io::Error::from(error).to_string();
            assert!(line.contains(&system), "{operation:?} {file}: {line}");
            broker = run(port);
        }
        publishing.continue_for(20).await;
        let acknowledged = publishing.finish().await;
        check(&connect(port).await, acknowledged).await;
        broker.stopped().await;
    });
}

/// A connection whose publish waits for a sync that fails is closed without an answer.
pub fn b_15_an_answer_whose_sync_fails_is_never_sent(path: &str) {
    let directory = Directory::new();
    let faults = Faults::new(directory.path());
    let run = |port| Broker::run(faults.below(&mut command(path, port)));
    let broker = run(0);
    let (port, address) = (broker.port, broker.address());
    script::block_on(async {
        let client = Client::connect(&address).await.expect("the broker listens");
        create_topics(&client).await;
        client.publish(TOPIC, body(0, 8)).await.expect("acknowledged");
        let mut reader = client.subscribe(TOPIC).window(0).from(Start::Earliest).await.expect("subscribed");
        assert_eq!(next_message(&mut reader).await.offset, 0);
        client.close().await.expect("nothing is unanswered");
        let mut raw = TcpStream::connect(&address).await.expect("the broker listens");
        raw.write_all(&hello()).await.expect("sent");
        let mut welcome = vec![0; HEADER_LEN];
        raw.read_exact(&mut welcome).await.expect("a frame");
        let len = u32::from_le_bytes(*welcome.first_chunk().expect("a header"));
        let mut rest = vec![0; usize::try_from(len).expect("it fits")];
        raw.read_exact(&mut rest).await.expect("a frame");
        let fault = faults.fail(Operation::Sync, "segment-", Errno::IO, Some(1));
        raw.write_all(&publish(1)).await.expect("sent");
        let mut answers = Vec::new();
        raw.read_to_end(&mut answers).await.expect("an orderly end");
        // Nobody knows whether it is stored, and a Fatal is no answer.
        assert!(matches!(answers.get(4), None | Some(&FATAL)), "{answers:?}");
        let fatal = answers.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        assert!(
            answers.is_empty() || answers.len() == HEADER_LEN.saturating_add(fatal as usize),
            "{answers:?}"
        );
        assert_failed(broker, &faults.data()).await;
        assert_eq!(fault.hits(), 1);
        let broker = run(port);
        let client = connect(port).await;
        let end = client.topic(TOPIC).await.expect("it is there").end;
        assert!((1..=2).contains(&end), "{end}");
        check(&client, end).await;
        client.close().await.expect("nothing is unanswered");
        broker.stopped().await;
    });
}

fn hello() -> BytesMut {
    let mut bytes = BytesMut::from(&MAGIC[..]);
    ClientFrame::Hello(Hello { version: 1, name: "raw", token: b"" }).encode(&mut bytes);
    bytes
}

fn publish(number: u64) -> BytesMut {
    let (mut bytes, mut record) = (BytesMut::new(), Vec::new());
    Record { body: &body(number, 8), ..Record::default() }.encode(&mut record);
    let records = Records::from_encoded(1, &record);
    let topic = TOPIC.as_bytes();
    ClientFrame::Publish(Publish { request: 1, ack: AckLevel::Accepted, producer: None, topic, records })
        .encode(&mut bytes);
    bytes
}

/// A record that the disk does not give back is not skipped, and nothing else is delivered in its place.
pub fn b8_a_record_that_cannot_be_read_back_is_not_skipped(path: &str) {
    const MESSAGES: u64 = 256;
    let directory = Directory::new();
    let faults = Faults::new(directory.path());
    let run = |port| Broker::run(faults.below(command(path, port).args(["--memory", "8MiB"])));
    let broker = run(0);
    let port = broker.port;
    script::block_on(async {
        let client = connect(port).await;
        create_topics(&client).await;
        for number in 0..MESSAGES {
            client.publish(TOPIC, body(number, 64_000)).await.expect("acknowledged");
        }
        let reader = connect(port).await;
        let fault = faults.fail(Operation::Read, "segment-", Errno::IO, None);
        // It may need the first record to be answered.
        let subscribing = tokio::spawn(async move {
            let messages = reader.subscribe(TOPIC).window(0).from(Start::Earliest).await;
            (reader, messages.expect("subscribed in the end"))
        });
        let line = assert_failed(broker, &faults.data()).await;
        assert!(line.contains("cannot read byte "), "{line}");
        assert!(fault.hits() > 0);
        fault.lift();
        let broker = run(port);
        let (_reader, mut messages) = subscribing.await.expect("no panic");
        for number in 0..MESSAGES {
            let message = next_message(&mut messages).await;
            assert_eq!((message.offset, &message.body[..8]), (number, &number.to_be_bytes()[..]));
        }
        client.close().await.expect("nothing is unanswered");
        broker.stopped().await;
    });
}

/// A broker that syncs at an interval cannot know what a sync that fails has lost.
pub fn b7_a_sync_at_an_interval_that_fails_makes_another_instance(path: &str) {
    let directory = Directory::new();
    let faults = Faults::new(directory.path());
    let run = |port| Broker::run(faults.below(command(path, port).args(["--sync", "interval 1h"])));
    let broker = run(0);
    let port = broker.port;
    script::block_on(async {
        let client = connect(port).await;
        create_topics(&client).await;
        client.publish(TOPIC, body(0, 8)).durable().await.expect("acknowledged");
        let instance = client.instance();
        let fault = faults.fail(Operation::Sync, "segment-", Errno::IO, Some(1));
        let second = connect(port).await;
        let publishing = tokio::spawn(async move { second.publish(TOPIC, body(1, 8)).durable().await });
        assert_failed(broker, &faults.data()).await;
        assert_eq!(fault.hits(), 1);
        let broker = run(port);
        assert!(broker.start.iter().any(|line| line.contains("another instance")), "{:?}", broker.start);
        client.ping().await.expect("it is back");
        assert_ne!(client.instance(), instance);
        let unknown = publishing.await.expect("no panic").expect_err("the broker that had it is no more");
        assert_eq!(unknown.class(), ErrorClass::Unknown, "{unknown}");
        client.close().await.expect("nothing is unanswered");
        broker.stopped().await;
    });
}

/// A start that the disk refuses changes nothing, however often it is repeated.
pub fn a_start_that_the_disk_refuses_is_code_74(path: &str) {
    let directory = Directory::new();
    let faults = Faults::new(directory.path());
    let prepared = |port| {
        let mut command: Command = command(path, port);
        faults.below(command.env(SEGMENTS.0, SEGMENTS.1));
        command
    };
    let broker = Broker::run(&mut prepared(0));
    let acknowledged = script::block_on(async {
        let client = connect(broker.port).await;
        create_topics(&client).await;
        let publishing = Publishing::start(client, 100);
        publishing.continue_for(100).await;
        broker.signal("KILL");
        let (code, _) = broker.ended().await;
        assert_eq!(code, None);
        publishing.acknowledged()
    });
    for (operation, file, error) in AT_START {
        let fault = faults.fail(operation, file, error, None);
        for _ in 0..2 {
            let (code, log) = refused(&mut prepared(0));
            assert_eq!(code, Some(74), "{operation:?} {file}: {log}");
            let lines: Vec<_> = log.lines().filter(|line| !line.contains(" INFO ")).collect();
            assert_eq!(lines.len(), 1, "{operation:?} {file}: {log}");
            let system = std::io::Error::from(error).to_string();
            assert!(lines[0].contains(&system), "{operation:?} {file}: {log}");
        }
        assert!(fault.hits() >= 2, "{operation:?} {file}");
        fault.lift();
    }
    let broker = Broker::run(&mut prepared(0));
    script::block_on(async {
        let client = connect(broker.port).await;
        let end = client.topic(TOPIC).await.expect("it is there").end;
        assert!(end >= acknowledged, "{end} of {acknowledged}");
        check(&client, end).await;
        client.close().await.expect("nothing is unanswered");
        broker.stopped().await;
    });
}
