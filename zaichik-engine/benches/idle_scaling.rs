//! The cost of a publish while many connections are idle: it must not depend on their number.
//!
//! ```text
//! cargo bench -p zaichik-engine --bench idle_scaling
//! ```

use divan::Bencher;
use divan::counter::ItemsCount;
use zaichik_proto::{AckLevel, TopicOptions};
use zaichik_testkit::{Connections, publish_equal};

/// Records in each iteration.
const RECORDS: u32 = 256;

fn main() {
    divan::main();
}

/// One publisher and one subscriber are busy; the others subscribe to other topics, ten to a topic.
#[divan::bench(args = [0, 100, 10_000], sample_count = 1_000)]
fn idle_connections(bencher: Bencher<'_, '_>, idle: usize) {
    let mut connections = Connections::new();
    let (publisher, subscriber) = (connections.connect(), connections.connect());
    connections.create(publisher, "topic", TopicOptions::new());
    connections.subscribe(subscriber, "topic", 0);
    for index in 0..idle {
        let other = connections.connect();
        connections.subscribe(other, &format!("other-{}", index / 10), 1);
    }
    let bytes = publish_equal("topic", AckLevel::Accepted, 1, None).repeat(RECORDS as usize);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| connections.send(publisher, &bytes));
}
