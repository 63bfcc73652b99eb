//! Arbitrary bytes to a broker, whole and in pieces, before and after the handshake.

use bytes::{Buf, BufMut, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, CloseReason, Effects, Seed, Session, Stats, Timestamp, Turn};
use zaichik_proto::{ClientFrame, Hello, Limits, MAGIC, ServerDecoder, ServerFrame, Version};

use crate::choices::Choices;

/// Memory of the whole broker, in bytes.
const MEMORY: u64 = 16 << 20;

/// Maximum exchanges until a session must be idle.
const MOST_TURNS: usize = 10_000;

/// One connection to a new broker: the first byte decides whether a handshake comes first, the second into which pieces
/// the rest is split.
///
/// # Panics
/// If the broker contradicts itself, keeps any state of the connection, does not finish, sends bytes that are not a
/// frame, or if the outcome depends on the pieces.
pub fn session(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (says_hello, piece) = (choices.chance(50), usize::from(choices.byte()) + 1);
    let mut stream = BytesMut::new();
    if says_hello {
        stream.extend_from_slice(&MAGIC);
        // Pieces of all lengths in both versions.
        let version = if piece % 4 < 2 { Version::One } else { Version::Two }.number();
        ClientFrame::Hello(Hello { version, name: "", token: b"" }).encode(&mut stream);
    }
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
    let mut broker = Broker::new(config, Seed::new(1, 2)).unwrap();
    let mut effects = Effects::new();
    let mut peer = Peer {
        session: broker.accept(Timestamp::from_micros(1), &mut effects),
        decoder: ServerDecoder::handshake(&Limits::default()),
        input: BytesMut::new(),
    };
    for mut rest in stream.chunks(piece) {
        while !rest.is_empty() && peer.session.wants_read() {
            let (now, later) = rest.split_at(rest.len().min(peer.session.read_limit()));
            peer.session.inbound().put_slice(now);
            rest = later;
            peer.settle(&mut broker, &mut effects);
        }
    }
    peer.session.handle_eof(Timestamp::from_micros(1));
    peer.settle(&mut broker, &mut effects);
    assert!(peer.session.status().is_closed(), "{:?}", peer.session.status());
    assert!(peer.input.is_empty(), "the last frame is whole");
    broker.detach(Timestamp::from_micros(1), peer.session.id(), &mut effects);
    broker.verify().unwrap();
    assert_eq!(broker.ledger().sessions, 0);
    Outcome { reason: peer.session.close_reason(), stats: *broker.stats() }
}

struct Peer {
    session: Session,
    decoder: ServerDecoder,
    input: BytesMut,
}

impl Peer {
    /// Exchanges and reads until the session is idle.
    fn settle(&mut self, broker: &mut Broker, effects: &mut Effects) {
        let now = Timestamp::from_micros(1);
        self.session.handle_read(now);
        for _ in 0..MOST_TURNS {
            let turn = self.session.exchange(now, broker, effects);
            effects.clear();
            let outbound = self.session.outbound();
            let is_silent = !outbound.has_remaining();
            self.input.put(outbound);
            while let Some((frame, taken)) = self.decoder.decode(&self.input).unwrap() {
                if let ServerFrame::Welcome(welcome) = frame {
                    self.decoder.open(Version::from_number(welcome.version).unwrap(), &welcome.limits);
                }
                self.input.advance(taken);
            }
            broker.verify().unwrap();
            if is_silent && turn == Turn::Done {
                return;
            }
        }
        panic!("the exchange does not end");
    }
}
