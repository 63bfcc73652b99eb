//! The relay's dialect: a line with the role of the connection, and then only payloads.

use std::io::Write;
use std::net::TcpStream;

use anyhow::Result;

use crate::count::{Expected, FixedLength};
use crate::relay::READY;
use crate::wire;

/// Subscribes, and waits for the answer.
pub(super) fn subscribe(port: u16, topic: &str) -> Result<TcpStream> {
    begin(port, 'S', topic)
}

pub(super) fn publisher(port: u16, topic: &str) -> Result<TcpStream> {
    begin(port, 'P', topic)
}

pub(super) const fn counter(payload: usize, expected: Expected) -> FixedLength {
    FixedLength::new(expected, (payload, 0), None)
}

fn begin(port: u16, role: char, topic: &str) -> Result<TcpStream> {
    let mut socket = wire::connect(port)?;
    socket.write_all(format!("{role} {topic}\n").as_bytes())?;
    wire::expect(&mut socket, &[READY])?;
    Ok(socket)
}
