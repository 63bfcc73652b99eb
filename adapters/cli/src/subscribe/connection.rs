//! Notices when the connection to the broker is lost, and when it is open again.

use zaichik_tokio::Client;

/// The state of a client's connection, which was open at first.
pub(super) struct ConnectionWatch<'a> {
    client: &'a Client,
    is_open: bool,
}

impl<'a> ConnectionWatch<'a> {
    pub(super) const fn new(client: &'a Client) -> Self {
        Self { client, is_open: true }
    }

    /// Waits until the connection is lost or open again; returns whether it is open. Never completes after the client has
    /// ended. No change is missed if the future is dropped.
    pub(super) async fn changed(&mut self) -> bool {
        if self.client.connection_is(!self.is_open).await.is_err() {
            // The subscriptions report why.
            std::future::pending::<()>().await;
        }
        self.is_open = !self.is_open;
        self.is_open
    }
}
