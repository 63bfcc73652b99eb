//! How a connection begins, breaks and ends, and how requests are written to it.

use zaichik_proto::{ClientFrame, Hello, MAGIC, PROTOCOL_VERSION, Welcome};

use super::Client;
use crate::connection::Link;
use crate::error::LinkError;
use crate::subscription::Subscription;
use zaichik_proto::Timestamp;

impl Client {
    /// Greets the broker on a new byte stream.
    pub(super) fn start_handshake(&mut self) {
        self.outbound.clear();
        self.inbound.restart();
        self.subscriptions.forget_leaving();
        let hello = ClientFrame::Hello(Hello {
            version: PROTOCOL_VERSION,
            name: &self.config.name,
            token: &self.config.token,
        });
        self.outbound.frame(|out| {
            out.extend_from_slice(&MAGIC);
            hello.encode(out);
        });
        self.connection.start_handshake(self.after(self.config.handshake_timeout));
    }

    /// The broker sent Welcome: restores the state of the last connection.
    pub(super) fn welcomed(&mut self, welcome: &Welcome<'_>) -> Result<(), LinkError> {
        let same_instance = self.connection.welcomed(welcome, self.now)?;
        self.inbound.open(self.connection.version(), &welcome.limits);
        if !same_instance {
            self.subscriptions.forget_taken();
        }
        self.requests.connected(same_instance, self.now);
        self.outcomes().resume_settled(false);
        if !self.connection.offers(Welcome::SHARED) {
            self.outcomes().refuse_all(Subscription::is_shared);
        }
        if !self.connection.offers(Welcome::PATTERNS) {
            self.outcomes().refuse_all(Subscription::is_pattern);
        }
        self.connection.open();
        self.outcomes().resume_all(same_instance);
        Ok(())
    }

    /// The connection broke, or none could be opened.
    pub(super) fn connection_lost(&mut self, now: Timestamp, cause: LinkError) {
        if self.connection.is_closing() {
            // Everything was answered, so it does not matter how the connection ends.
            self.closed(None);
            return;
        }
        if !self.connection.reconnects_after(&cause) {
            self.closed(Some(cause));
            return;
        }
        if self.connection.is_open() {
            self.requests.connection_heard_until(self.connection.heard_at());
        }
        self.drop_connection(false);
        self.connection.broken(now, cause);
    }

    /// The client is closed.
    pub(super) fn closed(&mut self, error: Option<LinkError>) {
        self.drop_connection(true);
        self.requests.close();
        self.connection.closed(error);
        self.subscriptions.wake_all();
    }

    /// Makes all progress that is possible: writes requests, and lets a draining client close.
    pub(super) fn settle(&mut self) {
        self.outcomes().release_commits();
        self.write_requests();
        if !self.connection.is_draining() || self.requests.is_busy() {
            return;
        }
        match self.connection.link() {
            Link::Connect { .. } | Link::Handshake => self.closed(None),
            Link::Open => {
                self.outbound.frame(|out| ClientFrame::Close.encode(out));
                self.connection.close_sent();
            }
            Link::Closing | Link::Closed(_) => {}
        }
    }

    /// Whether the output has room for another frame.
    pub(super) fn has_room_to_write(&self) -> bool {
        self.outbound.len() < self.config.max_outbound_bytes.max(1)
    }

    fn write_requests(&mut self) {
        self.requests.release_hold(self.now);
        while self.connection.is_open()
            && self.has_room_to_write()
            && self.requests.write_next(&mut self.outbound, self.connection.terms(), self.now)
        {
            self.outcomes().resume_settled(true);
        }
    }

    fn drop_connection(&mut self, is_over: bool) {
        let taken = self.outbound.taken();
        self.outcomes().connection_lost(taken, is_over);
        self.outbound.clear();
        self.inbound.clear();
    }
}
