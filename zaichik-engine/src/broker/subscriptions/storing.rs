//! Which changes of durable subscriptions the store receives.

use super::{Changed, Subscriptions};
use crate::broker::changes::Changes;
use crate::id::SubKey;
use crate::store::Op;

impl Subscriptions {
    /// Lists what changes from now on.
    pub(in crate::broker) fn begin_storing(&mut self) {
        self.changes = Some(Changes::default());
        for place in 0..self.entries.end() {
            self.changed(SubKey(place));
        }
    }

    /// Appends what has changed since the last call.
    pub(in crate::broker) fn stage(&mut self, ops: &mut Vec<Op>) {
        for changed in self.changes.as_mut().map(Changes::take).unwrap_or_default() {
            match changed {
                Changed::Gone(key) => ops.push(Op::Remove { key }),
                Changed::There(key) => {
                    let Some(one) = self.entries.get_mut(key.0) else { continue };
                    if let Some(durable) = &mut one.durable {
                        durable.is_changed = false;
                    }
                    ops.extend(one.row().map(|row| Op::Put { row }));
                }
            }
        }
    }

    /// Changes ever.
    pub(in crate::broker) fn change_count(&self) -> u64 {
        self.changes.as_ref().map_or(0, Changes::count)
    }

    /// How many durable subscriptions have changed.
    pub(in crate::broker) fn changed_len(&self) -> usize {
        self.changes.as_ref().map_or(0, Changes::len)
    }

    /// A subscription has changed; one that is not durable is not stored.
    #[cold]
    pub(super) fn changed(&mut self, key: SubKey) {
        let Some(changes) = &mut self.changes else { return };
        if let Some(durable) = self.entries.get_mut(key.0).and_then(|one| one.durable.as_mut()) {
            changes.add(Changed::There(key), &mut durable.is_changed);
        }
    }
}
