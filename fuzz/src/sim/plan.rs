//! The plan that a seed draws before a run begins: limits, topics, faults and clients.

mod draw;
mod parts;
mod shares;

use std::fmt;
use std::time::Duration;

use zaichik_engine::{BrokerConfig, Seed};

use self::draw::{draw_attacker, draw_faults, draw_limits, draw_pause, draw_storage, draw_topics, draw_work};
pub(crate) use self::parts::{
    Attack, Consumes, Faults, Limits, Publishes, Role, Shares, Storage, TopicPlan, Work,
};
use self::shares::draw_members;
use super::random::{Concern, Rng, mix};
use super::{MILLI, Setup};

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
    pub(crate) storage: Option<Storage>,
    pub(crate) roles: Vec<Role>,
    /// Whether some of them are members of shared subscriptions.
    pub(crate) has_members: bool,
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
    "storage",
    "pause",
    "attackers",
    "members",
];

impl Plan {
    pub(crate) fn draw(setup: &Setup) -> Self {
        let mut rng = Rng::new(setup.seed, Concern::Plan, 0);
        let mut limits = draw_limits(&mut Rng::new(setup.seed, Concern::Plan, 1));
        let mut faults = draw_faults(&mut Rng::new(setup.seed, Concern::Plan, 2), limits.resend_timeout);
        faults.pause = draw_pause(&mut Rng::new(setup.seed, Concern::Plan, 4));
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
        let members = draw_members(setup.seed, &limits, topics.len());
        limits.max_connections += u32::try_from(members.len()).unwrap_or(8);
        let has_members = !members.is_empty() && !setup.without.iter().any(|class| class == "members");
        roles.extend(members.into_iter().filter(|_| has_members));
        let has_attackers = rng.once_in(2);
        if has_attackers {
            for who in 0..rng.between(1, 3) {
                roles.push(draw_attacker(&mut Rng::new(setup.seed, Concern::Plan, 64 + who)));
            }
            // Enough to use up the connections' share of the memory.
            if limits.may_lack_memory() && Rng::new(setup.seed, Concern::Plan, 80).once_in(2) {
                roles.extend([const { Role::Attacker(Attack::Loris) }; 12]);
            }
        }
        let absent =
            setup.without.iter().filter_map(|name| name.strip_prefix("client-")?.parse().ok()).collect();
        let (is_drawn, storage) = draw_storage(&mut Rng::new(setup.seed, Concern::Plan, 5));
        let storage = Some(storage).filter(|_| is_drawn || setup.has_store);
        let storage = storage.filter(|_| !setup.without.iter().any(|class| class == "storage"));
        for class in &setup.without {
            without(class, &mut faults, &mut roles);
        }
        if storage.is_some() {
            // The broker is restored instead of replaced.
            faults.restart = 0;
        }
        Self {
            seed: setup.seed,
            events: setup.events.unwrap_or(events),
            absent,
            grain,
            limits,
            topics,
            faults,
            storage,
            roles,
            has_members,
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
        config.max_resident_bytes = self.storage.and_then(|storage| storage.resident);
        config
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} events, grain {} us", self.seed, self.events, self.grain)?;
        writeln!(f, "  {:?}", self.limits)?;
        writeln!(f, "  {:?}", self.faults)?;
        writeln!(f, "  {:?}", self.storage)?;
        for (index, topic) in self.topics.iter().enumerate() {
            writeln!(f, "  topic {index}: {topic:?}")?;
        }
        for (index, role) in self.roles.iter().enumerate() {
            writeln!(f, "  client {index}: {role:?}")?;
        }
        Ok(())
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
        "pause" => faults.pause = 0,
        "attackers" => roles.retain(|role| matches!(role, Role::Honest(_))),
        _ => {}
    }
}
