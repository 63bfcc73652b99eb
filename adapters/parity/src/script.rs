//! Plays a recorded client against a broker, and collects the frames that it receives.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zaichik_proto::{HEADER_LEN, RECORD_TIMESTAMP_AT};

/// The bytes to send and the numbers of frames to wait for, one step per line.
const SCRIPT: &str = include_str!("script.txt");

/// The kinds of frames with a field that differs from one run to the next.
const WELCOME: u8 = 0x41;
const DELIVERY: u8 = 0x49;

/// Where a Delivery's records begin in its body.
const RECORDS_AT: usize = 24;

/// The frames that each connection received, with the broker's instance and all timestamps set to zero.
pub(crate) type Received = BTreeMap<String, Vec<Vec<u8>>>;

/// Runs a test on this thread; panics if it takes longer than a minute.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    block_on_for(Duration::from_mins(1), test)
}

/// The same for a test that may take this long.
pub(crate) fn block_on_for<T>(patience: Duration, test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime
        .block_on(async { tokio::time::timeout(patience, test).await.expect("the test completes in time") })
}

/// Plays the script against a broker.
pub(crate) async fn play(address: &str) -> Received {
    let mut peers: BTreeMap<&str, Peer> = BTreeMap::new();
    for (number, line) in (1..).zip(SCRIPT.lines()) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        if !peers.contains_key(name) {
            peers.insert(name, Peer::connect(address).await);
        }
        let peer = peers.get_mut(name).expect("just connected");
        let step = peer.step(words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let done = tokio::time::timeout(Duration::from_secs(30), step).await;
        assert!(done.is_ok(), "line {number} timed out: {line}");
    }
    peers.into_iter().map(|(name, peer)| (name.to_owned(), peer.masked())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("hexadecimal");
    let byte = |pair: &[u8]| pair.iter().fold(0, |byte, next| byte << 4 | digit(*next)).to_le_bytes()[0];
    hex.as_bytes().chunks(2).map(byte).collect()
}

/// One connection of the script.
struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    /// The number of bytes in the frames that the script has waited for.
    consumed: usize,
}

impl Peer {
    async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the broker listens");
        stream.set_nodelay(true).expect("the socket is connected");
        Self { stream, received: Vec::new(), consumed: 0 }
    }

    async fn step(&mut self, direction: &str, what: &str) {
        match (direction, what) {
            (">", hex) => self.send(&bytes(hex)).await,
            ("<", "end") => self.receive_rest().await,
            ("<", frames) => self.receive(frames.parse().expect("a number")).await,
            _ => panic!("no such step: {direction} {what}"),
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
    }

    /// Waits for that number of further frames.
    async fn receive(&mut self, frames: usize) {
        for _ in 0..frames {
            let frame = loop {
                if let Some(frame) = frame_at(&self.received, self.consumed) {
                    break frame.len();
                }
                let count = self.stream.read_buf(&mut self.received).await.expect("the connection is open");
                assert_ne!(count, 0, "the broker closed the connection");
            };
            self.consumed = self.consumed.saturating_add(frame);
        }
    }

    /// Waits for the broker to close the connection.
    async fn receive_rest(&mut self) {
        self.stream.read_to_end(&mut self.received).await.expect("an orderly end");
    }

    fn masked(self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut at = 0_usize;
        while let Some(frame) = frame_at(&self.received, at) {
            frames.push(masked(frame.to_vec()));
            at = at.saturating_add(frame.len());
        }
        assert_eq!(at, self.received.len(), "no partial frame at the end");
        frames
    }
}

/// The frame that begins at `at`, if it is complete.
fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let length = u32::from_le_bytes(*rest.first_chunk()?);
    rest.get(..HEADER_LEN.saturating_add(usize::try_from(length).ok()?))
}

fn masked(mut frame: Vec<u8>) -> Vec<u8> {
    let kind = frame.get(4).copied();
    let body = frame.get_mut(HEADER_LEN..).expect("a header");
    match kind {
        Some(WELCOME) => body.get_mut(2..18).expect("the instance").fill(0),
        Some(DELIVERY) => {
            let mut records = body.get_mut(RECORDS_AT..).expect("records");
            while let Some(size) = records.first_chunk() {
                let size = usize::try_from(u32::from_le_bytes(*size)).expect("32 bits fit");
                let (record, rest) = records.split_at_mut(size.saturating_add(4));
                record.get_mut(RECORD_TIMESTAMP_AT..).and_then(|at| at.get_mut(..8)).expect("a time").fill(0);
                records = rest;
            }
        }
        _ => {}
    }
    frame
}
