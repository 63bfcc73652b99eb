//! The naive model: it keeps every record for ever in a list and answers every question with a scan.
//!
//! Obvious rather than fast: nothing is indexed, nothing is freed, a publish works on a copy of its topic. It shares
//! no code with the engine; what they have in common is semantics.md's rules O, T, R, C1 to C5, C9 and A1 to A3.

use zaichik_proto::RefusalCode;

use crate::topic::{Entry, Key, Topic};

/// For ever, and without limit.
pub(crate) const FOREVER: u64 = u64::MAX;

/// Settings of a topic, complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) ttl: u64,
    pub(crate) window: u64,
    pub(crate) max_messages: u64,
    pub(crate) max_bytes: u64,
    pub(crate) reject: bool,
    pub(crate) max_keys: u64,
}

/// Settings that a request gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<u64>,
    pub(crate) window: Option<u64>,
    pub(crate) max_messages: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) reject: Option<bool>,
    pub(crate) max_keys: Option<u64>,
}

/// A record as its publisher made it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) body: Vec<u8>,
    pub(crate) ttl: Option<u64>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    Offset(u64),
    Time(u64),
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Publish { topic: u8, records: Vec<Record> },
    Subscribe { number: u32, topic: u8, start: Start, window: u32, window_bytes: u32 },
    Unsubscribe { number: u32 },
    Commit { number: u32, offset: u64 },
    Create { topic: u8, options: Options },
    Alter { topic: u8, options: Options },
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Published { created: bool, first: Option<u64>, duplicates: Vec<(u32, u64)> },
    TopicReady(Ready),
    Subscribed { created: bool, start: u64, end: u64 },
    Unsubscribed { last: Option<u64> },
    Done(u64),
    Refused(RefusalCode, u64),
}

/// What `CreateTopic` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Unchanged,
    Created,
    Adopted,
}

/// What a subscription gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Record { offset: u64, timestamp: u64, record: Record },
    Gap { from: u64, to: u64, limit: bool },
}

/// A broker with a few connections.
#[derive(Debug)]
pub(crate) struct Model {
    now: u64,
    defaults: Settings,
    first_offset: u64,
    max_message: u64,
    topics: Vec<(u8, Topic)>,
    subscribed: Vec<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    session: usize,
    number: u32,
    topic: u8,
    window: u32,
    window_bytes: u64,
    /// The first offset not delivered.
    next: u64,
    /// Offsets and sizes of what is delivered and not committed.
    uncommitted: Vec<(u64, u64)>,
    last_delivered: Option<u64>,
    /// Something happened after which it could deliver.
    ready: bool,
    /// It waits at the end of its topic; otherwise its window stops it.
    waiting: bool,
}

impl Model {
    pub(crate) fn new(defaults: Settings, first_offset: u64, max_message: u64) -> Self {
        let (topics, subscribed) = (Vec::new(), Vec::new());
        Self { now: 0, defaults, first_offset, max_message, topics, subscribed }
    }

    /// Time does not go back.
    pub(crate) fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// The first offset that a subscription has not committed.
    pub(crate) fn cursor(&self, session: usize, number: u32) -> Option<u64> {
        self.subscribed.iter().find(|one| one.is(session, number)).map(Subscription::cursor)
    }

    /// The offset of a topic's next record.
    pub(crate) fn end(&self, topic: u8) -> u64 {
        self.topic(topic).map_or(self.first_offset, Topic::end)
    }

    pub(crate) fn request(&mut self, session: usize, request: &Request) -> Answer {
        let answer = match request {
            Request::Publish { topic, records } => self.publish(*topic, records),
            Request::Subscribe { number, topic, start, window, window_bytes } => {
                self.subscribe(session, *number, *topic, *start, (*window, *window_bytes))
            }
            Request::Unsubscribe { number } => self.unsubscribe(session, *number),
            Request::Commit { number, offset } => self.commit(session, *number, *offset),
            Request::Create { topic, options } => self.create(*topic, options),
            Request::Alter { topic, options } => self.alter(*topic, options),
        };
        answer.unwrap_or_else(|(code, value)| Answer::Refused(code, value))
    }

    /// The connection ends.
    pub(crate) fn disconnect(&mut self, session: usize) {
        self.subscribed.retain(|one| one.session != session);
    }

    /// What every subscription gets now: session, number, events.
    pub(crate) fn deliver(&mut self) -> Vec<(usize, u32, Vec<Event>)> {
        let mut all = Vec::new();
        for index in 0..self.subscribed.len() {
            if self.subscribed[index].ready {
                let id = self.subscribed[index].topic;
                self.age(id);
                let topic = self.topic(id).expect("it was subscribed to").clone();
                let now = self.now;
                let one = &mut self.subscribed[index];
                let events = one.deliver(&topic, now);
                if !events.is_empty() {
                    all.push((one.session, one.number, events));
                }
            }
        }
        all
    }

    fn publish(&mut self, id: u8, records: &[Record]) -> Result<Answer, (RefusalCode, u64)> {
        self.age(id);
        let created = self.topic(id).is_none();
        let mut topic =
            self.topic(id).cloned().unwrap_or_else(|| Topic::new(self.defaults, self.first_offset));
        let settings = topic.settings;
        let cursors = self.cursors(id);
        topic.trim(&cursors);
        let (mut accepted, mut duplicates) = (Vec::new(), Vec::new());
        for (record, index) in records.iter().zip(0..) {
            let message = record.key.as_ref().map_or(0, Vec::len) + record.body.len();
            if message as u64 > self.max_message {
                return Err((RefusalCode::TooLarge, self.max_message));
            }
            if record.len() > settings.max_bytes {
                return Err((RefusalCode::TooLarge, settings.max_bytes));
            }
            if let Some(key) = record.key.as_ref().filter(|_| settings.window > 0) {
                let remembered: Vec<_> =
                    topic.keys.iter().filter(|one| self.now - one.accepted < one.window).collect();
                if let Some(original) = remembered.iter().find(|one| one.bytes == *key) {
                    duplicates.push((index, original.offset));
                    continue;
                }
                if remembered.len() as u64 >= settings.max_keys {
                    return Err((RefusalCode::KeysFull, settings.max_keys));
                }
                let offset = topic.end().saturating_add(accepted.len() as u64);
                let (bytes, accepted, window) = (key.clone(), self.now, settings.window);
                topic.keys.push(Key { bytes, accepted, offset, window });
            }
            accepted.push(record.clone());
        }
        let (count, bytes) = (accepted.len() as u64, accepted.iter().map(Record::len).sum::<u64>());
        if topic.end().checked_add(count).is_none_or(|end| end == u64::MAX) {
            return Err((RefusalCode::OffsetsExhausted, 0));
        }
        let first = (count > 0).then_some(topic.end());
        if count > 0 {
            // A publish never evicts its own records.
            if count > settings.max_messages {
                return Err((RefusalCode::TooLarge, settings.max_messages));
            }
            if bytes > settings.max_bytes {
                return Err((RefusalCode::TooLarge, settings.max_bytes));
            }
            if settings.reject {
                topic.make_way((count, bytes), &cursors, self.now)?;
            }
            for record in accepted {
                topic.log.push(Entry { timestamp: self.now, record, removed: false, hidden: false });
            }
            topic.trim(&cursors);
            topic.drop_oldest();
        }
        self.topics.retain(|(other, _)| *other != id);
        self.topics.push((id, topic));
        if count > 0 {
            self.wake(id);
        }
        Ok(Answer::Published { created, first, duplicates })
    }

    fn subscribe(
        &mut self,
        session: usize,
        number: u32,
        id: u8,
        start: Start,
        (window, window_bytes): (u32, u32),
    ) -> Result<Answer, (RefusalCode, u64)> {
        if self
            .subscribed
            .iter()
            .any(|one| one.session == session && (one.number == number || one.topic == id))
        {
            return Err((RefusalCode::AlreadySubscribed, 0));
        }
        let created = self.topic(id).is_none();
        if created {
            self.topics.push((id, Topic::new(self.defaults, self.first_offset)));
        }
        self.age(id);
        let topic = self.topic(id).expect("it exists by now");
        let end = topic.end();
        let start = match start {
            Start::Offset(offset) if offset >= end => offset,
            _ if topic.settings.ttl == 0 => end,
            Start::Latest => end,
            Start::Earliest => topic.first_for_newcomers(self.now, |_, _| true),
            Start::Offset(from) => topic.first_for_newcomers(self.now, |offset, _| offset >= from),
            Start::Time(time) => topic.first_for_newcomers(self.now, |_, entry| entry.timestamp >= time),
        };
        self.subscribed.push(Subscription {
            session,
            number,
            topic: id,
            window,
            window_bytes: u64::from(window_bytes),
            next: start,
            uncommitted: Vec::new(),
            last_delivered: None,
            ready: true,
            waiting: false,
        });
        Ok(Answer::Subscribed { created, start, end })
    }

    fn unsubscribe(&mut self, session: usize, number: u32) -> Result<Answer, (RefusalCode, u64)> {
        let index = self.subscribed.iter().position(|one| one.is(session, number));
        let one = self.subscribed.remove(index.ok_or((RefusalCode::NotSubscribed, 0))?);
        Ok(Answer::Unsubscribed { last: one.last_delivered })
    }

    fn commit(&mut self, session: usize, number: u32, offset: u64) -> Result<Answer, (RefusalCode, u64)> {
        let one = self.subscribed.iter_mut().find(|one| one.is(session, number));
        let one = one.ok_or((RefusalCode::NotSubscribed, 0))?;
        if one.window == 0 {
            return Err((RefusalCode::CommitsOff, 0));
        }
        if offset >= one.next {
            return Err((RefusalCode::CommitAhead, one.next));
        }
        one.uncommitted.retain(|(delivered, _)| *delivered > offset);
        one.ready = true;
        Ok(Answer::Done(one.cursor()))
    }

    fn create(&mut self, id: u8, options: &Options) -> Result<Answer, (RefusalCode, u64)> {
        let settings = self.defaults.with(options);
        settings.check()?;
        match self.topic(id).map(|topic| (topic.explicit, topic.settings)) {
            None => {
                let mut topic = Topic::new(settings, self.first_offset);
                topic.explicit = true;
                self.topics.push((id, topic));
                Ok(Answer::TopicReady(Ready::Created))
            }
            Some((true, existing)) if existing == settings => Ok(Answer::TopicReady(Ready::Unchanged)),
            Some((true, existing)) => Err((RefusalCode::SettingsDiffer, existing.difference(&settings))),
            Some((false, _)) => {
                self.change(id, settings);
                Ok(Answer::TopicReady(Ready::Adopted))
            }
        }
    }

    fn alter(&mut self, id: u8, options: &Options) -> Result<Answer, (RefusalCode, u64)> {
        let topic = self.topic(id).ok_or((RefusalCode::UnknownTopic, 0))?;
        let settings = topic.settings.with(options);
        settings.check()?;
        self.change(id, settings);
        Ok(Answer::Done(0))
    }

    /// New settings in place (R7).
    fn change(&mut self, id: u8, settings: Settings) {
        self.age(id);
        let (now, cursors) = (self.now, self.cursors(id));
        let Some((_, topic)) = self.topics.iter_mut().find(|(other, _)| *other == id) else {
            return;
        };
        let floor =
            if topic.settings.ttl == 0 { topic.end() } else { topic.first_for_newcomers(now, |_, _| true) };
        topic.trim(&cursors);
        let base = topic.base;
        for (entry, offset) in topic.log.iter_mut().zip(base..) {
            entry.hidden |= offset < floor;
        }
        for key in &mut topic.keys {
            key.window = key.window.min(settings.window);
        }
        topic.settings = settings;
        topic.explicit = true;
        topic.age(now);
        topic.drop_oldest();
        self.wake(id);
    }

    /// Who waits at the end of a topic looks again.
    fn wake(&mut self, id: u8) {
        for one in &mut self.subscribed {
            one.ready |= one.topic == id && one.waiting;
        }
    }

    fn age(&mut self, id: u8) {
        let now = self.now;
        for (_, topic) in self.topics.iter_mut().filter(|(other, _)| *other == id) {
            topic.age(now);
        }
    }

    fn topic(&self, id: u8) -> Option<&Topic> {
        self.topics.iter().find(|(other, _)| *other == id).map(|(_, topic)| topic)
    }

    fn cursors(&self, id: u8) -> Vec<u64> {
        self.subscribed.iter().filter(|one| one.topic == id).map(Subscription::cursor).collect()
    }
}

impl Subscription {
    fn is(&self, session: usize, number: u32) -> bool {
        self.session == session && self.number == number
    }

    /// R9: past a gap at the front the cursor moves by itself.
    fn cursor(&self) -> u64 {
        self.uncommitted.first().map_or(self.next, |(offset, _)| *offset)
    }

    fn deliver(&mut self, topic: &Topic, now: u64) -> Vec<Event> {
        let mut events = Vec::new();
        (self.ready, self.waiting) = (false, false);
        while self.window == 0 || self.uncommitted.len() < self.window as usize {
            if self.next >= topic.end() {
                self.waiting = true;
                break;
            }
            let live = topic.first_live(self.next, now);
            let to = live.map_or_else(|| topic.end(), |(offset, _)| offset);
            if to > self.next {
                let limit = self.next < topic.limit_end;
                events.push(Event::Gap { from: self.next, to, limit });
                self.next = to;
                continue;
            }
            let Some((offset, entry)) = live else { break };
            let used: u64 = self.uncommitted.iter().map(|(_, len)| len).sum();
            if !self.uncommitted.is_empty() && used + entry.record.len() > self.window_bytes {
                break;
            }
            let (timestamp, record) = (entry.timestamp, entry.record.clone());
            if self.window > 0 {
                self.uncommitted.push((offset, record.len()));
            }
            events.push(Event::Record { offset, timestamp, record });
            self.last_delivered = Some(offset);
            self.next = offset + 1;
        }
        events
    }
}

impl Record {
    /// Bytes of its layout.
    pub(crate) fn len(&self) -> u64 {
        let ttl = if self.ttl.is_some() { 8 } else { 0 };
        16 + ttl + (self.key.as_ref().map_or(0, Vec::len) + self.body.len()) as u64
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.as_ref().map(|key| String::from_utf8_lossy(key));
        write!(f, "{}x{:?} key {key:?} ttl {:?}", self.body.len(), self.body.first(), self.ttl)
    }
}

impl Settings {
    fn with(self, options: &Options) -> Self {
        Self {
            ttl: options.ttl.unwrap_or(self.ttl),
            window: options.window.unwrap_or(self.window),
            max_messages: options.max_messages.unwrap_or(self.max_messages),
            max_bytes: options.max_bytes.unwrap_or(self.max_bytes),
            reject: options.reject.unwrap_or(self.reject),
            max_keys: options.max_keys.unwrap_or(self.max_keys),
        }
    }

    /// A bit for each setting that differs, in the order of docs/protocol.md §6.2.
    fn difference(&self, other: &Self) -> u64 {
        let bit = |differs: bool, bit: u32| u64::from(differs) << bit;
        bit(self.ttl != other.ttl, 0)
            | bit(self.window != other.window, 1)
            | bit(self.max_messages != other.max_messages, 3)
            | bit(self.max_bytes != other.max_bytes, 4)
            | bit(self.reject != other.reject, 5)
            | bit(self.max_keys != other.max_keys, 6)
    }

    fn check(&self) -> Result<(), (RefusalCode, u64)> {
        let zero = |value: u64, bit: u32| u64::from(value == 0) << bit;
        match zero(self.max_messages, 3) | zero(self.max_bytes, 4) | zero(self.max_keys, 6) {
            0 => Ok(()),
            mask => Err((RefusalCode::InvalidSettings, mask)),
        }
    }
}
