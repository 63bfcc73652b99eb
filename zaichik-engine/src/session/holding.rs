//! What a session holds back until a store has what it depends on (rule B6). Without a store, none of this is called.

use super::Session;
use crate::broker::Broker;
use crate::effects::Effects;
use crate::error::CloseReason;
use crate::planted::{Defect, is_planted};
use crate::store::Awaited;

impl Session {
    /// What waited for what the store has by now may leave. Returns why the session is to close if the store failed.
    #[cold]
    pub(super) fn release(&mut self, broker: &Broker) -> Option<CloseReason> {
        if let Some(stored) = broker.stored() {
            self.outbound.release(stored);
        }
        broker.has_failed().then_some(CloseReason::Internal)
    }

    /// The answers that were put into the output wait for a commit.
    #[cold]
    pub(super) fn hold_answers(&mut self, broker: &mut Broker, effects: &mut Effects) {
        // Changes that no answer reveals may wait.
        broker.notice_changes(effects);
        let awaits_sync = core::mem::take(&mut self.awaits_sync);
        self.hold(broker.awaited(awaits_sync), broker, effects);
    }

    /// The records that were put into the output wait for a commit.
    #[cold]
    pub(super) fn hold_records(&mut self, broker: &mut Broker, effects: &mut Effects) {
        let awaited = broker.awaited(false).filter(|_| !is_planted(Defect::UnheldRecords));
        self.hold(awaited, broker, effects);
    }

    /// What was put into the output waits for a commit.
    fn hold(&mut self, awaited: Option<Awaited>, broker: &mut Broker, effects: &mut Effects) {
        let awaited = self.outbound.hold(awaited);
        if awaited.is_some() || broker.is_behind() {
            broker.wait_for_store(self.id, awaited, effects);
        }
    }
}
