//! The plan that a seed draws before a run begins: limits, topics, faults and clients.

use std::fmt;
use std::time::Duration;

use zaichik_engine::{BrokerConfig, Seed};
use zaichik_proto::{CompactionMode, Overflow, TopicOptions};

use super::random::{Concern, Rng, mix};
use super::{MILLI, SECOND, Setup};

/// Everything that depends on the seed alone.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Number of events in the first phase.
    pub(crate) events: usize,
    /// Clients left out of the run.
    pub(crate) absent: Vec<usize>,
    /// All times are multiples of this, so that many coincide; in microseconds.
    pub(crate) grain: u64,
    pub(crate) limits: Limits,
    pub(crate) topics: Vec<TopicPlan>,
    pub(crate) faults: Faults,
    pub(crate) roles: Vec<Role>,
}

/// The broker's limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) memory_budget: u64,
    pub(crate) max_topics: u32,
    pub(crate) max_durables: u32,
    pub(crate) max_connections: u32,
    pub(crate) max_handshakes: u32,
    pub(crate) max_producers: u32,
    pub(crate) max_message: u32,
    pub(crate) max_records: u32,
    pub(crate) max_window: u32,
    pub(crate) max_window_size: u32,
    pub(crate) max_subscriptions: u32,
    pub(crate) output_buffer: usize,
    pub(crate) heartbeat_millis: u32,
    pub(crate) write_timeout: u64,
    pub(crate) inactive_ttl: u64,
    pub(crate) producer_ttl: u64,
    /// How long clients rely on the broker to remember their producer.
    pub(crate) resend_timeout: u64,
    pub(crate) first_offset: u64,
    pub(crate) default_ttl: u64,
    /// Whether attackers can exhaust limits that honest clients need.
    pub(crate) are_shared: bool,
}

impl Limits {
    /// Whether the broker may refuse requests for lack of memory.
    pub(crate) const fn may_lack_memory(&self) -> bool {
        self.memory_budget < 64 << 20
    }
}

/// A topic, and the settings that it is created with; `None` if its first use creates it.
#[derive(Debug, Clone)]
pub(crate) struct TopicPlan {
    pub(crate) name: String,
    pub(crate) options: Option<TopicOptions>,
}

/// What goes wrong with connections and clocks: mean times between two faults of a kind in microseconds, 0 for never,
/// unless documented otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Maximum latency of a segment.
    pub(crate) latency: u64,
    /// Maximum bytes of a segment.
    pub(crate) segment: u64,
    /// Maximum bytes accepted per write, 0 for no limit.
    pub(crate) partial: u64,
    /// Maximum bytes in flight in one direction.
    pub(crate) capacity: usize,
    pub(crate) freeze: u64,
    pub(crate) reset: u64,
    pub(crate) half_open: u64,
    /// One in N attempts to connect fails, 0 for none.
    pub(crate) refuse: u64,
    pub(crate) crash: u64,
    pub(crate) clock_back: u64,
    pub(crate) clock_jump: u64,
    /// Maximum delay of housekeeping.
    pub(crate) late: u64,
    /// The broker is replaced by another instance.
    pub(crate) restart: u64,
}

/// Names of the classes of faults, as `--without` accepts them.
pub const FAULT_CLASSES: &[&str] = &[
    "latency",
    "segments",
    "partial",
    "freeze",
    "reset",
    "half-open",
    "refuse",
    "crash",
    "clock-back",
    "clock-jump",
    "late",
    "restart",
    "attackers",
];

/// The role of a client.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    Honest(Work),
    /// Sends well-formed but meaningless requests.
    Liar,
    /// Sends bytes that break the protocol.
    Attacker(Attack),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Attack {
    /// Frames with flipped bits.
    Mutate,
    /// Random bytes.
    Garbage,
    /// One byte at a time.
    Loris,
    /// Ever more topics and keys.
    Flood,
    /// Many short requests that are much work for the broker.
    Work,
}

/// The behaviour of an honest client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    pub(crate) publishes: Option<Publishes>,
    pub(crate) consumes: Vec<Consumes>,
    pub(crate) has_producer: bool,
    pub(crate) max_in_flight: usize,
    pub(crate) max_outbound: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) request_timeout: u64,
    /// Whether it crashes from time to time, and another client takes its place.
    pub(crate) crashes: bool,
    /// Whether it also sends pings and requests about settings.
    pub(crate) is_curious: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Publishes {
    pub(crate) topics: Vec<usize>,
    /// Mean time between two publishes.
    pub(crate) every: u64,
    pub(crate) pipeline: usize,
    pub(crate) records: u64,
    pub(crate) body: u64,
    pub(crate) keys: u64,
    /// One in N, 0 for none; as the following ones.
    pub(crate) quiet: u64,
    pub(crate) batch: u64,
    pub(crate) mortal: u64,
    pub(crate) tombstone: u64,
    pub(crate) deadline: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Consumes {
    pub(crate) topic: usize,
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
    pub(crate) durable: Option<String>,
    pub(crate) start: u8,
    /// Commits after this many messages.
    pub(crate) commit_every: usize,
    pub(crate) quiet: bool,
    /// Maximum time to process a message.
    pub(crate) work: u64,
    pub(crate) nack: u64,
    pub(crate) seek: u64,
    pub(crate) leave: u64,
    pub(crate) dead_letter: Option<(u32, String)>,
    /// The topic to which it publishes a record for each message, in one batch with the commit.
    pub(crate) into: Option<usize>,
}

impl Plan {
    pub(crate) fn draw(setup: &Setup) -> Self {
        let mut rng = Rng::new(setup.seed, Concern::Plan, 0);
        let mut limits = draw_limits(&mut Rng::new(setup.seed, Concern::Plan, 1));
        let mut faults = draw_faults(&mut Rng::new(setup.seed, Concern::Plan, 2), limits.resend_timeout);
        let grain = rng.pick(&[1, 100, MILLI, 10 * MILLI]);
        let events = usize::try_from(rng.pick(&[2_000, 2_000, 3_000, 5_000, 20_000])).unwrap_or(2_000);
        let topics = draw_topics(&mut Rng::new(setup.seed, Concern::Plan, 3));
        let honest = rng.between(2, 8);
        limits.max_connections = limits.max_connections.max(u32::try_from(honest).unwrap_or(8) + 2);
        limits.max_topics = limits.max_topics.max(u32::try_from(topics.len()).unwrap_or(8));
        let mut roles: Vec<_> = (0..honest)
            .map(|who| {
                Role::Honest(draw_work(
                    &mut Rng::new(setup.seed, Concern::Plan, 16 + who),
                    &limits,
                    topics.len(),
                    who,
                ))
            })
            .collect();
        let has_attackers = rng.once_in(2);
        if has_attackers {
            for who in 0..rng.between(1, 3) {
                roles.push(draw_attacker(&mut Rng::new(setup.seed, Concern::Plan, 64 + who)));
            }
        }
        let absent =
            setup.without.iter().filter_map(|name| name.strip_prefix("client-")?.parse().ok()).collect();
        for class in &setup.without {
            without(class, &mut faults, &mut roles);
        }
        Self {
            seed: setup.seed,
            events: setup.events.unwrap_or(events),
            absent,
            grain,
            limits,
            topics,
            faults,
            roles,
        }
    }

    /// The broker's random numbers, for its `instance`-th instance.
    pub(crate) fn seed_of_broker(&self, instance: u64) -> Seed {
        Seed::new(u128::from(mix(self.seed ^ (instance << 40))) + 1, u128::from(mix(!self.seed)))
    }

    /// The broker's configuration.
    pub(crate) fn broker(&self) -> BrokerConfig {
        let limits = &self.limits;
        let mut config = BrokerConfig::default();
        config.memory = limits.memory_budget;
        config.max_topics = limits.max_topics;
        config.max_durables = limits.max_durables;
        config.max_connections = limits.max_connections;
        config.max_handshakes = limits.max_handshakes;
        config.max_producers = limits.max_producers;
        config.output_buffer = limits.output_buffer;
        config.wire.max_message = limits.max_message;
        config.wire.max_frame = limits.max_message + 4_096;
        config.wire.max_records = limits.max_records;
        config.wire.max_window = limits.max_window;
        config.wire.max_window_size = limits.max_window_size;
        config.wire.max_subscriptions = limits.max_subscriptions;
        config.wire.heartbeat_millis = limits.heartbeat_millis;
        config.write_timeout = Duration::from_micros(limits.write_timeout);
        config.inactive_ttl = Duration::from_micros(limits.inactive_ttl);
        config.producer_ttl = Duration::from_micros(limits.producer_ttl);
        config.first_offset = limits.first_offset;
        config.topic_defaults.retention_ttl_micros = limits.default_ttl;
        config
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} events, grain {} us", self.seed, self.events, self.grain)?;
        writeln!(f, "  {:?}", self.limits)?;
        writeln!(f, "  {:?}", self.faults)?;
        for (index, topic) in self.topics.iter().enumerate() {
            writeln!(f, "  topic {index}: {topic:?}")?;
        }
        for (index, role) in self.roles.iter().enumerate() {
            writeln!(f, "  client {index}: {role:?}")?;
        }
        Ok(())
    }
}

fn draw_limits(rng: &mut Rng) -> Limits {
    let (producer_ttl, resend_timeout) = rng.pick(&[(600, 540), (600, 540), (120, 40)]);
    let are_shared = rng.once_in(2);
    let tiny = |rng: &mut Rng, few: u64, many: u64| if are_shared && rng.once_in(3) { few } else { many };
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let max_message = narrow(rng.pick(&[256, 4_096, 4_096, 1 << 20]));
    Limits {
        memory_budget: tiny(rng, 64 << 10, 64 << 20).max(if rng.once_in(6) { 256 << 10 } else { 64 << 10 }),
        max_topics: narrow(tiny(rng, 2, 10_000)),
        max_durables: narrow(tiny(rng, 2, 10_000)),
        max_connections: narrow(tiny(rng, 6, 10_000)),
        max_handshakes: narrow(tiny(rng, 2, 1_024)),
        max_producers: narrow(tiny(rng, 2, 4_096)),
        max_message,
        max_records: narrow(rng.pick(&[2, 16, 65_536])),
        max_window: narrow(rng.pick(&[1, 4, 1_024])),
        max_window_size: narrow(rng.pick(&[64, 1 << 10, 1 << 20])),
        max_subscriptions: narrow(tiny(rng, 2, 100_000)),
        output_buffer: usize::try_from(rng.pick(&[1, 64, 1 << 10, 256 << 10])).unwrap_or(1),
        heartbeat_millis: narrow(rng.pick(&[500, 5_000, 30_000])),
        write_timeout: rng.pick(&[SECOND, 10 * SECOND, 10 * SECOND]),
        inactive_ttl: rng.pick(&[20 * SECOND, 24 * 3_600 * SECOND, 24 * 3_600 * SECOND]),
        producer_ttl: producer_ttl * SECOND,
        resend_timeout: resend_timeout * SECOND,
        first_offset: rng.pick(&[0, 0, 0, 1_000_000, u64::MAX / 2]),
        default_ttl: rng.pick(&[0, 0, 10 * SECOND, u64::MAX]),
        are_shared,
    }
}

fn draw_faults(rng: &mut Rng, resend_timeout: u64) -> Faults {
    let mut mean = |fast: u64, slow: u64| {
        let (on, drawn) = (rng.once_in(2), rng.between(fast, slow));
        if on { drawn * MILLI } else { 0 }
    };
    let (freeze, reset, half_open) = (mean(500, 20_000), mean(300, 20_000), mean(5_000, 60_000));
    let (crash, clock_back, clock_jump) = (mean(1_000, 20_000), mean(1_000, 20_000), mean(1_000, 20_000));
    let restart = mean(30_000, 200_000);
    let (late_on, late) = (rng.once_in(2), rng.between(1, 2_000) * MILLI);
    let restart = if rng.once_in(4) { restart } else { 0 };
    Faults {
        latency: if rng.once_in(2) { rng.pick(&[1, 10, 100]) * MILLI } else { 0 },
        segment: if rng.once_in(2) { rng.pick(&[1, 7, 100]) } else { 1_460 },
        partial: if rng.once_in(2) { rng.pick(&[1, 7, 100]) } else { 0 },
        capacity: usize::try_from(rng.pick(&[64, 1 << 10, 64 << 10])).unwrap_or(64),
        freeze,
        reset,
        half_open,
        refuse: if rng.once_in(2) { rng.between(2, 8) } else { 0 },
        crash,
        clock_back,
        // Jumps may not exceed the time for which clients rely on the broker to remember their producer.
        clock_jump: if resend_timeout > 100 * SECOND { clock_jump } else { 0 },
        late: if late_on { late } else { 0 },
        restart,
    }
}

fn draw_topics(rng: &mut Rng) -> Vec<TopicPlan> {
    let count = rng.between(1, 4);
    (0..count).map(|index| TopicPlan { name: format!("t{index}"), options: draw_options(rng) }).collect()
}

fn draw_options(rng: &mut Rng) -> Option<TopicOptions> {
    let mut options = TopicOptions::new();
    options.retention_ttl_micros = Some(rng.pick(&[0, 50 * MILLI, SECOND, 10 * SECOND, u64::MAX, u64::MAX]));
    options.compaction_window_micros = Some(rng.pick(&[0, 0, 100 * MILLI, 2 * SECOND, 60 * SECOND]));
    options.compaction =
        Some(rng.pick(&[CompactionMode::First, CompactionMode::First, CompactionMode::Latest]));
    options.max_messages = Some(rng.pick(&[3, 20, 1_000, u64::MAX, u64::MAX]));
    options.max_bytes = Some(rng.pick(&[1_000, 1 << 20, u64::MAX, u64::MAX]));
    options.overflow = Some(rng.pick(&[Overflow::DropOldest, Overflow::DropOldest, Overflow::Reject]));
    options.max_keys = Some(rng.pick(&[3, 1_000, 1_000]));
    options.tombstone_ttl_micros = Some(rng.pick(&[SECOND, 3_600 * SECOND]));
    let is_implicit = rng.once_in(4);
    (!is_implicit).then_some(options)
}

fn draw_work(rng: &mut Rng, limits: &Limits, topics: usize, who: u64) -> Work {
    let kind = rng.below(8);
    let (publishes, consumes) = match kind {
        0..=2 => (Some(draw_publishes(rng, topics)), Vec::new()),
        3 => (Some(draw_publishes(rng, topics)), vec![draw_consumes(rng, limits, topics, who, 0)]),
        _ => (
            None,
            (0..rng.between(1, 2)).map(|index| draw_consumes(rng, limits, topics, who, index)).collect(),
        ),
    };
    Work {
        publishes,
        consumes,
        has_producer: rng.once_in(2) || kind == 0,
        max_in_flight: usize::try_from(rng.pick(&[1, 4, 64, 1_024])).unwrap_or(1),
        max_outbound: usize::try_from(rng.pick(&[64, 4_096, 1 << 20])).unwrap_or(64),
        buffer_bytes: usize::try_from(rng.pick(&[64, 4_096, 1 << 20])).unwrap_or(64),
        request_timeout: rng.pick(&[5, 30]) * SECOND,
        crashes: rng.once_in(3),
        is_curious: rng.once_in(4),
    }
}

fn draw_publishes(rng: &mut Rng, topics: usize) -> Publishes {
    let few = rng.between(1, topics as u64);
    let mut often = |count: u64| if rng.once_in(3) { count } else { 0 };
    let (quiet, batch, mortal, tombstone) = (often(4), often(3), often(3), often(5));
    Publishes {
        topics: (0..few).map(|_| rng.index(topics)).collect(),
        every: rng.pick(&[MILLI, 20 * MILLI, 200 * MILLI, 2 * SECOND]),
        pipeline: usize::try_from(rng.pick(&[1, 3, 16, 64])).unwrap_or(1),
        records: rng.pick(&[1, 1, 2, 8]),
        body: rng.pick(&[0, 20, 200, 2_000]),
        keys: rng.pick(&[0, 2, 5, 100]),
        quiet,
        batch,
        mortal,
        tombstone,
        deadline: rng.pick(&[2, 30]) * SECOND,
    }
}

fn draw_consumes(rng: &mut Rng, limits: &Limits, topics: usize, who: u64, index: u64) -> Consumes {
    let window = rng.pick(&[0, 1, 1, 3, 64]).min(u64::from(limits.max_window));
    let window = u32::try_from(window).unwrap_or(1);
    let topic = rng.index(topics);
    let is_durable = rng.once_in(2);
    // Some share a name, and take over the subscription from each other.
    let name = if rng.once_in(5) { "shared".to_owned() } else { format!("d{who}-{index}") };
    let mut often = |count: u64| if rng.once_in(3) { count } else { 0 };
    let (nack, seek, leave) = (often(4), often(40), often(60));
    let has_dead_letter = window > 0 && rng.once_in(3);
    let attempts = u32::try_from(rng.between(1, 3)).unwrap_or(1);
    let into = (window > 0 && rng.once_in(3)).then(|| rng.index(topics)).filter(|into| *into > topic);
    Consumes {
        topic,
        window,
        window_bytes: u32::try_from(rng.pick(&[0, 0, 64])).unwrap_or(0),
        durable: is_durable.then_some(name),
        start: u8::try_from(rng.pick(&[0, 0, 0, 1, 2])).unwrap_or(0),
        commit_every: usize::try_from(rng.pick(&[1, 1, 3, 10])).unwrap_or(1).min(window.max(1) as usize),
        quiet: rng.once_in(3),
        work: rng.pick(&[0, MILLI, 50 * MILLI, SECOND]),
        nack: if window > 0 { nack } else { 0 },
        seek,
        leave,
        dead_letter: has_dead_letter.then(|| (attempts, "dead".to_owned())),
        into,
    }
}

fn draw_attacker(rng: &mut Rng) -> Role {
    match rng.below(7) {
        6 => Role::Attacker(Attack::Work),
        0 | 1 => Role::Liar,
        2 => Role::Attacker(Attack::Mutate),
        3 => Role::Attacker(Attack::Garbage),
        4 => Role::Attacker(Attack::Loris),
        _ => Role::Attacker(Attack::Flood),
    }
}

fn without(class: &str, faults: &mut Faults, roles: &mut Vec<Role>) {
    match class {
        "latency" => faults.latency = 0,
        "segments" => faults.segment = 1_460,
        "partial" => faults.partial = 0,
        "freeze" => faults.freeze = 0,
        "reset" => faults.reset = 0,
        "half-open" => faults.half_open = 0,
        "refuse" => faults.refuse = 0,
        "crash" => faults.crash = 0,
        "clock-back" => faults.clock_back = 0,
        "clock-jump" => faults.clock_jump = 0,
        "late" => faults.late = 0,
        "restart" => faults.restart = 0,
        "attackers" => roles.retain(|role| matches!(role, Role::Honest(_))),
        _ => {}
    }
}
