//! Threads that read and count.
//!
//! A few subscribers have a thread each, which blocks in its reads. Hundreds share two threads that poll: a thread for
//! each of them would measure the scheduler.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::count::Counter;

const BUFFER: usize = 256 << 10;

/// Maximum subscribers with a thread each.
const OWN_THREADS: usize = 16;

/// Threads that more subscribers share.
const SHARED_THREADS: usize = 2;

/// A thread that returns the moment at which its subscribers had all messages.
pub(crate) type Thread = JoinHandle<Result<Instant>>;

#[derive(Debug)]
pub(crate) struct Reader {
    socket: TcpStream,
    counter: Counter,
    messages: u64,
}

impl Reader {
    /// A subscriber of `messages` messages.
    pub(crate) fn new(socket: TcpStream, counter: Counter, messages: u64) -> Result<Self> {
        ensure!(messages > 0, "nothing to read");
        Ok(Self { socket, counter, messages })
    }

    /// Reads once; returns the number of messages completed.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<u64> {
        let before = self.counter.messages();
        let count = self.socket.read(buffer).context("a subscriber cannot read")?;
        ensure!(count > 0, "the broker closed a subscriber's connection");
        self.counter.feed(&buffer[..count])?;
        if let Some(reply) = self.counter.reply() {
            self.socket.write_all(reply).context("a subscriber cannot answer")?;
        }
        Ok(self.counter.messages() - before)
    }

    fn is_done(&self) -> bool {
        self.counter.messages() == self.messages
    }
}

#[derive(Debug, Default)]
pub(crate) struct Progress {
    received: AtomicU64,
    failed: AtomicBool,
}

impl Progress {
    /// Messages that all of them have received in total.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn add(&self, messages: u64) {
        self.received.fetch_add(messages, Ordering::Relaxed);
    }
}

/// Starts threads that report their progress.
pub(crate) fn start(readers: Vec<Reader>, progress: &Arc<Progress>) -> Result<Vec<Thread>> {
    let is_few = readers.len() <= OWN_THREADS;
    let threads = if is_few { readers.len() } else { SHARED_THREADS };
    let mut shares: Vec<Vec<Reader>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, reader) in readers.into_iter().enumerate() {
        shares[number % threads].push(reader);
    }
    let start = |share: Vec<Reader>| {
        let progress = Arc::clone(progress);
        let run = move || {
            let outcome = if is_few { read_one(share, &progress) } else { read_many(share, &progress) };
            progress.failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            outcome
        };
        thread::Builder::new().name("subscriber".to_owned()).spawn(run).context("starting a subscriber")
    };
    shares.into_iter().map(start).collect()
}

fn read_one(share: Vec<Reader>, progress: &Progress) -> Result<Instant> {
    let mut buffer = vec![0; BUFFER];
    for mut reader in share {
        while !reader.is_done() {
            progress.add(reader.read(&mut buffer)?);
        }
    }
    Ok(Instant::now())
}

fn read_many(mut share: Vec<Reader>, progress: &Progress) -> Result<Instant> {
    let mut buffer = vec![0; BUFFER];
    while !share.is_empty() {
        let mut polled: Vec<PollFd<'_>> =
            share.iter().map(|reader| PollFd::new(&reader.socket, PollFlags::IN)).collect();
        match poll(&mut polled, None) {
            Err(Errno::INTR) => continue,
            outcome => outcome.context("waiting for subscribers' bytes")?,
        };
        let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        for (reader, _) in share.iter_mut().zip(&ready).filter(|(_, is_ready)| **is_ready) {
            progress.add(reader.read(&mut buffer)?);
        }
        share.retain(|reader| !reader.is_done());
    }
    Ok(Instant::now())
}
