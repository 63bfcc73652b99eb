//! Rule G9: acknowledgements in a batch.

use zaichik_proto::{Overflow, Start, TopicOptions, Version};

use crate::shared::{G, member, topic};
use crate::world::{Op, World, put};

#[test]
fn g_10_a_batch_with_an_offset_that_is_not_held_has_no_effect() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c", "d"]);
    let one = member(&mut world, G.window(3));
    assert_eq!(one.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    let refused = [
        (vec![Op::Ack(1, &[(0, 1)]), put("t", "x"), Op::Ack(1, &[(2, 2)])], "refused NotHeld 3 at 2"),
        (vec![Op::Ack(1, &[(0, 1), (0, 1)])], "refused NotHeld"),
        (vec![Op::Ack(1, &[(1, 2)]), Op::Ack(1, &[(0, 2)])], "refused NotHeld 1 at 1"),
        (vec![Op::Ack(1, &[(0, 2)]), Op::Ack(1, &[(1, 1)])], "refused NotHeld 1 at 1"),
        (vec![put("t", "x"), Op::Commit(1, 0)], "refused CommitShared at 1"),
        (vec![put("t", "x"), Op::Ack(9, &[(0, 1)])], "refused NotSubscribed at 1"),
    ];
    for (operations, expected) in refused {
        assert_eq!(world.ask(&one, one.batch(&operations)), expected);
        assert!(one.stream().is_empty(), "{expected}");
    }
    let described = "0..3 of 4, 3 in flight, 0 waiting, 0 blocked, peer 3/3";
    assert_eq!(world.ask(&one, one.describe_shared("t", "g")), described);
    assert_eq!(world.ask(&one, one.batch(&[Op::Ack(1, &[(0, 1), (2, 1)]), put("t", "e")])), "batched 1@4");
    assert_eq!(one.stream(), ["1/3=d", "1/4=e"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(0, 5)])), "acked to 5 not 0..1 2..3");
}

#[test]
fn g_10_a_refused_batch_names_the_first_offset_that_is_not_held() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c"]);
    let one = member(&mut world, G.window(3));
    assert_eq!(one.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(1, 1)])), "acked to 0");
    let operations = [Op::Ack(1, &[(2, 1)]), Op::Ack(1, &[(0, 3)])];
    assert_eq!(world.ask(&one, one.batch(&operations)), "refused NotHeld 1 at 1");
}

/// Rules G4 and X1.
#[test]
fn g9_publishes_find_the_room_that_acknowledgements_of_their_batch_make() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(3).overflow(Overflow::Reject);
    let writer = world.topic(options);
    let one = member(&mut world, G.window(3));
    world.publish(&writer, &["a", "b", "c"]);
    assert_eq!(one.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    world.ask(&one, one.ack(1, &[(1, 1)]));
    assert_eq!(world.ask(&one, one.batch(&[put("t", "d"), Op::Ack(1, &[(0, 1)])])), "refused TopicFull");
    let operations = [Op::Ack(1, &[(0, 1)]), put("t", "d"), put("t", "e")];
    assert_eq!(world.ask(&one, one.batch(&operations)), "batched 1@3 2@4");
    assert_eq!(one.stream(), ["1/3=d", "1/4=e"]);
}

/// Rules G9 and G13.
#[test]
fn g9_a_batch_from_before_a_seek_is_refused() {
    let mut world = World::new();
    topic(&mut world, &["a"]);
    let one = member(&mut world, G);
    assert_eq!(one.stream(), ["1/0=a"]);
    let batch = one.batch(&[Op::Ack(1, &[(0, 1)])]);
    let late = one.unsent();
    let other = world.connect_as(Version::Two);
    assert_eq!(world.ask(&other, other.seek_durable("t", "g", Start::Earliest)), "done 1");
    assert_eq!(one.stream(), ["1/0=a"]);
    one.send_bytes(&late);
    assert_eq!(world.ask(&one, batch), "refused NotHeld");
    assert_eq!(world.ask(&one, one.batch(&[Op::Ack(1, &[(0, 1)])])), "batched");
}
