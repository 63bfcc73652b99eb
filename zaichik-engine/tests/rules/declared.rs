//! Chapter T: topics that the program around the broker declares (rule T8).

use zaichik_engine::Declared;
use zaichik_proto::{CompactionMode, Refusal, TopicOptions};

use crate::world::{Sub, World, secs};

/// Declares a topic, and shows what it did.
fn declare(world: &mut World, name: &str, options: TopicOptions, alter: bool) -> String {
    let declared = world.declare(name, &options, alter);
    match declared {
        Ok(Declared::Unchanged) => "unchanged".to_owned(),
        Ok(Declared::Created) => "created".to_owned(),
        Ok(Declared::Adopted) => "adopted".to_owned(),
        Ok(Declared::Altered { changed }) => format!("altered {changed}"),
        Err(Refusal { code, value: 0, .. }) => format!("refused {code:?}"),
        Err(Refusal { code, value, .. }) => format!("refused {code:?} {value}"),
    }
}

#[test]
fn t_08_a_declared_topic_is_created_adopted_or_unchanged() {
    let mut world = World::with(|config| config.topic_defaults.max_messages = 100);
    let options = TopicOptions::new().retention_ttl(secs(10));
    assert_eq!(declare(&mut world, "new", options, false), "created");
    let peer = world.connect();
    world.ask(&peer, peer.publish("implicit", "a"));
    assert_eq!(declare(&mut world, "implicit", options, false), "adopted");
    // What is left out is compared as the broker's default.
    for name in ["new", "implicit"] {
        assert_eq!(declare(&mut world, name, options.max_messages(100), false), "unchanged");
        assert_eq!(world.ask(&peer, peer.create(name, options)), "unchanged");
    }
    assert_eq!(world.ask(&peer, peer.publish("new", "a")), "@0");
    assert_eq!(world.ask(&peer, peer.publish("implicit", "b")), "@1", "offsets stay");
    assert_eq!(world.broker.topic_count(), 2);
}

#[test]
fn t_09_other_settings_are_reported_and_applied_only_on_demand() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(10)).max_messages(5));
    for body in ["0", "1"] {
        world.publish(&peer, &[body]);
        world.advance(secs(5));
    }
    // Bit 0 is retention_ttl, bit 3 max_messages.
    let longer = TopicOptions::new().retain_forever().max_messages(6);
    let unchanged = TopicOptions::new().retention_ttl(secs(10)).max_messages(5);
    assert_eq!(declare(&mut world, "t", longer, false), "refused SettingsDiffer 9");
    assert_eq!(world.ask(&peer, peer.create("t", unchanged)), "unchanged");
    assert_eq!(declare(&mut world, "t", longer, true), "altered 9");
    assert_eq!(declare(&mut world, "t", longer, true), "unchanged");
    assert_eq!(world.ask(&peer, peer.create("t", longer)), "unchanged");
    assert_eq!(world.everything(), ["1/1=1"], "what expired before stays dead");
    // A setting that the declaration leaves out gets the broker's default.
    assert_eq!(declare(&mut world, "t", TopicOptions::new().retain_forever(), true), "altered 8");
}

/// What the new settings remove is a gap for a reader that has not reached it.
#[test]
fn t_09_altered_settings_reach_the_subscriptions() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t")));
    world.publish(&peer, &["0", "1", "2", "3"]);
    assert_eq!(
        declare(&mut world, "t", TopicOptions::new().retain_forever().max_messages(1), true),
        "altered 8"
    );
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..3 limit", "1/3=3"]);
}

#[test]
fn t_10_a_declaration_that_is_refused_changes_nothing() {
    let mut world = World::with(|config| config.max_topics = 2);
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&peer, &["a"]);
    for name in ["", "$x", "a\nb", &"n".repeat(256)] {
        assert_eq!(declare(&mut world, name, TopicOptions::new(), true), "refused InvalidTopic");
    }
    let zero = TopicOptions::new().max_keys(0);
    assert_eq!(declare(&mut world, "zero", zero, true), "refused InvalidSettings 64");
    // The mode can't change under records; nor does anything else of this declaration.
    let latest = TopicOptions::new().compaction(CompactionMode::Latest).max_messages(7);
    assert_eq!(declare(&mut world, "t", latest, true), "refused InvalidSettings 4");
    assert_eq!(world.ask(&peer, peer.create("t", TopicOptions::new().retain_forever())), "unchanged");
    assert_eq!(declare(&mut world, "second", TopicOptions::new(), false), "created");
    assert_eq!(declare(&mut world, "third", TopicOptions::new(), false), "refused TopicsFull 2");
    assert_eq!(declare(&mut world, "second", TopicOptions::new(), false), "unchanged");
    assert_eq!(world.broker.topic_count(), 2);
}

#[test]
fn t_11_a_declared_topic_is_stored_like_one_that_a_request_created() {
    let mut world = World::new();
    if world.stored.is_none() {
        world.begin_storing();
    }
    let options = TopicOptions::new().retention_ttl(secs(10)).max_messages(5);
    assert_eq!(declare(&mut world, "t", options, false), "created");
    assert_eq!(declare(&mut world, "u", options, false), "created");
    assert_eq!(declare(&mut world, "u", options.max_messages(6), true), "altered 8");
    // It is given to the store soon, and compared there.
    world.advance(secs(1));
    assert!(world.broker.next_commit().is_none(), "everything is stored");
    world.recover();
    assert_eq!(declare(&mut world, "t", options, false), "unchanged");
    assert_eq!(declare(&mut world, "u", options.max_messages(6), false), "unchanged");
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.create("t", options)), "unchanged");
}
