//! A connection that neither the checker nor a client sees.

use bytes::Buf;
use zaichik_engine::{CloseReason, Status};
use zaichik_testkit::{Connections, requests};

/// Exchanges after which a broker that lacks memory is left alone.
const EXCHANGES: usize = 1_000;

/// Connects, sends encoded requests, discards the answers, and disconnects.
pub(super) fn send(own_requests: &[u8], connections: &mut Connections) {
    let (intruder, now) = (connections.accept(), connections.now);
    let session = connections.session(intruder).expect("it is open");
    for bytes in [&requests(|client| client.hello(b"")), own_requests] {
        session.inbound().extend_from_slice(bytes);
        session.handle_read(now);
    }
    session.handle_eof(now);
    for _ in 0..EXCHANGES {
        let _ = connections.exchange(intruder);
        let session = connections.session(intruder).expect("it is open");
        let left = session.outbound().remaining();
        session.outbound().advance(left);
        if session.status() == Status::Closed {
            break;
        }
    }
    connections.session(intruder).expect("it is open").close(now, CloseReason::PeerGone);
    connections.detach(intruder);
}
