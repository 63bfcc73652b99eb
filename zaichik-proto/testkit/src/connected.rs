//! A client state machine connected to a broker, for examples in documentation.

use bytes::Buf;
use zaichik_client::{Client, ClientConfig};
use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Session};
use zaichik_proto::Timestamp;

/// A broker and its end of one connection.
#[derive(Debug)]
pub struct Served {
    broker: Broker,
    session: Session,
}

/// A client whose handshake is done, its broker, and the time.
#[must_use]
pub fn connected() -> (Timestamp, Client, Served) {
    let now = Timestamp::from_micros(1);
    let mut broker =
        Broker::new(BrokerConfig::default(), Seed::new(7, 8)).expect("the defaults are consistent");
    let session = broker.accept(now, &mut Effects::new());
    let (mut client, mut served) = (Client::new(ClientConfig::new(9)), Served { broker, session });
    client.handle_connected(now);
    served.serve(now, &mut client);
    (now, client, served)
}

impl Served {
    /// Carries bytes both ways, long enough for the answers of a few requests to arrive.
    pub fn serve(&mut self, now: Timestamp, client: &mut Client) {
        let mut effects = Effects::new();
        for _ in 0..4 {
            let outbound = client.outbound();
            self.session.inbound().extend_from_slice(&outbound.copy_to_bytes(outbound.remaining()));
            self.session.handle_read(now);
            let _ = self.session.exchange(now, &mut self.broker, &mut effects);
            let outbound = self.session.outbound();
            client.inbound().extend_from_slice(&outbound.copy_to_bytes(outbound.remaining()));
            client.handle_read(now);
        }
    }
}
