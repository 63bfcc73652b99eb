//! A peer that speaks bytes: it sends what a test tells it to, right or wrong.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zaichik_proto::{ClientFrame, Hello, Limits, MAGIC, PROTOCOL_VERSION, ServerDecoder, ServerFrame};
use zaichik_tokio::{BrokerConfig, Server, ServerError, ServerHandle, default_config};

/// A broker on a free port.
pub(crate) struct Running {
    pub(crate) address: String,
    pub(crate) handle: ServerHandle,
    serving: tokio::task::JoinHandle<Result<(), ServerError>>,
}

impl Running {
    pub(crate) async fn start(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        Self::start_at("127.0.0.1:0", change).await
    }

    pub(crate) async fn start_at(address: &str, change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let mut config = default_config().expect("random numbers");
        change(&mut config);
        let server = Server::bind(address, config).await.expect("a free port");
        let (address, handle) = (server.local_addr().to_string(), server.handle());
        Self { address, handle, serving: tokio::spawn(server.serve()) }
    }

    /// Stops the broker; returns when nothing of it is left.
    pub(crate) async fn stop(self) {
        self.handle.shutdown(Duration::ZERO);
        self.stopped().await;
    }

    pub(crate) async fn stopped(self) {
        self.serving.await.expect("no panic").expect("an orderly end");
    }
}

/// A connection that is used byte by byte.
pub(crate) struct RawPeer {
    stream: TcpStream,
    decoder: ServerDecoder,
    received: BytesMut,
}

impl RawPeer {
    /// Connects and says nothing.
    pub(crate) async fn silent(address: &str) -> Self {
        Self::try_silent(address).await.expect("the broker listens")
    }

    /// The same, if there is a broker.
    pub(crate) async fn try_silent(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let decoder = ServerDecoder::handshake(&Limits::default());
        Ok(Self { stream, decoder, received: BytesMut::new() })
    }

    /// Connects and shakes hands.
    pub(crate) async fn open(address: &str) -> Self {
        let mut peer = Self::silent(address).await;
        peer.send_bytes(&MAGIC).await;
        peer.send(&ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "raw", token: b"" })).await;
        let limits = peer
            .next(|frame| match frame {
                ServerFrame::Welcome(welcome) => welcome.limits,
                other => panic!("expected a Welcome, got {other:?}"),
            })
            .await;
        peer.decoder.open(&limits);
        peer
    }

    pub(crate) async fn send(&mut self, frame: &ClientFrame<'_>) {
        self.send_bytes(&encoded(frame)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
    }

    /// The next frame, looked at in place.
    pub(crate) async fn next<T>(&mut self, look: impl FnOnce(ServerFrame<'_>) -> T) -> T {
        loop {
            if let Some((frame, taken)) = self.decoder.decode(&self.received).expect("a good frame") {
                let seen = look(frame);
                self.received.advance(taken);
                return seen;
            }
            let count = self.stream.read_buf(&mut self.received).await.expect("the connection is open");
            assert_ne!(count, 0, "the broker closed the connection");
        }
    }

    /// Reads to the end of the stream; how many bytes came that were not looked at.
    pub(crate) async fn rest(mut self) -> usize {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.expect("an orderly end");
        self.received.len().saturating_add(rest.len())
    }
}

pub(crate) fn encoded(frame: &ClientFrame<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

/// Fails instead of hanging for ever.
pub(crate) async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), test).await.expect("it hangs")
}
