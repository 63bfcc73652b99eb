//! A broker that is built from its rows.

use std::sync::Arc;

use zaichik_proto::Timestamp;

use super::Broker;
use super::producers::RestoredProducer;
use super::subscriptions::Beginning;
use crate::config::{BrokerConfig, ConfigError, Seed};
use crate::group::Options;
use crate::id::{SubKey, TopicId};
use crate::planted::{Defect, is_planted};
use crate::session_config::SessionConfig;
use crate::store::{
    AnswerRow, CursorRow, GroupRow, Key, KeysRow, MarksRow, MetaRow, ProducerRow, RecordsHead, RecordsRow,
    Row, RowError, TopicRow,
};
use crate::subscription::Terms;
use crate::topic::TopicParts;

/// A broker that is being read back from a store.
///
/// It takes all rows, in the order of their keys, and then becomes a [`Broker`] of the same instance, so that to its
/// clients the restart is a broken connection (chapter B); or of [another](Self::as_another). Nothing is guessed: a row that
/// is damaged, missing or contradicts another one is an error. Limits of the configuration that the rows exceed apply to
/// what is created from now on.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Restore, Seed, Timestamp};
/// let broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
/// let mut restore = Restore::new(BrokerConfig::default(), Seed::new(9, 10))?;
/// for row in broker.rows() {
///     let (mut key, mut value) = (Vec::new(), Vec::new());
///     row.key().encode(&mut key);
///     row.encode(&mut value);
///     restore.row(&key, &value)?;
/// }
/// let restored = restore.finish(Timestamp::ZERO)?;
/// assert!(restored.rows().eq(broker.rows()), "its instance is 7 again");
/// # Ok::<(), zaichik_engine::store::RowError>(())
/// ```
#[derive(Debug)]
pub struct Restore {
    broker: Broker,
    seed: Seed,
    /// Whether it becomes the instance of the seed.
    is_another: bool,
    meta: Option<MetaRow>,
    last: Option<Key>,
    /// The latest time in any row.
    latest: Timestamp,
    topics: Vec<TopicParts>,
    cursors: Vec<(SubKey, CursorRow)>,
    groups: Vec<(SubKey, GroupRow)>,
    producers: Vec<RestoredProducer>,
}

impl Restore {
    /// A broker without rows so far. Of the seed, only the key for hashing is used if there is a row.
    ///
    /// # Errors
    /// [`ConfigError`] as for [`Broker::new`].
    pub fn new(config: BrokerConfig, seed: Seed) -> Result<Self, ConfigError> {
        Self::with(config, seed, false)
    }

    /// The same for a broker that becomes another instance, that of the seed, because later commits may be lost of which
    /// clients know (rule B7): producers are left out, and no cursor is beyond the end of its topic. A store that has the
    /// rows is given these changes with the first commit.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn as_another(config: BrokerConfig, seed: Seed) -> Result<Self, ConfigError> {
        Self::with(config, seed, true)
    }

    fn with(config: BrokerConfig, seed: Seed, is_another: bool) -> Result<Self, ConfigError> {
        Ok(Self {
            broker: Broker::new(config, seed)?,
            seed,
            is_another,
            meta: None,
            last: None,
            latest: Timestamp::ZERO,
            topics: Vec::new(),
            cursors: Vec::new(),
            groups: Vec::new(),
            producers: Vec::new(),
        })
    }

    /// Takes the next row, as [`Key::encode`] and [`Row::encode`] wrote it. Cost: proportional to its bytes, which are
    /// copied.
    ///
    /// # Errors
    /// [`RowError`]; then the broker can't be restored.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowError> {
        let key = Key::decode(key)?;
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(RowError::OutOfOrder { key });
        }
        let row = Row::read(&key, value)?;
        self.last = Some(key);
        match row {
            Row::Meta(row) => {
                self.passed(row.now);
                self.meta = Some(row);
                Ok(())
            }
            Row::Topic(row) => self.topic(row),
            Row::Records(row) => self.records(row),
            Row::Cursor(row) => self.cursor(row),
            Row::Producer(row) => {
                self.producer(&row);
                Ok(())
            }
            Row::Answer(row) => self.answer(row),
            Row::Marks(row) => self.marks(row),
            Row::Keys(row) => self.keys(row),
            Row::Group(row) => self.group(row),
        }
    }

    /// Takes the next row without its records, which stay in the store until somebody reads them (rule B8), if that is
    /// possible; otherwise returns `false`, and the row is to be taken as a [whole](Self::row). `head` is what
    /// [`RecordsHead::encode`] wrote for it. Cost: constant, and the records of the row before if that was taken as a whole.
    ///
    /// # Errors
    /// [`RowError`]; then the broker can't be restored.
    pub fn head(&mut self, key: &[u8], head: &[u8]) -> Result<bool, RowError> {
        let head = RecordsHead::decode(key, head)?;
        let key = Key::Records { topic: head.topic, start: head.start };
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(RowError::OutOfOrder { key });
        }
        let id = self.known(&key, head.topic)?;
        let stored_at = self.stored_at().unwrap_or_default();
        let Some(parts) = self.topics.get(id.0 as usize) else { return Ok(false) };
        let Broker { topics, memory, .. } = &mut self.broker;
        if !topics[id].may_restore_cold(&parts.row, &head, stored_at) {
            return Ok(false);
        }
        if !topics[id].restore_cold(&parts.row, &head, memory.retired()) {
            return Err(contradiction(key, "it does not begin where the records before it end"));
        }
        topics.settle_charge(id, memory);
        self.passed(head.last_timestamp);
        self.last = Some(key);
        Ok(true)
    }

    /// When the last commit was made; `None` before the row that says it, which is the first.
    #[must_use]
    pub fn stored_at(&self) -> Option<Timestamp> {
        self.meta.map(|meta| meta.now)
    }

    /// All rows were taken: the broker, at the latest of `now` and the times in the rows. What has died since is removed;
    /// durable subscriptions are detached from now on, and producers were heard now.
    ///
    /// Without a row it is a new broker, with the instance of the seed.
    ///
    /// # Errors
    /// [`RowError::Missing`] or [`RowError::Contradiction`].
    pub fn finish(mut self, now: Timestamp) -> Result<Broker, RowError> {
        if self.last.is_none() {
            return Ok(self.broker);
        }
        let Some(MetaRow { instance, now: stored_at, stopped_micros }) = self.meta else {
            return Err(RowError::Missing { key: Key::Meta });
        };
        let now = if is_planted(Defect::ClockLost) { now } else { now.max(self.latest) };
        (self.broker.now, self.broker.started) = (now, now);
        // It did not run since then.
        let since = now.as_micros().saturating_sub(stored_at.as_micros());
        self.broker.subscriptions.resumed(stopped_micros.saturating_add(since));
        let seed = if self.is_another { self.seed } else { Seed { instance, ..self.seed } };
        self.broker.session_config = Arc::new(SessionConfig::new(&self.broker.config, seed));
        self.finish_producers(now)?;
        self.finish_topics(stored_at, now)?;
        self.finish_cursors(now)?;
        self.broker.charge_tables();
        Ok(self.broker)
    }

    fn topic(&mut self, row: TopicRow) -> Result<(), RowError> {
        let number = self.topics.len() as u64;
        if u64::from(row.topic) != number {
            let topic = u32::try_from(number).unwrap_or(u32::MAX);
            return Err(RowError::Missing { key: Key::Topic { topic } });
        }
        self.passed(row.changed_at);
        let Broker { topics, readiness, .. } = &mut self.broker;
        if topics.restore(&row, readiness).is_none() {
            return Err(contradiction(Key::Topic { topic: row.topic }, "another topic has its name"));
        }
        let evicted_to = row.first;
        self.topics.push(TopicParts { row, marks: Vec::new(), keys: Vec::new(), evicted_to });
        Ok(())
    }

    fn records(&mut self, row: RecordsRow) -> Result<(), RowError> {
        self.passed(row.last_timestamp);
        let key = Key::Records { topic: row.topic, start: row.start };
        let id = self.known(&key, row.topic)?;
        let Broker { topics, memory, .. } = &mut self.broker;
        if !topics[id].restore_records(row, memory.retired()) {
            return Err(contradiction(key, "it does not begin where the records before it end"));
        }
        topics.settle_charge(id, memory);
        if memory.is_filling()
            && let Some(parts) = self.topics.get_mut(id.0 as usize)
        {
            // The chunk with the first record stays.
            let has_keys = !parts.row.eras.is_empty();
            parts.evicted_to = topics[id].evict_restored(parts.evicted_to, has_keys, memory.retired());
            topics.settle_charge(id, memory);
        }
        Ok(())
    }

    fn cursor(&mut self, mut row: CursorRow) -> Result<(), RowError> {
        let key = Key::Cursor { topic: row.topic, name: row.name.clone() };
        let id = self.known(&key, row.topic)?;
        let Broker { topics, subscriptions, readiness, config, .. } = &mut self.broker;
        let topic = &mut topics[id];
        if row.delivered.last().is_some_and(|range| range.to > topic.end()) {
            return Err(contradiction(key, "it received records beyond the end of its topic"));
        }
        if self.is_another {
            (row.start, row.cursor) = (row.start.min(topic.end()), row.cursor.min(topic.end()));
        }
        let beginning =
            Beginning { topic: id, start: row.cursor, cursor_id: topic.cursors.insert(row.cursor) };
        let window_bytes = config.wire.max_window_size;
        let terms = Terms { number: 0, window: row.window, window_bytes, dead_letter: None };
        let key = subscriptions.insert(beginning, terms, Some(&row.name), readiness);
        self.cursors.push((key, row));
        Ok(())
    }

    fn group(&mut self, mut row: GroupRow) -> Result<(), RowError> {
        let key = Key::Group { topic: row.topic, name: row.name.clone() };
        let id = self.known(&key, row.topic)?;
        let Broker { topics, subscriptions, readiness, config, .. } = &mut self.broker;
        let topic = &mut topics[id];
        if subscriptions.find_durable(id, &row.name).is_some() {
            return Err(contradiction(key, "an exclusive subscription has its name"));
        }
        if self.is_another {
            let end = topic.end();
            row.cursor = row.cursor.min(end);
            row.done.retain(|(from, _)| *from < end);
            row.done.iter_mut().for_each(|(_, to)| *to = end.min(*to));
            row.failures.retain(|(offset, _)| *offset < end);
            row.delays.retain(|(offset, _)| *offset < end);
        }
        let highest = row.done.last().map_or(0, |(_, to)| *to);
        let highest = highest.max(row.delays.last().map_or(0, |(offset, _)| offset.saturating_add(1)));
        if highest > topic.end() {
            return Err(contradiction(key, "it handed out records beyond the end of its topic"));
        }
        let beginning =
            Beginning { topic: id, start: row.cursor, cursor_id: topic.cursors.insert(row.cursor) };
        let window_bytes = config.wire.max_window_size;
        let terms = Terms { number: 0, window: row.window, window_bytes, dead_letter: None };
        let key = subscriptions.insert(beginning, terms, Some(&row.name), readiness);
        self.groups.push((key, row));
        Ok(())
    }

    fn producer(&mut self, row: &ProducerRow) {
        if self.is_another {
            self.broker.producers.leave_out(row.producer);
        } else {
            self.producers.push(self.broker.producers.restore(row));
        }
    }

    fn answer(&mut self, row: AnswerRow) -> Result<(), RowError> {
        if self.is_another {
            self.broker.producers.leave_out_answer(row.producer, row.number);
            return Ok(());
        }
        let key = Key::Answer { producer: row.producer, number: row.number };
        let index = self.producers.binary_search_by_key(&row.producer, |producer| producer.id);
        let Some(producer) = index.ok().and_then(|index| self.producers.get(index)) else {
            return Err(contradiction(key, "its producer has no row"));
        };
        if !self.broker.producers.restore_answer(*producer, row) {
            return Err(contradiction(key, "it does not follow the answer before it"));
        }
        Ok(())
    }

    fn marks(&mut self, row: MarksRow) -> Result<(), RowError> {
        let key = Key::Marks { topic: row.topic, start: row.start };
        let end = self.known(&key, row.topic).map(|id| self.broker.topics[id].end())?;
        let parts = self.topics.get_mut(row.topic as usize);
        let rows_from = parts.as_ref().map_or(u64::MAX, |parts| parts.row.rows_from);
        let is_between = row.runs.iter().all(|run| rows_from <= run.from && run.to <= end);
        let Some(parts) = parts.filter(|_| is_between) else {
            return Err(contradiction(key, "its records have no row"));
        };
        let last = parts.marks.last().map_or(0, |run| run.to);
        if row.runs.first().is_some_and(|run| run.from < last) {
            return Err(contradiction(key, "its records are marked twice"));
        }
        parts.marks.extend(row.runs);
        Ok(())
    }

    fn keys(&mut self, row: KeysRow) -> Result<(), RowError> {
        let start = row.keys.first().map_or(0, |first| first.offset);
        let key = Key::Keys { topic: row.topic, start };
        let _ = self.known(&key, row.topic)?;
        row.keys.last().into_iter().for_each(|last| self.passed(last.accepted));
        let Some(parts) = self.topics.get_mut(row.topic as usize) else {
            return Err(contradiction(key, "its topic has no row"));
        };
        if parts.keys.last().is_some_and(|last| last.offset >= start) {
            return Err(contradiction(key, "one of its keys has another row"));
        }
        parts.keys.extend(row.keys);
        Ok(())
    }

    fn finish_producers(&mut self, now: Timestamp) -> Result<(), RowError> {
        let Broker { producers, memory, .. } = &mut self.broker;
        if let Some(lacking) = self.producers.iter().find(|one| !producers.is_restored(**one)) {
            let key = Key::Producer { producer: lacking.id };
            return Err(contradiction(key, "some of its answers have no row"));
        }
        producers.restored(now);
        memory.charge_producers(producers.footprint());
        Ok(())
    }

    fn finish_topics(&mut self, stored_at: Timestamp, now: Timestamp) -> Result<(), RowError> {
        let Broker { topics, memory, .. } = &mut self.broker;
        let hash_key = topics.hash_key();
        for parts in &self.topics {
            let id = TopicId(parts.row.topic);
            let restored = topics[id].restore_parts((stored_at, now), parts, hash_key, memory.retired());
            restored.map_err(|what| contradiction(Key::Topic { topic: parts.row.topic }, what))?;
            topics.settle(id, memory);
        }
        Ok(())
    }

    fn finish_cursors(&mut self, now: Timestamp) -> Result<(), RowError> {
        let Broker { subscriptions, memory, readiness, .. } = &mut self.broker;
        for (key, row) in self.groups.drain(..) {
            let GroupRow { ack_deadline_micros, max_span, by_key, .. } = row;
            subscriptions.share(key, Options { ack_deadline_micros, max_span, by_key }, readiness);
            subscriptions[key].restore_shared(row, now);
            subscriptions.settle(key, memory);
            subscriptions.schedule_expiry(key);
        }
        for (key, row) in self.cursors.drain(..) {
            let name = Key::Cursor { topic: row.topic, name: row.name.clone() };
            subscriptions[key].restore(row, now);
            if !subscriptions[key].is_consistent() {
                return Err(contradiction(name, "its cursor is not where it may be"));
            }
            subscriptions.settle(key, memory);
            subscriptions.schedule_expiry(key);
        }
        Ok(())
    }

    /// The topic of a row.
    fn known(&self, key: &Key, topic: u32) -> Result<TopicId, RowError> {
        let id = self.broker.topics.nth(topic);
        id.ok_or_else(|| contradiction(key.clone(), "its topic has no row"))
    }

    /// The broker had this time.
    fn passed(&mut self, time: Timestamp) {
        self.latest = self.latest.max(time);
    }
}

const fn contradiction(key: Key, what: &'static str) -> RowError {
    RowError::Contradiction { key, what }
}
