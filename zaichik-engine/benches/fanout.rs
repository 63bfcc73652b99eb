//! The cost of a delivery: records of 128 bytes to many subscribers, from the publisher's bytes to the subscribers'.
//!
//! ```text
//! cargo bench -p zaichik-engine --bench fanout
//! ```

#![expect(clippy::arithmetic_side_effects, reason = "a benchmark")]

use divan::Bencher;
use divan::counter::ItemsCount;
use zaichik_proto::{AckLevel, ClientFrame, Commit, TopicOptions};
use zaichik_testkit::{Connections, encoded, publish_equal};

/// Records in each iteration.
const RECORDS: u32 = 64;

fn main() {
    divan::main();
}

/// Frames of one record, read together by subscribers that don't commit.
#[divan::bench(args = [1, 10, 100, 1_000], sample_count = 1_000)]
fn window_0(bencher: Bencher<'_, '_>, subscribers: usize) {
    run(bencher, subscribers, 0);
}

/// The same with a commit for each iteration's records.
#[divan::bench(args = [1, 10, 100, 1_000], sample_count = 1_000)]
fn window_256(bencher: Bencher<'_, '_>, subscribers: usize) {
    run(bencher, subscribers, 256);
}

fn run(bencher: Bencher<'_, '_>, subscribers: usize, window: u32) {
    let mut connections = Connections::new();
    let publisher = connections.connect();
    connections.create(publisher, "topic", TopicOptions::new());
    let subscribers: Vec<_> = (0..subscribers)
        .map(|_| {
            let subscriber = connections.connect();
            connections.subscribe(subscriber, "topic", window);
            subscriber
        })
        .collect();
    let bytes = publish_equal("topic", AckLevel::None, 1, None).repeat(RECORDS as usize);
    let mut end = 0;
    bencher.counter(ItemsCount::new(RECORDS as usize * subscribers.len())).bench_local(|| {
        connections.send(publisher, &bytes);
        end += u64::from(RECORDS);
        if window > 0 {
            let commit = Commit { request: 1, subscription: 1, offset: end - 1, rewind: None, quiet: true };
            let commit = encoded(&ClientFrame::Commit(commit));
            for subscriber in &subscribers {
                connections.send(*subscriber, &commit);
            }
        }
    });
    let delivered = connections.broker.stats().records_delivered;
    assert_eq!(delivered, end * subscribers.len() as u64, "every subscriber gets every record");
}
