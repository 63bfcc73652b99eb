//! `JetStream`: a stream with the retention of a work queue, and a pull consumer that its members share.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::tally::Tally;
use super::{MEMBERS, Member, WINDOW};
use crate::dialect::nats::{MAX_LINE, PING, PONG, connect};
use crate::storage::JetStream;
use crate::wire;

/// A stream in memory that removes what is acknowledged.
const STREAM: &str =
    r#"{"name":"s","subjects":["t0"],"storage":"memory","retention":"workqueue","num_replicas":1}"#;

/// Pause before asking again whether everything is acknowledged.
const PAUSE: Duration = Duration::from_millis(1);

/// A publisher to the stream, which has a consumer from now on.
pub(super) fn publisher(port: u16, payloads: &[Vec<u8>]) -> Result<JetStream> {
    let publisher = JetStream::new(port, payloads, STREAM)?;
    let pending = MEMBERS * WINDOW;
    let consumer = format!(
        r#"{{"stream_name":"s","config":{{"durable_name":"c","ack_policy":"explicit","ack_wait":30000000000,"max_ack_pending":{pending}}}}}"#
    );
    ask(&mut connect(port)?, "$JS.API.CONSUMER.DURABLE.CREATE.s.c", &consumer)?;
    Ok(publisher)
}

/// Waits until the server has processed every acknowledgement, which it does not answer.
pub(super) fn wait_for_acks(port: u16) -> Result<()> {
    let mut socket = connect(port)?;
    loop {
        let info = ask(&mut socket, "$JS.API.CONSUMER.INFO.s.c", "")?;
        let info: serde_json::Value = serde_json::from_str(&info).context("the state of the consumer")?;
        if info["num_ack_pending"] == 0 && info["num_pending"] == 0 {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

/// Sends a request, and returns the answer, which must not be an error.
fn ask(socket: &mut TcpStream, subject: &str, request: &str) -> Result<String> {
    let len = request.len();
    socket.write_all(
        format!("SUB answer 9\r\nUNSUB 9 1\r\nPUB {subject} answer {len}\r\n{request}\r\n").as_bytes(),
    )?;
    let mut head = wire::read_line(socket, MAX_LINE)?;
    while head == PING {
        socket.write_all(PONG)?;
        head = wire::read_line(socket, MAX_LINE)?;
    }
    let answer = wire::read_line(socket, MAX_LINE)?;
    let (head, answer) = (String::from_utf8_lossy(&head), String::from_utf8_lossy(&answer));
    ensure!(head.starts_with("MSG answer "), "nats-server sent {head:?}");
    ensure!(!answer.contains("\"error\""), "nats-server refuses {subject}: {answer}");
    Ok(answer.into_owned())
}

/// A member of the consumer, which asks for more after each half of its window.
#[derive(Debug)]
pub(super) struct Worker {
    socket: TcpStream,
    number: u32,
    /// Messages asked for that have not arrived.
    wanted: u32,
    input: Vec<u8>,
    output: Vec<u8>,
    buffer: Vec<u8>,
}

/// A message that was read as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Message<'a> {
    /// Where it is acknowledged.
    reply: &'a str,
    /// Its number in the stream, from 1 on.
    sequence: u64,
    /// Bytes of the message with its line.
    len: usize,
}

impl Worker {
    pub(super) fn join(port: u16, number: u32) -> Result<Self> {
        let mut socket = connect(port)?;
        socket.write_all(format!("SUB w{number} 1\r\n").as_bytes())?;
        let (input, output, buffer) = (Vec::new(), Vec::new(), vec![0; 256 << 10]);
        let mut worker = Self { socket, number, wanted: 0, input, output, buffer };
        worker.pull(WINDOW);
        worker.flush()?;
        Ok(worker)
    }

    fn pull(&mut self, count: u32) {
        let request = format!(r#"{{"batch":{count},"expires":600000000000}}"#);
        let (number, len) = (self.number, request.len());
        let pull = format!("PUB $JS.API.CONSUMER.MSG.NEXT.s.c w{number} {len}\r\n{request}\r\n");
        self.output.extend_from_slice(pull.as_bytes());
        self.wanted += count;
    }

    fn flush(&mut self) -> Result<()> {
        self.socket.write_all(&self.output).context("cannot write to nats-server")?;
        self.output.clear();
        Ok(())
    }
}

impl Member for Worker {
    fn work(&mut self, tally: &Tally) -> Result<u64> {
        let count = self.socket.read(&mut self.buffer).context("cannot read from nats-server")?;
        ensure!(count > 0, "nats-server closed the connection");
        self.input.extend_from_slice(&self.buffer[..count]);
        let (mut at, mut acknowledged) = (0, 0);
        loop {
            if let Some(rest) = self.input[at..].strip_prefix(PING) {
                at = self.input.len() - rest.len();
                self.output.extend_from_slice(PONG);
                continue;
            }
            let Some(message) = Message::read(&self.input[at..])? else { break };
            tally.got(message.sequence - 1, 1)?;
            for part in ["PUB ", message.reply, " 0\r\n\r\n"] {
                self.output.extend_from_slice(part.as_bytes());
            }
            at += message.len;
            acknowledged += 1;
            self.wanted -= 1;
        }
        self.input.drain(..at);
        if self.wanted <= WINDOW / 2 {
            self.pull(WINDOW - self.wanted);
        }
        self.flush()?;
        Ok(acknowledged)
    }

    fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl<'a> Message<'a> {
    /// The first message; `None` if it is incomplete.
    fn read(bytes: &'a [u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = std::str::from_utf8(&bytes[..end]).context("a line of text")?;
        // MSG, the subject, the subscription, where to acknowledge, and the length.
        let mut words = line.trim_end().split(' ').skip(3);
        let message = words.next().zip(words.next()).and_then(|(reply, len)| {
            // $JS, ACK, the stream, the consumer, the deliveries, and the number.
            let sequence = reply.split('.').nth(5)?.parse().ok()?;
            Some(Self { reply, sequence, len: end + 1 + len.parse::<usize>().ok()? + 2 })
        });
        let message = message.with_context(|| format!("nats-server sent {line:?}"))?;
        Ok(Some(message).filter(|message| message.len <= bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_a_whole() {
        let bytes = b"MSG t0 1 $JS.ACK.s.c.1.17.4.1700000000.0 5\r\nhello\r\n";
        for len in 0..bytes.len() {
            assert_eq!(Message::read(&bytes[..len]).unwrap(), None, "{len}");
        }
        let more = [&bytes[..], b"MSG"].concat();
        let message = Message { reply: "$JS.ACK.s.c.1.17.4.1700000000.0", sequence: 17, len: bytes.len() };
        assert_eq!(Message::read(&more).unwrap(), Some(message));
        assert!(Message::read(b"-ERR 'no'\r\n").is_err());
    }
}
