//! Records that a broker may have been unable to copy to a dead-letter topic.

use std::collections::BTreeMap;

use zaichik_engine::Broker;
use zaichik_engine::store::Row;

/// The records that a broker cannot have copied to a dead-letter topic, because they are only in the store, or may have found no
/// memory for, of exclusive subscriptions, of shared ones, or of both: topic, name of the subscription, and the offset.
pub(super) fn left_uncommitted(
    broker: &Broker,
    may_lack: bool,
    [of_exclusive, of_shared]: [bool; 2],
) -> Vec<(String, String, u64)> {
    let (mut topics, mut left) = (BTreeMap::new(), Vec::new());
    let is_left = |topic, offset| may_lack || broker.is_cold(topic, offset);
    for row in broker.rows() {
        match row {
            Row::Topic(row) => drop(topics.insert(row.topic, row.name)),
            Row::Cursor(row) if of_exclusive && is_left(row.topic, row.cursor) => {
                left.push((row.topic, row.name, row.cursor));
            }
            Row::Group(row) if of_shared => {
                let failed = row.failures.iter().map(|(offset, _)| *offset);
                let failed = failed.filter(|offset| is_left(row.topic, *offset));
                left.extend(failed.map(|offset| (row.topic, row.name.clone(), offset)));
            }
            _ => {}
        }
    }
    let left = left.into_iter();
    left.filter_map(|(topic, name, at)| Some((topics.get(&topic)?.to_string(), name.to_string(), at)))
        .collect()
}
