//! `JetStream`, the log of nats-server: publishes with a subject for the answer.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

use super::lines::AnswerLines;
use super::publisher::Publisher;
use crate::dialect::nats::{MAX_LINE, connect};
use crate::wire;

/// A stream in files, without limits.
pub(super) const STREAM: &str =
    r#"{"name":"s","subjects":["t0"],"storage":"file","retention":"limits","num_replicas":1}"#;

/// A connection that publishes to the stream.
#[derive(Debug)]
pub(crate) struct JetStream {
    socket: TcpStream,
    writes: Vec<u8>,
    burst: u64,
    answers: AnswerLines,
    buffer: Vec<u8>,
}

impl JetStream {
    /// Creates the stream unless it exists, which has the name `s` and the subject `t0`.
    pub(crate) fn new(port: u16, payloads: &[Vec<u8>], stream: &str) -> Result<Self> {
        let mut socket = connect(port)?;
        // Each connection has a subject of its own for its answers.
        let answers = format!("i{}", socket.local_addr()?.port());
        let len = stream.len();
        let create =
            format!("SUB {answers} 1\r\nPUB $JS.API.STREAM.CREATE.s {answers} {len}\r\n{stream}\r\n");
        socket.write_all(create.as_bytes())?;
        wire::read_line(&mut socket, MAX_LINE).context("the answer to the creation of a stream")?;
        let answer = wire::read_line(&mut socket, MAX_LINE)?;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(!answer.contains("\"error\""), "nats-server creates no stream: {answer}");
        let publish = |payload: &Vec<u8>| {
            let mut bytes = format!("PUB t0 {answers} {}\r\n", payload.len()).into_bytes();
            bytes.extend_from_slice(payload);
            bytes.extend_from_slice(b"\r\n");
            bytes
        };
        Ok(Self {
            socket,
            writes: payloads.iter().flat_map(publish).collect(),
            burst: payloads.len() as u64,
            answers: AnswerLines::new([b"MSG i", b"{\"stream\":"]),
            buffer: vec![0; 64 << 10],
        })
    }
}

impl Publisher for JetStream {
    fn burst(&self) -> u64 {
        self.burst
    }

    fn write(&mut self) -> Result<()> {
        self.socket.write_all(&self.writes).context("cannot write to nats-server")
    }

    fn read(&mut self) -> Result<u64> {
        let count = self.socket.read(&mut self.buffer).context("cannot read from nats-server")?;
        ensure!(count > 0, "nats-server closed the connection");
        self.answers.feed(&self.buffer[..count])
    }
}
