//! `PostgreSQL` as a log: a prepared statement that inserts a batch of rows, in a transaction of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::publisher::Publisher;
use crate::wire;

/// The user whom the cluster is created for; he needs no password.
pub(super) const USER: &str = "bench";

/// Maximum time until the server accepts sessions.
const START: Duration = Duration::from_secs(20);

/// Version 3.0 of the protocol.
const PROTOCOL: u32 = 196_608;

/// The number of the type bytea.
const BYTEA: u32 = 17;

const CREATE: &str = "create table if not exists messages \
    (id bigint generated always as identity primary key, payload bytea not null)";

const INSERT: &str = "insert into messages (payload) select unnest($1::bytea[])";

/// The error of a server that still starts.
const STARTING: &str = "57P03";

/// A connection that inserts batches.
#[derive(Debug)]
pub(super) struct Postgres {
    socket: TcpStream,
    insert: Vec<u8>,
    batch: u64,
    input: Vec<u8>,
    buffer: Vec<u8>,
}

impl Postgres {
    /// Creates the table unless it exists; a batch has these payloads.
    pub(super) fn new(port: u16, payloads: &[Vec<u8>]) -> Result<Self> {
        let begin = Instant::now();
        let mut connection = Self {
            socket: wire::connect(port)?,
            insert: insert(payloads),
            batch: payloads.len() as u64,
            input: Vec::new(),
            buffer: vec![0; 64 << 10],
        };
        loop {
            connection.send(&startup())?;
            match connection.wait_until_ready() {
                Ok(_) => break,
                Err(error) if begin.elapsed() < START && error.to_string().contains(STARTING) => {
                    thread::sleep(Duration::from_millis(20));
                    connection.socket = wire::connect(port)?;
                    connection.input.clear();
                }
                Err(error) => return Err(error),
            }
        }
        connection.send(&message(b'Q', &[CREATE.as_bytes(), b"\0"]))?;
        connection.wait_until_ready()?;
        let prepare = message(b'P', &[b"i\0", INSERT.as_bytes(), b"\0", &0_u16.to_be_bytes()]);
        connection.send(&[prepare, message(b'S', &[])].concat())?;
        connection.wait_until_ready()?;
        Ok(connection)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).context("cannot write to PostgreSQL")
    }

    /// Reads until the server is ready for the next query at least once; returns how often it was.
    fn wait_until_ready(&mut self) -> Result<u64> {
        let mut times = 0;
        while times == 0 {
            let count = self.socket.read(&mut self.buffer).context("cannot read from PostgreSQL")?;
            ensure!(count > 0, "PostgreSQL closed the connection");
            self.input.extend_from_slice(&self.buffer[..count]);
            let mut taken = 0;
            while let Some((kind, body)) = first_message(&self.input[taken..]) {
                match kind {
                    b'E' => bail!("PostgreSQL says: {}", String::from_utf8_lossy(body).replace('\0', " ")),
                    b'Z' => times += 1,
                    _ => {}
                }
                taken += 5 + body.len();
            }
            self.input.drain(..taken);
        }
        Ok(times)
    }
}

impl Publisher for Postgres {
    fn burst(&self) -> u64 {
        self.batch
    }

    fn write(&mut self) -> Result<()> {
        self.socket.write_all(&self.insert).context("cannot write to PostgreSQL")
    }

    fn read(&mut self) -> Result<u64> {
        Ok(self.wait_until_ready()? * self.batch)
    }
}

/// The first message of a connection.
fn startup() -> Vec<u8> {
    let parameters = format!("user\0{USER}\0database\0postgres\0\0");
    let len = u32::try_from(8 + parameters.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], &PROTOCOL.to_be_bytes(), parameters.as_bytes()].concat()
}

/// Binds and executes the prepared statement, and ends the transaction.
fn insert(payloads: &[Vec<u8>]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    // One dimension, no nulls, the type, the number of elements, and the index of the first one.
    let mut array: Vec<u8> =
        [number(1), number(0), BYTEA.to_be_bytes(), number(payloads.len()), number(1)].concat();
    for payload in payloads {
        array.extend_from_slice(&number(payload.len()));
        array.extend_from_slice(payload);
    }
    // One format for all parameters, which is the binary one; one parameter; no formats of results.
    let (one, none) = (1_u16.to_be_bytes(), 0_u16.to_be_bytes());
    let bind = message(b'B', &[b"\0i\0", &one, &one, &one, &number(array.len()), &array, &none]);
    let execute = message(b'E', &[b"\0", &number(0)]);
    [bind, execute, message(b'S', &[])].concat()
}

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let len = u32::try_from(4 + body.len()).unwrap_or(u32::MAX);
    [&[kind][..], &len.to_be_bytes(), &body].concat()
}

/// The kind and the body of the first message, if it is complete.
fn first_message(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let len = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
    Some((*kind, rest.get(4..len)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_kind_and_its_length() {
        let bytes = message(b'Q', &[b"select 1", b"\0"]);
        assert_eq!(first_message(&bytes), Some((b'Q', &b"select 1\0"[..])));
        assert_eq!(first_message(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_batch_is_an_array() {
        let bytes = insert(&[b"ab".to_vec(), b"c".to_vec()]);
        let (kind, bind) = first_message(&bytes).unwrap();
        let array = b"\0\0\0\x01\0\0\0\0\0\0\0\x11\0\0\0\x02\0\0\0\x01\0\0\0\x02ab\0\0\0\x01c";
        assert_eq!(kind, b'B');
        assert!(bind.windows(array.len()).any(|part| part == array));
        let rest = &bytes[5 + bind.len()..];
        assert_eq!(rest, b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04");
    }
}
