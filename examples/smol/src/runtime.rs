//! Everything that a runtime with the `futures` traits has to provide: a listener, a timer and `spawn`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures::stream;
use smol::net::{TcpListener, TcpStream, resolve};
use zaichik_driver::{FuturesIo, FuturesListener, Runtime, Timer, connect_to_any};

/// The smol runtime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Smol;

impl Runtime for Smol {
    type Io = FuturesIo<TcpStream>;
    type Listener = FuturesListener<TcpStream>;
    type Timer = SmolTimer;

    async fn connect(address: &str) -> io::Result<Self::Io> {
        let addresses = resolve(address).await?;
        connected(connect_to_any::<Self, _, _>(&addresses, TcpStream::connect).await?)
    }

    async fn bind(address: &str) -> io::Result<Self::Listener> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let accepted = stream::unfold(listener, async |listener| {
            let accepted = listener.accept().await;
            Some((accepted.and_then(|(stream, peer)| Ok((connected(stream)?, peer))), listener))
        });
        Ok(FuturesListener::new(address, accepted))
    }

    fn timer() -> SmolTimer {
        SmolTimer { timer: smol::Timer::never(), set_to: None }
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }
}

fn connected(stream: TcpStream) -> io::Result<FuturesIo<TcpStream>> {
    stream.set_nodelay(true)?;
    Ok(FuturesIo::new(stream))
}

/// A timer that can be set repeatedly.
pub(crate) struct SmolTimer {
    timer: smol::Timer,
    set_to: Option<Instant>,
}

impl Timer for SmolTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.set_to != Some(deadline) {
            self.timer.set_at(deadline);
            self.set_to = Some(deadline);
        }
        ready!(Pin::new(&mut self.timer).poll(cx));
        // smol's timer fires once: for another wake-up it has to be set again.
        self.set_to = None;
        Poll::Ready(())
    }
}
