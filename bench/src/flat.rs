//! Whether the cost of a publish depends on what else the broker holds: topics, idle subscribers, a full log.

use std::time::Instant;

use anyhow::{Context, Result};
use zaichik_proto::AckLevel;

use crate::contender::Contender;
use crate::dialect::zaichik::Client;
use crate::dialect::{Dialect, zaichik};
use crate::footprint::{self, Scale};
use crate::guarantees::{self, PAYLOAD, Publishing, TOPIC};
use crate::metric::{Sample, throughput};
use crate::payload;
use crate::process::Process;

/// How publishes are acknowledged: frames of one message, many in flight.
const PUBLISHING: Publishing = Publishing { in_flight: 1_000, frame: 1 };

/// Limit in bytes of the topic whose log is to be full.
const FULL: u64 = 16 << 20;

/// Frames of one write.
const WRITE: usize = 200;

/// What else the broker holds while messages are published and acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Background {
    /// This number of topics with a subscription, in addition to the one that is published to.
    Topics(u64),
    /// This number of topics, each of which gets a message in turn.
    Spread(u64),
    /// This number of idle connections with a subscription to another topic.
    Connections(u64),
    /// This number of members of a shared subscription to the topic, each of which holds a message and gets no more.
    Members(u64),
    /// A topic that keeps everything, or one that drops its oldest message for each new one.
    Log {
        /// Whether it is at its limit.
        is_full: bool,
    },
}

impl Background {
    pub(crate) fn run(self, broker: &Process, messages: u64, scale: Scale) -> Result<Sample> {
        let messages = messages.next_multiple_of(WRITE as u64);
        let mut publisher = guarantees::connect(broker.port)?;
        if let Self::Members(_) = self {
            publisher.create(TOPIC, zaichik::retained())?;
        }
        let _members = match self {
            Self::Members(count) => members(broker.port, count.min(scale.descriptors / 2))?,
            _ => Vec::new(),
        };
        let _open = match self {
            Self::Topics(count) => {
                let names = footprint::names(count / scale.divisor);
                vec![Dialect::Zaichik.subscribe_all(broker.port, &names)?.context("it has topics")?]
            }
            Self::Connections(count) => {
                footprint::connections(Dialect::Zaichik, broker.port, count / scale.divisor, scale)?
            }
            Self::Members(_) | Self::Spread(_) | Self::Log { .. } => Vec::new(),
        };
        let frames = match self {
            Self::Spread(count) => {
                let names = footprint::names((count / scale.divisor).max(1));
                for names in names.chunks(500) {
                    publisher.create_all(names, zaichik::retained())?;
                }
                writes(&names)
            }
            Self::Members(count) => {
                let frames = writes(&[TOPIC.to_owned()]);
                // One for each of them, so that none has room for more.
                let held = count.next_multiple_of(WRITE as u64);
                guarantees::publish_frames(&mut publisher, &frames, WRITE as u64, PUBLISHING, held)?;
                frames
            }
            Self::Topics(_) | Self::Connections(_) | Self::Log { is_full: false } => {
                publisher.create(TOPIC, zaichik::retained())?;
                writes(&[TOPIC.to_owned()])
            }
            Self::Log { is_full: true } => {
                publisher.create(TOPIC, zaichik::retained().max_bytes(FULL))?;
                let frames = writes(&[TOPIC.to_owned()]);
                let filling = (FULL / PAYLOAD as u64).next_multiple_of(WRITE as u64);
                guarantees::publish_frames(&mut publisher, &frames, WRITE as u64, PUBLISHING, filling)?;
                frames
            }
        };
        let (cpu, begin) = (broker.cpu()?, Instant::now());
        guarantees::publish_frames(&mut publisher, &frames, WRITE as u64, PUBLISHING, messages)?;
        let seconds = begin.elapsed().as_secs_f64();
        Ok(throughput(messages, seconds, broker.cpu()? - cpu, broker.peak_memory()?))
    }

    pub(crate) const fn admits(contender: Contender) -> bool {
        matches!(contender, Contender::Zaichik)
    }
}

/// Members of a shared subscription to the topic, with a window of 1.
fn members(port: u16, count: u64) -> Result<Vec<Client>> {
    let join = |_| {
        let mut client = Client::connect(port)?;
        client.join(TOPIC, 1, false)?;
        Ok(client)
    };
    (0..count).map(join).collect()
}

/// Writes of [`WRITE`] frames with one message each, to the topics in turn: enough for every topic, at least one.
fn writes(topics: &[String]) -> Vec<Vec<u8>> {
    let count = topics.len().next_multiple_of(WRITE);
    let payload = payload::payload(0, 1, PAYLOAD);
    let frames: Vec<Vec<u8>> = topics
        .iter()
        .map(|topic| zaichik::publish_records(topic, AckLevel::Accepted, 1, &[&payload]))
        .collect();
    let turns: Vec<&Vec<u8>> = frames.iter().cycle().take(count).collect();
    turns
        .chunks(WRITE)
        .map(|frames| frames.iter().flat_map(|frame| frame.iter().copied()).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_full_and_reach_every_topic() {
        let one = writes(&["t0".to_owned()]);
        assert_eq!(one.len(), 1);
        let names = footprint::names(450);
        let many = writes(&names);
        assert_eq!(many.len(), 3);
        assert!(many.iter().all(|write| write.len() == many[0].len()));
        let holds = |name: &String| {
            many.iter().any(|write| write.windows(name.len()).any(|part| part == name.as_bytes()))
        };
        assert!(names.iter().all(holds));
    }
}
