//! `RabbitMQ`: a queue in memory, over AMQP 0-9-1. The publisher asks for confirms; consumers have a prefetch count.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};

use super::tally::Tally;
use super::{Member, WINDOW};
use crate::guarantees::TOPIC;
use crate::storage::Publisher;
use crate::wire;

/// The channel of everything.
const CHANNEL: u16 = 1;

/// What ends a frame.
const END: u8 = 0xce;

/// Kinds of frames.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// Methods: their class and number.
const START: (u16, u16) = (10, 10);
const START_OK: (u16, u16) = (10, 11);
const TUNE: (u16, u16) = (10, 30);
const TUNE_OK: (u16, u16) = (10, 31);
const OPEN: (u16, u16) = (10, 40);
const OPEN_OK: (u16, u16) = (10, 41);
const CHANNEL_OPEN: (u16, u16) = (20, 10);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const DECLARE: (u16, u16) = (50, 10);
const DECLARE_OK: (u16, u16) = (50, 11);
const QOS: (u16, u16) = (60, 10);
const QOS_OK: (u16, u16) = (60, 11);
const CONSUME: (u16, u16) = (60, 20);
const CONSUME_OK: (u16, u16) = (60, 21);
const PUBLISH: (u16, u16) = (60, 40);
const DELIVER: (u16, u16) = (60, 60);
const ACK: (u16, u16) = (60, 80);
const CONFIRM: (u16, u16) = (85, 10);
const CONFIRM_OK: (u16, u16) = (85, 11);

/// Opens a connection with a channel, on which the queue is declared.
fn connect(port: u16) -> Result<TcpStream> {
    let mut socket = wire::connect(port)?;
    socket.write_all(b"AMQP\0\0\x09\x01")?;
    expect(&mut socket, START)?;
    // No properties of the client, the mechanism, the user and the password, and the language.
    let start = [&[0; 4][..], &short("PLAIN"), &12u32.to_be_bytes(), b"\0guest\0guest", &short("en_US")];
    socket.write_all(&method(0, START_OK, &start.concat()))?;
    let tune = expect(&mut socket, TUNE)?;
    let limits = tune.get(..6).context("the limits of the connection")?;
    // Without heartbeats.
    socket.write_all(&method(0, TUNE_OK, &[limits, &[0; 2]].concat()))?;
    socket.write_all(&method(0, OPEN, &[&short("/")[..], &[0, 0]].concat()))?;
    expect(&mut socket, OPEN_OK)?;
    ask(&mut socket, CHANNEL_OPEN, &[0], CHANNEL_OPEN_OK)?;
    let declare = [&[0; 2][..], &short(TOPIC), &[0; 5]].concat();
    ask(&mut socket, DECLARE, &declare, DECLARE_OK)?;
    Ok(socket)
}

/// A connection that publishes with confirms.
#[derive(Debug)]
pub(super) struct ConfirmedPublisher {
    socket: TcpStream,
    writes: Vec<u8>,
    burst: u64,
    confirms: Confirms,
    frames: Frames,
}

pub(super) fn publisher(port: u16, payloads: &[Vec<u8>]) -> Result<ConfirmedPublisher> {
    let mut socket = connect(port)?;
    ask(&mut socket, CONFIRM, &[0], CONFIRM_OK)?;
    let writes = payloads.iter().flat_map(|payload| publish(payload)).collect();
    let (burst, confirms) = (payloads.len() as u64, Confirms::default());
    Ok(ConfirmedPublisher { socket, writes, burst, confirms, frames: Frames::new() })
}

/// A publish to the queue: three frames.
fn publish(payload: &[u8]) -> Vec<u8> {
    let size = (payload.len() as u64).to_be_bytes();
    [
        method(CHANNEL, PUBLISH, &[&[0; 3][..], &short(TOPIC), &[0]].concat()),
        // The class, no weight, the size, and no properties.
        frame(HEADER, CHANNEL, &[&PUBLISH.0.to_be_bytes()[..], &[0; 2], &size, &[0; 2]].concat()),
        frame(BODY, CHANNEL, payload),
    ]
    .concat()
}

impl Publisher for ConfirmedPublisher {
    fn burst(&self) -> u64 {
        self.burst
    }

    fn write(&mut self) -> Result<()> {
        self.socket.write_all(&self.writes).context("cannot write to rabbitmq-server")
    }

    fn read(&mut self) -> Result<u64> {
        self.frames.fill(&mut self.socket)?;
        let mut answered = 0;
        while let Some((kind, body)) = self.frames.next()? {
            let rest = (kind == METHOD).then(|| body.strip_prefix(&name(ACK)[..])).flatten();
            let (tag, rest) =
                rest.and_then(|rest| rest.split_first_chunk()).context("an unexpected answer")?;
            answered += self.confirms.add(u64::from_be_bytes(*tag), rest.first() == Some(&1));
        }
        Ok(answered)
    }
}

/// Which publishes are confirmed; they are numbered from 1 on.
#[derive(Debug, Default)]
struct Confirms {
    /// All up to this one.
    all: u64,
    /// Some above it.
    others: BTreeSet<u64>,
}

impl Confirms {
    /// Adds one, or all up to it; returns how many were not confirmed before.
    fn add(&mut self, number: u64, is_all: bool) -> u64 {
        let before = self.all + self.others.len() as u64;
        if is_all {
            self.all = self.all.max(number);
            self.others = self.others.split_off(&(self.all + 1));
        } else if number > self.all {
            self.others.insert(number);
        }
        while self.others.remove(&(self.all + 1)) {
            self.all += 1;
        }
        self.all + self.others.len() as u64 - before
    }
}

/// A consumer of the queue.
#[derive(Debug)]
pub(super) struct Worker {
    socket: TcpStream,
    frames: Frames,
    output: Vec<u8>,
}

impl Worker {
    pub(super) fn join(port: u16) -> Result<Self> {
        let mut socket = connect(port)?;
        let window = u16::try_from(WINDOW).unwrap_or(u16::MAX).to_be_bytes();
        ask(&mut socket, QOS, &[&[0; 4][..], &window, &[0]].concat(), QOS_OK)?;
        let consume = [&[0; 2][..], &short(TOPIC), &[0; 6]].concat();
        ask(&mut socket, CONSUME, &consume, CONSUME_OK)?;
        Ok(Self { socket, frames: Frames::new(), output: Vec::new() })
    }
}

impl Member for Worker {
    fn work(&mut self, _: &Tally) -> Result<u64> {
        self.frames.fill(&mut self.socket)?;
        let mut acknowledged = 0;
        while let Some((kind, body)) = self.frames.next()? {
            // The header and the body of a message follow its method.
            let Some(delivery) = body.strip_prefix(&name(DELIVER)[..]).filter(|_| kind == METHOD) else {
                continue;
            };
            let tag = usize::from(*delivery.first().context("the consumer's name")?) + 1;
            let (number, rest) =
                delivery.get(tag..).and_then(|rest| rest.split_first_chunk::<8>()).context("a tag")?;
            ensure!(rest.first() == Some(&0), "a message was delivered again");
            self.output.extend_from_slice(&method(CHANNEL, ACK, &[&number[..], &[0]].concat()));
            acknowledged += 1;
        }
        self.socket.write_all(&self.output).context("cannot write to rabbitmq-server")?;
        self.output.clear();
        Ok(acknowledged)
    }

    fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

/// What was read, frame by frame.
#[derive(Debug)]
struct Frames {
    input: Vec<u8>,
    at: usize,
    buffer: Vec<u8>,
}

impl Frames {
    fn new() -> Self {
        Self { input: Vec::new(), at: 0, buffer: vec![0; 256 << 10] }
    }

    fn fill(&mut self, socket: &mut TcpStream) -> Result<()> {
        self.input.drain(..self.at);
        self.at = 0;
        let count = socket.read(&mut self.buffer).context("cannot read from rabbitmq-server")?;
        ensure!(count > 0, "rabbitmq-server closed the connection");
        self.input.extend_from_slice(&self.buffer[..count]);
        Ok(())
    }

    /// The kind and the payload of the next frame; `None` if it is incomplete.
    fn next(&mut self) -> Result<Option<(u8, &[u8])>> {
        let rest = &self.input[self.at..];
        let Some(([kind, _, _, len @ ..], after)) = rest.split_first_chunk::<7>() else { return Ok(None) };
        let len = u32::from_be_bytes(*len) as usize;
        if after.len() <= len {
            return Ok(None);
        }
        ensure!(after[len] == END, "a frame without an end");
        self.at += 7 + len + 1;
        Ok(Some((*kind, &after[..len])))
    }
}

/// Calls a method of the channel, and waits for the answer.
fn ask(socket: &mut TcpStream, asked: (u16, u16), arguments: &[u8], answer: (u16, u16)) -> Result<()> {
    socket.write_all(&method(CHANNEL, asked, arguments))?;
    expect(socket, answer).map(drop)
}

/// Reads a method, and no byte after it; returns its arguments.
fn expect(socket: &mut TcpStream, expected: (u16, u16)) -> Result<Vec<u8>> {
    let head = wire::read_array::<7>(socket)?;
    let [_, _, _, len @ ..] = head;
    let mut body = vec![0; u32::from_be_bytes(len) as usize + 1];
    socket.read_exact(&mut body).context("reading an answer")?;
    body.pop();
    let Some(arguments) = body.strip_prefix(&name(expected)[..]) else {
        bail!("rabbitmq-server sent {:?} instead of {expected:?}", String::from_utf8_lossy(&body));
    };
    Ok(arguments.to_vec())
}

fn name((class, number): (u16, u16)) -> [u8; 4] {
    let ([a, b], [c, d]) = (class.to_be_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

fn method(channel: u16, called: (u16, u16), arguments: &[u8]) -> Vec<u8> {
    frame(METHOD, channel, &[&name(called)[..], arguments].concat())
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind][..], &channel.to_be_bytes(), &len, payload, &[END]].concat()
}

/// A string with its length in front.
fn short(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[len][..], text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_three_frames() {
        let mut frames = Frames { input: publish(b"hello"), ..Frames::new() };
        let (kind, body) = frames.next().unwrap().unwrap();
        assert_eq!((kind, body), (METHOD, &b"\0\x3c\0\x28\0\0\0\x02t0\0"[..]));
        let (kind, body) = frames.next().unwrap().unwrap();
        assert_eq!((kind, body), (HEADER, &b"\0\x3c\0\0\0\0\0\0\0\0\0\x05\0\0"[..]));
        assert_eq!(frames.next().unwrap(), Some((BODY, &b"hello"[..])));
        assert_eq!(frames.next().unwrap(), None);
    }

    #[test]
    fn confirms_of_one_and_of_all_count_each_publish_once() {
        let mut confirms = Confirms::default();
        let adds = [(2, false), (1, false), (5, false), (4, true), (4, true), (5, true), (7, true)];
        let counts = adds.map(|(number, is_all)| confirms.add(number, is_all));
        assert_eq!(counts, [1, 1, 1, 2, 0, 0, 2]);
    }

    #[test]
    fn frames_are_read_as_a_whole() {
        let bytes = publish(b"hello");
        for len in 0..bytes.len() {
            let mut frames = Frames { input: bytes[..len].to_vec(), ..Frames::new() };
            let mut count = 0;
            while frames.next().unwrap().is_some() {
                count += 1;
            }
            assert!(count < 3, "{len}");
        }
        let mut broken = Frames { input: [&bytes[..bytes.len() - 1], &[0]].concat(), ..Frames::new() };
        assert!(
            std::iter::from_fn(|| broken.next().map(|next| next.map(drop)).transpose())
                .any(|next| next.is_err())
        );
    }
}
