//! Arbitrary bytes to a broker, whole and in pieces, before and after the handshake.

use bytes::{BufMut, BytesMut};
use zaichik_engine::{BrokerConfig, CloseReason, Seed, Stats, Timestamp};
use zaichik_proto::Version;
use zaichik_testkit::{Connections, Frames, requests};

use crate::choices::Choices;

/// Memory of the whole broker, in bytes.
const MEMORY: u64 = 16 << 20;

/// One connection to a new broker: the first byte decides whether a handshake comes first, the second into which pieces
/// the rest is split.
///
/// # Panics
/// If the broker contradicts itself, keeps any state of the connection, does not finish, sends bytes that are not a
/// frame, or if the outcome depends on the pieces.
pub fn session(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (says_hello, piece) = (choices.chance(50), usize::from(choices.byte()) + 1);
    // Pieces of all lengths in both versions.
    let version = if piece % 4 < 2 { Version::One } else { Version::Two };
    let mut stream =
        if says_hello { requests(|client| client.hello_as(version, b"")) } else { BytesMut::new() };
    stream.extend_from_slice(choices.rest());
    let whole = run(&stream, stream.len().max(1));
    let pieces = run(&stream, piece);
    assert_eq!(whole.reason, pieces.reason, "the pieces change nothing");
    // Deliveries between pieces change which commits are accepted.
    if [&whole, &pieces].iter().all(|one| one.stats.records_delivered + one.stats.gaps == 0) {
        assert_eq!(whole.stats, pieces.stats, "the pieces change nothing");
    }
}

struct Outcome {
    reason: Option<CloseReason>,
    stats: Stats,
}

fn run(stream: &[u8], piece: usize) -> Outcome {
    let mut config = BrokerConfig::default();
    config.memory = MEMORY;
    let mut connections = Connections::with(config, Seed::new(1, 2), Timestamp::from_micros(1));
    connections.is_thorough = true;
    let connection = connections.accept();
    let (mut frames, mut input) = (Frames::new(), BytesMut::new());
    let mut settle = |connections: &mut Connections| {
        connections.settle(connection, |_, outbound| {
            input.put(outbound);
            frames.take(&mut input, |_, _| {});
        });
    };
    for mut rest in stream.chunks(piece) {
        while connections.read(connection, &mut rest, usize::MAX) > 0 {
            settle(&mut connections);
        }
    }
    let now = connections.now;
    connections.session(connection).expect("it is open").handle_eof(now);
    settle(&mut connections);
    assert!(input.is_empty(), "the last frame is whole");
    let session = connections.session(connection).expect("it is open");
    assert!(session.status().is_closed(), "{:?}", session.status());
    let reason = session.close_reason();
    connections.detach(connection);
    assert_eq!(connections.broker.ledger().sessions, 0);
    Outcome { reason, stats: *connections.broker.stats() }
}
