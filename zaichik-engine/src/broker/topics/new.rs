//! What patterns mean for topics that are created: which names they may have, and what they keep (rules W1, W6).

use zaichik_proto::{Refusal, RefusalCode, TopicName};

use super::Topics;
use crate::broker::patterns::NewTopic;
use crate::id::TopicId;

/// Whether a topic of this name may be created (rule W1).
///
/// # Errors
/// `InvalidTopic`.
pub(in crate::broker) fn check_new_name(name: TopicName<'_>) -> Result<(), Refusal> {
    if name.has_wildcard() { Err(Refusal::new(RefusalCode::InvalidTopic)) } else { Ok(()) }
}

impl Topics {
    /// Whether topics that are created from now on are kept until their patterns were searched.
    pub(in crate::broker) const fn keep_new(&mut self, keeps: bool) {
        self.keeps_new = keeps;
    }

    /// A topic was created: if there are patterns, it keeps every record until they were searched.
    pub(super) fn note_new(&mut self, id: TopicId) {
        if self.keeps_new {
            let topic = &mut self[id];
            let start = topic.end();
            let cursor_id = topic.cursors.insert(start);
            self.new.push_back(NewTopic { id, cursor_id, start });
        }
    }

    /// The last topic was taken back.
    pub(super) fn forget_new(&mut self, id: TopicId) {
        let _ = self.new.pop_back_if(|new| new.id == id);
    }

    #[inline]
    pub(in crate::broker) fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// The first one.
    pub(in crate::broker) fn first_new(&self) -> Option<NewTopic> {
        self.new.front().copied()
    }

    /// The patterns of the first one were searched: it keeps nothing any more for those that are not found.
    pub(in crate::broker) fn pop_new(&mut self, new: NewTopic) {
        self.new.pop_front();
        self[new.id].cursors.remove(new.cursor_id);
        if self.new.is_empty() {
            self.new.shrink_to(0);
        }
    }

    /// How many there are.
    pub(in crate::broker) fn new_len(&self) -> usize {
        self.new.len()
    }

    /// Bytes of their list.
    pub(in crate::broker) fn new_footprint(&self) -> usize {
        self.new.capacity().saturating_mul(size_of::<NewTopic>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::memory::Memory;
    use crate::broker::readiness::Readiness;
    use crate::config::{BrokerConfig, Seed};
    use crate::store::TopicRow;

    #[test]
    fn w1_a_topic_that_looks_like_a_pattern_is_not_created_and_one_that_exists_stays() {
        let (mut memory, mut readiness) = (Memory::new(&BrokerConfig::default()), Readiness::new());
        let mut topics = Topics::new(&BrokerConfig::default(), Seed::new(1, 2));
        for name in [&b"*"[..], b">", b"orders.*", b"*.new", b"a.>.b"] {
            let refused = topics.find_or_add(name, &mut memory, &mut readiness).map(|_| ());
            assert_eq!(refused.map_err(|refusal| refusal.code), Err(RefusalCode::InvalidTopic));
        }
        let (_, created) =
            topics.find_or_add(b"orders.a*", &mut memory, &mut readiness).expect("no whole segment");
        assert!(created);
        let old =
            TopicRow { name: Box::from("orders.*"), ..topics.entries.get(0).expect("it exists").row(1) };
        let id = topics.restore(&old, &mut readiness).expect("an existing name stays valid");
        assert_eq!(topics.find_or_add(b"orders.*", &mut memory, &mut readiness), Ok((id, false)));
    }
}
