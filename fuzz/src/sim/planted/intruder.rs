//! A connection that neither the checker nor a client sees.

use bytes::{Buf, BytesMut};
use zaichik_engine::{Broker, CloseReason, Effects, Session, Status, Timestamp};
use zaichik_proto::{ClientFrame, Hello, MAGIC, PROTOCOL_VERSION};

/// Exchanges after which a broker that lacks memory is left alone.
const EXCHANGES: usize = 1_000;

/// Connects, sends encoded requests, discards the answers, and disconnects.
pub(super) fn send(requests: &[u8], now: Timestamp, broker: &mut Broker, effects: &mut Effects) {
    let mut session = broker.accept(now, effects);
    let mut bytes = BytesMut::from(&MAGIC[..]);
    ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "intruder", token: b"" }).encode(&mut bytes);
    receive(&mut session, &bytes, now);
    receive(&mut session, requests, now);
    session.handle_eof(now);
    for _ in 0..EXCHANGES {
        let _ = session.exchange(now, broker, effects);
        let left = session.outbound().remaining();
        session.outbound().advance(left);
        if session.status() == Status::Closed {
            break;
        }
    }
    session.close(now, CloseReason::PeerGone);
    broker.detach(now, session.id(), effects);
}

fn receive(session: &mut Session, bytes: &[u8], now: Timestamp) {
    session.inbound().extend_from_slice(bytes);
    session.handle_read(now);
}
