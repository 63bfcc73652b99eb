//! The golden vectors and the example conversation of docs/protocol.md are what the codec speaks.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use zaichik_proto::{
    AckLevel, AckRun, Acks, AlterTopic, Batch, BatchDuplicate, BatchResult, Batched, ClientDecoder,
    ClientFrame, Commit, CompactionMode, CreateTopic, Delivery, Done, Duplicate, Durable, Entry, Fatal,
    FaultCode, Fenced, Gap, GapReason, Goodbye, GoodbyeReason, Hello, Limits, List, MAGIC, Nack, OnConflict,
    Operation, Operations, OperationsBuilder, Overflow, Producer, Publish, Published, Record, Records,
    Refusal, RefusalCode, Refused, Seek, SeekTarget, ServerDecoder, ServerFrame, Start, Subscribe,
    Subscribed, TopicOptions, TopicReady, TopicStatus, Unsubscribe, Unsubscribed, Welcome,
};

const DOC: &str = include_str!("../../docs/protocol.md");

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_767_225_600_000_000;

const MINUTE: u64 = 60_000_000;

#[test]
fn every_client_vector_encodes_and_decodes() {
    let vectors = blocks("client");
    assert_eq!(names(&vectors), names(&client_frames()));
    for (name, frame) in client_frames() {
        let wire = &vectors[name];
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        assert_eq!(hex(&encoded), hex(wire), "encode {name}");
        let mut decoder = match frame {
            ClientFrame::Hello(_) => ClientDecoder::handshake(&Limits::default()),
            _ => ClientDecoder::new(&Limits::default()),
        };
        let magic: &[u8] = if matches!(frame, ClientFrame::Hello(_)) {
            &MAGIC
        } else {
            &[]
        };
        let stream = [magic, wire].concat();
        let decoded = decoder.decode(&stream);
        assert_eq!(decoded, Ok(Some((frame, stream.len()))), "decode {name}");
    }
}

#[test]
fn every_broker_vector_encodes_and_decodes() {
    let vectors = blocks("broker");
    assert_eq!(names(&vectors), names(&server_frames()));
    for (name, frame) in server_frames() {
        let wire = &vectors[name];
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        assert_eq!(hex(&encoded), hex(wire), "encode {name}");
        let mut decoder = match frame {
            ServerFrame::Welcome(_) => ServerDecoder::handshake(&Limits::default()),
            _ => ServerDecoder::new(&Limits::default()),
        };
        assert_eq!(
            decoder.decode(wire),
            Ok(Some((frame, wire.len()))),
            "decode {name}"
        );
    }
}

#[test]
fn the_example_conversation_is_what_the_codec_speaks() {
    let (client, broker) = conversation();
    assert_eq!(hex(&said_by("client").concat()), hex(&client));
    assert_eq!(hex(&said_by("broker").concat()), hex(&broker));

    let limits = Limits::default();
    let mut decoder = ClientDecoder::handshake(&limits);
    let mut rest = &client[..];
    while let Some((_, taken)) = decoder.decode(rest).unwrap() {
        decoder.open(&limits);
        rest = &rest[taken..];
    }
    assert!(rest.is_empty(), "the client's half ends with a whole frame");

    let mut decoder = ServerDecoder::handshake(&limits);
    let mut rest = &broker[..];
    while let Some((_, taken)) = decoder.decode(rest).unwrap() {
        decoder.open(&limits);
        rest = &rest[taken..];
    }
    assert!(rest.is_empty(), "the broker's half ends with a whole frame");
}

#[test]
fn the_tables_of_codes_are_complete() {
    let section = |from: &str, to: &str| {
        let start = DOC.find(from).expect("the section exists");
        let rest = &DOC[start..];
        &rest[..rest.find(to).expect("the next section exists")]
    };
    let rows = |section: &str| -> Vec<(u16, String)> {
        let row = |line: &str| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let code = cells.next()?.parse().ok()?;
            Some((code, cells.next()?.trim_matches('`').to_owned()))
        };
        section.lines().filter_map(row).collect()
    };
    let refusals: Vec<_> = RefusalCode::ALL
        .iter()
        .map(|code| (code.code(), code.to_string()))
        .collect();
    assert_eq!(rows(section("\n## 8. ", "\n## 9. ")), refusals);
    let faults: Vec<_> = FaultCode::ALL
        .iter()
        .map(|code| (code.code(), code.to_string()))
        .collect();
    assert_eq!(rows(section("\n## 9. ", "\n## 10. ")), faults);
    for code in RefusalCode::ALL {
        let row = format!("| {} | `{code}` |", code.code());
        let line = DOC
            .lines()
            .find(|line| line.starts_with(&row))
            .expect("a row for each code");
        let retryable = line.split('|').nth(4).map(str::trim);
        let expected = if code.is_retryable() { "yes" } else { "no" };
        assert_eq!(retryable, Some(expected), "{code}");
    }
}

fn client_frames() -> BTreeMap<&'static str, ClientFrame<'static>> {
    let publish = Publish {
        request: 5,
        ack: AckLevel::Accepted,
        producer: None,
        topic: b"orders",
        records: records(&[body(b"hello")]),
    };
    let subscribe = Subscribe {
        request: 9,
        subscription: 1,
        topic: b"orders",
        start: Start::Earliest,
        window: 1,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    };
    let hello = Hello {
        version: 1,
        name: "probe",
        token: b"",
    };
    let commit = Commit {
        request: 15,
        subscription: 1,
        offset: 41,
        quiet: false,
    };
    BTreeMap::from([
        ("hello", ClientFrame::Hello(hello)),
        (
            "hello_token",
            ClientFrame::Hello(Hello {
                token: b"open sesame",
                ..hello
            }),
        ),
        ("create_topic_defaults", create(2, TopicOptions::new())),
        (
            "create_topic_retention",
            create(3, TopicOptions::new().retain_forever().max_messages(1_000)),
        ),
        (
            "create_topic_all",
            create(
                0x0102_0304,
                TopicOptions {
                    retention_ttl_micros: Some(10_000_000),
                    compaction_window_micros: Some(5_000_000),
                    compaction: Some(CompactionMode::Latest),
                    max_messages: Some(1_000),
                    max_bytes: Some(65_536),
                    overflow: Some(Overflow::Reject),
                    max_keys: Some(500),
                    tombstone_ttl_micros: Some(MINUTE),
                },
            ),
        ),
        (
            "alter_topic",
            ClientFrame::AlterTopic(AlterTopic {
                request: 4,
                topic: "café".as_bytes(),
                options: TopicOptions {
                    overflow: Some(Overflow::DropOldest),
                    ..TopicOptions::new()
                },
            }),
        ),
        ("publish", ClientFrame::Publish(publish)),
        ("publish_records", ClientFrame::Publish(publish_records(publish))),
        (
            "publish_unacknowledged",
            ClientFrame::Publish(Publish {
                request: 0,
                ack: AckLevel::None,
                records: records(&[body(b"")]),
                ..publish
            }),
        ),
        (
            "publish_producer",
            ClientFrame::Publish(Publish {
                request: 8,
                ack: AckLevel::Durable,
                producer: Some(producer()),
                ..publish
            }),
        ),
        ("subscribe", ClientFrame::Subscribe(subscribe)),
        (
            "subscribe_no_commits",
            ClientFrame::Subscribe(Subscribe {
                request: 10,
                subscription: 2,
                start: Start::Latest,
                window: 0,
                ..subscribe
            }),
        ),
        (
            "subscribe_offset",
            ClientFrame::Subscribe(Subscribe {
                request: 11,
                subscription: 3,
                start: Start::Offset(42),
                window: 256,
                window_bytes: 65_536,
                ..subscribe
            }),
        ),
        (
            "subscribe_time",
            ClientFrame::Subscribe(Subscribe {
                request: 12,
                subscription: 4,
                start: Start::Time(NEW_YEAR),
                ..subscribe
            }),
        ),
        (
            "subscribe_durable",
            ClientFrame::Subscribe(Subscribe {
                request: 13,
                subscription: 5,
                max_attempts: 3,
                dead_letter: b"orders.dead",
                durable: Some(Durable {
                    name: "billing",
                    on_conflict: OnConflict::Reject,
                    epoch: 2,
                    inactive_ttl_micros: 60 * MINUTE,
                }),
                ..subscribe
            }),
        ),
        (
            "unsubscribe",
            ClientFrame::Unsubscribe(Unsubscribe {
                request: 14,
                subscription: 1,
            }),
        ),
        ("commit", ClientFrame::Commit(commit)),
        (
            "commit_quiet",
            ClientFrame::Commit(Commit {
                request: 16,
                quiet: true,
                ..commit
            }),
        ),
        (
            "nack",
            ClientFrame::Nack(Nack {
                request: 17,
                subscription: 1,
                offset: 40,
                delay_micros: 1_500_000,
            }),
        ),
        (
            "seek_subscription",
            ClientFrame::Seek(Seek {
                request: 18,
                target: SeekTarget::Subscription(1),
                to: Start::Offset(7),
            }),
        ),
        (
            "seek_durable",
            ClientFrame::Seek(Seek {
                request: 19,
                target: SeekTarget::Durable {
                    topic: b"orders",
                    name: "billing",
                },
                to: Start::Latest,
            }),
        ),
        (
            "batch",
            ClientFrame::Batch(Batch {
                request: 20,
                ack: AckLevel::Accepted,
                producer: Some(producer()),
                operations: operations(&[
                    Operation::Publish {
                        topic: b"paid",
                        records: records(&[body(b"a"), body(b"b")]),
                    },
                    Operation::Commit {
                        subscription: 1,
                        offset: 41,
                    },
                ]),
            }),
        ),
        (
            "batch_empty",
            ClientFrame::Batch(Batch {
                request: 21,
                ack: AckLevel::Accepted,
                producer: None,
                operations: operations(&[]),
            }),
        ),
        ("ping", ClientFrame::Ping { nonce: 22 }),
        (
            "pong",
            ClientFrame::Pong {
                nonce: 0xfedc_ba98_7654_3210,
            },
        ),
        ("close", ClientFrame::Close),
        (
            "extension",
            ClientFrame::Extension {
                kind: 0x80,
                body: b"\x01\x02\x03",
            },
        ),
    ])
}

fn publish_records(publish: Publish<'static>) -> Publish<'static> {
    Publish {
        request: 6,
        records: records(&[
            Record {
                key: Some(b"user-7"),
                headers: &[("trace", b"\x01\x02"), ("empty", b"")],
                body: b"hello",
                ttl_micros: Some(1_000_000),
                ..Record::default()
            },
            Record {
                key: Some(b""),
                body: b"the empty key is a key",
                ..Record::default()
            },
            Record {
                key: Some(b"user-8"),
                tombstone: true,
                ..Record::default()
            },
        ]),
        ..publish
    }
}

fn server_frames() -> BTreeMap<&'static str, ServerFrame<'static>> {
    let mut frames = answers();
    frames.extend(stream_frames());
    frames.extend([
        (
            "welcome",
            ServerFrame::Welcome(Welcome {
                version: 1,
                instance: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
                limits: Limits::default(),
                server: "zaichik 0.1.0",
            }),
        ),
        (
            "ping",
            ServerFrame::Ping {
                nonce: 0xfedc_ba98_7654_3210,
            },
        ),
        ("pong", ServerFrame::Pong { nonce: 22 }),
        (
            "goodbye_closed",
            ServerFrame::Goodbye(Goodbye {
                reason: GoodbyeReason::Closed,
                grace_millis: 0,
            }),
        ),
        (
            "goodbye_draining",
            ServerFrame::Goodbye(Goodbye {
                reason: GoodbyeReason::Draining,
                grace_millis: 10_000,
            }),
        ),
        (
            "fatal",
            ServerFrame::Fatal(Fatal {
                code: FaultCode::UnknownKind,
                offset: 25,
                text: "frame kind 0x3f is unknown",
            }),
        ),
        (
            "extension",
            ServerFrame::Extension {
                kind: 0xff,
                body: b"",
            },
        ),
    ]);
    frames
}

fn answers() -> BTreeMap<&'static str, ServerFrame<'static>> {
    let ready = |request, status| ServerFrame::TopicReady(TopicReady { request, status });
    BTreeMap::from([
        ("topic_ready_unchanged", ready(2, TopicStatus::Unchanged)),
        ("topic_ready_created", ready(3, TopicStatus::Created)),
        ("topic_ready_adopted", ready(4, TopicStatus::Adopted)),
        (
            "acks",
            ServerFrame::Acks(Acks {
                runs: list([AckRun {
                    request: 5,
                    requests: 1,
                    first_offset: 0,
                }]),
            }),
        ),
        (
            "acks_runs",
            ServerFrame::Acks(Acks {
                runs: list([
                    AckRun {
                        request: 5,
                        requests: 3,
                        first_offset: 40,
                    },
                    AckRun {
                        request: 30,
                        requests: 1,
                        first_offset: 7,
                    },
                ]),
            }),
        ),
        (
            "published_created",
            ServerFrame::Published(Published {
                request: 5,
                created: true,
                first_offset: Some(0),
                duplicates: List::EMPTY,
            }),
        ),
        (
            "published_duplicate",
            ServerFrame::Published(Published {
                request: 6,
                created: false,
                first_offset: Some(43),
                duplicates: list([Duplicate {
                    record: 1,
                    offset: 40,
                }]),
            }),
        ),
        (
            "published_all_duplicates",
            ServerFrame::Published(Published {
                request: 7,
                created: false,
                first_offset: None,
                duplicates: list([
                    Duplicate {
                        record: 0,
                        offset: 41,
                    },
                    Duplicate {
                        record: 1,
                        offset: 40,
                    },
                ]),
            }),
        ),
        (
            "batched",
            ServerFrame::Batched(Batched {
                request: 20,
                results: list([BatchResult {
                    operation: 0,
                    created: true,
                    first_offset: 0,
                }]),
                duplicates: list([BatchDuplicate {
                    operation: 0,
                    duplicate: Duplicate { record: 1, offset: 0 },
                }]),
            }),
        ),
        (
            "refused",
            refused(3, 1, Refusal::with_value(RefusalCode::SettingsDiffer, 0b1001)),
        ),
        (
            "refused_operation",
            refused(
                20,
                1,
                Refusal {
                    code: RefusalCode::TooLarge,
                    operation: 3,
                    value: 1 << 20,
                },
            ),
        ),
        (
            "refused_unacknowledged",
            refused(0, 17, Refusal::with_value(RefusalCode::Busy, 50_000)),
        ),
        (
            "done",
            ServerFrame::Done(Done {
                request: 15,
                value: 42,
            }),
        ),
    ])
}

fn stream_frames() -> BTreeMap<&'static str, ServerFrame<'static>> {
    let subscribed = Subscribed {
        request: 9,
        subscription: 1,
        epoch: 0,
        rewind: 0,
        created: false,
        start: 40,
        end: 43,
    };
    let delivery = Delivery {
        subscription: 1,
        rewind: 0,
        attempt: 1,
        first_offset: 40,
        records: records(&[stamped(0, b"hello")]),
    };
    let gap = Gap {
        subscription: 1,
        rewind: 0,
        reason: GapReason::Expired,
        from: 41,
        to: 43,
    };
    let ended = Unsubscribed {
        request: 14,
        subscription: 1,
        last_offset: Some(41),
    };
    BTreeMap::from([
        ("subscribed", ServerFrame::Subscribed(subscribed)),
        (
            "subscribed_created",
            ServerFrame::Subscribed(Subscribed {
                request: 13,
                subscription: 5,
                epoch: 3,
                created: true,
                start: 0,
                end: 0,
                ..subscribed
            }),
        ),
        ("delivery", ServerFrame::Delivery(delivery)),
        (
            "delivery_records",
            ServerFrame::Delivery(Delivery {
                rewind: 2,
                attempt: 3,
                records: records(&[
                    stamped(0, b"one"),
                    Record {
                        key: Some(b"k"),
                        headers: &[("h", b"v")],
                        ttl_micros: Some(MINUTE),
                        ..stamped(1, b"two")
                    },
                ]),
                ..delivery
            }),
        ),
        ("gap_expired", ServerFrame::Gap(gap)),
        (
            "gap_limit",
            ServerFrame::Gap(Gap {
                rewind: 2,
                reason: GapReason::Limit,
                from: 0,
                to: 40,
                ..gap
            }),
        ),
        (
            "fenced",
            ServerFrame::Fenced(Fenced {
                subscription: 5,
                epoch: 4,
            }),
        ),
        ("unsubscribed", ServerFrame::Unsubscribed(ended)),
        (
            "unsubscribed_by_broker",
            ServerFrame::Unsubscribed(Unsubscribed {
                request: 0,
                last_offset: None,
                ..ended
            }),
        ),
    ])
}

/// The example of the document, as frames: what the client says and what the broker says.
fn conversation() -> (BytesMut, BytesMut) {
    let mut client = BytesMut::from(&MAGIC[..]);
    for frame in [
        ClientFrame::Hello(Hello {
            version: 1,
            name: "doc",
            token: b"",
        }),
        create(
            1,
            TopicOptions {
                retention_ttl_micros: Some(MINUTE),
                ..TopicOptions::new()
            },
        ),
        ClientFrame::Subscribe(Subscribe {
            request: 2,
            subscription: 1,
            topic: b"orders",
            start: Start::Earliest,
            window: 1,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            durable: None,
        }),
        ClientFrame::Publish(Publish {
            request: 3,
            ack: AckLevel::Accepted,
            producer: None,
            topic: b"orders",
            records: records(&[Record {
                key: Some(b"k1"),
                ..body(b"hello")
            }]),
        }),
        ClientFrame::Commit(Commit {
            request: 4,
            subscription: 1,
            offset: 0,
            quiet: false,
        }),
        ClientFrame::Close,
    ] {
        frame.encode(&mut client);
    }
    let mut broker = BytesMut::new();
    for frame in [
        ServerFrame::Welcome(Welcome {
            version: 1,
            instance: 1,
            limits: Limits::default(),
            server: "zaichik",
        }),
        ServerFrame::TopicReady(TopicReady {
            request: 1,
            status: TopicStatus::Created,
        }),
        ServerFrame::Subscribed(Subscribed {
            request: 2,
            subscription: 1,
            epoch: 0,
            rewind: 0,
            created: false,
            start: 0,
            end: 0,
        }),
        ServerFrame::Acks(Acks {
            runs: list([AckRun {
                request: 3,
                requests: 1,
                first_offset: 0,
            }]),
        }),
        ServerFrame::Delivery(Delivery {
            subscription: 1,
            rewind: 0,
            attempt: 1,
            first_offset: 0,
            records: records(&[Record {
                key: Some(b"k1"),
                ..stamped(0, b"hello")
            }]),
        }),
        ServerFrame::Done(Done { request: 4, value: 1 }),
        ServerFrame::Goodbye(Goodbye {
            reason: GoodbyeReason::Closed,
            grace_millis: 0,
        }),
    ] {
        frame.encode(&mut broker);
    }
    (client, broker)
}

fn create(request: u32, options: TopicOptions) -> ClientFrame<'static> {
    ClientFrame::CreateTopic(CreateTopic {
        request,
        topic: b"orders",
        options,
    })
}

const fn producer() -> Producer {
    Producer {
        id: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
        epoch: 1,
        sequence: 99,
    }
}

const fn refused(request: u32, count: u32, refusal: Refusal) -> ServerFrame<'static> {
    ServerFrame::Refused(Refused {
        request,
        count,
        refusal,
    })
}

const fn body(body: &[u8]) -> Record<'_> {
    Record {
        key: None,
        headers: &[],
        body,
        ttl_micros: None,
        tombstone: false,
        timestamp: 0,
    }
}

fn stamped(second: u64, bytes: &[u8]) -> Record<'_> {
    Record {
        timestamp: NEW_YEAR + second * 1_000_000,
        ..body(bytes)
    }
}

fn records(records: &[Record<'_>]) -> Records<'static> {
    let mut bytes = BytesMut::new();
    for record in records {
        record.check().unwrap();
        record.encode(&mut bytes);
    }
    Records::from_encoded(records.len().try_into().unwrap(), bytes.to_vec().leak())
}

fn list<T: Entry>(entries: impl IntoIterator<Item = T>) -> List<'static, T> {
    List::encode_into(Box::leak(Box::default()), entries)
}

fn operations(operations: &[Operation<'_>]) -> Operations<'static> {
    let builder: OperationsBuilder = operations.iter().copied().collect();
    Box::leak(Box::new(builder)).operations()
}

/// The vectors of one end: blocks that open with three backticks, `hex`, the end and the name.
fn blocks(end: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let mut found = BTreeMap::new();
    for (info, bytes) in hex_blocks() {
        if let Some((of, name)) = info.split_once(' ')
            && of == end
        {
            assert!(
                found.insert(name, bytes).is_none(),
                "two vectors are called {name}"
            );
        }
    }
    found
}

/// What one end says in the conversation: blocks that open with three backticks, `hex say` and the end.
fn said_by(end: &str) -> Vec<Vec<u8>> {
    let said = hex_blocks().filter(|(info, _)| info.strip_prefix("say ") == Some(end));
    said.map(|(_, bytes)| bytes).collect()
}

fn hex_blocks() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let blocks = DOC.split("\n```hex ").skip(1);
    blocks.map(|block| {
        let (block, _) = block.split_once("\n```").expect("a block ends");
        let (info, lines) = block.split_once('\n').expect("a block has lines");
        (info, lines.lines().flat_map(parse_line).collect())
    })
}

/// The bytes of a line; what follows a semicolon is a comment.
fn parse_line(line: &str) -> Vec<u8> {
    let bytes = line.split(';').next().unwrap_or_default();
    let byte = |text| u8::from_str_radix(text, 16).expect("two hexadecimal digits");
    bytes.split_whitespace().map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

fn names<V>(map: &BTreeMap<&'static str, V>) -> Vec<&'static str> {
    map.keys().copied().collect()
}
