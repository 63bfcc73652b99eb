//! Footprint: memory of connections, topics and messages, and the processor time of an idle broker.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use zaichik_proto::AckLevel;

use crate::contender::Contender;
use crate::dialect::{Dialect, mqtt, zaichik};
use crate::guarantees;
use crate::metric::{Metric, Sample};
use crate::process::Process;

/// Bytes of a stored payload.
const PAYLOAD: usize = 128;

/// Requests to send before reading their answers.
const CHUNK: usize = 500;

/// Descriptors that are not connections.
const RESERVED: u64 = 100;

/// The kind of measurement, and its number of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Footprint {
    /// Bytes per idle connection with a subscription.
    Connections(u64),
    /// Bytes per topic with a subscription; all on one connection.
    Topics(u64),
    /// Bytes per stored message in addition to its payload.
    Messages(u64),
    /// Bytes per topic that keeps one message, including the message.
    Kept(u64),
    /// Processor seconds while this number of connections with a subscription are idle.
    Idle(u64),
}

/// How large and long footprint runs are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Divisor of all numbers.
    pub(crate) divisor: u64,
    /// How long a broker has to settle before its memory is measured.
    pub(crate) settle: Duration,
    /// How long an idle broker is measured.
    pub(crate) idle: Duration,
    /// Maximum file descriptors of this process and of the broker.
    pub(crate) descriptors: u64,
}

impl Footprint {
    /// Whether this can be measured for a contender.
    pub(crate) fn admits(self, contender: Contender) -> bool {
        if contender.spins() {
            return false;
        }
        match self {
            Self::Connections(_) | Self::Idle(_) => !contender.is_relay() || contender == Contender::Relay256,
            Self::Topics(_) => !contender.is_relay(),
            Self::Messages(_) => contender.is_zaichik(),
            Self::Kept(_) => contender.is_zaichik() || contender == Contender::Mosquitto,
        }
    }

    pub(crate) fn run(self, contender: Contender, broker: &Process, scale: Scale) -> Result<Sample> {
        let dialect = contender.dialect()?;
        thread::sleep(scale.settle);
        let before = broker.memory()?;
        let (count, beyond, _open) = match self {
            Self::Connections(count) => {
                let count = count / scale.divisor;
                (count, 0, connections(dialect, broker.port, count, scale)?)
            }
            Self::Topics(count) => {
                let count = count / scale.divisor;
                let socket = dialect.subscribe_all(broker.port, &names(count))?;
                (count, 0, vec![socket.context("the contender has no such subscription")?])
            }
            Self::Messages(count) => {
                let count = count / scale.divisor;
                guarantees::store(broker.port, count)?;
                (count, PAYLOAD, Vec::new())
            }
            Self::Kept(count) => {
                let count = count / scale.divisor;
                keep(dialect, broker.port, &names(count))?;
                (count, 0, Vec::new())
            }
            Self::Idle(count) => return idle(dialect, broker, count / scale.divisor, scale),
        };
        thread::sleep(scale.settle);
        let each = (broker.memory()? - before) / count as f64 - beyond as f64;
        Ok(Sample::from([(Metric::BytesEach, each)]))
    }
}

/// Names of topics, all with the same length.
pub(crate) fn names(count: u64) -> Vec<String> {
    (0..count).map(|number| format!("topic-{number:06}")).collect()
}

/// Idle connections with a subscription to one topic.
pub(crate) fn connections(dialect: Dialect, port: u16, count: u64, scale: Scale) -> Result<Vec<TcpStream>> {
    let (needed, permitted) = (count + RESERVED, scale.descriptors);
    ensure!(
        needed <= permitted,
        "{needed} file descriptors are needed and {permitted} are permitted: raise ulimit -n"
    );
    let open = (0..count)
        .map(|number| dialect.subscribe(port, "idle").with_context(|| format!("after {number} connections")));
    open.collect()
}

fn idle(dialect: Dialect, broker: &Process, count: u64, scale: Scale) -> Result<Sample> {
    let open = connections(dialect, broker.port, count, scale)?;
    thread::sleep(scale.settle);
    let before = broker.cpu()?;
    thread::sleep(scale.idle);
    let cpu = broker.cpu()? - before;
    drop(open);
    Ok(Sample::from([(Metric::CpuSeconds, cpu)]))
}

/// Stores one message in each topic, and waits for the answers.
fn keep(dialect: Dialect, port: u16, topics: &[String]) -> Result<()> {
    let payload = [b'x'; PAYLOAD];
    match dialect {
        Dialect::Mqtt => mqtt::retain_all(port, topics, &payload),
        Dialect::Zaichik => {
            let mut client = zaichik::Client::connect(port)?;
            for topics in topics.chunks(CHUNK) {
                client.create_all(topics, zaichik::retained())?;
                let publish =
                    |topic: &String| zaichik::publish_records(topic, AckLevel::Accepted, 1, &[&payload]);
                client.send(&topics.iter().flat_map(publish).collect::<Vec<u8>>())?;
                let mut stored = 0;
                while stored < topics.len() as u64 {
                    client.receive(|frame, _| {
                        stored += guarantees::acknowledged(frame)?;
                        Ok(())
                    })?;
                }
            }
            Ok(())
        }
        Dialect::Relay | Dialect::Nats | Dialect::Redis => bail!("{dialect:?} keeps no messages"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_same_length() {
        let names = names(100_000);
        assert!(names.iter().all(|name| name.len() == names[0].len()));
    }

    #[test]
    fn only_brokers_that_store_messages_are_measured_for_it() {
        let admitted: Vec<_> =
            Contender::ALL.into_iter().filter(|contender| Footprint::Kept(1).admits(*contender)).collect();
        assert_eq!(admitted, [Contender::Zaichik, Contender::ZaichikAsyncStd, Contender::Mosquitto]);
    }
}
