//! The parts of a plan, drawn from a seed.

use zaichik_engine::BrokerConfig;
use zaichik_proto::{CompactionMode, Overflow, TopicOptions};

use super::parts::{Attack, Consumes, Faults, Limits, Publishes, Role, Storage, TopicPlan, Work};
use crate::sim::random::Rng;
use crate::sim::{MILLI, SECOND};

/// The least memory of a broker with messages of that size.
fn least_memory(max_message: u32) -> u64 {
    let mut config = BrokerConfig::default();
    config.wire.max_frame = max_message + 4_096;
    config.min_memory()
}

pub(super) fn draw_limits(rng: &mut Rng) -> Limits {
    let (producer_ttl, resend_timeout) = rng.pick(&[(600, 540), (600, 540), (120, 40)]);
    let are_shared = rng.once_in(2);
    let tiny = |rng: &mut Rng, few: u64, many: u64| if are_shared && rng.once_in(3) { few } else { many };
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let max_message = narrow(rng.pick(&[256, 4_096, 4_096, 1 << 20]));
    Limits {
        memory_budget: tiny(rng, 0, 64 << 20).max(least_memory(max_message)),
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

pub(super) fn draw_faults(rng: &mut Rng, resend_timeout: u64) -> Faults {
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
        pause: 0,
    }
}

/// The mean time between two pauses; it has a stream of its own.
pub(super) fn draw_pause(rng: &mut Rng) -> u64 {
    let (on, mean) = (rng.once_in(2), rng.between(2_000, 40_000) * MILLI);
    if on { mean } else { 0 }
}

/// Whether there is a store, and which; it has a stream of its own.
pub(super) fn draw_storage(rng: &mut Rng) -> (bool, Storage) {
    let has_storage = rng.once_in(3);
    let storage = Storage {
        latency: rng.pick(&[0, 100, MILLI, 20 * MILLI, SECOND]),
        slow: rng.pick(&[0, 0, 100, 20]),
        crash: rng.pick(&[0, 300, 2_000, 10_000, 60_000]) * MILLI,
        fail: rng.pick(&[0, 2, 8]),
        is_journal: rng.once_in(2),
        resident: rng.pick(&[None, Some(0), Some(64 << 10)]),
        interval: rng.pick(&[None, None, Some(10 * MILLI), Some(10 * SECOND)]),
    };
    (has_storage, storage)
}

pub(super) fn draw_topics(rng: &mut Rng) -> Vec<TopicPlan> {
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

pub(super) fn draw_work(rng: &mut Rng, limits: &Limits, topics: usize, who: u64) -> Work {
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
        shares: Vec::new(),
        has_producer: rng.once_in(2) || kind == 0,
        max_in_flight: usize::try_from(rng.pick(&[1, 4, 64, 1_024])).unwrap_or(1),
        max_outbound: usize::try_from(rng.pick(&[64, 4_096, 1 << 20])).unwrap_or(64),
        buffer_bytes: usize::try_from(rng.pick(&[64, 4_096, 1 << 20])).unwrap_or(64),
        request_timeout: rng.pick(&[5, 30]) * SECOND,
        crashes: rng.once_in(3),
        is_curious: rng.once_in(4),
    }
}

pub(super) fn draw_publishes(rng: &mut Rng, topics: usize) -> Publishes {
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

pub(super) fn draw_attacker(rng: &mut Rng) -> Role {
    match rng.below(7) {
        0 | 1 => Role::Liar,
        2 => Role::Attacker(Attack::Mutate),
        3 => Role::Attacker(Attack::Garbage),
        4 => Role::Attacker(Attack::Loris),
        5 => Role::Attacker(Attack::Work),
        _ => Role::Attacker(Attack::Flood),
    }
}
