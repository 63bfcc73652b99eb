//! The dialect of MQTT 3.1.1 with quality of service 0.

use std::io::Write;
use std::net::TcpStream;

use anyhow::{Context, Result};

use crate::count::{Expected, FixedLength};
use crate::wire;

/// Filters or publishes per request.
const CHUNK: usize = 500;

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const RETAIN: u8 = 0x01;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PING: &[u8] = &[0xc0, 0];
const PONG: &[u8] = &[0xd0, 0];

/// Opens a connection with a clean session, a name chosen by the broker, and no keep-alive.
pub(super) fn connect(port: u16) -> Result<TcpStream> {
    let mut socket = wire::connect(port)?;
    socket.write_all(&packet(CONNECT, b"\x00\x04MQTT\x04\x02\x00\x00\x00\x00"))?;
    wire::expect(&mut socket, &[0x20, 2, 0, 0]).context("the broker's answer to CONNECT")?;
    Ok(socket)
}

/// Subscribes, and waits for the answer.
pub(super) fn subscribe(port: u16, topic: &str) -> Result<TcpStream> {
    subscribe_all(port, &[topic.to_owned()])
}

/// Subscribes to several topics on one connection.
pub(super) fn subscribe_all(port: u16, topics: &[String]) -> Result<TcpStream> {
    let mut socket = connect(port)?;
    for topics in topics.chunks(CHUNK) {
        let mut body = vec![0, 1];
        for topic in topics {
            body.extend_from_slice(&text(topic));
            body.push(0);
        }
        socket.write_all(&packet(SUBSCRIBE, &body))?;
        let granted = [&[0, 1][..], &vec![0; topics.len()]].concat();
        wire::expect(&mut socket, &packet(SUBACK, &granted)).context("the broker's answer to SUBSCRIBE")?;
    }
    Ok(socket)
}

/// Stores a message in each topic, and waits until the broker has processed them.
pub(crate) fn retain_all(port: u16, topics: &[String], payload: &[u8]) -> Result<()> {
    let mut socket = connect(port)?;
    for topics in topics.chunks(CHUNK) {
        let packets: Vec<u8> = topics.iter().flat_map(|topic| publish(topic, payload, true)).collect();
        socket.write_all(&packets)?;
    }
    socket.write_all(PING)?;
    wire::expect(&mut socket, PONG).context("the broker's answer to a ping")
}

/// A publish; with `retain` the broker keeps it.
pub(super) fn publish(topic: &str, payload: &[u8], retain: bool) -> Vec<u8> {
    let kind = if retain { PUBLISH | RETAIN } else { PUBLISH };
    packet(kind, &[&text(topic), payload].concat())
}

/// Counts publishes, which the broker delivers unchanged.
pub(super) fn counter(topic: &str, payload: usize, expected: Expected) -> FixedLength {
    let len = publish(topic, &vec![0; payload], false).len();
    FixedLength::new(expected, (len, len - payload), None)
}

/// A text with a length of two bytes.
fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes(), text.as_bytes()].concat()
}

/// A packet: its kind, a length with seven bits per byte, and a body.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            break;
        }
        out.push(low | 0x80);
    }
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_a_length_a_name_and_the_payload() {
        assert_eq!(publish("t0", b"hi", false), b"\x30\x06\x00\x02t0hi");
        assert_eq!(publish("t0", b"", true), b"\x31\x04\x00\x02t0");
    }

    #[test]
    fn a_long_length_takes_more_bytes() {
        assert_eq!(packet(0x30, &[0; 127])[..2], [0x30, 127]);
        assert_eq!(packet(0x30, &[0; 128])[..3], [0x30, 0x80, 1]);
        assert_eq!(packet(0x30, &vec![0; 16_388])[..4], [0x30, 0x84, 0x80, 1]);
    }
}
