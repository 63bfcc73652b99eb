//! Rule S17: the versions of the protocol, and rules P3 and P4 where version 2 says more.

use zaichik_proto::{AckLevel, ClientFrame, Producer, Shard, TopicOptions, Version};

use crate::world::{World, put, record};

const fn seq(sequence: u64) -> Producer {
    Producer { id: 7, epoch: 0, sequence }
}

#[test]
fn s17_each_connection_speaks_its_own_version() {
    let mut world = World::new();
    let old = world.topic(TopicOptions::new().retain_forever());
    let new = world.connect_as(Version::Two);
    let bodies = [record(b"x")];
    for peer in [&old, &new] {
        let request = peer.publish_as(Some(seq(1)), "t", AckLevel::Accepted, &bodies);
        let expected = if peer.rewind(1).is_some() { "@0 again" } else { "@0" };
        assert_eq!(world.ask(peer, request), expected);
    }
    // Only version 2 says that an answer is a repeated one, and only with a field that version 1 does not have.
    let lengths = [&old, &new].map(|peer| {
        let request = peer.publish_as(Some(seq(1)), "t", AckLevel::Accepted, &bodies);
        peer.frames();
        world.ask(peer, request);
        peer.frames()
    });
    assert_eq!(lengths, [[(0x44, 17)], [(0x44, 18)]]);
}

#[test]
fn s17_a_shard_is_refused_until_there_are_shards() {
    let mut world = World::new();
    let new = world.connect_as(Version::Two);
    let request = new.request(|request| ClientFrame::Shard(Shard { request, shard: 1 }));
    assert_eq!(world.ask(&new, request), "refused Unsupported");
    let request = new.create("t", TopicOptions::new());
    assert_eq!(world.ask(&new, request), "created", "the connection is usable");
    new.send_bytes(&[0, 0, 0, 0, 0x11, 0, 0, 0]);
    world.settle();
    assert!(new.control().iter().any(|frame| frame.contains("Unsupported")), "a Proof ends the connection");
}

#[test]
fn p3_version_2_says_that_an_answer_is_repeated() {
    let mut world = World::with(|config| config.wire.max_message = 64);
    let old = world.topic(TopicOptions::new().retain_forever());
    let new = world.connect_as(Version::Two);
    let long = [0; 65];
    for (round, again) in [" again", " again"].into_iter().enumerate() {
        let again = if round == 0 { "" } else { again };
        let publish = new.publish_as(Some(seq(1)), "t", AckLevel::Accepted, &[record(b"x")]);
        assert_eq!(world.ask(&new, publish), format!("@0{again}"));
        let batch = new.batch_as(seq(2), &[put("t", "y")]);
        assert_eq!(world.ask(&new, batch), format!("batched 0@1{again}"));
        let refused = new.publish_as(Some(seq(3)), "t", AckLevel::Accepted, &[record(&long)]);
        assert_eq!(world.ask(&new, refused), format!("refused TooLarge 64{again}"));
    }
    // Refusals that are no stored answers are not repeated ones.
    let gap = new.publish_as(Some(seq(9)), "t", AckLevel::Accepted, &[record(b"x")]);
    assert_eq!(world.ask(&new, gap), "refused SequenceGap 4");
    assert_eq!(world.ask(&old, old.batch_as(seq(2), &[])), "batched 0@1");
}

#[test]
fn p3_an_empty_batch_asks_what_became_of_a_sequence() {
    let mut world = World::new();
    let old = world.topic(TopicOptions::new().retain_forever());
    let new = world.connect_as(Version::Two);
    let publish = new.publish_as(Some(seq(1)), "t", AckLevel::Accepted, &[record(b"x")]);
    assert_eq!(world.ask(&new, publish), "@0");
    assert_eq!(world.ask(&new, new.batch_as(seq(1), &[])), "@0 again", "it was stored");
    assert_eq!(world.ask(&old, old.batch_as(seq(1), &[])), "refused SequenceTooOld", "version 1 is frozen");
    // A sequence that was not used is used by it: the late request is not stored.
    assert_eq!(world.ask(&new, new.batch_as(seq(2), &[])), "batched");
    let late = old.publish_as(Some(seq(2)), "t", AckLevel::Accepted, &[record(b"late")]);
    assert_eq!(world.ask(&old, late), "refused SequenceTooOld");
    assert_eq!(world.ask(&new, new.batch_as(seq(2), &[])), "batched again");
    assert_eq!(world.everything(), ["1/0=x"]);
}
