//! A broker with the topic "topic", and the requests of these tests.

use bytes::BytesMut;
use zaichik_proto::{AckLevel, ClientFrame, Commit, Record, TopicOptions};
use zaichik_testkit::{BODY, Connections, publish_equal};

/// A broker with the topic "topic".
pub(crate) fn with_topic(options: TopicOptions) -> Connections {
    let mut world = Connections::new();
    let creator = world.connect();
    world.create(creator, "topic", options);
    world
}

/// A new connection that subscribes to the topic.
pub(crate) fn subscriber(world: &mut Connections, window: u32) -> usize {
    let index = world.connect();
    world.subscribe(index, "topic", window);
    index
}

pub(crate) fn publish(ack: AckLevel) -> BytesMut {
    publish_equal("topic", ack, 1, None)
}

pub(crate) fn record() -> Vec<u8> {
    let mut bytes = Vec::new();
    Record { body: &BODY, ..Record::default() }.encode(&mut bytes);
    bytes
}

pub(crate) const fn commit(offset: u64) -> ClientFrame<'static> {
    ClientFrame::Commit(Commit { request: 1, subscription: 1, offset, rewind: None, quiet: true })
}
