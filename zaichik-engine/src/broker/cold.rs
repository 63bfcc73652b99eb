//! Freeing the memory of records that the store has, and reading them back (rule B8).

use std::collections::BTreeMap;

use bytes::Bytes;
use zaichik_proto::{
    Batch, ClientFrame, Limits, Operation, Publish, Records, SeekTarget, Start, Subject, Timestamp,
};

use super::Broker;
use super::fetching::{Fetching, MAX_FETCHES};
use super::memory::Memory;
use super::run::PublishRun;
use super::topics::{Topics, topic_name};
use crate::effects::Effects;
use crate::id::{SessionId, TopicId};
use crate::store::{Fetch, FetchError};
use crate::topic::{Eviction, Topic};

/// Maximum bytes of the chunks that are fetched with the one that a reader needs: it does not wait for each of them.
const FETCHED_AHEAD: usize = 1 << 20;

/// Fetches under way from which on only what is needed is fetched.
const MANY_FETCHES: usize = MAX_FETCHES / 2;

/// Attempts to free the memory of a chunk in one call.
const EVICTED_PER_CALL: usize = 16;

impl Topics {
    /// A chunk is to be read back, and some of those that follow it.
    pub(super) fn want(&mut self, id: TopicId, (from, to): (u64, u64)) {
        let following: Vec<_> = self[id].cold_from(to, FETCHED_AHEAD).take(MANY_FETCHES).collect();
        let Fetching { asked, open, turned_away, .. } = &mut self.fetching;
        for (at, (from, to)) in core::iter::once((from, to)).chain(following).enumerate() {
            if open.contains(&(id.0, from)) {
                continue;
            }
            if open.len() >= MAX_FETCHES {
                if at == 0 {
                    turned_away.insert(id);
                }
                return;
            }
            if at > 0 && open.len() >= MANY_FETCHES {
                return;
            }
            open.insert((id.0, from));
            asked.push_back(Fetch { topic: id.0, from, to });
        }
    }

    /// Everything that was staged of these topics is durable.
    pub(super) fn committed(&mut self) {
        for id in core::mem::take(&mut self.staged) {
            let Some(topic) = self.entries.get_mut(id.0) else { continue };
            topic.committed(|start| self.fetching.evictable.push_back((id, start)));
        }
    }

    /// If much memory is used, frees that of some chunks that the store has, the oldest first.
    pub(super) fn evict(&mut self, now: Timestamp, memory: &mut Memory) {
        let mut attempts = EVICTED_PER_CALL.min(self.fetching.evictable.len());
        while attempts > 0 && memory.is_filling() {
            attempts = attempts.saturating_sub(1);
            let Some((id, start)) = self.fetching.evictable.pop_front() else { return };
            match self[id].evict(start, now, memory.retired()) {
                Eviction::Done => self.fetching.has_evicted = true,
                Eviction::Later => self.fetching.evictable.push_back((id, start)),
                Eviction::Never => continue,
            }
            self.settle_charge(id, memory);
        }
    }

    /// Bytes allocated to know what may be cold and what is being read back.
    pub(super) fn fetching_footprint(&self) -> usize {
        self.fetching.evictable.capacity().saturating_mul(size_of::<(TopicId, u64)>())
    }
}

/// Records that are only in the store.
impl Broker {
    /// What the store is to read back next. It may take several before it reports the first with [`fetched`](Self::fetched);
    /// at most 64 are under way.
    pub fn poll_fetch(&mut self) -> Option<Fetch> {
        self.topics.fetching.asked.pop_front()
    }

    /// The store has read back what [`poll_fetch`](Self::poll_fetch) asked for: the records, as they lie in the rows, one
    /// after the other. Wakes the readers and requests that wait for them.
    ///
    /// # Errors
    /// They are not the records that were stored: the store is damaged, and the broker can't go on with it.
    pub fn fetched(
        &mut self,
        now: Timestamp,
        fetch: Fetch,
        records: Bytes,
        effects: &mut Effects,
    ) -> Result<(), FetchError> {
        let now = self.tick(now);
        let Self { topics, memory, readiness, sessions, .. } = self;
        topics.fetching.open.remove(&(fetch.topic, fetch.from));
        let id = TopicId(fetch.topic);
        let Some(topic) = topics.with_number_mut(id) else { return Err(FetchError { fetch }) };
        topic.warm(now, (fetch.from, fetch.to), records).map_err(|_| FetchError { fetch })?;
        let waiting = topic.waiting;
        topics.fetching.evictable.push_back((id, fetch.from));
        topics.settle_read(id, memory);
        readiness.wake_waiting(waiting);
        if let Some(other) = topics.fetching.turned_away.pop_first() {
            readiness.wake_waiting(topics[other].waiting);
        }
        for id in core::mem::take(&mut topics.fetching.sessions) {
            sessions.wake_any(id, effects);
        }
        topics.evict(now, memory);
        if self.readiness.has_woken() {
            effects.rearm();
        }
        self.notice_changes(effects);
        self.release_and_rearm(effects);
        Ok(())
    }

    /// Bytes of records that are only in the store, of all topics.
    #[must_use]
    pub fn cold_bytes(&self) -> u64 {
        self.topics.iter().map(Topic::cold_bytes).fold(0, u64::saturating_add)
    }

    /// Whether a record is only in the store; the topic is the one with this number in the rows.
    #[must_use]
    pub fn is_cold(&self, topic: u32, offset: u64) -> bool {
        self.topics.with_number(TopicId(topic)).is_some_and(|topic| topic.cold_at(offset).is_some())
    }

    /// Whether somebody waits for the store to read records back.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        !self.topics.fetching.open.is_empty()
    }

    /// Asks for the chunk that a request needs, if that is cold; returns whether the request has to wait for it.
    #[inline]
    pub(super) fn awaits_fetch(
        &mut self,
        now: Timestamp,
        session: SessionId,
        run: &mut PublishRun,
        frame: &ClientFrame<'_>,
    ) -> bool {
        self.topics.fetching.has_evicted && self.fetch_for(now, session, run, frame)
    }

    /// The same for a plain publish.
    #[inline]
    pub(super) fn awaits_room(&mut self, now: Timestamp, session: SessionId, publish: &Publish<'_>) -> bool {
        self.topics.fetching.has_evicted && self.fetch_for_room(now, session, publish)
    }

    #[cold]
    fn fetch_for_room(&mut self, now: Timestamp, session: SessionId, publish: &Publish<'_>) -> bool {
        self.fetch(session, self.chunk_for_publish(now, publish.topic, publish.records))
    }

    #[cold]
    fn fetch_for(
        &mut self,
        now: Timestamp,
        session: SessionId,
        run: &mut PublishRun,
        frame: &ClientFrame<'_>,
    ) -> bool {
        if !matches!(frame, ClientFrame::Publish(_)) {
            // What limits remove because of it may end within a chunk that is needed then.
            self.settle_run(now, run);
        }
        self.fetch(session, self.chunk_of(now, session, frame))
    }

    fn fetch(&mut self, session: SessionId, chunk: Option<(TopicId, (u64, u64))>) -> bool {
        let Some((id, chunk)) = chunk else { return false };
        self.topics.want(id, chunk);
        self.topics.fetching.sessions.insert(session);
        true
    }

    /// Tells the caller that there is something to fetch.
    pub(super) fn notice_fetches(&self, effects: &mut Effects) {
        if !self.topics.fetching.asked.is_empty() {
            effects.fetch();
        }
    }

    /// The topic and the offsets of the cold chunk that a request needs.
    fn chunk_of(
        &self,
        now: Timestamp,
        session: SessionId,
        frame: &ClientFrame<'_>,
    ) -> Option<(TopicId, (u64, u64))> {
        let named = |name: &[u8]| self.topics.find(topic_name(name).ok()?);
        let numbered = |number: u32| {
            let entry = self.sessions.get(session)?;
            let group = || Some(self.subscriptions.members.get(entry.member(number)?)?.group);
            let key = entry.subscriptions.get(&number).copied().or_else(group)?;
            Some(&self.subscriptions[key])
        };
        let topic = |id| self.topics.with_number(id);
        let (id, chunk) = match frame {
            ClientFrame::Subscribe(subscribe) => {
                let id = named(subscribe.topic)?;
                (id, topic(id)?.chunk_of_start(now, subscribe.start))
            }
            ClientFrame::SubscribeShared(subscribe) => {
                let id = named(subscribe.topic)?;
                (id, topic(id)?.chunk_of_start(now, subscribe.start))
            }
            ClientFrame::Seek(seek) => {
                let id = match seek.target {
                    SeekTarget::Subscription(number) => numbered(number)?.topic,
                    SeekTarget::Durable { topic, .. } => named(topic)?,
                };
                (id, topic(id)?.chunk_of_start(now, seek.to))
            }
            ClientFrame::TrimTopic(trim) => {
                let id = named(trim.topic)?;
                let topic = topic(id)?;
                let chunk = match trim.before {
                    Start::Offset(offset) => topic.cold_at(offset).or_else(|| topic.owed_front(now)),
                    // What is removed is counted.
                    Start::Latest => topic.owed_front(now),
                    start @ (Start::Earliest | Start::Time(_)) => topic.chunk_of_start(now, start),
                };
                (id, chunk)
            }
            ClientFrame::Nack(nack) => {
                let subscription = numbered(nack.subscription)?;
                let dead_letter = subscription.terms.dead_letter?;
                let source = topic(subscription.topic)?;
                if let Some(chunk) = source.cold_at(nack.offset) {
                    (subscription.topic, Some(chunk))
                } else {
                    // With headers that say where it comes from.
                    let bytes = source.len_of(nack.offset)?.saturating_add(Limits::FRAME_ROOM);
                    (dead_letter.topic, topic(dead_letter.topic)?.chunk_for_room(now, 1, bytes.into()))
                }
            }
            ClientFrame::Publish(publish) => {
                return self.chunk_for_publish(now, publish.topic, publish.records);
            }
            ClientFrame::Batch(batch) => return self.chunk_for_batch(now, batch),
            ClientFrame::CreateTopic(create) => {
                let id = named(create.topic)?;
                (id, topic(id)?.owed_front(now))
            }
            ClientFrame::AlterTopic(alter) => {
                let id = named(alter.topic)?;
                (id, topic(id)?.owed_front(now))
            }
            ClientFrame::Describe(describe) => {
                let Subject::Topic { topic: name } = describe.subject else { return None };
                let id = named(name)?;
                (id, topic(id)?.owed_front(now))
            }
            ClientFrame::Commit(_)
            | ClientFrame::Unsubscribe(_)
            | ClientFrame::RemoveDurable(_)
            | ClientFrame::Hello(_)
            | ClientFrame::Shard(_)
            | ClientFrame::Ack(_)
            | ClientFrame::NackShared(_)
            | ClientFrame::Extend(_)
            | ClientFrame::DescribeShared(_)
            | ClientFrame::SubscribePattern(_)
            | ClientFrame::Ping { .. }
            | ClientFrame::Pong { .. }
            | ClientFrame::Close
            | ClientFrame::Extension { .. } => return None,
        };
        Some((id, chunk?))
    }

    /// The same for a publish: that of a topic in which it may need room.
    fn chunk_for_publish(
        &self,
        now: Timestamp,
        name: &[u8],
        records: Records<'_>,
    ) -> Option<(TopicId, (u64, u64))> {
        let id = self.topics.find(topic_name(name).ok()?)?;
        let topic = self.topics.with_number(id)?;
        let (count, bytes) = (u64::from(records.len()), records.as_bytes().len() as u64);
        Some((id, topic.chunk_for_room(now, count, bytes)?))
    }

    /// The same for a batch, all publishes of which to a topic need room together.
    fn chunk_for_batch(&self, now: Timestamp, batch: &Batch<'_>) -> Option<(TopicId, (u64, u64))> {
        let mut added = BTreeMap::<TopicId, (u64, u64)>::new();
        for operation in batch.operations.iter().take(Limits::MAX_OPERATIONS as usize) {
            let Operation::Publish { topic, records } = operation else { continue };
            let Some(id) = topic_name(topic).ok().and_then(|name| self.topics.find(name)) else { continue };
            let (count, bytes) = added.entry(id).or_default();
            *count = count.saturating_add(records.len().into());
            *bytes = bytes.saturating_add(records.as_bytes().len() as u64);
        }
        added.into_iter().find_map(|(id, (count, bytes))| {
            Some((id, self.topics.with_number(id)?.chunk_for_room(now, count, bytes)?))
        })
    }
}
