//! A network within a simulation: ports, and streams in memory that can be broken.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use zaichik_driver::{Endpoint, Io, Listener, LocalIo};

/// Maximum connections to one port that wait to be accepted; further ones are refused.
const BACKLOG: usize = 1_024;

/// The first port that `:0` binds.
const FIRST_FREE_PORT: u16 = 49_152;

/// A connection within a simulation.
#[derive(Debug)]
pub struct SimulatedIo(Arc<Mutex<Option<LocalIo>>>);

/// A port of a simulation's network. Dropping it frees the port.
///
/// ```
/// use zaichik_simulated::{Runtime, Simulated, Simulation};
/// Simulation::new().run(async {
///     let listener = Simulated::bind("localhost:8889").await.unwrap();
///     assert!(Simulated::bind("localhost:8889").await.is_err(), "the port is taken");
///     drop(listener);
///     assert!(Simulated::bind("localhost:8889").await.is_ok(), "the port is free again");
/// });
/// ```
#[derive(Debug)]
pub struct SimulatedListener {
    network: Arc<Network>,
    port: u16,
}

/// The ports of one simulation, and its connections.
#[derive(Debug, Default)]
pub(crate) struct Network(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ports: BTreeMap<u16, Port>,
    /// One end of each connection.
    connections: Vec<Weak<Mutex<Option<LocalIo>>>>,
}

#[derive(Debug, Default)]
struct Port {
    backlog: VecDeque<SimulatedIo>,
    acceptor: Option<Waker>,
}

impl Network {
    pub(crate) fn connect(&self, address: &str) -> io::Result<SimulatedIo> {
        let port = port_of(address)?;
        let (here, there) = LocalIo::pair();
        let (here, there) = (SimulatedIo::new(here), SimulatedIo::new(there));
        let mut state = lock(&self.0);
        let listening = state.ports.get_mut(&port).filter(|listening| listening.backlog.len() < BACKLOG);
        let Some(listening) = listening else {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                format!("no listener on port {port} of this simulation"),
            ));
        };
        listening.backlog.push_back(there);
        let acceptor = listening.acceptor.take();
        state.connections.retain(|connection| connection.strong_count() > 0);
        state.connections.push(Arc::downgrade(&here.0));
        drop(state);
        acceptor.into_iter().for_each(Waker::wake);
        Ok(here)
    }

    /// Breaks every connection; returns their number.
    pub(crate) fn break_all(&self) -> usize {
        let connections = std::mem::take(&mut lock(&self.0).connections);
        let broken = connections.iter().filter_map(Weak::upgrade).filter_map(|io| lock(&io).take());
        // Dropping an end closes the other one.
        broken.map(drop).count()
    }
}

impl SimulatedListener {
    pub(crate) fn bind(network: &Arc<Network>, address: &str) -> io::Result<Self> {
        let wanted = port_of(address)?;
        let mut state = lock(&network.0);
        let port = match wanted {
            0 => (FIRST_FREE_PORT..=u16::MAX).find(|port| !state.ports.contains_key(port)),
            _ => (!state.ports.contains_key(&wanted)).then_some(wanted),
        };
        let port = port.ok_or(io::ErrorKind::AddrInUse)?;
        state.ports.insert(port, Port::default());
        drop(state);
        Ok(Self { network: Arc::clone(network), port })
    }
}

impl Listener for SimulatedListener {
    type Io = SimulatedIo;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(SimulatedIo, String)>> {
        let mut state = lock(&self.network.0);
        let Some(port) = state.ports.get_mut(&self.port) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(io) = port.backlog.pop_front() {
            return Poll::Ready(Ok((io, "simulated".to_owned())));
        }
        port.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<Endpoint> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into())
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        let port = lock(&self.network.0).ports.remove(&self.port);
        // Dropped after unlocking: it closes connections that were not accepted.
        drop(port);
    }
}

impl SimulatedIo {
    fn new(io: LocalIo) -> Self {
        Self(Arc::new(Mutex::new(Some(io))))
    }

    fn poll<T>(&self, poll: impl FnOnce(&mut LocalIo) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *lock(&self.0) {
            Some(io) => poll(io),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl Io for SimulatedIo {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        self.poll(|io| io.poll_read(cx, into, limit))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut impl Buf) -> Poll<io::Result<usize>> {
        self.poll(|io| io.poll_write(cx, from))
    }

    /// Does nothing: polling again would not find bytes sooner, and would stop time.
    fn look_again(&self, _: &mut Context<'_>) {}

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|io| io.poll_shutdown(cx))
    }
}

fn port_of(address: &str) -> io::Result<u16> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an address; use host:port"))
}

/// The value is valid even after a panic: no step under the lock calls anything that could panic halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
