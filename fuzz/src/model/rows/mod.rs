//! Rows of the test table, run on the model alone to test the model itself.

mod batch;
mod compaction;
mod delivery;
mod durable;
mod members;
mod observed;
mod producer;

use std::collections::BTreeMap;

use zaichik_proto::{AckLevel, Producer, RefusalCode};

use crate::model::broker::Model;
use crate::model::group::Member;
use crate::model::words::{
    Answer, Bounds, Durable, Event, FOREVER, Operation, Options, Record, Request, Settings, Start, Subscribe,
    Target,
};

/// The model, with short methods for requests; events of subscriptions are kept until they are taken.
struct World {
    model: Model,
    got: BTreeMap<(u64, u32), Vec<String>>,
}

const KEEP: Settings = Settings {
    ttl: FOREVER,
    window: 0,
    latest: false,
    max_messages: FOREVER,
    max_bytes: FOREVER,
    reject: false,
    max_keys: FOREVER,
    tombstone_ttl: 100,
};

const BOUNDS: Bounds = Bounds {
    first_offset: 0,
    max_message: 1_000,
    max_topics: 10,
    max_subscriptions: 10,
    max_window: 1_024,
    max_window_size: 1 << 20,
    max_durables: 10,
    inactive_ttl: 100,
    max_producers: 2,
    producer_ttl: 100,
};

/// A subscription with number 1 to topic 0 from the earliest on.
const PLAIN: Subscribe = Subscribe {
    number: 1,
    topic: 0,
    start: Start::Earliest,
    window: 1,
    window_bytes: 1 << 20,
    max_attempts: 0,
    dead_letter: None,
    durable: None,
};

/// The same, durable, of name 0.
const DURABLE: Subscribe =
    Subscribe { durable: Some(Durable { name: 0, reject: false, epoch: 0, inactive_ttl: 0 }), ..PLAIN };

impl World {
    fn new(defaults: Settings) -> Self {
        Self { model: Model::new(defaults, BOUNDS), got: BTreeMap::new() }
    }

    fn at(&mut self, now: u64) {
        self.model.tick(now);
        self.model.housekeep();
        self.deliver();
    }

    fn ask(&mut self, session: u64, request: &Request) -> Answer {
        let answer = self.model.request(session, request);
        self.deliver();
        answer
    }

    fn deliver(&mut self) {
        for (session, number, epoch) in std::mem::take(&mut self.model.notices) {
            self.got.entry((session, number)).or_default().push(show(&Event::Fenced { epoch }));
        }
        for index in 0..self.model.subscriptions.len() {
            let one = &self.model.subscriptions[index];
            let (Some(holder), true, None) = (one.holder, one.ready, one.pause) else { continue };
            let events = self.model.due(index);
            self.got.entry(holder).or_default().extend(events.iter().map(show));
        }
        for index in 0..self.model.groups.len() {
            let id = self.model.groups[index].topic;
            self.model.age(id);
            let topic = std::rc::Rc::clone(&self.model.topics[&id]);
            while let Some((member, event)) = self.model.groups[index].due(&topic, self.model.now) {
                let Member { session, number, .. } = self.model.groups[index].members[member];
                self.model.follow(session, number, &event).expect("it is due");
                self.got.entry((session, number)).or_default().push(show(&event));
            }
        }
    }

    fn disconnect(&mut self, session: u64) {
        self.model.disconnect(session, false);
        self.deliver();
    }

    /// Takes the events that a subscription received.
    fn took(&mut self, session: u64, number: u32) -> Vec<String> {
        self.got.remove(&(session, number)).unwrap_or_default()
    }

    /// Publishes a record for each body.
    fn publish(&mut self, topic: u32, bodies: &[&str]) -> Answer {
        self.publish_records(topic, bodies.iter().map(|body| record(None, body)).collect())
    }

    fn publish_records(&mut self, topic: u32, records: Vec<Record>) -> Answer {
        self.ask(9, &Request::Publish { ack: AckLevel::Accepted, producer: None, topic, records })
    }

    fn publish_as(&mut self, producer: (u128, u32, u64), topic: u32, records: Vec<Record>) -> Answer {
        let (id, epoch, sequence) = producer;
        let producer = Some(Producer { id, epoch, sequence });
        self.ask(9, &Request::Publish { ack: AckLevel::Accepted, producer, topic, records })
    }

    fn batch(&mut self, session: u64, operations: Vec<Operation>) -> Answer {
        self.ask(session, &Request::Batch { ack: AckLevel::Accepted, producer: None, operations })
    }

    fn subscribe(&mut self, session: u64, subscribe: Subscribe) -> Answer {
        self.ask(session, &Request::Subscribe(subscribe))
    }

    fn commit(&mut self, session: u64, offset: u64) -> Answer {
        self.ask(session, &Request::Commit { number: 1, offset, rewind: None })
    }

    fn nack(&mut self, session: u64, offset: u64, delay: u64) -> Answer {
        self.ask(session, &Request::Nack { number: 1, offset, delay })
    }

    fn alter(&mut self, topic: u32, options: Options) -> Answer {
        self.ask(9, &Request::Alter { topic, options })
    }

    fn seek(&mut self, session: u64, target: Target, to: Start) -> Answer {
        self.ask(session, &Request::Seek { target, to })
    }
}

fn record(key: Option<&str>, body: &str) -> Record {
    let key = key.map(|key| key.as_bytes().to_vec());
    Record { key, body: body.as_bytes().to_vec(), ..Record::default() }
}

fn tombstone(key: &str) -> Record {
    Record { tombstone: true, ..record(Some(key), "") }
}

const fn refused(code: RefusalCode, value: u64) -> Answer {
    Answer::Refused { code, value, operation: 0 }
}

fn refused_for(code: RefusalCode, value: u64) -> Answer {
    Answer::RefusedFor(vec![(code, value)])
}

const fn published(first: u64) -> Answer {
    Answer::Published { created: false, first: Some(first), duplicates: Vec::new() }
}

const fn subscribed(epoch: u32, rewind: u32, start: u64, end: u64) -> Answer {
    Answer::Subscribed { epoch, rewind, created: false, start, end }
}

/// `offset body`, and `attempt` and `rewind` if they are not 1 and 0.
fn show(event: &Event) -> String {
    match event {
        Event::Record { rewind, attempt, offset, record, .. } => {
            let body = if record.tombstone { "gone".into() } else { String::from_utf8_lossy(&record.body) };
            let again =
                if (*rewind, *attempt) == (0, 1) { String::new() } else { format!(" {attempt}/{rewind}") };
            format!("{offset} {body}{again}")
        }
        Event::Gap { from, to, limit, .. } => {
            format!("{from}..{to} {}", if *limit { "limit" } else { "expired" })
        }
        Event::Fenced { epoch } => format!("fenced {epoch}"),
    }
}
