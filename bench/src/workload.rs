//! The workloads, and one run of each.

use std::time::Duration;

use anyhow::Result;

use crate::contender::Contender;
use crate::fan::{self, FanOut};
use crate::flat::Background;
use crate::footprint::{Footprint, Scale};
use crate::guarantees::{self, Guarantee, Publishing};
use crate::latency;
use crate::metric::{Metric, Sample};
use crate::process::Process;
use crate::workers::Workers;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
}

/// What a workload measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fan(FanOut),
    /// Round trips of one message at a time.
    Echo,
    /// Messages at a fixed rate.
    Rate,
    /// One queue that is shared among members.
    Workers(Workers),
    /// The cost of a guarantee.
    Guarantee(Guarantee),
    /// The cost of a publish while the broker holds other data.
    Flat(Background),
    /// Memory, or processor time of an idle broker.
    Footprint(Footprint),
    /// Time until a broker accepts a connection.
    Startup,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RunLength {
    /// How long a throughput run should take.
    pub(crate) fan: Duration,
    /// How long a latency run takes.
    pub(crate) latency: Duration,
    /// How large and long footprint runs are.
    pub(crate) footprint: Scale,
    /// Starts of a broker per round; their median counts.
    pub(crate) starts: u32,
}

const fn shape(topics: u64, subscribers: u64, payload: usize) -> Kind {
    Kind::Fan(FanOut { topics, subscribers, payload })
}

const fn acknowledged(in_flight: u32) -> Kind {
    Kind::Guarantee(Guarantee::Acknowledged(Publishing { in_flight, frame: 1 }))
}

const fn consumed(window: u32, frame: u32) -> Kind {
    Kind::Guarantee(Guarantee::Consumed { publishing: Publishing { in_flight: 1_000, frame }, window })
}

/// All workloads, in the order in which they run.
pub(crate) const ALL: &[Workload] = &[
    workload("1to1", "one publisher, one subscriber, 128 bytes", shape(1, 1, 128)),
    workload("1to10", "one publisher, 10 subscribers, 128 bytes", shape(1, 10, 128)),
    workload("4to4", "four topics with a publisher and a subscriber each, 128 bytes", shape(4, 1, 128)),
    workload("1to1000", "one publisher, 1,000 subscribers, 128 bytes", shape(1, 1_000, 128)),
    workload("16k", "one publisher, one subscriber, 16 KiB", shape(1, 1, 16 << 10)),
    workload("echo", "round trip of one message of 128 bytes, closed loop", Kind::Echo),
    workload("rate", "20,000 messages of 128 bytes per second, open loop", Kind::Rate),
    workload("ack1", "publish, one message at a time, each acknowledged", acknowledged(1)),
    workload("ack1000", "publish, acknowledged, 1,000 in flight", acknowledged(1_000)),
    workload(
        "ackconsume",
        "publish, 1,000 in flight, to a consumer that commits, window 256",
        consumed(256, 1),
    ),
    workload(
        "ackconsume-w1024",
        "publish, 1,000 in flight, to a consumer that commits, window 1,024",
        consumed(1_024, 1),
    ),
    workload(
        "ackconsume-w1",
        "publish, 1,000 in flight, to a consumer that commits, window 1",
        consumed(1, 1),
    ),
    workload(
        "ackconsume-100",
        "publish frames of 100, 1,000 in flight, to a consumer that commits, window 256",
        consumed(256, 100),
    ),
    workload(
        "ackconsume-100-w1024",
        "publish frames of 100, 1,000 in flight, to a consumer that commits, window 1,024",
        consumed(1_024, 100),
    ),
    workload(
        "ackconsume-100-w1",
        "publish frames of 100, 1,000 in flight, to a consumer that commits, window 1",
        consumed(1, 100),
    ),
    workload(
        "backlog",
        "consume a backlog and commit, window 256",
        Kind::Guarantee(Guarantee::Backlog { window: 256 }),
    ),
    workload(
        "backlog-w1",
        "consume a backlog and commit, window 1",
        Kind::Guarantee(Guarantee::Backlog { window: 1 }),
    ),
    workload(
        "workers",
        "one queue, one publisher, 10 members with a window of 256 that acknowledge each message",
        Kind::Workers(Workers { keys: 0 }),
    ),
    workload(
        "workers-keys",
        "the same with 100,000 keys, each of which is at one member at a time",
        Kind::Workers(Workers { keys: 100_000 }),
    ),
    workload("flat-topics-1", "publish to the only topic", Kind::Flat(Background::Topics(0))),
    workload(
        "flat-topics-99999",
        "publish to one topic, beside 99,999 with a subscription",
        Kind::Flat(Background::Topics(99_999)),
    ),
    workload("flat-spread-1000", "publish to 1,000 topics in turn", Kind::Flat(Background::Spread(1_000))),
    workload(
        "flat-spread-100000",
        "publish to 100,000 topics in turn",
        Kind::Flat(Background::Spread(100_000)),
    ),
    workload(
        "flat-idle-10000",
        "publish beside 10,000 idle subscribers of another topic",
        Kind::Flat(Background::Connections(10_000)),
    ),
    workload(
        "flat-members-1",
        "publish to a topic with one member of a shared subscription, whose window is full",
        Kind::Flat(Background::Members(1)),
    ),
    workload(
        "flat-members-1000",
        "publish to a topic with 1,000 such members",
        Kind::Flat(Background::Members(1_000)),
    ),
    workload(
        "flat-full",
        "publish to a topic of 16 MiB that drops its oldest message for each new one",
        Kind::Flat(Background::Log { is_full: true }),
    ),
    workload(
        "conns2000",
        "bytes per idle subscribed connection, of 2,000",
        Kind::Footprint(Footprint::Connections(2_000)),
    ),
    workload(
        "conns10000",
        "bytes per idle subscribed connection, of 10,000",
        Kind::Footprint(Footprint::Connections(10_000)),
    ),
    workload(
        "topics",
        "bytes per topic with a subscription, of 100,000",
        Kind::Footprint(Footprint::Topics(100_000)),
    ),
    workload(
        "stored",
        "bytes per stored message beyond its 128, of 1,000,000",
        Kind::Footprint(Footprint::Messages(1_000_000)),
    ),
    workload(
        "kept",
        "bytes per topic that keeps one message of 128, of 100,000",
        Kind::Footprint(Footprint::Kept(100_000)),
    ),
    workload("startup", "milliseconds from start to an accepted connection", Kind::Startup),
    workload(
        "idle",
        "CPU seconds in 5 s with 1,000 idle subscribed connections",
        Kind::Footprint(Footprint::Idle(1_000)),
    ),
];

const fn workload(name: &'static str, about: &'static str, kind: Kind) -> Workload {
    Workload { name, about, kind }
}

impl Kind {
    pub(crate) const fn group(self) -> &'static str {
        match self {
            Self::Fan(_) => "fan",
            Self::Echo | Self::Rate => "latency",
            Self::Guarantee(_) => "guarantees",
            Self::Workers(_) => "workers",
            Self::Flat(_) => "flat",
            Self::Footprint(_) | Self::Startup => "footprint",
        }
    }

    /// The columns of its table; the first one is compared with the relays.
    pub(crate) const fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Fan(_) | Self::Guarantee(_) | Self::Workers(_) | Self::Flat(_) => {
                &[Metric::Rate, Metric::CpuPerMillion, Metric::PeakMemory]
            }
            Self::Echo | Self::Rate => &[Metric::P50, Metric::P99, Metric::P999, Metric::CpuPerMillion],
            Self::Footprint(Footprint::Idle(_)) => &[Metric::CpuSeconds],
            Self::Footprint(_) => &[Metric::BytesEach],
            Self::Startup => &[Metric::Startup],
        }
    }

    pub(crate) fn admits(self, contender: Contender) -> bool {
        match self {
            Self::Workers(workers) => workers.admits(contender),
            _ if contender.is_queue() => false,
            Self::Fan(_) => !contender.spins(),
            Self::Echo | Self::Rate => !matches!(contender, Contender::Relay64 | Contender::Relay1024),
            Self::Guarantee(_) => contender.is_zaichik() && !contender.spins(),
            Self::Flat(_) => Background::admits(contender),
            Self::Footprint(footprint) => footprint.admits(contender),
            Self::Startup => {
                (!contender.is_relay() && !contender.spins()) || contender == Contender::Relay256
            }
        }
    }

    /// The number of rounds, if `requested` are requested: memory and starts vary little between runs.
    pub(crate) fn rounds(self, requested: u32) -> u32 {
        match self {
            Self::Fan(_)
            | Self::Echo
            | Self::Rate
            | Self::Guarantee(_)
            | Self::Workers(_)
            | Self::Flat(_) => requested,
            Self::Footprint(_) => requested.min(3),
            Self::Startup => 1,
        }
    }

    /// Messages of the first calibration run; `None` if runs are not calibrated.
    pub(crate) fn first_guess(self) -> Option<u64> {
        match self {
            Self::Fan(shape) => Some((20_000 / shape.deliveries()).max(20)),
            Self::Guarantee(_) | Self::Workers(_) | Self::Flat(_) => Some(1_000),
            Self::Echo | Self::Rate | Self::Footprint(_) | Self::Startup => None,
        }
    }

    /// Messages per publisher for a run of `seconds`, at the rate of a previous run.
    pub(crate) fn messages_for(self, seconds: f64, sample: &Sample) -> u64 {
        let rate = sample.get(&Metric::Rate).copied().unwrap_or_default() * 1e6;
        let each = if let Self::Fan(shape) = self { shape.deliveries() as f64 } else { 1.0 };
        count(rate * seconds / each)
    }

    pub(crate) fn run(
        self,
        contender: Contender,
        broker: &mut Process,
        messages: u64,
        length: RunLength,
    ) -> Result<Sample> {
        match self {
            Self::Fan(shape) => fan::run(shape, contender, broker, messages),
            Self::Echo => latency::echo(contender, broker, length.latency),
            Self::Rate => latency::rate(contender, broker, length.latency),
            Self::Workers(workers) => workers.run(contender, broker, messages),
            Self::Guarantee(guarantee) => guarantees::run(guarantee, broker, messages),
            Self::Flat(background) => background.run(broker, messages, length.footprint),
            Self::Footprint(footprint) => footprint.run(contender, broker, length.footprint),
            Self::Startup => Ok(Sample::from([(Metric::Startup, broker.startup.as_secs_f64() * 1_000.0)])),
        }
    }
}

/// Rounds to a number of messages, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from floating point saturates, and measurements are not negative"
)]
fn count(messages: f64) -> u64 {
    (messages.round() as u64).max(1)
}
