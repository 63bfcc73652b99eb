//! Threads that write messages encoded beforehand.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::dialect::{Block, Dialect};

/// A thread that returns the connection when everything is written.
pub(crate) type Thread = JoinHandle<Result<Publisher>>;

/// Starts a thread that writes `messages` messages as fast as the broker accepts them.
pub(crate) fn start(publisher: Publisher, mut block: Block, messages: u64) -> Result<Thread> {
    let run = move || {
        let mut sent = 0;
        while sent < messages {
            let (bytes, count) = block.publishes(sent, messages - sent);
            publisher.write(bytes)?;
            sent += count;
        }
        Ok(publisher)
    };
    thread::Builder::new().name("publisher".to_owned()).spawn(run).context("starting a publisher")
}

/// A connection that publishes. Where the broker answers publishes, a thread reads and discards the answers.
///
/// The connection is closed when dropped, and not before: closing a socket with unread bytes may discard written ones.
#[derive(Debug)]
pub(crate) struct Publisher {
    socket: TcpStream,
    answers: Option<JoinHandle<()>>,
}

impl Publisher {
    pub(crate) fn connect(dialect: Dialect, port: u16, topic: &str) -> Result<Self> {
        let socket = dialect.publisher(port, topic).context("a publisher")?;
        if !dialect.answers() {
            return Ok(Self { socket, answers: None });
        }
        let mut answers = socket.try_clone().context("a second handle of a publisher's socket")?;
        let run = move || {
            let mut buffer = vec![0; 64 << 10];
            while matches!(answers.read(&mut buffer), Ok(count) if count > 0) {}
        };
        let thread = thread::Builder::new().name("answers".to_owned()).spawn(run);
        Ok(Self { socket, answers: Some(thread.context("starting a thread for answers")?) })
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        (&self.socket).write_all(bytes).context("a publisher cannot write")
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // The broker may have exited, and a panic has been printed.
        drop(self.socket.shutdown(Shutdown::Both));
        if let Some(thread) = self.answers.take() {
            drop(thread.join());
        }
    }
}
