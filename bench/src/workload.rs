//! What is measured: a table of workloads, and one run of each.

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

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// How it is called.
    pub(crate) name: &'static str,
    /// What it is, for a reader.
    pub(crate) about: &'static str,
    /// What is done.
    pub(crate) kind: Kind,
}

/// What is done in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Throughput.
    Fan(FanOut),
    /// One message at a time, there and back.
    Echo,
    /// Messages at a fixed rate.
    Rate,
    /// What a guarantee costs.
    Guarantee(Guarantee),
    /// What a publish costs beside other things.
    Flat(Background),
    /// What a broker holds.
    Footprint(Footprint),
    /// How long a broker takes until it accepts a connection.
    Startup,
}

/// How long runs are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunLength {
    /// How long a throughput run should take.
    pub(crate) fan: Duration,
    /// How long a latency run takes.
    pub(crate) latency: Duration,
    /// How large and long a footprint run is.
    pub(crate) footprint: Scale,
    /// Starts of a broker, of which the median counts.
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

/// All workloads, in the order in which they are run.
pub(crate) const ALL: &[Workload] = &[
    Workload { name: "1to1", about: "one publisher, one subscriber, 128 bytes", kind: shape(1, 1, 128) },
    Workload { name: "1to10", about: "one publisher, 10 subscribers, 128 bytes", kind: shape(1, 10, 128) },
    Workload {
        name: "4to4",
        about: "four topics with a publisher and a subscriber each, 128 bytes",
        kind: shape(4, 1, 128),
    },
    Workload {
        name: "1to1000",
        about: "one publisher, 1,000 subscribers, 128 bytes",
        kind: shape(1, 1_000, 128),
    },
    Workload { name: "16k", about: "one publisher, one subscriber, 16 KiB", kind: shape(1, 1, 16 << 10) },
    Workload { name: "echo", about: "round trip of one message of 128 bytes, closed loop", kind: Kind::Echo },
    Workload { name: "rate", about: "20,000 messages of 128 bytes a second, open loop", kind: Kind::Rate },
    Workload {
        name: "ack1",
        about: "publish, one message at a time, each acknowledged",
        kind: acknowledged(1),
    },
    Workload { name: "ack1000", about: "publish, acknowledged, 1,000 in flight", kind: acknowledged(1_000) },
    Workload {
        name: "ackconsume",
        about: "publish, 1,000 in flight, to a consumer that commits, window 256",
        kind: consumed(256, 1),
    },
    Workload {
        name: "ackconsume-w1024",
        about: "publish, 1,000 in flight, to a consumer that commits, window 1,024",
        kind: consumed(1_024, 1),
    },
    Workload {
        name: "ackconsume-w1",
        about: "publish, 1,000 in flight, to a consumer that commits, window 1",
        kind: consumed(1, 1),
    },
    Workload {
        name: "ackconsume-100",
        about: "publish frames of 100, 1,000 in flight, to a consumer that commits, window 256",
        kind: consumed(256, 100),
    },
    Workload {
        name: "ackconsume-100-w1024",
        about: "publish frames of 100, 1,000 in flight, to a consumer that commits, window 1,024",
        kind: consumed(1_024, 100),
    },
    Workload {
        name: "ackconsume-100-w1",
        about: "publish frames of 100, 1,000 in flight, to a consumer that commits, window 1",
        kind: consumed(1, 100),
    },
    Workload {
        name: "backlog",
        about: "consume what waits and commit, window 256",
        kind: Kind::Guarantee(Guarantee::Backlog { window: 256 }),
    },
    Workload {
        name: "backlog-w1",
        about: "consume what waits and commit, window 1",
        kind: Kind::Guarantee(Guarantee::Backlog { window: 1 }),
    },
    Workload {
        name: "flat-topics-1",
        about: "publish to the only topic",
        kind: Kind::Flat(Background::Topics(0)),
    },
    Workload {
        name: "flat-topics-99999",
        about: "publish to one topic, beside 99,999 with a subscription",
        kind: Kind::Flat(Background::Topics(99_999)),
    },
    Workload {
        name: "flat-spread-1000",
        about: "publish to 1,000 topics in turn",
        kind: Kind::Flat(Background::Spread(1_000)),
    },
    Workload {
        name: "flat-spread-100000",
        about: "publish to 100,000 topics in turn",
        kind: Kind::Flat(Background::Spread(100_000)),
    },
    Workload {
        name: "flat-idle-10000",
        about: "publish beside 10,000 idle subscribers of another topic",
        kind: Kind::Flat(Background::Connections(10_000)),
    },
    Workload {
        name: "flat-full",
        about: "publish to a topic of 16 MiB that drops its oldest message for each new one",
        kind: Kind::Flat(Background::Log { is_full: true }),
    },
    Workload {
        name: "conns2000",
        about: "bytes of an idle subscribed connection, of 2,000",
        kind: Kind::Footprint(Footprint::Connections(2_000)),
    },
    Workload {
        name: "conns10000",
        about: "bytes of an idle subscribed connection, of 10,000",
        kind: Kind::Footprint(Footprint::Connections(10_000)),
    },
    Workload {
        name: "topics",
        about: "bytes of a topic with a subscription, of 100,000",
        kind: Kind::Footprint(Footprint::Topics(100_000)),
    },
    Workload {
        name: "stored",
        about: "bytes of a stored message beyond its 128, of 1,000,000",
        kind: Kind::Footprint(Footprint::Messages(1_000_000)),
    },
    Workload {
        name: "kept",
        about: "bytes of a topic that keeps one message of 128, of 100,000",
        kind: Kind::Footprint(Footprint::Kept(100_000)),
    },
    Workload {
        name: "startup",
        about: "milliseconds from start to an accepted connection",
        kind: Kind::Startup,
    },
    Workload {
        name: "idle",
        about: "CPU seconds in 5 s with 1,000 idle subscribed connections",
        kind: Kind::Footprint(Footprint::Idle(1_000)),
    },
];

impl Kind {
    /// Which group it belongs to.
    pub(crate) const fn group(self) -> &'static str {
        match self {
            Self::Fan(_) => "fan",
            Self::Echo | Self::Rate => "latency",
            Self::Guarantee(_) => "guarantees",
            Self::Flat(_) => "flat",
            Self::Footprint(_) | Self::Startup => "footprint",
        }
    }

    /// The columns of its table; the first one is compared with the relays'.
    pub(crate) const fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Fan(_) | Self::Guarantee(_) | Self::Flat(_) => {
                &[Metric::Rate, Metric::CpuPerMillion, Metric::PeakMemory]
            }
            Self::Echo | Self::Rate => &[Metric::P50, Metric::P99, Metric::P999, Metric::CpuPerMillion],
            Self::Footprint(Footprint::Idle(_)) => &[Metric::CpuSeconds],
            Self::Footprint(_) => &[Metric::BytesEach],
            Self::Startup => &[Metric::Startup],
        }
    }

    /// Whether a contender takes part.
    pub(crate) fn admits(self, contender: Contender) -> bool {
        match self {
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

    /// Rounds, where so many are asked for: memory and starts differ little from run to run.
    pub(crate) fn rounds(self, asked: u32) -> u32 {
        match self {
            Self::Fan(_) | Self::Echo | Self::Rate | Self::Guarantee(_) | Self::Flat(_) => asked,
            Self::Footprint(_) => asked.min(3),
            Self::Startup => 1,
        }
    }

    /// Messages of the first run that finds out how many a run may have; `None` if a run's length is known.
    pub(crate) fn first_guess(self) -> Option<u64> {
        match self {
            Self::Fan(shape) => Some((20_000 / shape.deliveries()).max(20)),
            Self::Guarantee(_) | Self::Flat(_) => Some(1_000),
            Self::Echo | Self::Rate | Self::Footprint(_) | Self::Startup => None,
        }
    }

    /// Messages published by each publisher that would have taken `seconds`, at the rate of a run.
    pub(crate) fn messages_for(self, seconds: f64, sample: &Sample) -> u64 {
        let rate = sample.get(&Metric::Rate).copied().unwrap_or_default() * 1e6;
        let each = if let Self::Fan(shape) = self { shape.deliveries() as f64 } else { 1.0 };
        count(rate * seconds / each)
    }

    /// One run.
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
            Self::Guarantee(guarantee) => guarantees::run(guarantee, broker, messages),
            Self::Flat(background) => background.run(broker, messages, length.footprint),
            Self::Footprint(footprint) => footprint.run(contender, broker, length.footprint),
            Self::Startup => Ok(Sample::from([(Metric::Startup, broker.startup.as_secs_f64() * 1_000.0)])),
        }
    }
}

/// The nearest count of messages, one at least.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from floating point saturates, and what is measured is not negative"
)]
fn count(messages: f64) -> u64 {
    (messages.round() as u64).max(1)
}
