//! A store in memory: the rows that commits leave.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use zaichik_engine::store::{Commit, Fetch, Key, Op, Row};

/// The rows of a store.
#[derive(Debug, Clone, Default)]
pub struct Rows(BTreeMap<Vec<u8>, Row>);

impl Rows {
    /// Applies a commit, in one step.
    pub fn apply(&mut self, commit: &Commit) {
        for op in &commit.ops {
            match op {
                Op::Put { row } => drop(self.0.insert(encoded(&row.key()), copied(row))),
                Op::Remove { key } => drop(self.0.remove(&encoded(key))),
                Op::Trim { topic, from, to } => {
                    self.0.retain(|_, row| match row.key() {
                        Key::Records { topic: of, start } | Key::Marks { topic: of, start } => {
                            of != *topic || !(*from..*to).contains(&start)
                        }
                        Key::Meta
                        | Key::Topic { .. }
                        | Key::Cursor { .. }
                        | Key::Producer { .. }
                        | Key::Answer { .. }
                        | Key::Keys { .. }
                        | Key::Group { .. } => true,
                    });
                }
            }
        }
    }

    /// The records that a broker needs back.
    #[must_use]
    pub fn fetch(&self, fetch: &Fetch) -> Bytes {
        let mut records = BytesMut::new();
        for row in self.0.values() {
            if let Row::Records(row) = row
                && row.topic == fetch.topic
                && (fetch.from..fetch.to).contains(&row.start)
            {
                records.extend_from_slice(&row.data);
            }
        }
        records.freeze()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.values()
    }

    /// The keys and values in their order, as a store returns them to a broker that is restored.
    pub fn encoded(&self) -> impl Iterator<Item = (&[u8], Vec<u8>)> {
        self.0.iter().map(|(key, row)| {
            let mut value = Vec::new();
            row.encode(&mut value);
            (&key[..], value)
        })
    }
}

/// A copy that shares no memory with the broker.
fn copied(row: &Row) -> Row {
    let mut row = row.clone();
    if let Row::Records(records) = &mut row {
        records.data = Bytes::copy_from_slice(&records.data);
    }
    row
}

fn encoded(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}
