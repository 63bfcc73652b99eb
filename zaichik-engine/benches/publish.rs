//! The cost of a publish of 128 bytes, from the bytes of its frame to the log.
//!
//! ```text
//! cargo bench -p zaichik-engine --bench publish
//! ```

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]

use core::time::Duration;

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::ItemsCount;
use zaichik_engine::Effects;
use zaichik_proto::{AckLevel, ClientDecoder, CompactionMode, HEADER_LEN, Limits, Producer, TopicOptions};
use zaichik_testkit::{BODY, Connections, publish_equal, put_all, record, requests};

/// Records in each iteration.
const RECORDS: u32 = 256;

fn main() {
    divan::main();
}

/// Frames of this many records each, into a log without readers.
#[divan::bench(args = [1, 64], sample_count = 2_000)]
fn records_per_frame(bencher: Bencher<'_, '_>, per_frame: u32) {
    run(bencher, steady(), AckLevel::None, per_frame);
}

/// One record in each frame, each with an answer.
#[divan::bench(sample_count = 2_000)]
fn acknowledged(bencher: Bencher<'_, '_>) {
    run(bencher, steady(), AckLevel::Accepted, 1);
}

/// The same from a producer, so that each answer is remembered. Includes writing the sequences into the frames.
#[divan::bench(sample_count = 2_000)]
fn acknowledged_to_a_producer(bencher: Bencher<'_, '_>) {
    run_numbered(bencher, &publish_to("topic"), RECORDS, 1);
}

/// The same with two alternating topics, so that each answer is remembered separately.
#[divan::bench(sample_count = 2_000)]
fn acknowledged_to_a_producer_in_two_topics(bencher: Bencher<'_, '_>) {
    run_numbered(bencher, &["topic", "other"].map(publish_to).concat(), RECORDS / 2, 2);
}

/// Batches of this many publishes of one record each, each batch with an answer.
#[divan::bench(args = [1, 8, 64], sample_count = 2_000)]
fn operations_per_batch(bencher: Bencher<'_, '_>, operations: u32) {
    let bytes = batch(None, operations).repeat((RECORDS / operations) as usize);
    let (mut connections, publisher) = prepare(steady());
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        connections.now = connections.now + Duration::from_millis(1);
        connections.send(publisher, &bytes);
    });
}

/// The same from a producer.
#[divan::bench(args = [1, 8, 64], sample_count = 2_000)]
fn operations_per_batch_of_a_producer(bencher: Bencher<'_, '_>, operations: u32) {
    run_numbered(bencher, &batch(PRODUCER, operations), RECORDS / operations, 1);
}

/// Each record arrives alone and is delivered to a subscriber before the next one arrives.
#[divan::bench(sample_count = 2_000)]
fn delivered_one_at_a_time(bencher: Bencher<'_, '_>) {
    let (mut connections, publisher) = prepare(TopicOptions::new());
    let subscriber = connections.connect();
    connections.subscribe(subscriber, "topic", 0);
    let bytes = publish_equal("topic", AckLevel::None, 1, None);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| connections.send(publisher, &bytes));
}

/// The maximum number of frames that one exchange applies, each with an answer: the longest time that the broker is
/// locked.
#[divan::bench(sample_count = 500)]
fn a_whole_exchange(bencher: Bencher<'_, '_>) {
    let (mut connections, publisher) = prepare(steady());
    let one = publish_equal("topic", AckLevel::Accepted, 1, None);
    let frames = (256 << 10) / one.len();
    let bytes = one.repeat(frames);
    bencher.counter(ItemsCount::new(frames)).bench_local(|| connections.send(publisher, &bytes));
}

/// The decoding part of that: frames of one record, decoded only.
#[divan::bench(sample_count = 500)]
fn decoding_alone(bencher: Bencher<'_, '_>) {
    let one = publish_equal("topic", AckLevel::Accepted, 1, None);
    let frames = (256 << 10) / one.len();
    let bytes = one.repeat(frames);
    let mut decoder = ClientDecoder::new(&Limits::default());
    bencher.counter(ItemsCount::new(frames)).bench_local(|| {
        let mut rest = &bytes[..];
        while let Some((frame, taken)) = decoder.decode(rest).expect("the frames are valid") {
            divan::black_box(&frame);
            rest = &rest[taken..];
        }
    });
}

/// A log at its limit: each record evicts one.
#[divan::bench(sample_count = 2_000)]
fn full_log_that_drops_the_oldest(bencher: Bencher<'_, '_>) {
    run(bencher, TopicOptions::new().retain_forever().max_messages(10_000), AckLevel::None, 1);
}

/// Records live ten milliseconds, and a millisecond passes in each iteration.
#[divan::bench(sample_count = 2_000)]
fn expiring(bencher: Bencher<'_, '_>) {
    run(bencher, TopicOptions::new().retention_ttl(Duration::from_millis(10)), AckLevel::None, 1);
}

/// A new key each time, remembered for ten milliseconds.
#[divan::bench(sample_count = 2_000)]
fn keyed_with_a_window(bencher: Bencher<'_, '_>) {
    let options = steady().compaction_window(Duration::from_millis(10));
    let (mut connections, publisher) = prepare(options);
    let frames: Vec<_> = (0..RECORDS * 16)
        .map(|key| publish_equal("topic", AckLevel::None, 1, Some(&key.to_le_bytes())))
        .collect();
    let mut rounds =
        frames.chunks(RECORDS as usize).map(<[_]>::concat).collect::<Vec<_>>().into_iter().cycle();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        connections.now = connections.now + Duration::from_millis(1);
        connections.send(publisher, &rounds.next().expect("an endless iterator"));
    });
}

/// A thousand keys in turn, each forgotten before its next use, so that every record is accepted; includes housekeeping.
#[divan::bench(sample_count = 2_000)]
fn thousand_keys_first(bencher: Bencher<'_, '_>) {
    thousand_keys(bencher, steady().compaction_window(Duration::from_millis(1)));
}

/// The same, but each record supersedes the older one of its key.
#[divan::bench(sample_count = 2_000)]
fn thousand_keys_latest(bencher: Bencher<'_, '_>) {
    thousand_keys(bencher, steady().compaction(CompactionMode::Latest));
}

/// The same without a limit: only housekeeping frees superseded records.
#[divan::bench(sample_count = 2_000)]
fn thousand_keys_latest_without_limit(bencher: Bencher<'_, '_>) {
    let options = TopicOptions::new().retain_forever().max_messages(u64::MAX).max_bytes(u64::MAX);
    thousand_keys(bencher, options.compaction(CompactionMode::Latest));
}

fn thousand_keys(bencher: Bencher<'_, '_>, options: TopicOptions) {
    let (mut connections, publisher) = prepare(options);
    let frames: Vec<_> = (0..1_000u32)
        .map(|key| publish_equal("topic", AckLevel::None, 1, Some(&key.to_le_bytes())))
        .collect();
    let all = (0..RECORDS * 125).map(|at| &frames[at as usize % 1_000]).collect::<Vec<_>>();
    let rounds: Vec<Vec<u8>> = all
        .chunks(RECORDS as usize)
        .map(|round| round.iter().flat_map(|frame| frame.iter().copied()).collect())
        .collect();
    let mut rounds = rounds.iter().cycle();
    let (mut accepted, mut effects) = (0, Effects::new());
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        connections.now = connections.now + Duration::from_millis(1);
        accepted += u64::from(RECORDS);
        connections.send(publisher, rounds.next().expect("an endless iterator"));
        while connections.broker.next_timeout().is_some_and(|at| at <= connections.now) {
            let _ = connections.broker.handle_timeout(connections.now, &mut effects);
        }
        effects.clear();
    });
    assert_eq!(connections.broker.stats().records_accepted, accepted, "nothing is a duplicate");
}

/// Records are kept forever under a limit so low that all memory is reused.
fn steady() -> TopicOptions {
    TopicOptions::new().retain_forever().max_bytes(2 << 20)
}

fn run(bencher: Bencher<'_, '_>, options: TopicOptions, ack: AckLevel, per_frame: u32) {
    let (mut connections, publisher) = prepare(options);
    let bytes = publish_equal("topic", ack, per_frame, None).repeat((RECORDS / per_frame) as usize);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        connections.now = connections.now + Duration::from_millis(1);
        connections.send(publisher, &bytes);
    });
}

/// Sends `repeat` copies of a piece of `requests` requests of the same size per iteration, each with the next sequence.
fn run_numbered(bencher: Bencher<'_, '_>, piece: &[u8], repeat: u32, requests: usize) {
    let (mut connections, publisher) = prepare(steady());
    connections.create(publisher, "other", steady());
    let mut bytes = piece.repeat(repeat as usize);
    let len = piece.len() / requests;
    let mut sequence = 0u64;
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        connections.now = connections.now + Duration::from_millis(1);
        for frame in bytes.chunks_exact_mut(len) {
            frame[SEQUENCE_AT..SEQUENCE_AT + 8].copy_from_slice(&sequence.to_le_bytes());
            sequence += 1;
        }
        connections.send(publisher, &bytes);
    });
    assert_eq!(connections.broker.stats().refused, 0);
}

/// Byte offset of the sequence in a Publish or Batch: after the header, request, count, ack, a bool, id and epoch.
const SEQUENCE_AT: usize = HEADER_LEN + 4 + 4 + 1 + 1 + 16 + 4;

const PRODUCER: Option<Producer> = Some(Producer { id: 7, epoch: 0, sequence: 0 });

/// A publish of one record by the producer.
fn publish_to(topic: &str) -> BytesMut {
    requests(|client| client.publish_as(PRODUCER, topic, AckLevel::Accepted, &[record(&BODY)]))
}

/// A Batch of this many publishes of one record each.
fn batch(producer: Option<Producer>, operations: u32) -> BytesMut {
    let operation = put_all("topic", &[record(&BODY)]);
    let operations = vec![operation; operations as usize];
    requests(|client| client.batch_with(producer, AckLevel::Accepted, &operations))
}

fn prepare(options: TopicOptions) -> (Connections, usize) {
    let mut connections = Connections::new();
    let publisher = connections.connect();
    connections.create(publisher, "topic", options);
    (connections, publisher)
}
