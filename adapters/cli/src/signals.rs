//! SIGINT and SIGTERM on tokio.

use std::io;

use futures::{Stream, stream};
use zaichik_serve::Signal;

/// SIGINT and SIGTERM as they arrive.
#[cfg(unix)]
pub(crate) fn arriving() -> io::Result<impl Stream<Item = Signal> + Send> {
    use std::task::Poll;
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(stream::poll_fn(move |cx| {
        if let Poll::Ready(Some(())) = interrupt.poll_recv(cx) {
            return Poll::Ready(Some(Signal::Interrupt));
        }
        terminate.poll_recv(cx).map(|arrived| arrived.map(|()| Signal::Terminate))
    }))
}

/// Ctrl-C as it arrives.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
pub(crate) fn arriving() -> io::Result<impl Stream<Item = Signal> + Send> {
    Ok(stream::unfold((), async |()| tokio::signal::ctrl_c().await.ok().map(|()| (Signal::Interrupt, ()))))
}
