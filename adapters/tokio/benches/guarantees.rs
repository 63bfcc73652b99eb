//! What the guarantees cost over a socket: acknowledged against unacknowledged publishing, consuming with commits
//! against consuming without.
//!
//! `cargo bench -p zaichik-tokio --bench guarantees` prints messages per second, medians of interleaved rounds, and
//! the ratios. The clients are plain threads with blocking sockets and frames made beforehand, so that it is the
//! broker that is measured, on the same cores as they are.

#![expect(clippy::arithmetic_side_effects, reason = "a benchmark that overflows stops, as it should")]
#![expect(clippy::expect_used, reason = "a benchmark that finds no broker stops, as it should")]
#![expect(clippy::wildcard_enum_match_arm, reason = "nothing else may come")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the clients are plain threads")]
#![expect(clippy::indexing_slicing, reason = "as above")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use zaichik_proto::{
    AckLevel, ClientFrame, Commit, CreateTopic, Hello, Limits, MAGIC, Producer, Publish, Record, Records,
    ServerDecoder, ServerFrame, Start, Subscribe, TopicOptions,
};
use zaichik_tokio::{Server, default_config};

/// Messages of each run.
const MESSAGES: u32 = 1_000_000;

/// Bytes of a body.
const BODY: usize = 128;

/// Publishes without an answer, at most.
const IN_FLIGHT: u32 = 1_000;

/// Frames written at once.
const FRAMES: u32 = 250;

/// Rounds, of which the medians count.
const ROUNDS: u32 = 5;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut config = default_config().expect("random numbers");
    config.memory_budget = 4 << 30;
    let server = runtime.block_on(Server::bind("127.0.0.1:0", config)).expect("a free address");
    let address = server.local_addr().to_string();
    runtime.spawn(server.serve());
    let mut rates: [Vec<f64>; 5] = Default::default();
    for round in 0..ROUNDS {
        let topic = format!("round {round}");
        rates[0].push(publish_unacknowledged(&address, &topic));
        rates[1].push(publish_acknowledged(&address, &format!("acknowledged {round}"), None));
        let producer = Producer { id: u128::from(round), epoch: 1, sequence: 0 };
        rates[2].push(publish_acknowledged(&address, &format!("idempotent {round}"), Some(producer)));
        rates[3].push(consume(&address, &topic, 0));
        rates[4].push(consume(&address, &topic, 256));
    }
    let [unacknowledged, acknowledged, idempotent, without, with] = rates.map(median);
    println!("{MESSAGES} messages of {BODY} bytes, {ROUNDS} rounds, medians, million messages per second");
    println!("publish, no answer                           {unacknowledged:6.2}");
    report("publish, acknowledged, 1,000 in flight", acknowledged, unacknowledged);
    report("the same, idempotent", idempotent, unacknowledged);
    println!("consume, window 0                            {without:6.2}");
    report("consume, window 256, cumulative commits", with, without);
}

fn report(what: &str, rate: f64, of: f64) {
    println!("{what:44} {rate:6.2}   {:3.0} %", 100.0 * rate / of);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn rate(time: Duration) -> f64 {
    f64::from(MESSAGES) / time.as_secs_f64() / 1e6
}

/// Writes frames as fast as the broker takes them; it is done when it answers one behind them.
fn publish_unacknowledged(address: &str, topic: &str) -> f64 {
    let mut client = Client::connect(address);
    client.create(topic);
    let frames = encode_publishes(topic, AckLevel::None, None);
    let begin = Instant::now();
    for _ in 0..MESSAGES / FRAMES {
        client.send(&frames);
    }
    client.create(topic);
    rate(begin.elapsed())
}

/// Keeps a bounded number of publishes unanswered.
fn publish_acknowledged(address: &str, topic: &str, producer: Option<Producer>) -> f64 {
    let mut client = Client::connect(address);
    client.create(topic);
    let mut frames = encode_publishes(topic, AckLevel::Accepted, producer);
    let step = frames.len() / FRAMES as usize;
    let begin = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    while answered < MESSAGES {
        while sent < MESSAGES && sent - answered + FRAMES <= IN_FLIGHT {
            if producer.is_some() {
                for (frame, sequence) in frames.chunks_exact_mut(step).zip(u64::from(sent)..) {
                    frame[SEQUENCE_AT..SEQUENCE_AT + 8].copy_from_slice(&sequence.to_le_bytes());
                }
            }
            client.send(&frames);
            sent += FRAMES;
        }
        client.receive(|frame, _| match frame {
            ServerFrame::Acks(acks) => answered += acks.runs.iter().map(|run| run.requests).sum::<u32>(),
            ServerFrame::Published(_) => answered += 1,
            _ => panic!("{frame:?}"),
        });
    }
    rate(begin.elapsed())
}

/// Reads the whole topic from its beginning.
fn consume(address: &str, topic: &str, window: u32) -> f64 {
    let mut client = Client::connect(address);
    let begin = Instant::now();
    client.send_frame(&ClientFrame::Subscribe(Subscribe {
        request: 1,
        subscription: 1,
        topic: topic.as_bytes(),
        start: Start::Earliest,
        window,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    }));
    let mut next = 0;
    while next < u64::from(MESSAGES) {
        client.receive(|frame, out| match frame {
            ServerFrame::Delivery(delivery) => {
                assert_eq!(delivery.first_offset, next, "in order");
                next += u64::from(delivery.records.len());
                if window > 0 {
                    let commit = Commit { request: 2, subscription: 1, offset: next - 1, quiet: true };
                    ClientFrame::Commit(commit).encode(out);
                }
            }
            ServerFrame::Subscribed(_) => {}
            _ => panic!("{frame:?}"),
        });
    }
    rate(begin.elapsed())
}

/// Where a sequence stands in a Publish frame (docs/protocol.md §6.6).
const SEQUENCE_AT: usize = 8 + 4 + 4 + 1 + 1 + 16 + 4;

/// Frames of the same length, with one message each.
fn encode_publishes(topic: &str, ack: AckLevel, producer: Option<Producer>) -> Vec<u8> {
    let mut record = Vec::new();
    Record { body: &[7; BODY], ..Record::default() }.encode(&mut record);
    let mut out = BytesMut::new();
    for request in 1..=FRAMES {
        let records = Records::from_encoded(1, &record);
        let topic = topic.as_bytes();
        ClientFrame::Publish(Publish { request, ack, producer, topic, records }).encode(&mut out);
    }
    out.to_vec()
}

/// A connection with a blocking socket.
struct Client {
    socket: TcpStream,
    decoder: ServerDecoder,
    input: BytesMut,
    output: BytesMut,
    chunk: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).expect("the broker listens");
        socket.set_nodelay(true).expect("a socket");
        let decoder = ServerDecoder::handshake(&Limits::default());
        let (input, output, chunk) = (BytesMut::new(), BytesMut::new(), vec![0; 256 << 10]);
        let mut client = Self { socket, decoder, input, output, chunk };
        client.send(&MAGIC);
        client.send_frame(&ClientFrame::Hello(Hello { version: 1, name: "bench", token: b"" }));
        client.receive(|frame, _| assert!(matches!(frame, ServerFrame::Welcome(_)), "{frame:?}"));
        client.decoder.open(&Limits::default());
        client
    }

    /// Creates a topic that keeps everything, or finds it; ready when the broker has answered.
    fn create(&mut self, topic: &str) {
        let options = TopicOptions::new().retain_forever().max_bytes(1 << 30);
        let request = ClientFrame::CreateTopic(CreateTopic { request: 9, topic: topic.as_bytes(), options });
        self.send_frame(&request);
        self.receive(|frame, _| assert!(matches!(frame, ServerFrame::TopicReady(_)), "{frame:?}"));
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the broker reads");
    }

    fn send_frame(&mut self, frame: &ClientFrame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.send(&bytes);
    }

    /// Reads until at least one frame was taken in, and sends what that wrote.
    fn receive(&mut self, mut take: impl FnMut(&ServerFrame<'_>, &mut BytesMut)) {
        let mut taken = 0;
        while taken == 0 {
            let count = self.socket.read(&mut self.chunk).expect("the broker writes");
            assert!(count > 0, "the broker closed the connection");
            self.input.extend_from_slice(&self.chunk[..count]);
            while let Some((frame, len)) = self.decoder.decode(&self.input).expect("the protocol") {
                take(&frame, &mut self.output);
                self.input.advance(len);
                taken += len;
            }
        }
        if !self.output.is_empty() {
            self.socket.write_all(&self.output).expect("the broker reads");
            self.output.clear();
        }
    }
}
