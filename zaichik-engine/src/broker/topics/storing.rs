//! The topics that a store has to write, because they changed since it took them (chapter B).

use super::{Topics, footprint};
use crate::broker::changes::Changes;
use crate::broker::memory::{Account, Memory};
use crate::id::TopicId;
use crate::store::Op;

impl Topics {
    /// Lists what changes from now on, for a store that has nothing of it or, of restored topics, all.
    pub(in crate::broker) fn begin_storing(&mut self) {
        self.changes = Some(Changes::default());
        for number in 0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX) {
            if let Some(topic) = self.entries.get_mut(number) {
                topic.begin_storing();
            }
            self.changed(TopicId(number));
            // What was restored is in the store.
            self.staged.push(TopicId(number));
        }
        self.committed();
        let has_evicted = self.iter().any(|topic| topic.cold_bytes() > 0);
        self.fetching.note_evicted(has_evicted);
    }

    /// Appends what has changed since the last call.
    pub(in crate::broker) fn stage(&mut self, ops: &mut Vec<Op>, memory: &mut Memory) {
        let changed = self.changes.as_mut().map(Changes::take).unwrap_or_default();
        for id in changed {
            // The last one created may have been taken back.
            if let Some(topic) = self.entries.get_mut(id.0) {
                (topic.is_changed, topic.unstaged) = (false, 0);
                topic.stage(id.0, ops);
                self.staged.push(id);
                self.steps = self.steps.saturating_add(topic.take_steps());
                let footprint = footprint(topic);
                memory.recharge(Account::Topics, &mut topic.charged, footprint);
            }
        }
        self.unstaged = 0;
    }

    /// Changes ever.
    pub(in crate::broker) fn change_count(&self) -> u64 {
        self.changes.as_ref().map_or(0, Changes::count)
    }

    /// How many topics have changed.
    pub(in crate::broker) fn changed_len(&self) -> usize {
        self.changes.as_ref().map_or(0, Changes::len)
    }

    /// Bytes of records that were not staged.
    pub(in crate::broker) const fn unstaged(&self) -> usize {
        self.unstaged
    }

    #[cold]
    pub(super) fn changed(&mut self, id: TopicId) {
        let (Some(topic), Some(changes)) = (self.entries.get_mut(id.0), &mut self.changes) else { return };
        let unstaged = topic.unstaged();
        topic.listed_first = topic.first();
        let before = core::mem::replace(&mut topic.unstaged, unstaged);
        self.unstaged = self.unstaged.saturating_sub(before).saturating_add(unstaged);
        changes.add(id, &mut topic.is_changed);
    }
}
