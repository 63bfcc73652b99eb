//! One queue whose messages are shared among members, each of which acknowledges what it got.
//!
//! The same for all: one publisher with many acknowledged publishes in flight, ten members with a window of 256, and every
//! message acknowledged by itself; one command may name several of them where the protocol has such a command.

mod jetstream;
mod rabbitmq;
mod redis;
mod tally;
mod zaichik;

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::tally::Tally;
use crate::contender::Contender;
use crate::guarantees::WRITE;
use crate::metric::{Sample, throughput};
use crate::process::Process;
use crate::storage::{Publisher, payloads};

/// Members of the queue, each with a connection and a thread.
pub(crate) const MEMBERS: u32 = 10;

/// Maximum unacknowledged messages of a member.
pub(crate) const WINDOW: u32 = 256;

/// Maximum unacknowledged publishes.
const IN_FLIGHT: u64 = 1_000;

/// Maximum messages that are published and not acknowledged by a member.
const AHEAD: u64 = 100_000;

/// Pause of the publisher while the members are so far behind.
const PAUSE: Duration = Duration::from_micros(200);

/// Maximum time in which a member gets nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// A queue, and how its messages are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Workers {
    /// Messages of one key go to one member at a time, in order: the number of keys; 0 for messages without.
    pub(crate) keys: u64,
}

/// A connection that gets messages and acknowledges them.
trait Member: Send {
    /// Waits for messages or answers, acknowledges what arrived, and returns the number of messages whose acknowledgement is
    /// answered, or sent where nothing answers it.
    fn work(&mut self, tally: &Tally) -> Result<u64>;

    /// Its socket.
    fn socket(&self) -> &TcpStream;
}

impl Workers {
    pub(crate) const fn admits(self, contender: Contender) -> bool {
        contender.has_queues() && (self.keys == 0 || contender.is_zaichik())
    }

    /// One run, from the first publish until every message is acknowledged. The number of messages is rounded up, so that
    /// all writes are full.
    pub(crate) fn run(self, contender: Contender, broker: &Process, messages: u64) -> Result<Sample> {
        let messages = messages.next_multiple_of(WRITE.into());
        let port = broker.port;
        let (mut publisher, keys): (Box<dyn Publisher>, _) = match contender {
            Contender::Zaichik | Contender::ZaichikAsyncStd => {
                let keys = tally::keys(self.keys);
                (Box::new(zaichik::publisher(port, &keys)?), keys)
            }
            Contender::Redis => (Box::new(redis::publisher(port, &payloads(WRITE.into()))?), Vec::new()),
            Contender::JetStream => {
                (Box::new(jetstream::publisher(port, &payloads(WRITE.into()))?), Vec::new())
            }
            Contender::RabbitMq => {
                (Box::new(rabbitmq::publisher(port, &payloads(WRITE.into()))?), Vec::new())
            }
            _ => bail!("{} has no queues", contender.title()),
        };
        let member = |number: u32| -> Result<Box<dyn Member>> {
            Ok(match contender {
                Contender::JetStream => Box::new(jetstream::Worker::join(port, number)?),
                Contender::RabbitMq => Box::new(rabbitmq::Worker::join(port)?),
                Contender::Redis => Box::new(redis::Worker::join(port, number)?),
                _ => Box::new(zaichik::Worker::join(port, self.keys > 0)?),
            })
        };
        let members: Vec<_> = (0..MEMBERS).map(member).collect::<Result<_>>()?;
        for member in &members {
            member.socket().set_read_timeout(Some(SILENCE)).context("setting a read timeout")?;
        }
        let sockets = members.iter().map(|member| member.socket().try_clone());
        let sockets = sockets.collect::<Result<_, _>>().context("a second handle of a member's socket")?;
        let tally = Tally::new(messages, keys, sockets);
        let (cpu, begin) = (broker.cpu()?, Instant::now());
        thread::scope(|scope| {
            let threads: Vec<_> =
                members.into_iter().map(|member| scope.spawn(|| work(member, &tally))).collect();
            let outcome = publish(&mut *publisher, &tally);
            if outcome.is_err() {
                tally.end();
            }
            for thread in threads {
                thread.join().unwrap_or_else(|_| bail!("a member panicked"))?;
            }
            outcome
        })?;
        if contender == Contender::JetStream {
            jetstream::wait_for_acks(port)?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let done = tally.acknowledged();
        ensure!(done == messages, "{done} of {messages} messages are acknowledged");
        Ok(throughput(messages, seconds, broker.cpu()? - cpu, broker.peak_memory()?))
    }
}

/// Works until every message is acknowledged by a member.
fn work(mut member: Box<dyn Member>, tally: &Tally) -> Result<()> {
    loop {
        match member.work(tally) {
            Ok(count) => tally.add(count),
            Err(_) if tally.is_over() => return Ok(()),
            Err(error) => {
                tally.end();
                return Err(error);
            }
        }
    }
}

/// Publishes every message, until all are answered.
fn publish(publisher: &mut dyn Publisher, tally: &Tally) -> Result<()> {
    let (messages, burst) = (tally.messages(), publisher.burst());
    let (mut sent, mut answered) = (0, 0);
    while answered < messages && !tally.is_over() {
        while sent < messages
            && sent - answered + burst <= IN_FLIGHT
            && sent - tally.acknowledged().min(sent) + burst <= AHEAD
        {
            publisher.write()?;
            sent += burst;
        }
        if sent > answered {
            answered += publisher.read()?;
        } else {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}
