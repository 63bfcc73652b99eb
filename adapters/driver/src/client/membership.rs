//! What a subscription holds of its client.

use std::sync::Arc;

use zaichik_client::SubscriptionId;

use super::core::Owner;

/// A subscription's place in the client, given back when it is dropped.
pub(super) struct Membership {
    pub(super) owner: Arc<Owner>,
    /// Set from the request on.
    pub(super) id: Option<SubscriptionId>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.owner.core().change(|state, now| state.leave(now, id));
        }
    }
}
