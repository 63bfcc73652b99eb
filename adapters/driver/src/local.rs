//! A byte stream inside the program: what one end writes, the other reads.

use std::io;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BufMut, BytesMut};

use crate::runtime::Io;
use crate::sync::{Mutex, MutexGuard};

/// Maximum bytes in transit in one direction.
const CAPACITY: usize = 64 << 10;

/// One end of a byte stream inside the program.
///
/// Bounded like a socket's buffers: a writer waits for the reader. Dropping an end closes both directions.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # use std::future::poll_fn;
/// # use bytes::BytesMut;
/// # use zaichik_driver::Io;
/// let mut stream = broker.stream()?; // for programs that speak the protocol themselves
/// let mut hello: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
/// poll_fn(|cx| stream.poll_write(cx, &mut hello)).await?;
/// let mut answer = BytesMut::new();
/// let count = poll_fn(|cx| stream.poll_read(cx, &mut answer, 100)).await?;
/// assert_eq!(count, 0, "bytes of another protocol get no answer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug)]
pub struct LocalIo {
    reads: Arc<Mutex<Pipe>>,
    writes: Arc<Mutex<Pipe>>,
}

impl LocalIo {
    /// The two ends of a new stream.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (here, there) = (Arc::default(), Arc::default());
        let one = Self { reads: Arc::clone(&here), writes: Arc::clone(&there) };
        let other = Self { reads: there, writes: here };
        (one, other)
    }
}

impl Io for LocalIo {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.reads);
        if pipe.bytes.is_empty() {
            if pipe.closed {
                return Poll::Ready(Ok(0));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = pipe.bytes.len().min(limit);
        if into.is_empty() && count == pipe.bytes.len() {
            // Nothing to append to: hand the buffer over instead of copying its bytes.
            *into = std::mem::take(&mut pipe.bytes);
        } else {
            into.put(pipe.bytes.split_to(count));
        }
        let writer = pipe.writer.take();
        drop(pipe);
        wake(writer);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut impl Buf) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.writes);
        if pipe.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = CAPACITY.saturating_sub(pipe.bytes.len()).min(from.remaining());
        if count == 0 && from.has_remaining() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes.put(from.take(count));
        let reader = pipe.reader.take();
        drop(pipe);
        wake(reader);
        Poll::Ready(Ok(count))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        close(&self.writes);
        Poll::Ready(Ok(()))
    }
}

impl Drop for LocalIo {
    fn drop(&mut self) {
        close(&self.writes);
        close(&self.reads);
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    bytes: BytesMut,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn close(pipe: &Mutex<Pipe>) {
    let mut pipe = lock(pipe);
    pipe.closed = true;
    let (reader, writer) = (pipe.reader.take(), pipe.writer.take());
    drop(pipe);
    wake(reader);
    wake(writer);
}

/// A pipe is valid after a panic too: no step calls anything that could panic halfway.
fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_a_full_pipe_blocks() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut one, mut other) = LocalIo::pair();
        let sent: Vec<u8> = (0..=255).cycle().take(CAPACITY + 10).collect();
        let mut from = &sent[..];
        assert!(matches!(one.poll_write(&mut cx, &mut from), Poll::Ready(Ok(CAPACITY))));
        assert!(one.poll_write(&mut cx, &mut from).is_pending());
        let mut into = BytesMut::new();
        assert!(matches!(other.poll_read(&mut cx, &mut into, 100), Poll::Ready(Ok(100))));
        assert!(matches!(one.poll_write(&mut cx, &mut from), Poll::Ready(Ok(10))));
        drop(one);
        while let Poll::Ready(Ok(1..)) = other.poll_read(&mut cx, &mut into, CAPACITY) {}
        assert_eq!(into, sent);
    }

    #[test]
    fn dropping_one_end_closes_the_other() {
        let mut cx = Context::from_waker(Waker::noop());
        let (one, mut other) = LocalIo::pair();
        let mut into = BytesMut::new();
        assert!(other.poll_read(&mut cx, &mut into, 10).is_pending());
        drop(one);
        assert!(matches!(other.poll_read(&mut cx, &mut into, 10), Poll::Ready(Ok(0))));
        let written = other.poll_write(&mut cx, &mut &b"x"[..]);
        assert!(matches!(written, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    }
}
