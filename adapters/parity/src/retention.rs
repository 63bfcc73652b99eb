//! A storage directory whose topics drop what exceeds their limits gives the space back.
//!
//! Each test publishes 20 times what is kept. `SOAK_LIMIT` in bytes runs them at another size.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use zaichik_tokio::{Client, TopicOptions};

use crate::directory::Directory;
use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

/// What is kept in bytes, unless `SOAK_LIMIT` says otherwise.
const LIMIT: u64 = 2 << 20;

/// How often that is published.
const TIMES: u64 = 20;

/// The length of a message, with what the broker adds to it.
const MESSAGE: u64 = 1_024;
const BODY: usize = 1_007;

/// Messages of a publish.
const TOGETHER: u64 = 32;

/// A broker that keeps at most a limit.
struct Soak {
    _broker: Broker,
    directory: Directory,
    address: String,
    client: Client,
    limit: u64,
    segment: u64,
    /// The largest size of the directory so far.
    largest: u64,
}

impl Soak {
    /// A segment is a sixteenth of the limit, as with 1 GiB and the default.
    async fn start(path: &str) -> Self {
        let limit = std::env::var("SOAK_LIMIT").ok().and_then(|text| text.parse().ok());
        let limit = limit.unwrap_or(LIMIT);
        Self::with_segment(path, limit, limit / 16).await
    }

    async fn with_segment(path: &str, limit: u64, segment: u64) -> Self {
        let directory = Directory::new();
        let mut command = command(path, 0);
        command.env("ZAICHIK_STORAGE_SEGMENT_SIZE", segment.to_string());
        command.args(["--memory", "32MiB", "--data"]).arg(directory.path().join("data"));
        let broker = Broker::run(&mut command);
        let address = broker.address();
        let client = Client::connect(&address).await.expect("the broker listens");
        Self { _broker: broker, directory, address, client, limit, segment, largest: 0 }
    }

    async fn topic(&self, name: &str, limit: u64) {
        let options = TopicOptions::new().retain_forever().max_bytes(limit).max_messages(u64::MAX);
        self.client.create_topic(name, options).await.expect("created");
    }

    /// How often to [publish](Self::publish).
    const fn rounds(&self) -> u64 {
        (self.limit / MESSAGE / TOGETHER).saturating_mul(TIMES)
    }

    /// Publishes messages together, and looks at the directory.
    async fn publish(&mut self, topic: &str, count: u64) {
        let body = Bytes::from(vec![b'x'; BODY]);
        let messages = (0..count).map(|_| body.clone());
        self.client.publish_all(topic, messages).await.expect("accepted");
        self.look();
    }

    fn look(&mut self) {
        self.largest = self.largest.max(size(&self.directory.path().join("data")));
    }

    /// The directory was at most half larger than this, and so many segments.
    fn check(&self, kept: u64, segments: u64) {
        let allowed = kept.saturating_add(kept / 2).saturating_add(self.segment.saturating_mul(segments));
        eprintln!("{} bytes at most for {kept}, segments of {}", self.largest, self.segment);
        assert!(self.largest <= allowed, "{} bytes for {kept} that are kept", self.largest);
    }
}

/// The bytes of all files in a directory, without the reserve. Files may be removed meanwhile.
fn size(data: &Path) -> u64 {
    let files = std::fs::read_dir(data).expect("a directory").flatten();
    let files = files.filter(|file| file.file_name() != "RESERVE");
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).fold(0, u64::saturating_add)
}

/// One topic with a limit in bytes.
pub fn r2_a_limit_in_bytes_limits_the_directory(path: &str) {
    script::block_on_for(patience(), async {
        let mut soak = Soak::start(path).await;
        soak.topic("t", soak.limit).await;
        for _ in 0..soak.rounds() {
            soak.publish("t", TOGETHER).await;
        }
        soak.check(soak.limit, 0);
    });
}

/// A limit in time: in the end nothing is kept.
pub fn r1_a_limit_in_time_empties_the_directory(path: &str) {
    script::block_on_for(patience(), async {
        let mut soak = Soak::start(path).await;
        let options = TopicOptions::new().retention_ttl(Duration::from_millis(100)).max_bytes(u64::MAX);
        soak.client.create_topic("t", options).await.expect("created");
        for _ in 0..soak.rounds() {
            soak.publish("t", TOGETHER).await;
        }
        let data = soak.directory.path().join("data");
        while size(&data) > soak.segment.saturating_mul(4) {
            soak.client.ping().await.expect("it runs");
        }
    });
}

/// Several topics, each of which keeps its part.
pub fn r2_limits_of_several_topics_limit_the_directory(path: &str) {
    const TOPICS: u64 = 8;
    script::block_on_for(patience(), async {
        let mut soak = Soak::start(path).await;
        let names: Vec<_> = (0..TOPICS).map(|number| format!("topic {number}")).collect();
        for name in &names {
            soak.topic(name, soak.limit / TOPICS).await;
        }
        for _ in 0..soak.rounds() / TOPICS {
            for name in &names {
                soak.publish(name, TOGETHER).await;
            }
        }
        soak.check(soak.limit, 0);
    });
}

/// A record in each file lives for good, beside many that don't: it is written again, so that the file can be removed.
pub fn r2_a_record_that_stays_does_not_keep_its_file(path: &str) {
    script::block_on_for(patience(), async {
        let mut soak = Soak::start(path).await;
        soak.topic("dropped", soak.limit).await;
        soak.topic("kept", u64::MAX).await;
        let mut kept = 0_u64;
        for number in 0..soak.rounds() {
            soak.publish("dropped", TOGETHER).await;
            if number.is_multiple_of(soak.segment / MESSAGE / TOGETHER) {
                soak.publish("kept", 1).await;
                kept = kept.saturating_add(MESSAGE);
            }
        }
        soak.check(soak.limit.saturating_add(kept), 2);
    });
}

/// Cursors and producers change, and next to nothing is kept.
pub fn b8_cursors_and_producers_alone_do_not_fill_the_directory(path: &str) {
    const CLIENTS: u64 = 50;
    /// What is kept of a producer, and what the rest needs.
    const KEPT: u64 = 400;
    script::block_on_for(patience(), async {
        let mut soak = Soak::with_segment(path, LIMIT, 8 << 10).await;
        let mut messages = soak.client.subscribe("t").durable("d").window(64).await.expect("subscribed");
        for _ in 0..CLIENTS {
            let client = Client::connect(&soak.address).await.expect("the broker listens");
            client.publish_all("t", (0..TOGETHER).map(|_| "x")).await.expect("accepted");
            for _ in 0..TOGETHER {
                next_message(&mut messages).await.commit().await.expect("committed");
            }
            soak.look();
        }
        soak.check(CLIENTS.saturating_mul(KEPT), 4);
    });
}

/// How long a test may take.
fn patience() -> Duration {
    let is_at_hand = std::env::var_os("SOAK_LIMIT").is_none();
    if is_at_hand { Duration::from_mins(1) } else { Duration::from_hours(1) }
}
