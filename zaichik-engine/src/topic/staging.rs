//! What a store has of a topic, and the operations that bring it up to date.

use super::Topic;
use crate::store::{Key, Op, Row};

/// What was staged of a topic whose rows are stored.
#[derive(Debug, Default)]
pub(super) struct Staging {
    /// The keys of the rows staged last.
    keys: Vec<Key>,
}

impl Topic {
    /// Begins to track what changes in rows; no row is staged so far.
    pub(crate) fn begin_storing(&mut self) {
        self.staging = Some(Box::default());
    }

    /// Appends the operations that bring a store from what was staged last to the topic's present state; `number` is the
    /// topic's. Without [`begin_storing`](Self::begin_storing) there are none.
    pub(crate) fn stage(&mut self, number: u32, ops: &mut Vec<Op>) {
        let Some(mut staging) = self.staging.take() else { return };
        ops.extend(staging.keys.drain(..).map(|key| Op::Remove { key }));
        let rows = core::iter::once(Row::Topic(self.row(number)))
            .chain(self.records_rows(number).map(Row::Records))
            .chain(self.marks_rows(number).map(Row::Marks))
            .chain(self.keys_rows(number).map(Row::Keys));
        for row in rows {
            staging.keys.push(row.key());
            ops.push(Op::Put { row });
        }
        self.staging = Some(staging);
    }

    /// Bytes of the records that were not staged; 0 without [`begin_storing`](Self::begin_storing).
    pub(crate) fn unstaged(&self) -> usize {
        let bytes = if self.staging.is_some() { self.log.bytes() } else { 0 };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::TopicSettings;
    use crate::ring::Rings;

    #[test]
    fn b1_what_was_staged_is_the_rows() {
        let mut topic = Topic::new("t".into(), TopicSettings::default(), Rings::default().insert(0), 0);
        let (mut ops, mut store) = (Vec::new(), BTreeMap::new());
        topic.stage(3, &mut ops);
        assert!(ops.is_empty());
        topic.begin_storing();
        topic.stage(3, &mut ops);
        for op in ops.drain(..) {
            match op {
                Op::Put { row } => drop(store.insert(row.key(), row)),
                Op::Remove { key } => drop(store.remove(&key)),
                Op::Trim { .. } => {}
            }
        }
        assert_eq!(store, BTreeMap::from([(Key::Topic { topic: 3 }, Row::Topic(topic.row(3)))]));
        assert_eq!(topic.unstaged(), 0);
    }
}
