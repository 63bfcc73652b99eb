//! The naive model: it keeps every record for ever in a list and answers every question with a scan.
//!
//! Obvious rather than fast: nothing is indexed, nothing is freed, a publish works on a copy of its topic. It shares
//! no code with the engine; what they have in common is semantics.md's rules O, T, R, C1 to C5, C9 and A1 to A3.

use zaichik_proto::RefusalCode;

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

#[derive(Debug, Clone)]
struct Topic {
    settings: Settings,
    explicit: bool,
    base: u64,
    /// Every record ever accepted; the first one has the offset `base`.
    log: Vec<Entry>,
    /// Every key ever accepted.
    keys: Vec<Key>,
    /// The offset after the highest one that a limit removed.
    limit_end: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    timestamp: u64,
    record: Record,
    /// Gone for everybody: by the topic's time to live, by a limit, or because nobody is left who wants it.
    removed: bool,
    /// Not for newcomers: it was dead when settings changed.
    hidden: bool,
}

#[derive(Debug, Clone)]
struct Key {
    bytes: Vec<u8>,
    accepted: u64,
    offset: u64,
    /// The smallest window in force since.
    window: u64,
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

impl Topic {
    fn new(settings: Settings, base: u64) -> Self {
        Self { settings, explicit: false, base, log: Vec::new(), keys: Vec::new(), limit_end: 0 }
    }

    fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    /// R1: a record expires at the instant, and stays expired whatever the settings become. One that expired by
    /// itself is gone as soon as everything before it is.
    fn age(&mut self, now: u64) {
        let ttl = self.settings.ttl;
        for entry in &mut self.log {
            entry.removed |= ttl > 0 && entry.timestamp.saturating_add(ttl) <= now && ttl != FOREVER;
        }
        for entry in &mut self.log {
            if !entry.removed && !entry.expired_by_itself(now) {
                break;
            }
            entry.removed = true;
        }
    }

    /// R2: with `retention_ttl = 0` a record is kept for the subscriptions there are.
    fn trim(&mut self, cursors: &[u64]) {
        if self.settings.ttl == 0 {
            for (entry, offset) in self.log.iter_mut().zip(self.base..) {
                entry.removed |= cursors.iter().all(|cursor| *cursor > offset);
            }
        }
    }

    /// R5, `reject`: removes from the oldest on, only as far as needed.
    fn make_way(&mut self, need: (u64, u64), cursors: &[u64], now: u64) -> Result<(), (RefusalCode, u64)> {
        while self.is_over(need) {
            let base = self.base;
            let oldest = self.log.iter_mut().zip(base..).find(|(entry, _)| !entry.removed);
            let (entry, offset) = oldest.ok_or((RefusalCode::TopicFull, 0))?;
            let committed = !cursors.is_empty() && cursors.iter().all(|cursor| *cursor > offset);
            if !committed && !entry.expired_by_itself(now) {
                return Err((RefusalCode::TopicFull, 0));
            }
            entry.removed = true;
        }
        Ok(())
    }

    /// R5, `drop_oldest`.
    fn drop_oldest(&mut self) {
        while !self.settings.reject && self.is_over((0, 0)) {
            let oldest = self.log.iter_mut().zip(self.base..).find(|(entry, _)| !entry.removed);
            let (entry, offset) = oldest.expect("nothing is not too much");
            entry.removed = true;
            self.limit_end = offset + 1;
        }
    }

    fn is_over(&self, (count, bytes): (u64, u64)) -> bool {
        let kept: Vec<_> = self.log.iter().filter(|entry| !entry.removed).collect();
        let kept_bytes: u64 = kept.iter().map(|entry| entry.record.len()).sum();
        kept.len() as u64 + count > self.settings.max_messages || kept_bytes + bytes > self.settings.max_bytes
    }

    /// R3: the first live record that is acceptable; the end if there is none.
    fn first_for_newcomers(&self, now: u64, accepts: impl Fn(u64, &Entry) -> bool) -> u64 {
        let mut all = self.log.iter().zip(self.base..);
        let found =
            all.find(|(entry, offset)| entry.is_live(now) && !entry.hidden && accepts(*offset, entry));
        found.map_or_else(|| self.end(), |(_, offset)| offset)
    }

    fn first_live(&self, from: u64, now: u64) -> Option<(u64, &Entry)> {
        let mut all = self.log.iter().zip(self.base..);
        all.find(|(entry, offset)| *offset >= from && entry.is_live(now))
            .map(|(entry, offset)| (offset, entry))
    }
}

impl Entry {
    fn is_live(&self, now: u64) -> bool {
        !self.removed && !self.expired_by_itself(now)
    }

    /// R8.
    fn expired_by_itself(&self, now: u64) -> bool {
        self.record.ttl.is_some_and(|ttl| self.timestamp.saturating_add(ttl) <= now)
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
