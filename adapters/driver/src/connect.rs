//! Connecting to the addresses of a name side by side, as in RFC 8305.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::runtime::{Runtime, Timer};

/// How long one attempt runs alone before the next address is tried beside it.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Maximum addresses that are tried; others are ignored.
const MAX_ADDRESSES: usize = 32;

/// What happened while attempts run.
enum Progress<T> {
    Connected(T),
    Failed(io::Error),
    /// The newest attempt takes long.
    Slow,
    /// Every address was tried.
    Over,
}

/// Connects to the first of these addresses that accepts; for runtimes whose [`connect`](Runtime::connect) gets a name
/// with several addresses.
///
/// The addresses are tried in turns of their families (IPv6, IPv4), each one 250 ms after the last, or at once when one
/// fails, and side by side; so an address that swallows connections delays the next by 250 ms only. At most 32 are tried.
/// The other attempts are dropped when one succeeds.
///
/// ```
/// # use std::future::pending;
/// use zaichik_driver::{Runtime, connect_to_any};
/// use zaichik_simulated::{Simulated, Simulation};
/// # Simulation::new().run(async {
/// let _listener = Simulated::bind("localhost:8889").await?;
/// let addresses = ["[::1]:1".parse()?, "127.0.0.1:8889".parse()?]; // the first one does not answer
/// connect_to_any::<Simulated, _, _>(&addresses, async |address| match address.port() {
///     1 => pending().await,
///     _ => Simulated::connect(&address.to_string()).await,
/// })
/// .await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it connects");
/// ```
///
/// # Errors
/// The last attempt's error if all of them fail; `InvalidInput` without an address.
pub async fn connect_to_any<R, T, F>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    R: Runtime,
    F: Future<Output = io::Result<T>>,
{
    let mut addresses = in_turns(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut timer = R::timer();
    let mut last_error = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    loop {
        attempts.extend(addresses.next().map(&connect));
        let next_at = R::now().checked_add(ATTEMPT_DELAY).filter(|_| addresses.len() > 0);
        let progress = poll_fn(|cx| match attempts.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(connected))) => Poll::Ready(Progress::Connected(connected)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Progress::Failed(error)),
            Poll::Ready(None) => Poll::Ready(Progress::Over),
            Poll::Pending => {
                let Some(next_at) = next_at else {
                    return Poll::Pending;
                };
                ready!(timer.poll_until(cx, next_at));
                Poll::Ready(Progress::Slow)
            }
        });
        match progress.await {
            Progress::Connected(connected) => return Ok(connected),
            Progress::Failed(error) => last_error = error,
            Progress::Slow => {}
            Progress::Over => return Err(last_error),
        }
    }
}

/// The addresses, in turns of the two families, beginning with that of the first one.
fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of = |is_first: bool| {
        addresses.iter().copied().filter(move |address| (address.is_ipv6() == begins_with_v6) == is_first)
    };
    let (mut first, mut second) = (of(true), of(false));
    let mut turns = Vec::new();
    while turns.len() < MAX_ADDRESSES {
        let before = turns.len();
        turns.extend(first.next());
        turns.extend(second.next());
        if turns.len() == before {
            break;
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_number_of_addresses_is_bounded() {
        let addresses = ["[::1]:1", "[::1]:2", "[::1]:3", "127.0.0.1:4", "127.0.0.1:5"];
        let addresses = addresses.map(|address| address.parse().expect("an address"));
        let ports: Vec<_> = in_turns(&addresses).iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [1, 4, 2, 5, 3]);
        let many: Vec<SocketAddr> = (0..100).map(|port| ([127, 0, 0, 1], port).into()).collect();
        assert_eq!(in_turns(&many), many[..MAX_ADDRESSES]);
        assert!(in_turns(&[]).is_empty());
    }
}
