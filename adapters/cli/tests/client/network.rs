//! A network between a command and its broker that a test can break, or make swallow what the command sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use super::broker::RunningCommand;

/// Forwards connections to a broker, on a separate thread.
pub(crate) struct Network {
    runtime: Runtime,
    address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Notified to break the connection.
    cut: Notify,
    /// Whether bytes from clients are discarded.
    swallows: AtomicBool,
    /// Notified when bytes were discarded.
    swallowed: Notify,
    /// Whether a commit of the client breaks the connection for good.
    ends_at_commit: AtomicBool,
}

impl Network {
    pub(crate) fn to(broker: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (state, broker) = (Arc::new(State::default()), broker.to_owned());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let forwarding = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(broker) = TcpStream::connect(&broker).await else { return };
                tokio::select! {
                    () = forward(client, broker, &forwarding) => {
                        if forwarding.ends_at_commit.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                    () = forwarding.cut.notified() => {}
                }
            }
        });
        Self { runtime, address, state }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Breaks the current connection; the next one works.
    pub(crate) fn cut(&self) {
        self.state.cut.notify_one();
    }

    /// Discards everything that clients send from now on.
    pub(crate) fn swallow(&self) {
        self.state.swallows.store(true, Ordering::SeqCst);
    }

    /// From the next connection on: breaks the connection instead of forwarding a commit, and accepts no other one.
    pub(crate) fn end_at_commit(&self) {
        self.state.ends_at_commit.store(true, Ordering::SeqCst);
    }

    /// Waits until bytes were discarded.
    pub(crate) fn wait_until_swallowed(&self) {
        self.runtime.block_on(self.state.swallowed.notified());
    }
}

/// Forwards one connection until either end closes it.
async fn forward(mut client: TcpStream, mut broker: TcpStream, state: &State) {
    let (mut from_client, mut from_broker) = ([0; 4_096], [0; 4_096]);
    let mut frames = Frames::default();
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                if state.swallows.load(Ordering::SeqCst) {
                    state.swallowed.notify_one();
                } else {
                    let ends = state.ends_at_commit.load(Ordering::SeqCst);
                    if ends && frames.have_commit(&from_client[..count]) {
                        return;
                    }
                    if broker.write_all(&from_client[..count]).await.is_err() {
                        return;
                    }
                }
            }
            read = broker.read(&mut from_broker) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&from_broker[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The bytes of a client, split into frames: four bytes once, then the length and the kind of each frame.
#[derive(Default)]
struct Frames {
    begun: bool,
    pending: Vec<u8>,
}

impl Frames {
    const HEADER: usize = 8;
    const COMMIT: u8 = 7;

    /// Whether one of the frames that begin in these bytes is a commit.
    fn have_commit(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        if !self.begun && self.pending.len() >= 4 {
            self.begun = true;
            self.pending.drain(..4);
        }
        while self.begun && self.pending.len() >= Self::HEADER {
            if self.pending[4] == Self::COMMIT {
                return true;
            }
            let length = self.pending[..4].try_into().map(u32::from_le_bytes).expect("four bytes");
            let end = Self::HEADER.saturating_add(usize::try_from(length).expect("a small frame"));
            if self.pending.len() < end {
                break;
            }
            self.pending.drain(..end);
        }
        false
    }
}

/// A command that talks to its broker through the network.
pub(crate) fn spawn_through(network: &Network, arguments: &str) -> RunningCommand {
    let mut command = super::broker::zaichik();
    command.env("ZAICHIK_SERVER", network.address()).args(arguments.split_whitespace());
    RunningCommand::start(command)
}
