//! Requests that create, change and trim a topic (rules T2 to T7, R10).

use zaichik_proto::{Refusal, RefusalCode, Start, Timestamp, TopicName, TopicOptions, TopicStatus};

use super::Topics;
use crate::broker::memory::Memory;
use crate::broker::readiness::Readiness;
use crate::config::TopicSettings;
use crate::id::TopicId;
use crate::planted::{Defect, is_planted};

/// Mask bit of the setting `compaction`.
const COMPACTION: u64 = 1 << 2;

impl Topics {
    /// The settings of a request that creates a topic: those that it leaves out are the defaults (rule T2).
    pub(in crate::broker) fn settings_with(&self, options: &TopicOptions) -> TopicSettings {
        self.defaults.with(options)
    }

    /// `CreateTopic` (rules T2 to T4).
    pub(in crate::broker) fn create(
        &mut self,
        now: Timestamp,
        name: TopicName<'_>,
        options: &TopicOptions,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> Result<TopicStatus, Refusal> {
        let settings = self.settings_with(options);
        check_settings(&settings)?;
        let Some(id) = self.find(name) else {
            let id = self.add(name, settings, memory, readiness)?;
            self[id].explicit = true;
            return Ok(TopicStatus::Created);
        };
        let topic = &mut self[id];
        if topic.explicit {
            return match topic.settings.to_options().difference(&settings.to_options()) {
                0 => Ok(TopicStatus::Unchanged),
                mask => Err(Refusal::with_value(RefusalCode::SettingsDiffer, mask)),
            };
        }
        self.change_settings(now, id, settings, memory, readiness)?;
        Ok(TopicStatus::Adopted)
    }

    /// `AlterTopic` (rule T7).
    pub(in crate::broker) fn alter(
        &mut self,
        now: Timestamp,
        id: TopicId,
        options: &TopicOptions,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> Result<(), Refusal> {
        let settings = self[id].settings.with(options);
        check_settings(&settings)?;
        self.change_settings(now, id, settings, memory, readiness)
    }

    /// `TrimTopic` (rule R10): returns the offset of the first record that is left, and how many live ones were removed.
    pub(in crate::broker) fn trim(
        &mut self,
        now: Timestamp,
        id: TopicId,
        before: Start,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> (u64, u64) {
        let topic = &mut self[id];
        let trimmed = topic.trim(now, before);
        // Gaps may have appeared at the end of the log.
        readiness.wake_waiting(topic.waiting);
        let changes = if is_planted(Defect::UnmarkedTrim) { self.changes.take() } else { None };
        self.settle(id, memory);
        self.changes = changes.or_else(|| self.changes.take());
        trimmed
    }

    fn change_settings(
        &mut self,
        now: Timestamp,
        id: TopicId,
        settings: TopicSettings,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> Result<(), Refusal> {
        let topic = &mut self[id];
        // The compaction mode changes only while there are no records (rule T3).
        if settings.compaction != topic.settings.compaction && !topic.is_empty(now) {
            // What has died was removed.
            self.settle(id, memory);
            return Err(Refusal::with_value(RefusalCode::InvalidSettings, COMPACTION));
        }
        topic.change_settings(now, settings);
        topic.explicit = true;
        // Gaps may have appeared at the end of the log.
        readiness.wake_waiting(topic.waiting);
        self.settle(id, memory);
        Ok(())
    }
}

fn check_settings(settings: &TopicSettings) -> Result<(), Refusal> {
    match settings.check() {
        0 => Ok(()),
        mask => Err(Refusal::with_value(RefusalCode::InvalidSettings, mask)),
    }
}
