//! Values that a frame's layout can't hold are refused by the peer, or truncated if they are informational.

use zaichik_proto::{
    AckLevel, AlterTopic, Batch, ClientDecoder, ClientFrame, CreateTopic, Durable, Fatal, FaultCode,
    FrameHeader, Hello, Limits, MAGIC, OnConflict, Operation, OperationsBuilder, ProtocolFault, Publish,
    Record, Records, Seek, SeekTarget, ServerDecoder, ServerFrame, Start, Subscribe, TopicName, TopicOptions,
    Welcome,
};

use crate::{client_bytes, server_bytes};

#[test]
fn t_06_a_topic_name_that_is_too_long_never_names_another_topic() {
    let long = [b'a'; 256];
    let mut record = bytes::BytesMut::new();
    Record::default().encode(&mut record);
    let records = Records::from_encoded(1, &record);
    let operations: OperationsBuilder = [Operation::Publish { topic: &long, records }].into_iter().collect();
    let frames = [
        ClientFrame::CreateTopic(CreateTopic { request: 1, topic: &long, options: TopicOptions::new() }),
        ClientFrame::AlterTopic(AlterTopic { request: 1, topic: &long, options: TopicOptions::new() }),
        ClientFrame::Publish(Publish {
            request: 1,
            ack: AckLevel::Accepted,
            producer: None,
            topic: &long,
            records,
        }),
        ClientFrame::Seek(Seek {
            request: 1,
            target: SeekTarget::Durable { topic: &long, name: "name" },
            to: Start::Earliest,
        }),
        ClientFrame::Subscribe(subscribe(&long, b"", None)),
        ClientFrame::Batch(Batch {
            request: 1,
            ack: AckLevel::Accepted,
            producer: None,
            operations: operations.operations(),
        }),
    ];
    for frame in frames {
        let bytes = client_bytes(&frame);
        let (read, _) = ClientDecoder::new(&Limits::default()).decode(&bytes).unwrap().unwrap();
        #[expect(clippy::wildcard_enum_match_arm, reason = "only frames with a topic are listed")]
        let topic = match read {
            ClientFrame::CreateTopic(create) => create.topic,
            ClientFrame::AlterTopic(alter) => alter.topic,
            ClientFrame::Publish(publish) => publish.topic,
            ClientFrame::Subscribe(subscribe) => subscribe.topic,
            ClientFrame::Seek(Seek { target: SeekTarget::Durable { topic, .. }, .. }) => topic,
            ClientFrame::Batch(batch) => match batch.operations.iter().next() {
                Some(Operation::Publish { topic, .. }) => topic,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert!(TopicName::parse(topic).is_err(), "the broker refuses {frame:?}");
    }
}

#[test]
fn a_dead_letter_name_that_is_too_long_is_refused() {
    let long = [b'a'; 256];
    let bytes = client_bytes(&ClientFrame::Subscribe(subscribe(b"orders", &long, None)));
    let read = ClientDecoder::new(&Limits::default()).decode(&bytes).unwrap();
    let Some((ClientFrame::Subscribe(read), _)) = read else {
        panic!("{read:?}");
    };
    assert!(!read.dead_letter.is_empty() && TopicName::parse(read.dead_letter).is_err());
}

#[test]
fn a_durable_name_that_is_too_long_never_names_another_subscription() {
    let long = "n".repeat(256);
    let durable =
        Durable { name: &long, on_conflict: OnConflict::TakeOver, epoch: 0, inactive_ttl_micros: 0 };
    let bytes = client_bytes(&ClientFrame::Subscribe(subscribe(b"orders", b"", Some(durable))));
    let error = ClientDecoder::new(&Limits::default()).decode(&bytes).unwrap_err();
    let fault = ProtocolFault::BadValue { field: "durable name length", got: 0 };
    assert_eq!(error.fault, fault);
}

#[test]
fn labels_are_truncated_between_characters() {
    // 254 bytes and a character of three bytes that does not fit.
    let label = format!("{}€", "n".repeat(254));
    let hello = ClientFrame::Hello(Hello { version: 1, name: &label, token: b"" });
    let stream = [&MAGIC[..], &client_bytes(&hello)].concat();
    let read =
        ClientDecoder::handshake(&Limits::default()).decode(&stream).map(|step| step.map(|(frame, _)| frame));
    assert!(matches!(read, Ok(Some(ClientFrame::Hello(hello))) if hello.name == &label[..254]));

    let welcome = ServerFrame::Welcome(Welcome {
        version: 1,
        instance: 0,
        limits: Limits::default(),
        capabilities: 0,
        server: &label,
    });
    let stream = server_bytes(&welcome);
    let read =
        ServerDecoder::handshake(&Limits::default()).decode(&stream).map(|step| step.map(|(frame, _)| frame));
    assert!(matches!(read, Ok(Some(ServerFrame::Welcome(welcome))) if welcome.server == &label[..254]));
}

#[test]
fn the_text_of_a_fatal_frame_fits_the_handshake() {
    let text = "€".repeat(40_000);
    let stream =
        server_bytes(&ServerFrame::Fatal(Fatal { code: FaultCode::Internal, offset: 0, text: &text }));
    let read =
        ServerDecoder::handshake(&Limits::default()).decode(&stream).map(|step| step.map(|(frame, _)| frame));
    assert!(matches!(read, Ok(Some(ServerFrame::Fatal(fatal))) if fatal.text == &text[..1_023]));
}

#[test]
fn the_longest_text_of_a_fatal_frame_is_accepted_and_a_longer_one_is_not() {
    let text = "a".repeat(Limits::MAX_TEXT);
    let mut stream =
        server_bytes(&ServerFrame::Fatal(Fatal { code: FaultCode::Internal, offset: 0, text: &text }));
    let mut decoder = ServerDecoder::new(&Limits::default());
    assert!(
        matches!(decoder.decode(&stream), Ok(Some((ServerFrame::Fatal(fatal), _))) if fatal.text == text)
    );
    // One more byte, in the lengths of the body and the text.
    let body_len = u32::from_le_bytes(*stream.first_chunk().unwrap()) + 1;
    stream.splice(..4, body_len.to_le_bytes());
    stream.splice(18..20, 1_025_u16.to_le_bytes());
    stream.push(b'a');
    let error = ServerDecoder::new(&Limits::default()).decode(&stream).unwrap_err();
    assert_eq!(error.fault, ProtocolFault::BadValue { field: "text length", got: 1_025 });
}

#[test]
fn a_batch_counts_its_operations() {
    let commit = Operation::Commit { subscription: 1, offset: 2, rewind: None };
    let two: OperationsBuilder = [commit, commit].into_iter().collect();
    assert_eq!((two.operations().len(), two.operations().is_empty()), (2, false));
    let none = OperationsBuilder::default();
    assert_eq!((none.operations().len(), none.operations().is_empty()), (0, true));
}

#[test]
fn x_06_the_answer_to_the_longest_batch_fits() {
    // The maximum number of operations, 11 bytes each, and records with an empty key, 16 bytes each. All records can be
    // duplicates, and each operation takes 13 bytes of the answer.
    let limits = Limits::default();
    let operations = 1_000;
    let records = (limits.max_frame - 10 - operations * 11) / 16;
    let answer = FrameHeader { body_len: 4 + 4 + operations * 13 + 4 + records * 16, kind: 0x45 };
    assert!(answer.body_len > limits.max_frame, "the answer is longer than the batch may be");
    assert_eq!(ServerDecoder::new(&limits).decode(&answer.to_bytes()), Ok(None));
}

const fn subscribe<'a>(
    topic: &'a [u8],
    dead_letter: &'a [u8],
    durable: Option<Durable<'a>>,
) -> Subscribe<'a> {
    Subscribe {
        request: 1,
        subscription: 1,
        topic,
        start: Start::Earliest,
        window: 1,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter,
        durable,
    }
}
