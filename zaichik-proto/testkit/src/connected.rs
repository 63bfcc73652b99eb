//! A client state machine connected to a broker, for examples in documentation.

use bytes::Buf;
use zaichik_client::{Client, ClientConfig};
use zaichik_proto::Timestamp;

use crate::connections::Connections;

/// A broker with one connection.
#[derive(Debug)]
pub struct Served(Connections);

/// A client whose handshake is done, its broker, and the time.
#[must_use]
pub fn connected() -> (Timestamp, Client, Served) {
    let (mut client, mut connections) = (Client::new(ClientConfig::new(9)), Connections::new());
    connections.accept();
    let now = connections.now;
    client.handle_connected(now);
    let mut served = Served(connections);
    served.serve(now, &mut client);
    (now, client, served)
}

impl Served {
    /// Carries bytes both ways, long enough for the answers of a few requests to arrive.
    pub fn serve(&mut self, now: Timestamp, client: &mut Client) {
        self.0.now = now;
        for _ in 0..4 {
            self.0.read(0, client.outbound(), usize::MAX);
            self.0.settle(0, |_, outbound| {
                let bytes = outbound.copy_to_bytes(outbound.remaining());
                client.inbound().extend_from_slice(&bytes);
                client.handle_read(now);
            });
        }
    }
}
