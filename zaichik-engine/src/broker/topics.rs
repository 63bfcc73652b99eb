//! Topics: found by name, created on first use, never deleted (semantics T).

use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher13;
use zaichik_proto::{Refusal, RefusalCode, TopicName, TopicOptions, TopicStatus};

use super::Broker;
use super::ledger::recharge;
use crate::config::TopicSettings;
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{SessionId, TopicId};
use crate::planted::{Defect, is_planted};
use crate::topic::Topic;
use zaichik_proto::Timestamp;

/// Mask bit of the setting `compaction`.
const COMPACTION: u64 = 1 << 2;

impl Broker {
    /// `CreateTopic` (semantics T2 to T4).
    pub(crate) fn create_topic(
        &mut self,
        now: Timestamp,
        session: SessionId,
        name: &[u8],
        options: &TopicOptions,
        effects: &mut Effects,
    ) -> Result<TopicStatus, Refusal> {
        let settings = self.config.topic_defaults.with(options);
        let name = topic_name(name)?;
        check_settings(&settings)?;
        let status = match self.find_topic(name.as_str()) {
            None => {
                let id = self.add_topic(name.as_str(), settings)?;
                if let Some(topic) = self.topics.get_mut(id.index()) {
                    topic.explicit = true;
                }
                TopicStatus::Created
            }
            Some(id) => {
                let Some(topic) = self.topics.get_mut(id.index()) else {
                    return Ok(TopicStatus::Unchanged);
                };
                if topic.explicit {
                    match topic.settings.to_options().difference(&settings.to_options()) {
                        0 => TopicStatus::Unchanged,
                        mask => return Err(Refusal::with_value(RefusalCode::SettingsDiffer, mask)),
                    }
                } else {
                    check_compaction(now, topic, &settings)?;
                    topic.change_settings(now, settings);
                    topic.explicit = true;
                    self.after_settings_change(id);
                    TopicStatus::Adopted
                }
            }
        };
        let topic = Some(name.as_str());
        effects.note(|| Note { session, topic: topic.map(Arc::from), event: NoteEvent::TopicReady(status) });
        Ok(status)
    }

    /// `AlterTopic` (semantics T7).
    pub(crate) fn alter_topic(
        &mut self,
        now: Timestamp,
        session: SessionId,
        name: &[u8],
        options: &TopicOptions,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let name = topic_name(name)?;
        let id = self.find_topic(name.as_str()).ok_or(Refusal::new(RefusalCode::UnknownTopic))?;
        let Some(topic) = self.topics.get_mut(id.index()) else {
            return Ok(());
        };
        let settings = topic.settings.with(options);
        check_settings(&settings)?;
        check_compaction(now, topic, &settings)?;
        topic.change_settings(now, settings);
        topic.explicit = true;
        let name = Arc::clone(&topic.name);
        self.after_settings_change(id);
        effects.note(|| Note { session, topic: Some(name), event: NoteEvent::TopicAltered });
        Ok(())
    }

    /// The topic of that name, which is created if there is none (T1); and whether it was.
    pub(super) fn topic_or_new(
        &mut self,
        session: SessionId,
        name: &[u8],
        effects: &mut Effects,
    ) -> Result<(TopicId, bool), Refusal> {
        let (id, created) = self.find_or_add_topic(name)?;
        if created {
            self.note_created(session, id, effects);
        }
        Ok((id, created))
    }

    /// The same, but nobody is told: what created the topic may still be refused.
    pub(super) fn find_or_add_topic(&mut self, name: &[u8]) -> Result<(TopicId, bool), Refusal> {
        let name = topic_name(name)?;
        match self.find_topic(name.as_str()) {
            Some(id) => Ok((id, false)),
            None => Ok((self.add_topic(name.as_str(), self.config.topic_defaults)?, true)),
        }
    }

    /// Takes back the topic that was created last: the request that created it was refused.
    pub(super) fn remove_last_topic(&mut self) {
        let Some(mut topic) = self.topics.pop() else {
            return;
        };
        let index = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
        if let Ok(found) = self.names.find_entry(self.hash(&topic.name), |other| *other == index) {
            found.remove();
        }
        self.rings.remove(topic.waiting);
        recharge(&mut self.ledger.topics, &mut topic.charged, 0);
    }

    /// What the topic holds is charged, and housekeeping knows when to look at it.
    pub(super) fn settle_topic(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id.index()) else {
            return;
        };
        let footprint = if is_planted(Defect::Uncharged) { topic.charged.max(1) } else { footprint(topic) };
        recharge(&mut self.ledger.topics, &mut topic.charged, footprint);
        let due = topic.due_at();
        if due < topic.due {
            topic.due = due;
            self.agenda.topics.schedule(due, id);
            if self.agenda.topics.is_stale(self.topics.len()) {
                let due = self.topics.iter().zip(0..).map(|(topic, index)| (topic.due, TopicId(index)));
                self.agenda.topics.rebuild(due);
            }
        }
    }

    fn after_settings_change(&mut self, id: TopicId) {
        // Gaps may have appeared where nothing was to be delivered: whoever waits looks again.
        if let Some(topic) = self.topics.get(id.index()) {
            self.rings.splice(topic.waiting, self.woken);
        }
        self.settle_topic(id);
    }

    pub(super) fn find_topic(&self, name: &str) -> Option<TopicId> {
        let found = self.names.find(self.hash(name), |index| self.name_of(*index) == Some(name));
        found.copied().map(TopicId)
    }

    pub(super) fn add_topic(&mut self, name: &str, settings: TopicSettings) -> Result<TopicId, Refusal> {
        let limit = self.config.max_topics;
        let index = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
        if index >= limit {
            return Err(Refusal::with_value(RefusalCode::TopicsFull, u64::from(limit)));
        }
        self.check_memory(name.len().saturating_add(size_of::<Topic>()))?;
        let waiting = self.rings.insert(0);
        self.topics.push(Topic::new(Arc::from(name), settings, waiting, self.config.first_offset));
        let (hash, hash_key, topics) = (self.hash(name), self.seed.hash_key, &self.topics);
        self.names.insert_unique(hash, index, |index| {
            topics.get(*index as usize).map_or(0, |topic| hash_of(hash_key, &topic.name))
        });
        self.settle_topic(TopicId(index));
        Ok(TopicId(index))
    }

    fn name_of(&self, index: u32) -> Option<&str> {
        self.topics.get(index as usize).map(|topic| &*topic.name)
    }

    pub(super) fn hash(&self, name: &str) -> u64 {
        hash_of(self.seed.hash_key, name)
    }
}

/// Bytes of a topic, its name and its places in tables included.
pub(super) fn footprint(topic: &Topic) -> usize {
    let own = size_of::<Topic>().saturating_add(topic.name.len()).saturating_add(TABLES);
    topic.footprint().saturating_add(own)
}

/// Bytes of a topic's places in tables: its hash entry, its ring head and the counts of its shared name.
const TABLES: usize = 8 + 12 + 16;

fn hash_of(hash_key: u128, name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&hash_key.to_le_bytes());
    hasher.write(name.as_bytes());
    hasher.finish()
}

pub(super) fn topic_name(name: &[u8]) -> Result<TopicName<'_>, Refusal> {
    TopicName::parse(name).map_err(|_| Refusal::new(RefusalCode::InvalidTopic))
}

fn check_settings(settings: &TopicSettings) -> Result<(), Refusal> {
    match settings.check() {
        0 => Ok(()),
        mask => Err(Refusal::with_value(RefusalCode::InvalidSettings, mask)),
    }
}

/// The compaction mode changes only while there are no records (T3).
fn check_compaction(now: Timestamp, topic: &mut Topic, settings: &TopicSettings) -> Result<(), Refusal> {
    if settings.compaction != topic.settings.compaction && !topic.is_empty(now) {
        return Err(Refusal::with_value(RefusalCode::InvalidSettings, COMPACTION));
    }
    Ok(())
}
