//! Faults of a connection, and one direction of a connection that has them.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use zaichik_driver::{Clock, Io, Timer};

/// Maximum bytes that a direction buffers.
const HELD: usize = 16 << 10;

/// Upper bound of a delay in microseconds, exclusive.
const LONGEST_DELAY: u64 = 2_000;

/// A direction of a connection through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToBroker,
    FromBroker,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Bytes leave in pieces of 1 to `most` bytes, in both directions.
    Split { seed: u64, most: usize },
    /// Each piece leaves after a random delay, in both directions.
    Delay { seed: u64 },
    /// The connection breaks when this many bytes have left in a direction.
    Cut(Direction, u64),
    /// A direction stops silently when this many of its bytes have left.
    Freeze(Direction, u64),
}

/// One direction: its buffered bytes and its faults.
#[derive(Debug)]
pub(crate) struct Half<T> {
    held: BytesMut,
    /// Bytes that have left.
    left: u64,
    source_ended: bool,
    end_forwarded: bool,
    split: Option<(Random, usize)>,
    delay: Option<Random>,
    cut_after: Option<u64>,
    freeze_after: Option<u64>,
    /// Bytes of the current piece that have not left.
    piece: usize,
    /// When the current piece may leave.
    due: Option<Instant>,
    clock: Clock,
    timer: T,
}

/// The result of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes were taken or left.
    Moved,
    /// The source has ended, and the target was shut down.
    Over,
    /// The connection must break.
    Cut,
}

/// Repeatable pseudo-random numbers (`SplitMix64`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

impl<T: Timer> Half<T> {
    pub(crate) fn new(direction: Direction, faults: &[Fault], timer: T, clock: Clock) -> Self {
        let salt = direction as u64;
        let mut half = Self {
            held: BytesMut::new(),
            left: 0,
            source_ended: false,
            end_forwarded: false,
            split: None,
            delay: None,
            cut_after: None,
            freeze_after: None,
            piece: 0,
            due: None,
            clock,
            timer,
        };
        for fault in faults {
            match *fault {
                Fault::Split { seed, most } => half.split = Some((Random(seed ^ salt), most)),
                Fault::Delay { seed } => half.delay = Some(Random(seed ^ salt)),
                Fault::Cut(at, after) if at == direction => half.cut_after = Some(after),
                Fault::Freeze(at, after) if at == direction => half.freeze_after = Some(after),
                Fault::Cut(..) | Fault::Freeze(..) => {}
            }
        }
        half
    }

    /// Takes or forwards some bytes.
    pub(crate) fn poll<I: Io>(&mut self, cx: &mut Context<'_>, from: &mut I, to: &mut I) -> Poll<Step> {
        if self.cut_after.is_some_and(|after| self.left >= after) {
            return Poll::Ready(Step::Cut);
        }
        if self.freeze_after.is_some_and(|after| self.left >= after) {
            return Poll::Pending;
        }
        let step =
            if self.held.is_empty() { self.poll_take(cx, from, to) } else { self.poll_forward(cx, to) };
        step.map(|step| step.unwrap_or(Step::Cut))
    }

    fn poll_take<I: Io>(&mut self, cx: &mut Context<'_>, from: &mut I, to: &mut I) -> Poll<io::Result<Step>> {
        if self.end_forwarded {
            return Poll::Ready(Ok(Step::Over));
        }
        if !self.source_ended {
            let count = ready!(from.poll_read(cx, &mut self.held, HELD))?;
            self.source_ended = count == 0;
            return Poll::Ready(Ok(Step::Moved));
        }
        ready!(to.poll_shutdown(cx))?;
        self.end_forwarded = true;
        Poll::Ready(Ok(Step::Over))
    }

    fn poll_forward<I: Io>(&mut self, cx: &mut Context<'_>, to: &mut I) -> Poll<io::Result<Step>> {
        if self.piece == 0 {
            self.piece = self.held.len();
            if let Some((random, most)) = &mut self.split {
                let size = random.below(*most as u64) + 1;
                self.piece = self.piece.min(usize::try_from(size).unwrap_or(usize::MAX));
            }
            if let Some(random) = &mut self.delay {
                let delay = Duration::from_micros(random.below(LONGEST_DELAY));
                self.due = self.clock.instant(self.clock.now() + delay);
            }
        }
        if let Some(due) = self.due {
            ready!(self.timer.poll_until(cx, due));
            self.due = None;
        }
        let mut allowed = self.piece;
        for end in [self.cut_after, self.freeze_after].into_iter().flatten() {
            let left = usize::try_from(end - self.left).unwrap_or(usize::MAX);
            allowed = allowed.min(left);
        }
        let count = ready!(to.poll_write(cx, &mut (&mut self.held).take(allowed)))?;
        self.piece -= count;
        self.left += count as u64;
        Poll::Ready(Ok(Step::Moved))
    }
}
