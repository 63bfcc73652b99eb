//! The blind relay: copies bytes from a publisher's socket to the sockets of a topic's subscribers without interpreting
//! them. It shows the best that a broker with plain threads and blocking sockets could do on this machine.
//!
//! A connection begins with a line, `P topic` or `S topic`, which is answered with [`READY`]. The relay copies the
//! bytes that a publisher sends after it.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};

use crate::wire::read_line;

/// The answer to a connection's first line.
pub(crate) const READY: u8 = b'+';

/// Maximum bytes of a topic's name.
const MAX_NAME: usize = 255;

/// How a relay copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub(crate) struct Copying {
    /// Bytes of a publisher's buffer.
    #[arg(long, default_value_t = 256 << 10)]
    pub(crate) buffer: usize,
    /// Microseconds to spin for the next bytes before waiting for them.
    #[arg(long, default_value_t = 0)]
    pub(crate) spin: u64,
}

type Subscribers = Arc<Mutex<Vec<TcpStream>>>;

type Topics = Arc<Mutex<HashMap<Vec<u8>, Subscribers>>>;

/// Serves connections forever, with a thread for each publisher and none for subscribers.
pub(crate) fn serve(listener: &TcpListener, copying: Copying) -> Result<()> {
    let topics = Topics::default();
    loop {
        let (socket, _) = listener.accept().context("accepting a connection")?;
        let topics = Arc::clone(&topics);
        let spawned = thread::Builder::new().stack_size(64 << 10).spawn(move || {
            // A failed connection does not affect the others.
            drop(serve_connection(socket, &topics, copying));
        });
        spawned.context("starting a thread")?;
    }
}

/// Reads a connection's first line, and serves it.
fn serve_connection(mut socket: TcpStream, topics: &Topics, copying: Copying) -> Result<()> {
    socket.set_nodelay(true)?;
    let line = read_line(&mut socket, MAX_NAME + 3)?;
    let Some((role, topic)) = line.trim_ascii_end().split_at_checked(2) else { bail!("no topic") };
    let subscribers = {
        let mut topics = topics.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(topics.entry(topic.to_vec()).or_default())
    };
    match role {
        b"S " => {
            // The lock keeps publishers from writing before the answer.
            let mut subscribers = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            socket.write_all(&[READY])?;
            subscribers.push(socket);
            Ok(())
        }
        b"P " => {
            socket.write_all(&[READY])?;
            copy(socket, &subscribers, copying)
        }
        _ => bail!("neither publisher nor subscriber"),
    }
}

/// Copies until the publisher disconnects. Subscribers that have disconnected are removed.
fn copy(mut publisher: TcpStream, subscribers: &Subscribers, copying: Copying) -> Result<()> {
    let mut buffer = vec![0; copying.buffer];
    publisher.set_nonblocking(copying.spin > 0)?;
    loop {
        let count = if copying.spin > 0 {
            spin(&mut publisher, &mut buffer, Duration::from_micros(copying.spin))?
        } else {
            publisher.read(&mut buffer)?
        };
        if count == 0 {
            return Ok(());
        }
        let bytes = &buffer[..count];
        let mut subscribers = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain_mut(|subscriber| subscriber.write_all(bytes).is_ok());
    }
}

/// Reads from a non-blocking socket: spins for `time`, then waits.
fn spin(socket: &mut TcpStream, buffer: &mut [u8], time: Duration) -> Result<usize> {
    loop {
        let begin = Instant::now();
        while begin.elapsed() < time {
            match socket.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                outcome => return Ok(outcome?),
            }
        }
        poll(&mut [PollFd::new(socket, PollFlags::IN)], None).context("waiting for bytes")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(line: &[u8], address: &str) -> TcpStream {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(line).unwrap();
        let mut ready = [0];
        socket.read_exact(&mut ready).unwrap();
        assert_eq!(ready, [READY]);
        socket
    }

    fn start(copying: Copying) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || serve(&listener, copying));
        address
    }

    #[test]
    fn bytes_reach_only_the_subscribers_of_their_topic() {
        for spin in [0, 50] {
            let address = start(Copying { buffer: 7, spin });
            let mut readers = [connect(b"S one\n", &address), connect(b"S one\n", &address)];
            let mut other = connect(b"S two\n", &address);
            let mut publisher = connect(b"P one\n", &address);
            publisher.write_all(b"more than one buffer").unwrap();
            for reader in &mut readers {
                let mut got = [0; 20];
                reader.read_exact(&mut got).unwrap();
                assert_eq!(&got, b"more than one buffer");
            }
            connect(b"P two\n", &address).write_all(b"x").unwrap();
            let mut got = [0];
            other.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"x");
        }
    }

    #[test]
    fn a_disconnected_subscriber_is_removed() {
        let address = start(Copying { buffer: 64, spin: 0 });
        drop(connect(b"S one\n", &address));
        let mut remaining = connect(b"S one\n", &address);
        let mut publisher = connect(b"P one\n", &address);
        for _ in 0..50 {
            publisher.write_all(b"x").unwrap();
        }
        let mut got = [0; 50];
        remaining.read_exact(&mut got).unwrap();
        assert_eq!(got, [b'x'; 50]);
    }
}
