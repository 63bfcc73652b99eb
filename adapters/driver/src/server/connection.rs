//! The loop between one session and its byte stream: a single future without branches that race.
//!
//! Each turn reads, runs the session's exchange with the broker, and writes, in that order; a step
//! that can't proceed has registered its waker. The timer is armed only when nothing else can be done.

mod outlook;
mod work;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use zaichik_engine::{CloseReason, Session, Status, Timestamp, Turn};

use self::outlook::{Moved, Outlook};
use self::work::Work;
use super::registration::Registration;
use super::shared::{Accepted, Poisoned, Shared};
use super::turnstile::Admission;
use crate::alarm::Alarm;
use crate::planted::{Defect, is_planted};
use crate::runtime::{Io, Timer};

/// Maximum bytes read per turn.
const READ_PER_TURN: usize = 128 << 10;

/// Maximum bytes of one read.
const READ_AT_ONCE: usize = 64 << 10;

/// Turns before the task yields to others, if none of them used its whole share: such a turn is the last one of its
/// poll, so that every other connection that is ready has one in between (rule S14).
const TURNS_PER_POLL: usize = 8;

/// How long received bytes are still read, and dropped, after the last byte was written. Closing a socket with unread
/// bytes resets it, and the reset can overtake the last answer or error.
const LINGER: Duration = Duration::from_secs(1);

/// Maximum bytes dropped in that time.
const LINGER_BYTES: usize = 4 << 20;

/// How long a connection is idle before its buffers are freed: an idle connection holds none, and one with occasional
/// messages does not allocate for each.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// One connection of a broker, as a future that ends when the connection does.
pub(crate) struct Connection<I, T> {
    io: I,
    session: Session,
    alarm: Alarm<T>,
    /// The peer's name for the log, until its handshake is done.
    peer: Option<Box<str>>,
    stage: Stage,
    /// The peer is gone and can receive nothing more.
    gone: bool,
    /// Whether bytes moved since the connection last slept.
    moved: bool,
    work: Work,
    /// When to stop polling and sleep, if busy polling is on.
    spin_until: Timestamp,
    /// Writes that moved no bytes, since the last exchange.
    stalls: u32,
    /// When its buffers are freed, unless bytes move before.
    shrink_at: Option<Timestamp>,
    /// The pauses of the broker by which the session's deadlines have moved.
    paused: Duration,
    /// Dropped last: a task that waits for the connection's end finds the socket closed.
    registration: Registration,
}

/// The stage of a connection.
enum Stage {
    /// Read, exchange, write.
    Serving,
    /// The session is over and its bytes are written: shut down, and give the peer time to read them.
    Ending(Ending),
}

#[derive(Debug, Clone, Copy)]
struct Ending {
    /// Whether the stream is shut down.
    shut_down: bool,
    until: Option<Instant>,
    /// Bytes that may still be dropped.
    left: usize,
}

impl<I: Io, T: Timer> Connection<I, T> {
    pub(crate) fn new(io: I, peer: &str, timer: T, accepted: Accepted, shared: &Arc<Shared>) -> Self {
        let (session, paused) = accepted;
        let id = session.id();
        tracing::debug!(connection = %id, peer, "connection opened");
        Self {
            io,
            session,
            alarm: Alarm::new(timer),
            peer: Some(peer.into()),
            stage: Stage::Serving,
            gone: false,
            moved: false,
            work: Work::default(),
            spin_until: Timestamp::ZERO,
            stalls: 0,
            shrink_at: None,
            paused,
            registration: Registration::new(shared, id),
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Outlook {
        if self.registration.is_aborted() {
            return self.abort(cx);
        }
        match self.stage {
            Stage::Serving => self.serve(cx),
            Stage::Ending(ending) => self.end(cx, ending),
        }
    }

    fn serve(&mut self, cx: &mut Context<'_>) -> Outlook {
        let read = self.read(cx);
        if self.work.has_moved_much() && self.registration.goes_behind() {
            self.moved = true;
            return Outlook::Sated;
        }
        let was_paused = !self.session.wants_read();
        let turn = self.exchange(cx);
        // Its answers use up the room for them.
        let is_full = !self.session.wants_read();
        let written = self.write(cx);
        tracing::trace!(connection = %self.registration.session(), ?read, ?turn, ?written, "turn");
        match self.session.status() {
            Status::Closing | Status::Closed if self.gone => return Outlook::Over,
            Status::Closed => return self.start_ending(),
            Status::Open => self.peer = None,
            Status::Closing | Status::Handshake | _ => {}
        }
        self.moved |= read != Moved::Nothing || written != Moved::Nothing;
        // The stream was not polled, so the task will not be woken when it has bytes.
        let is_unasked = was_paused && self.session.wants_read() && !is_planted(Defect::ReadForgotten);
        if turn == Turn::More || read == Moved::ToTheLimit || (is_full && written == Moved::Some) {
            return Outlook::Sated;
        }
        // The write may have made room for more.
        if written == Moved::Some || is_unasked {
            return Outlook::Busy;
        }
        self.wait(cx)
    }

    /// Ends at once: the peer is notified if its socket accepts the bytes.
    fn abort(&mut self, cx: &mut Context<'_>) -> Outlook {
        let reason = match self.registration.shared().is_stopping() {
            Ok(_) => CloseReason::Stopped,
            Err(Poisoned) => CloseReason::Internal,
        };
        let now = self.now();
        self.session.close(now, reason);
        self.write(cx);
        Outlook::Over
    }

    /// Reads what has arrived, up to the turn's limit.
    fn read(&mut self, cx: &mut Context<'_>) -> Moved {
        let mut moved = Moved::Nothing;
        let mut left = READ_PER_TURN;
        while self.session.wants_read() {
            if left == 0 {
                return Moved::ToTheLimit;
            }
            let limit = left.min(READ_AT_ONCE).min(self.session.read_limit());
            match self.io.poll_read(cx, self.session.inbound(), limit) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => {
                    let now = self.now();
                    self.session.handle_eof(now);
                    return Moved::Some;
                }
                Poll::Ready(Ok(count)) => {
                    left = left.saturating_sub(count);
                    self.work.add_bytes(count);
                    moved = Moved::Some;
                    let now = self.now();
                    self.session.handle_read(now);
                }
                Poll::Ready(Err(error)) => {
                    self.broke(&error);
                    break;
                }
            }
        }
        moved
    }

    fn exchange(&mut self, cx: &Context<'_>) -> Turn {
        let how = (std::mem::take(&mut self.stalls), self.registration.is_busy());
        let shared = self.registration.shared();
        let exchanged = shared.exchange(&mut self.session, &mut self.paused, how, cx.waker());
        let Ok((turn, steps)) = exchanged else {
            let now = self.now();
            self.session.close(now, CloseReason::Internal);
            return Turn::Done;
        };
        self.work.add_steps(steps);
        turn
    }

    /// Writes what the socket accepts.
    fn write(&mut self, cx: &mut Context<'_>) -> Moved {
        let mut moved = Moved::Nothing;
        let mut unwoken = Context::from_waker(Waker::noop());
        let cx = if is_planted(Defect::WriteForgotten) { &mut unwoken } else { cx };
        while self.session.outbound().has_remaining() {
            match self.io.poll_write(cx, self.session.outbound()) {
                Poll::Pending => {
                    self.stalls = self.stalls.saturating_add(u32::from(moved == Moved::Nothing));
                    break;
                }
                Poll::Ready(Ok(0)) => {
                    self.broke(&io::ErrorKind::WriteZero.into());
                    break;
                }
                Poll::Ready(Ok(count)) => {
                    self.work.add_bytes(count);
                    moved = Moved::Some;
                }
                Poll::Ready(Err(error)) => {
                    self.broke(&error);
                    break;
                }
            }
        }
        moved
    }

    /// Sleeps until a wake or the session's next deadline.
    fn wait(&mut self, cx: &mut Context<'_>) -> Outlook {
        if std::mem::take(&mut self.moved) {
            let now = self.now();
            self.shrink_at = Some(now + SHRINK_AFTER);
            let busy_poll = self.registration.shared().busy_poll();
            if busy_poll > Duration::ZERO {
                self.spin_until = now + busy_poll;
            }
        }
        let deadline = self.session.next_timeout().into_iter().chain(self.shrink_at).min();
        let deadline = deadline.and_then(|at| self.registration.shared().clock().instant(at));
        match self.alarm.poll(cx, deadline) {
            Poll::Pending => {
                if self.spin_until > Timestamp::ZERO {
                    self.spin(cx);
                }
                Outlook::Idle
            }
            Poll::Ready(()) => {
                let now = self.now();
                if self.shrink_at.is_some_and(|at| at <= now) {
                    self.session.shrink();
                    self.shrink_at = None;
                }
                self.session.handle_timeout(now);
                Outlook::Busy
            }
        }
    }

    /// The time; the session's deadlines have moved by every pause before it.
    fn now(&mut self) -> Timestamp {
        self.registration.shared().now_for(&mut self.session, &mut self.paused)
    }

    /// Polls again soon instead of sleeping, for a while after bytes moved.
    fn spin(&mut self, cx: &mut Context<'_>) {
        if self.registration.shared().clock().now() < self.spin_until {
            self.io.look_again(cx);
        } else {
            self.spin_until = Timestamp::ZERO;
        }
    }

    /// The session is over: the broker forgets it.
    fn start_ending(&mut self) -> Outlook {
        self.registration.end_session();
        let clock = self.registration.shared().clock();
        self.stage = Stage::Ending(Ending {
            shut_down: false,
            until: clock.instant(clock.now() + LINGER),
            left: LINGER_BYTES,
        });
        Outlook::Busy
    }

    fn end(&mut self, cx: &mut Context<'_>, mut ending: Ending) -> Outlook {
        if !ending.shut_down {
            match self.io.poll_shutdown(cx) {
                Poll::Ready(Err(_)) => return Outlook::Over,
                Poll::Ready(Ok(())) => ending.shut_down = true,
                Poll::Pending => {}
            }
        }
        let mut dropped = BytesMut::new();
        match self.io.poll_read(cx, &mut dropped, READ_AT_ONCE) {
            Poll::Ready(Err(_)) => return Outlook::Over,
            Poll::Ready(Ok(0)) if ending.shut_down => return Outlook::Over,
            Poll::Ready(Ok(count)) if count > 0 => {
                let Some(left) = ending.left.checked_sub(count) else {
                    return Outlook::Over;
                };
                self.stage = Stage::Ending(Ending { left, ..ending });
                return Outlook::Busy;
            }
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
        self.stage = Stage::Ending(ending);
        match self.alarm.poll(cx, ending.until) {
            Poll::Ready(()) => Outlook::Over,
            Poll::Pending => Outlook::Idle,
        }
    }

    /// The stream is broken: the peer can receive nothing more.
    fn broke(&mut self, error: &io::Error) {
        tracing::debug!(connection = %self.registration.session(), %error, "connection broke");
        self.gone = true;
        let now = self.now();
        self.session.close(now, CloseReason::PeerGone);
    }
}

impl<I: Io, T: Timer> Future for Connection<I, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.watch(cx.waker());
        match self.registration.admit(cx.waker()) {
            Admission::Granted => {}
            Admission::GrantedNext => {
                self.io.give_way(cx);
                return Poll::Pending;
            }
            Admission::Refused => return Poll::Pending,
        }
        for _ in 0..TURNS_PER_POLL {
            match self.turn(cx) {
                Outlook::Busy => {}
                Outlook::Sated => break,
                Outlook::Idle => {
                    let did_much = std::mem::take(&mut self.work).is_much();
                    self.registration.is_idle(did_much);
                    return Poll::Pending;
                }
                Outlook::Over => return Poll::Ready(()),
            }
        }
        if is_planted(Defect::TurnsForgotten) {
            return Poll::Pending;
        }
        if self.work.is_more_than_a_request() {
            self.work = Work::default();
            self.registration.used_share(cx.waker());
        } else {
            // A connection that does little does not wait for those that do much. What is left may be work for others.
            self.io.give_way(cx);
        }
        Poll::Pending
    }
}

impl<I, T> Drop for Connection<I, T> {
    fn drop(&mut self) {
        let connection = self.registration.session();
        if let Some(reason) = self.session.close_reason() {
            if reason == CloseReason::Unauthorized
                && let Some(unreported) = self.registration.shared().reject()
            {
                let peer = self.peer.as_deref().unwrap_or_default();
                tracing::warn!(%connection, peer, unreported, "client rejected: {reason}");
            }
            tracing::debug!(%connection, %reason, "connection closed");
        } else {
            tracing::debug!(%connection, "connection dropped");
        }
    }
}

#[cfg(test)]
mod tests;
