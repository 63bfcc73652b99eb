//! A subscription's entry in its client.

use std::sync::{Arc, OnceLock};

use zaichik_client::SubscriptionId;

use super::core::Owner;

/// A subscription's entry in its client. Dropping it unsubscribes.
pub(super) struct Membership {
    pub(super) owner: Arc<Owner>,
    /// Set when the request is made, which may be later than its first poll.
    pub(super) id: Arc<OnceLock<SubscriptionId>>,
    /// The subscription has ended, or never began.
    pub(super) is_over: bool,
}

impl Drop for Membership {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(id) = self.id.get() {
            self.owner.core().update(|state, now| state.leave(now, *id));
        }
    }
}
