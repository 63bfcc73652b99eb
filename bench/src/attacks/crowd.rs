//! Many connections of one thread that all do the same thing, and come back when the broker closes them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};

use crate::attacks::frames;
use crate::attacks::signals::Signals;

/// Maximum time of one wait for sockets.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long a connection that the broker closed stays away.
const AWAY: Duration = Duration::from_millis(500);

/// How often [`Reading::Trickle`] reads.
const TRICKLE: Duration = Duration::from_secs(1);

/// Bytes that it reads then.
const DROP: usize = 3;

/// Maximum connections to open before the others are served.
const OPENED: usize = 50;

/// Buffer of the system for what an attacker does not read, in bytes: attackers elsewhere would not use this machine's memory.
const RECEIVED: usize = 64 << 10;

/// Maximum bytes of one read.
const READ: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Nothing,
    Everything,
    /// A few bytes each second.
    Trickle,
}

/// What each connection does.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) connections: usize,
    /// Bytes that it sends once, after its handshake.
    pub(super) opening: Vec<u8>,
    /// Bytes that it sends again and again after these; may be empty.
    pub(super) repeated: Vec<u8>,
    pub(super) reading: Reading,
}

/// What a crowd did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) sent: u64,
    /// Connections that the broker refused or closed.
    pub(super) closed: u64,
}

/// One connection.
#[derive(Debug)]
struct Member {
    stream: Option<TcpStream>,
    /// Bytes of the opening that are sent.
    opened: usize,
    /// Bytes of the present repetition that are sent.
    repeated: usize,
    /// When it connects.
    due: Instant,
}

impl Crowd {
    /// Attacks until the measurement is over.
    pub(super) fn run(&self, port: u16, signals: &Signals) -> Result<Done> {
        let opening = [frames::hello(), self.opening.clone()].concat();
        let now = Instant::now();
        let member = || Member { stream: None, opened: 0, repeated: 0, due: now };
        let mut members: Vec<Member> = (0..self.connections).map(|_| member()).collect();
        let (mut done, mut trickled) = (Done::default(), now);
        let mut buffer = vec![0; READ];
        while !signals.is_over() {
            let now = Instant::now();
            let absent = members.iter_mut().filter(|member| member.stream.is_none() && member.due <= now);
            for member in absent.take(OPENED) {
                member.connect(port)?;
                member.write(&opening, &self.repeated, &mut done);
            }
            if self.reading == Reading::Trickle && now >= trickled + TRICKLE {
                trickled = now;
                for member in &mut members {
                    member.read(&mut buffer[..DROP], &mut done);
                }
            }
            for (index, events) in self.wait(&members, opening.len())? {
                let member = &mut members[index];
                if events.contains(PollFlags::IN) {
                    member.read(&mut buffer, &mut done);
                }
                if events.contains(PollFlags::OUT) {
                    member.write(&opening, &self.repeated, &mut done);
                }
                if events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::RDHUP) {
                    member.close(&mut done);
                }
            }
        }
        Ok(done)
    }

    /// The connections with events, once there are some.
    fn wait(&self, members: &[Member], opening: usize) -> Result<Vec<(usize, PollFlags)>> {
        let (mut indices, mut sockets) = (Vec::new(), Vec::new());
        for (index, member) in members.iter().enumerate() {
            let Some(stream) = &member.stream else { continue };
            let mut flags = PollFlags::RDHUP;
            flags.set(PollFlags::IN, self.reading == Reading::Everything);
            flags.set(PollFlags::OUT, member.opened < opening || !self.repeated.is_empty());
            indices.push(index);
            sockets.push(PollFd::new(stream, flags));
        }
        match poll(&mut sockets, Some(&WAIT)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for sockets"),
        }
        let events = indices.into_iter().zip(sockets.iter().map(PollFd::revents));
        Ok(events.filter(|(_, events)| !events.is_empty()).collect())
    }
}

impl Member {
    fn connect(&mut self, port: u16) -> Result<()> {
        match connect(port) {
            Ok(stream) => {
                stream.set_nonblocking(true).context("a socket that does not block")?;
                (self.stream, self.opened, self.repeated) = (Some(stream), 0, 0);
            }
            Err(_) => self.due = Instant::now() + AWAY,
        }
        Ok(())
    }

    fn write(&mut self, opening: &[u8], repeated: &[u8], done: &mut Done) {
        let Some(stream) = &mut self.stream else { return };
        let (bytes, at) = if self.opened < opening.len() {
            (opening, &mut self.opened)
        } else {
            (repeated, &mut self.repeated)
        };
        match stream.write(&bytes[*at..]) {
            Ok(count) => {
                *at += count;
                done.sent += count as u64;
                if self.repeated == repeated.len() {
                    self.repeated = 0;
                }
            }
            Err(error) if is_temporary(&error) => {}
            Err(_) => self.close(done),
        }
    }

    fn read(&mut self, buffer: &mut [u8], done: &mut Done) {
        let Some(stream) = &mut self.stream else { return };
        match stream.read(buffer) {
            Ok(0) => self.close(done),
            Ok(_) => {}
            Err(error) if is_temporary(&error) => {}
            Err(_) => self.close(done),
        }
    }

    fn close(&mut self, done: &mut Done) {
        if self.stream.take().is_some() {
            done.closed += 1;
            self.due = Instant::now() + AWAY;
        }
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVED)?;
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    Ok(socket.into())
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
