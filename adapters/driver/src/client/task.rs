//! A client's background task: connects, moves bytes, keeps deadlines and reconnects.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use zaichik_client::Link;
use zaichik_proto::Timestamp;

use super::core::{Core, State};
use super::target::{Opening, Stream, Target};
use crate::alarm::Alarm;
use crate::runtime::{Io, Runtime};
use crate::timeline::WATCH_EVERY;

/// Maximum bytes read per turn.
const READ_PER_TURN: usize = 256 << 10;

/// Maximum bytes of one read.
const READ_AT_ONCE: usize = 64 << 10;

/// How long opening a byte stream may take; some systems try for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Turns before the task yields to others.
const TURNS_PER_POLL: usize = 8;

/// The background task of one client, as a future that ends when the client has ended.
pub(crate) struct Task<R: Runtime> {
    core: Arc<Core>,
    target: Target,
    connecting: Option<Connecting<R>>,
    stream: Option<Stream<R::Io>>,
    alarm: Alarm<R::Timer>,
}

/// A stream that is being opened.
struct Connecting<R: Runtime> {
    stream: Opening<R>,
    /// The time at which it counts as failed.
    by: Timestamp,
}

/// The result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlook {
    /// There is more to do at once.
    Busy,
    /// Nothing to do before a wake or this time.
    Idle(Option<Timestamp>),
    /// It is time to connect.
    Connect,
    /// The client has ended.
    Over,
}

impl<R: Runtime> Task<R> {
    pub(crate) fn new(core: &Arc<Core>, target: Target) -> Self {
        Self { core: Arc::clone(core), target, connecting: None, stream: None, alarm: Alarm::new(R::timer()) }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Outlook> {
        self.poll_connecting(cx);
        let connect_by = self.connecting.as_ref().map(|connecting| connecting.by);
        let Self { core, stream, target, .. } = self;
        let (outlook, waits) = core.quietly(|state, now| {
            state.watch_task(cx.waker());
            // What has arrived counts before a deadline that passed while the client did not run.
            if state.machine.next_timeout().is_some_and(|at| at <= now)
                && let Some(stream) = stream.as_mut()
            {
                // If it broke, it breaks again below.
                let _ = read(cx, state, now, stream);
            }
            state.machine.handle_timeout(now);
            state.warn_of_waiting_readers(now);
            if state.is_over() {
                return (Outlook::Over, false);
            }
            let outlook = match state.machine.link() {
                Link::Closed(_) => Outlook::Over,
                Link::Connect { at } if at <= now && connect_by.is_none() => Outlook::Connect,
                Link::Connect { at } => {
                    *stream = None;
                    let next = connect_by.unwrap_or(at);
                    Outlook::Idle(state.machine.next_timeout().into_iter().chain([next]).min())
                }
                Link::Handshake | Link::Open | Link::Closing => pump(cx, state, now, stream, target),
            };
            (outlook, state.awaits_answers())
        });
        match outlook {
            Outlook::Over => Poll::Ready(Outlook::Over),
            Outlook::Busy => Poll::Ready(Outlook::Busy),
            Outlook::Connect => {
                self.stream = None;
                let by = self.core.clock().now() + CONNECT_TIMEOUT;
                self.connecting = Some(Connecting { stream: self.target.open::<R>(), by });
                Poll::Ready(Outlook::Busy)
            }
            Outlook::Idle(deadline) => {
                // A suspended machine's timers ring late, so those of requests are looked at more often.
                let look = self.core.clock().now() + WATCH_EVERY;
                let deadline = deadline.map(|at| if waits { at.min(look) } else { at });
                let deadline = deadline.and_then(|at| self.core.clock().instant(at));
                self.alarm.poll(cx, deadline).map(|()| Outlook::Busy)
            }
        }
    }

    fn poll_connecting(&mut self, cx: &mut Context<'_>) {
        let Some(Connecting { stream, by }) = &mut self.connecting else {
            return;
        };
        let connected = match stream.as_mut().poll(cx) {
            Poll::Ready(connected) => connected,
            Poll::Pending if self.core.clock().now() < *by => return,
            Poll::Pending => Err(io::ErrorKind::TimedOut.into()),
        };
        self.connecting = None;
        self.connected(connected);
    }

    fn connected(&mut self, connected: io::Result<Stream<R::Io>>) {
        let Self { core, stream, target, .. } = self;
        core.quietly(|state, now| match connected {
            Ok(connected) => {
                tracing::debug!(broker = %target, "connected");
                *stream = Some(connected);
                state.connect_error = None;
                state.machine.handle_connected(now);
            }
            Err(error) => {
                tracing::debug!(broker = %target, %error, "connecting failed");
                if target.is_gone_for_good() {
                    state.give_up();
                }
                let error = target.explain(&error);
                state.connect_error = Some(Arc::new(error));
                state.machine.handle_disconnected(now);
            }
        });
    }
}

impl<R: Runtime> Future for Task<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS_PER_POLL {
            match self.turn(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Outlook::Over) => return Poll::Ready(()),
                Poll::Ready(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Drop for Task<R> {
    fn drop(&mut self) {
        self.core.abandon();
    }
}

/// Reads and writes what is possible now.
fn pump<I: Io>(
    cx: &mut Context<'_>,
    state: &mut State,
    now: Timestamp,
    stream: &mut Option<Stream<I>>,
    target: &Target,
) -> Outlook {
    let moved = match stream {
        Some(stream) => read(cx, state, now, stream).and_then(|read| Ok(read | write(cx, state, stream)?)),
        None => Err(io::ErrorKind::NotConnected.into()),
    };
    match moved {
        Ok(true) => Outlook::Busy,
        // What was read may have ended the connection.
        Ok(false) if matches!(state.machine.link(), Link::Connect { .. } | Link::Closed(_)) => Outlook::Busy,
        Ok(false) => {
            state.machine.shrink();
            Outlook::Idle(state.machine.next_timeout())
        }
        Err(error) => {
            tracing::debug!(broker = %target, %error, "connection broke");
            *stream = None;
            state.machine.handle_disconnected(now);
            Outlook::Busy
        }
    }
}

/// Reads the bytes that have arrived, up to a limit; says whether there may be more.
fn read(cx: &mut Context<'_>, state: &mut State, now: Timestamp, stream: &mut impl Io) -> io::Result<bool> {
    let mut left = READ_PER_TURN;
    while state.machine.wants_read() {
        if left == 0 {
            return Ok(true);
        }
        match stream.poll_read(cx, state.machine.inbound(), left.min(READ_AT_ONCE)) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Ok(count)) => {
                left = left.saturating_sub(count);
                state.machine.handle_read(now);
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    state.is_paused = !state.machine.wants_read();
    Ok(false)
}

/// Writes what the stream accepts; says whether it accepted any bytes, which makes room for requests.
fn write(cx: &mut Context<'_>, state: &mut State, stream: &mut impl Io) -> io::Result<bool> {
    let mut wrote = false;
    while state.machine.outbound().has_remaining() {
        match stream.poll_write(cx, state.machine.outbound()) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(_)) => {
                wrote = true;
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    Ok(wrote)
}
