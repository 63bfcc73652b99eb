//! Names of topics and durable subscriptions, and the numbers by which the model knows them.

use std::collections::BTreeMap;
use std::rc::Rc;

use zaichik_proto::TopicName;

use crate::model::words::{INVALID, durable_name, topic_name};

/// Known names. An unknown number stands for the name that scripts give it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    topics: Rc<Interned>,
    durables: Rc<Interned>,
}

#[derive(Debug, Clone, Default)]
struct Interned {
    names: Vec<String>,
    ids: BTreeMap<String, u32>,
}

impl Names {
    /// The number of a topic; [`INVALID`] if the name is not valid.
    pub(crate) fn topic_id(&mut self, name: &[u8]) -> u32 {
        TopicName::parse(name).map_or(INVALID, |name| intern(&mut self.topics, name.as_str()))
    }

    /// The number of a durable subscription's name.
    pub(crate) fn durable_id(&mut self, name: &str) -> u32 {
        intern(&mut self.durables, name)
    }

    /// The number of a topic whose name is known.
    pub(crate) fn find_topic(&self, name: &str) -> Option<u32> {
        self.topics.ids.get(name).copied()
    }

    /// The numbers of a topic and a durable subscription whose names are known.
    pub(crate) fn find(&self, topic: &str, durable: &str) -> Option<(u32, u32)> {
        Some((self.find_topic(topic)?, *self.durables.ids.get(durable)?))
    }

    pub(crate) fn topic(&self, id: u32) -> String {
        self.topics.names.get(id as usize).cloned().unwrap_or_else(|| topic_name(id))
    }

    pub(crate) fn durable(&self, id: u32) -> String {
        self.durables.names.get(id as usize).cloned().unwrap_or_else(|| durable_name(id))
    }
}

fn intern(interned: &mut Rc<Interned>, name: &str) -> u32 {
    if let Some(id) = interned.ids.get(name) {
        return *id;
    }
    let interned = Rc::make_mut(interned);
    let id = u32::try_from(interned.names.len()).expect("names are few");
    interned.names.push(name.to_owned());
    interned.ids.insert(name.to_owned(), id);
    id
}
