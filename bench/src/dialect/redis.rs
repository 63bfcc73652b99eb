//! The dialect of Redis, RESP 2: publish and subscribe. The answer to a publish is its number of receivers.

use std::io::Write;
use std::net::TcpStream;

use anyhow::Result;

use crate::count::{Expected, FixedLength};
use crate::wire;

/// Channels per SUBSCRIBE.
const CHUNK: usize = 500;

pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let mut socket = wire::connect(port)?;
    socket.write_all(&array(&[b"PING"]))?;
    wire::expect(&mut socket, b"+PONG\r\n")?;
    Ok(socket)
}

/// Subscribes, and waits for the answer.
pub(super) fn subscribe(port: u16, topic: &str) -> Result<TcpStream> {
    subscribe_all(port, &[topic.to_owned()])
}

/// Subscribes to several channels on one connection.
pub(super) fn subscribe_all(port: u16, topics: &[String]) -> Result<TcpStream> {
    let mut socket = connect(port)?;
    let mut number = 0;
    for topics in topics.chunks(CHUNK) {
        let command: Vec<&[u8]> =
            [&b"SUBSCRIBE"[..]].into_iter().chain(topics.iter().map(String::as_bytes)).collect();
        socket.write_all(&array(&command))?;
        let mut answers = Vec::new();
        for topic in topics {
            number += 1;
            let name = topic.len();
            let answer = format!("*3\r\n$9\r\nsubscribe\r\n${name}\r\n{topic}\r\n:{number}\r\n");
            answers.extend_from_slice(answer.as_bytes());
        }
        wire::expect(&mut socket, &answers)?;
    }
    Ok(socket)
}

pub(super) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    array(&[b"PUBLISH", topic.as_bytes(), payload])
}

/// Counts arrays of "message", the channel and the payload.
pub(super) fn counter(topic: &str, payload: usize, expected: Expected) -> FixedLength {
    let len = array(&[b"message", topic.as_bytes(), &vec![0; payload]]).len();
    FixedLength::new(expected, (len, len - payload - 2), None)
}

/// A command.
pub(crate) fn array(strings: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", strings.len()).into_bytes();
    for string in strings {
        out.extend_from_slice(format!("${}\r\n", string.len()).as_bytes());
        out.extend_from_slice(string);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Counter;
    use crate::payload::payload;

    #[test]
    fn a_publish_is_an_array_of_strings() {
        assert_eq!(publish("t0", b"hi"), b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nt0\r\n$2\r\nhi\r\n");
    }

    #[test]
    fn a_message_is_an_array_of_strings() {
        let mut counter = Counter::FixedLength(counter("t0", 40, Expected { messages: 3, block: 3 }));
        for message in 0..3 {
            counter.feed(&array(&[b"message", b"t0", &payload(message, 3, 40)])).unwrap();
            assert_eq!(counter.messages(), message + 1);
        }
    }
}
