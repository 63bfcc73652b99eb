//! TCP and alarms on async-std.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_std::net::{TcpListener, TcpStream};
use futures::stream;
use zaichik_driver::{FuturesIo, FuturesListener, Timer};

/// A TCP connection.
pub type AsyncStdIo = FuturesIo<TcpStream>;

/// A TCP listener.
pub type AsyncStdListener = FuturesListener<TcpStream>;

/// Small frames leave at once: they are gathered before they are written.
pub(crate) fn connected(stream: TcpStream) -> io::Result<AsyncStdIo> {
    stream.set_nodelay(true)?;
    // Closing a TcpStream of async-std's flushes it, and tells nobody.
    Ok(FuturesIo::with_shutdown(stream, |stream| stream.shutdown(Shutdown::Write)))
}

pub(crate) fn listening(listener: TcpListener) -> io::Result<AsyncStdListener> {
    let address = listener.local_addr()?;
    let accepted = stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await;
        Some((accepted.and_then(|(stream, peer)| Ok((connected(stream)?, peer))), listener))
    });
    Ok(FuturesListener::new(address, accepted))
}

/// An alarm of the reactor that async-std runs on.
///
/// async-std itself has no alarm that can be moved, and none for a moment instead of a duration.
#[derive(Debug)]
pub struct AsyncStdTimer {
    timer: async_io::Timer,
    set_to: Option<Instant>,
}

impl Default for AsyncStdTimer {
    fn default() -> Self {
        Self { timer: async_io::Timer::never(), set_to: None }
    }
}

impl Timer for AsyncStdTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.set_to != Some(deadline) {
            self.timer.set_at(deadline);
            self.set_to = Some(deadline);
        }
        ready!(Pin::new(&mut self.timer).poll(cx));
        // It rings once: to ring again, it has to be set again.
        self.set_to = None;
        Poll::Ready(())
    }
}
