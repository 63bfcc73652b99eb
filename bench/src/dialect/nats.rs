//! The dialect of NATS, without verbose answers.

use std::io::Write;
use std::net::TcpStream;

use anyhow::{Context, Result, bail};

use crate::count::{Expected, FixedLength, Question};
use crate::wire;

/// Maximum bytes of a line from the server.
pub(crate) const MAX_LINE: usize = 64 << 10;

/// Subscriptions to send before reading the server's answers.
const CHUNK: usize = 500;

pub(crate) const PING: &[u8] = b"PING\r\n";
pub(crate) const PONG: &[u8] = b"PONG\r\n";

/// Opens a connection, and waits for the server's answer.
pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let mut socket = wire::connect(port)?;
    wire::read_line(&mut socket, MAX_LINE).context("the server's first line")?;
    socket.write_all(
        b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"1\"}\r\n",
    )?;
    settle(&mut socket)?;
    Ok(socket)
}

/// Subscribes, and waits until the subscription is active.
pub(super) fn subscribe(port: u16, topic: &str) -> Result<TcpStream> {
    let mut socket = connect(port)?;
    socket.write_all(format!("SUB {topic} 1\r\n").as_bytes())?;
    settle(&mut socket)?;
    Ok(socket)
}

/// Subscribes to several topics on one connection.
pub(super) fn subscribe_all(port: u16, topics: &[String]) -> Result<TcpStream> {
    let mut socket = connect(port)?;
    for (topics, first) in topics.chunks(CHUNK).zip((1..).step_by(CHUNK)) {
        let lines = topics.iter().zip(first..).map(|(topic, number)| format!("SUB {topic} {number}\r\n"));
        socket.write_all(lines.collect::<String>().as_bytes())?;
        settle(&mut socket)?;
    }
    Ok(socket)
}

pub(super) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    [format!("PUB {topic} {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

/// Counts `MSG topic 1 length` with a payload; the server may send a ping between messages.
pub(super) fn counter(topic: &str, payload: usize, expected: Expected) -> FixedLength {
    let head = format!("MSG {topic} 1 {payload}\r\n").len();
    let question = Question { question: PING, answer: PONG };
    FixedLength::new(expected, (head + payload + 2, head), Some(question))
}

/// Waits until the server has processed everything sent to it.
fn settle(socket: &mut TcpStream) -> Result<()> {
    socket.write_all(PING)?;
    loop {
        match wire::read_line(socket, MAX_LINE)?.as_slice() {
            PONG => return Ok(()),
            PING => socket.write_all(PONG)?,
            line if line.starts_with(b"INFO") || line == b"+OK\r\n" => {}
            line => bail!("the server sent {:?}", String::from_utf8_lossy(line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Counter;
    use crate::payload::payload;

    #[test]
    fn a_publish_is_a_line_and_the_payload() {
        assert_eq!(publish("t0", b"hello"), b"PUB t0 5\r\nhello\r\n");
    }

    #[test]
    fn messages_are_counted_around_a_ping() {
        let mut counter = Counter::FixedLength(counter("t0", 40, Expected { messages: 2, block: 2 }));
        for message in 0..2 {
            counter.feed(b"MSG t0 1 40\r\n").unwrap();
            counter.feed(&payload(message, 2, 40)).unwrap();
            counter.feed(b"\r\nPING\r\n").unwrap();
            assert_eq!(counter.reply(), Some(PONG));
        }
        assert_eq!(counter.messages(), 2);
    }
}
