//! Connections without a network: a runtime whose addresses are in memory.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};

use zaichik_driver::{Endpoint, Listener, LocalIo, Runtime};

/// The runtime `R`, with streams in memory instead of sockets.
#[derive(Debug, Clone, Copy)]
pub struct InMemory<R>(PhantomData<fn() -> R>);

/// Accepts streams at an address in memory.
#[derive(Debug)]
pub struct MemoryListener {
    place: Place,
    backlog: Arc<Mutex<Backlog>>,
}

impl<R: Runtime> Runtime for InMemory<R> {
    type Io = LocalIo;
    type Listener = MemoryListener;
    type Timer = R::Timer;

    async fn connect(address: &str) -> io::Result<LocalIo> {
        let opener = lock(&PLACES).get(&parse(address)?).map(Arc::clone);
        opener.ok_or(io::ErrorKind::ConnectionRefused)?()
    }

    async fn bind(address: &str) -> io::Result<MemoryListener> {
        let backlog = Arc::new(Mutex::new(Backlog::default()));
        let open = {
            let backlog = Arc::clone(&backlog);
            move || {
                let (here, there) = LocalIo::pair();
                let mut backlog = lock(&backlog);
                if backlog.streams.len() >= BACKLOG {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                backlog.streams.push_back(there);
                let waker = backlog.waker.take();
                drop(backlog);
                waker.into_iter().for_each(Waker::wake);
                Ok(here)
            }
        };
        Ok(MemoryListener { place: Place::take(address, open)?, backlog })
    }

    fn timer() -> R::Timer {
        R::timer()
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        R::spawn(future);
    }

    fn now() -> Instant {
        R::now()
    }

    fn wall_clock() -> SystemTime {
        R::wall_clock()
    }

    fn random() -> io::Result<u128> {
        R::random()
    }
}

impl Listener for MemoryListener {
    type Io = LocalIo;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(LocalIo, String)>> {
        let mut backlog = lock(&self.backlog);
        if let Some(stream) = backlog.streams.pop_front() {
            return Poll::Ready(Ok((stream, "memory".to_owned())));
        }
        backlog.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<Endpoint> {
        Ok(self.place.0.into())
    }
}

/// A reserved address, in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Place(pub(crate) SocketAddr);

impl Place {
    /// Reserves `address`, or any free one for port 0; `open` creates the stream of each connection to it.
    pub(crate) fn take(
        address: &str,
        open: impl Fn() -> io::Result<LocalIo> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let mut address = parse(address)?;
        let mut places = lock(&PLACES);
        if address.port() == 0 {
            // Ports are not reused, so that connecting to a released address fails.
            address.set_port(NEXT_PORT.fetch_add(1, Ordering::Relaxed));
        }
        if places.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        places.insert(address, Arc::new(open));
        Ok(Self(address))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let opener = lock(&PLACES).remove(&self.0);
        // Dropped after unlocking: this may drop streams, which wakes their peers.
        drop(opener);
    }
}

type Opener = dyn Fn() -> io::Result<LocalIo> + Send + Sync;

static PLACES: Mutex<BTreeMap<SocketAddr, Arc<Opener>>> = Mutex::new(BTreeMap::new());

static NEXT_PORT: AtomicU16 = AtomicU16::new(1);

/// Maximum streams that wait to be accepted.
const BACKLOG: usize = 1_024;

#[derive(Debug, Default)]
struct Backlog {
    streams: VecDeque<LocalIo>,
    waker: Option<Waker>,
}

fn parse(address: &str) -> io::Result<SocketAddr> {
    address.parse().map_err(io::Error::other)
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
