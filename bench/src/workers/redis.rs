//! Redis: a stream with a consumer group. A consumer asks for up to a window of messages, and acknowledges them in the
//! command before its next question.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};

use super::tally::Tally;
use super::{Member, WINDOW};
use crate::dialect::redis::{array, connect};
use crate::guarantees::TOPIC;
use crate::storage::Redis;
use crate::wire;

const GROUP: &str = "workers";

/// A publisher to the stream, which has a group from now on.
pub(super) fn publisher(port: u16, payloads: &[Vec<u8>]) -> Result<Redis> {
    let mut socket = connect(port)?;
    let create = ["XGROUP", "CREATE", TOPIC, GROUP, "0", "MKSTREAM"].map(str::as_bytes);
    socket.write_all(&array(&create))?;
    wire::expect(&mut socket, b"+OK\r\n")?;
    Redis::new(port, payloads)
}

/// A consumer of the group.
#[derive(Debug)]
pub(super) struct Worker {
    socket: TcpStream,
    ask: Vec<u8>,
    /// Ids that arrived and are not acknowledged.
    ids: Vec<Vec<u8>>,
    /// The number of ids of the acknowledgement that is not answered.
    asked: u64,
    input: Vec<u8>,
    buffer: Vec<u8>,
}

/// An answer that was read as a whole.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// How many messages the command has acknowledged.
    Acknowledged(u64),
    /// The ids of messages.
    Messages(Vec<Vec<u8>>),
}

impl Worker {
    pub(super) fn join(port: u16, number: u32) -> Result<Self> {
        let mut socket = connect(port)?;
        let (name, window) = (number.to_string(), WINDOW.to_string());
        let ask =
            ["XREADGROUP", "GROUP", GROUP, &name, "COUNT", &window, "BLOCK", "0", "STREAMS", TOPIC, ">"];
        let ask = array(&ask.map(str::as_bytes));
        socket.write_all(&ask)?;
        let (ids, input, buffer) = (Vec::new(), Vec::new(), vec![0; 256 << 10]);
        Ok(Self { socket, ask, ids, asked: 0, input, buffer })
    }

    /// Acknowledges what arrived, and asks for more.
    fn acknowledge(&mut self) -> Result<()> {
        self.asked = self.ids.len() as u64;
        let command = ["XACK", TOPIC, GROUP].map(str::as_bytes).into_iter();
        let mut bytes = array(&command.chain(self.ids.iter().map(Vec::as_slice)).collect::<Vec<_>>());
        bytes.extend_from_slice(&self.ask);
        self.ids.clear();
        self.socket.write_all(&bytes).context("cannot write to redis-server")
    }
}

impl Member for Worker {
    fn work(&mut self, _: &Tally) -> Result<u64> {
        let mut answered = 0;
        let count = self.socket.read(&mut self.buffer).context("cannot read from redis-server")?;
        ensure!(count > 0, "redis-server closed the connection");
        self.input.extend_from_slice(&self.buffer[..count]);
        while let Some((answer, len)) = Lines::new(&self.input).answer()? {
            self.input.drain(..len);
            match answer {
                // Of each id that it did not count, this consumer was not the holder.
                Answer::Acknowledged(count) => {
                    ensure!(count == self.asked, "{count} of {} messages were acknowledged", self.asked);
                    answered += count;
                }
                Answer::Messages(ids) => {
                    self.ids = ids;
                    self.acknowledge()?;
                }
            }
        }
        Ok(answered)
    }

    fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

/// What was read, line by line.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// An answer and its length; `None` if it is incomplete.
    fn answer(&mut self) -> Result<Option<(Answer, usize)>> {
        let Some((kind, number)) = self.line()? else { return Ok(None) };
        let answer = match kind {
            b':' => Answer::Acknowledged(number as u64),
            b'*' => {
                // One stream: its name, and its messages.
                let Some(messages) = self.expect(b'*')?.and(self.string()?).and(self.expect(b'*')?) else {
                    return Ok(None);
                };
                let mut ids = Vec::with_capacity(messages);
                for _ in 0..messages {
                    let Some(id) = self.expect(b'*')?.and(self.string()?) else { return Ok(None) };
                    let fields = self.expect(b'*')?.and(self.string()?).and(self.string()?);
                    if fields.is_none() {
                        return Ok(None);
                    }
                    ids.push(id.to_vec());
                }
                Answer::Messages(ids)
            }
            _ => bail!("redis-server sent {:?}", String::from_utf8_lossy(self.bytes)),
        };
        Ok(Some((answer, self.at)))
    }

    /// The number of a line of this kind.
    fn expect(&mut self, kind: u8) -> Result<Option<usize>> {
        let line = self.line()?;
        ensure!(line.is_none_or(|(found, _)| found == kind), "redis-server sent an unexpected answer");
        Ok(line.map(|(_, number)| number))
    }

    fn string(&mut self) -> Result<Option<&'a [u8]>> {
        let Some(len) = self.expect(b'$')? else { return Ok(None) };
        let string = self.bytes.get(self.at..self.at + len + 2);
        self.at += len + 2;
        Ok(string.map(|string| &string[..len]))
    }

    /// The first byte and the number of a line.
    fn line(&mut self) -> Result<Option<(u8, usize)>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = String::from_utf8_lossy(&rest[..end]);
        self.at += end + 1;
        let number = line.trim_end().get(1..).and_then(|number| number.parse().ok());
        let number = number.with_context(|| format!("redis-server sent {line:?}"))?;
        Ok(Some((rest[0], number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_a_whole() {
        let messages = b"*1\r\n*2\r\n$2\r\nt0\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\np\r\n$3\r\na\nb\r\n\
            *2\r\n$4\r\n10-1\r\n*2\r\n$1\r\np\r\n$1\r\nc\r\n";
        for len in 0..messages.len() {
            assert!(Lines::new(&messages[..len]).answer().unwrap().is_none(), "{len}");
        }
        let expected = Answer::Messages(vec![b"1-0".to_vec(), b"10-1".to_vec()]);
        let more = [&messages[..], b":2\r\n"].concat();
        assert_eq!(Lines::new(&more).answer().unwrap(), Some((expected, messages.len())));
        assert_eq!(Lines::new(b":256\r\n:").answer().unwrap(), Some((Answer::Acknowledged(256), 6)));
        assert!(Lines::new(b"-NOGROUP no such group\r\n").answer().is_err());
    }
}
