//! Redis as a log: XADD, whose answer is sent after the sync (`appendfsync always`).

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

use super::lines::AnswerLines;
use super::publisher::Publisher;
use crate::dialect::redis::{array, connect};

/// A connection that adds to a stream.
#[derive(Debug)]
pub(crate) struct Redis {
    socket: TcpStream,
    writes: Vec<u8>,
    burst: u64,
    answers: AnswerLines,
    buffer: Vec<u8>,
}

impl Redis {
    pub(crate) fn new(port: u16, payloads: &[Vec<u8>]) -> Result<Self> {
        let add = |payload: &Vec<u8>| array(&[b"XADD", b"t0", b"*", b"p", payload]);
        Ok(Self {
            socket: connect(port)?,
            writes: payloads.iter().flat_map(add).collect(),
            burst: payloads.len() as u64,
            // The length of the id, and the id.
            answers: AnswerLines::new([b"$", b""]),
            buffer: vec![0; 64 << 10],
        })
    }
}

impl Publisher for Redis {
    fn burst(&self) -> u64 {
        self.burst
    }

    fn write(&mut self) -> Result<()> {
        self.socket.write_all(&self.writes).context("cannot write to redis-server")
    }

    fn read(&mut self) -> Result<u64> {
        let count = self.socket.read(&mut self.buffer).context("cannot read from redis-server")?;
        ensure!(count > 0, "redis-server closed the connection");
        self.answers.feed(&self.buffer[..count])
    }
}
