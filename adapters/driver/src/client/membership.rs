//! A subscription's entry in its client.

use std::sync::Arc;

use zaichik_client::SubscriptionId;

use super::core::Owner;

/// A subscription's entry in its client. Dropping it unsubscribes.
pub(super) struct Membership {
    pub(super) owner: Arc<Owner>,
    /// Set when the request is made.
    pub(super) id: Option<SubscriptionId>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.owner.core().update(|state, now| state.leave(now, id));
        }
    }
}
