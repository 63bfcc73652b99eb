//! The rows of a broker.

use super::Broker;
use super::producers::Producers;
use super::subscriptions::Subscriptions;
use super::topics::Topics;
use crate::store::{Key, MetaRow, Row};
use crate::subscription::Subscription;
use crate::topic::Topic;

/// Everything that survives a restart, in the order of the keys.
pub(super) fn rows(broker: &Broker) -> impl Iterator<Item = Row> {
    let Broker { topics, subscriptions, producers, .. } = broker;
    core::iter::once(Row::Meta(broker.meta_row()))
        .chain(numbered(topics).map(|(number, topic)| Row::Topic(topic.row(number))))
        .chain(numbered(topics).flat_map(|(number, topic)| topic.records_rows(number)).map(Row::Records))
        .chain(durables(subscriptions, Key::Cursor { topic: 0, name: Box::default() }.kind()))
        .chain(producer_rows(producers))
        .chain(numbered(topics).flat_map(|(number, topic)| topic.marks_rows(number)).map(Row::Marks))
        .chain(numbered(topics).flat_map(|(number, topic)| topic.keys_rows(number)).map(Row::Keys))
        .chain(durables(subscriptions, Key::Group { topic: 0, name: Box::default() }.kind()))
        .chain(core::iter::from_fn(|| {
            topics.forget_steps();
            None
        }))
}

impl Broker {
    /// Its own row.
    pub(super) fn meta_row(&self) -> MetaRow {
        let stopped_micros = self.subscriptions.stopped_micros();
        MetaRow { instance: self.session_config.instance, now: self.now, stopped_micros }
    }
}

fn numbered(topics: &Topics) -> impl Iterator<Item = (u32, &Topic)> {
    (0..).zip(topics.iter())
}

/// The rows of this kind.
fn durables(subscriptions: &Subscriptions, kind: u8) -> Vec<Row> {
    let rows = subscriptions.iter().filter_map(Subscription::row);
    let mut rows: Vec<_> = rows.map(|row| (row.key(), row)).filter(|(key, _)| key.kind() == kind).collect();
    rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn producer_rows(producers: &Producers) -> impl Iterator<Item = Row> {
    producers.rows().map(Row::Producer).chain(producers.answer_rows().map(Row::Answer))
}
