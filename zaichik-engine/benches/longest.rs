//! The longest call of the broker while peers send requests that are much work (rule S14).
//!
//! `cargo bench -p zaichik-engine --bench longest` prints, for each scenario: the number of calls, the most steps and the
//! longest time of one call, and that time per step. Each scenario runs several times, and the shortest of the longest
//! times counts, because other programs interrupt some calls. Times depend on the machine; tests check the steps.

#![expect(clippy::arithmetic_side_effects, clippy::expect_used, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Session, Timestamp, Turn};
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, CompactionMode, CreateTopic, Durable, Hello, MAGIC, OnConflict,
    PROTOCOL_VERSION, Publish, Record, Records, Seek, SeekTarget, Start, Subscribe, TopicOptions,
    Unsubscribe,
};

/// A broker and one connection.
struct Bench {
    broker: Broker,
    session: Session,
    effects: Effects,
    now: Timestamp,
    calls: u32,
    steps: u64,
    longest: Duration,
}

/// Runs of all scenarios.
const RUNS: usize = 5;

/// A scenario's name and calls, and the steps and the time of its longest call.
type Measured = (&'static str, u32, u64, Duration);

fn main() {
    let mut best = run();
    for _ in 1..RUNS {
        for (best, again) in best.iter_mut().zip(run()) {
            if again.3 < best.3 {
                *best = again;
            }
        }
    }
    println!("{:42} {:>7} {:>8} {:>10} {:>9}", "scenario", "calls", "steps", "longest us", "ns/step");
    for (name, calls, steps, longest) in best {
        let each = longest.as_nanos() / u128::from(steps.max(1));
        println!("{name:42} {calls:7} {steps:8} {:10} {each:9}", longest.as_micros());
    }
}

fn run() -> Vec<Measured> {
    let mut all = Vec::new();
    let forever = TopicOptions::new().retain_forever().max_messages(u64::MAX).max_bytes(u64::MAX);
    let mut bench = Bench::new(forever);
    bench.publish(4_000, |_| None, None);
    bench.subscribe();
    bench.measure(&mut all, "10,000 seeks in a chunk of 4,000 records", |bench| {
        bench.repeat(10_000, |request| seek(request, Start::Offset(3_900)));
    });
    bench.measure(&mut all, "5,000 subscribes and unsubscribes", |bench| {
        bench.repeat(5_000, |request| {
            let unsubscribe = Unsubscribe { request, subscription: 1 };
            if request % 2 == 0 { ClientFrame::Unsubscribe(unsubscribe) } else { subscribe(request) }
        });
    });

    let names: Vec<_> = (0..=50_000).map(|name| name.to_string()).collect();
    let mut bench = Bench::new(forever);
    bench.measure(&mut all, "50,000 durable subscriptions to a topic", |bench| {
        bench.repeat(50_000, |request| durable(request, names.get(request as usize).map_or("", |name| name)));
    });
    bench.measure(&mut all, "the end of their connection", |bench| {
        bench.repeat(1, |_| ClientFrame::Close);
    });

    let mut bench = Bench::new(forever);
    bench.publish(1, |_| None, None);
    for _ in 0..200 {
        bench.publish(5_000, |_| None, Some(60_000_000));
    }
    bench.publish(1, |_| None, None);
    bench.subscribe();
    bench.measure(&mut all, "a million records die; a seek", |bench| {
        bench.now = bench.now + Duration::from_mins(1);
        bench.repeat(1, |request| seek(request, Start::Offset(1)));
    });
    bench.measure(&mut all, "their memory is freed", Bench::keep_house);
    bench.measure(&mut all, "10,000 seeks over the hole", |bench| {
        bench.repeat(10_000, |request| seek(request, Start::Offset(1)));
    });

    let latest = forever.compaction(CompactionMode::Latest);
    let mut bench = Bench::new(latest.compaction_window(Duration::MAX));
    bench.measure(&mut all, "500,000 keys are added", |bench| {
        (0..100).for_each(|part| bench.publish(5_000, |index| Some(part * 5_000 + index), None));
    });
    bench.measure(&mut all, "and superseded within their window", |bench| {
        (0..100).for_each(|part| bench.publish(5_000, |index| Some(part * 5_000 + index), None));
    });
    bench.measure(&mut all, "compaction_window becomes 0", |bench| {
        bench.repeat(1, |request| alter(request, TopicOptions::new().compaction_window(Duration::ZERO)));
        bench.publish(1, |_| Some(1), None);
        bench.keep_house();
    });
    bench.measure(&mut all, "max_messages becomes 1", |bench| {
        bench.repeat(1, |request| alter(request, TopicOptions::new().max_messages(1)));
        bench.keep_house();
    });

    let mut bench = Bench::new(forever.compaction_window(Duration::from_secs(3)));
    bench.measure(&mut all, "first: 500,000 keys are added", |bench| {
        (0..100).for_each(|part| bench.publish(5_000, |index| Some(part * 5_000 + index), None));
    });
    bench.measure(&mut all, "first: their window ends", |bench| {
        bench.now = bench.now + Duration::from_secs(3);
        bench.keep_house();
    });
    all
}

impl Bench {
    /// A broker with the topic "t".
    fn new(options: TopicOptions) -> Self {
        let mut config = BrokerConfig::default();
        config.memory = 8 << 30;
        let mut effects = Effects::new();
        let mut broker = Broker::new(config, Seed::new(1, 2)).expect("a valid configuration");
        let now = Timestamp::from_micros(1_000_000);
        let session = broker.accept(now, &mut effects);
        let mut bench = Self { broker, session, effects, now, calls: 0, steps: 0, longest: Duration::ZERO };
        let mut bytes = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "", token: b"" }).encode(&mut bytes);
        ClientFrame::CreateTopic(CreateTopic { request: 1, topic: b"t", options }).encode(&mut bytes);
        bench.send(&bytes);
        bench
    }

    fn measure(&mut self, all: &mut Vec<Measured>, name: &'static str, run: impl FnOnce(&mut Self)) {
        (self.calls, self.steps, self.longest) = (0, 0, Duration::ZERO);
        run(self);
        all.push((name, self.calls, self.steps, self.longest));
    }

    fn subscribe(&mut self) {
        self.repeat(1, subscribe);
    }

    fn publish(&mut self, count: u32, key: impl Fn(u32) -> Option<u32>, ttl_micros: Option<u64>) {
        let mut encoded = Vec::new();
        for index in 0..count {
            let key = key(index).map(u32::to_le_bytes);
            let key = key.as_ref().map(|key| &key[..]);
            Record { key, ttl_micros, ..Record::default() }.encode(&mut encoded);
        }
        let records = Records::from_encoded(count, &encoded);
        let publish = Publish { request: 2, ack: AckLevel::Accepted, producer: None, topic: b"t", records };
        let mut bytes = BytesMut::new();
        ClientFrame::Publish(publish).encode(&mut bytes);
        self.send(&bytes);
    }

    fn repeat<'a>(&mut self, count: u32, frame: impl Fn(u32) -> ClientFrame<'a>) {
        let mut bytes = BytesMut::new();
        (1..=count).for_each(|request| frame(request).encode(&mut bytes));
        self.send(&bytes);
    }

    /// Exchanges until everything is applied.
    fn send(&mut self, bytes: &[u8]) {
        self.session.inbound().extend_from_slice(bytes);
        self.session.handle_read(self.now);
        loop {
            let turn =
                self.call(|bench| bench.session.exchange(bench.now, &mut bench.broker, &mut bench.effects));
            let outbound = self.session.outbound();
            let count = outbound.remaining();
            outbound.advance(count);
            while self.effects.pop_wake().is_some() {}
            if turn == Turn::Done && count == 0 {
                return;
            }
        }
    }

    fn keep_house(&mut self) {
        while self.call(|bench| bench.broker.handle_timeout(bench.now, &mut bench.effects)) == Turn::More {}
    }

    fn call(&mut self, call: impl FnOnce(&mut Self) -> Turn) -> Turn {
        let (steps, began) = (self.broker.steps(), Instant::now());
        let turn = call(self);
        let took = began.elapsed();
        self.calls += 1;
        if took > self.longest {
            (self.longest, self.steps) = (took, self.broker.steps() - steps);
        }
        turn
    }
}

fn subscribe<'a>(request: u32) -> ClientFrame<'a> {
    ClientFrame::Subscribe(Subscribe {
        request,
        subscription: 1,
        topic: b"t",
        start: Start::Earliest,
        window: 1,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    })
}

fn durable(subscription: u32, name: &str) -> ClientFrame<'_> {
    let durable = Durable { name, epoch: 0, on_conflict: OnConflict::TakeOver, inactive_ttl_micros: 0 };
    let ClientFrame::Subscribe(like) = subscribe(subscription) else { return ClientFrame::Close };
    ClientFrame::Subscribe(Subscribe { subscription, durable: Some(durable), ..like })
}

fn seek<'a>(request: u32, to: Start) -> ClientFrame<'a> {
    ClientFrame::Seek(Seek { request, target: SeekTarget::Subscription(1), to })
}

fn alter<'a>(request: u32, options: TopicOptions) -> ClientFrame<'a> {
    ClientFrame::AlterTopic(AlterTopic { request, topic: b"t", options })
}
