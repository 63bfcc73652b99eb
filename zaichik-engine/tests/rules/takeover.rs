//! Chapter D: who holds a durable subscription: takeovers, epochs and fenced holders (rule D3).

use zaichik_proto::Start;

use crate::durable::{attach, leave, topic};
use crate::world::{Sub, World, secs};

#[test]
fn d_03_a_second_attach_takes_over_and_the_old_one_has_no_effect() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a", "b"]);
    let (old, _) = attach(&mut world, 1);
    assert_eq!(old.stream(), ["1/0=a"]);
    let (new, answer) = attach(&mut world, 1);
    assert_eq!(answer, "0..2 epoch 2 rewind 1");
    assert_eq!(old.stream(), ["1 fenced by 2"]);
    assert_eq!(new.stream(), ["1/0=a #2"]);
    for request in [old.commit(1, 0), old.nack(1, 0, 0), old.unsubscribe(1), old.seek(1, Start::Latest)] {
        assert_eq!(world.ask(&old, request), "refused SubscriptionFenced 2");
    }
    assert_eq!(world.ask(&new, new.commit(1, 0)), "done 1", "the old connection's requests had no effect");
    assert_eq!(new.stream(), ["1/1=b"]);
    leave(&mut world, &old);
    world.publish(&writer, &["c"]);
    assert_eq!(world.ask(&new, new.commit(1, 1)), "done 2", "nor had the end of the old connection");
    assert_eq!(new.stream(), ["1/2=c"]);
    assert_eq!(world.broker.stats().takeovers, 1);
}

#[test]
fn d_03_no_frame_of_the_subscription_follows_fenced() {
    let mut world = World::new();
    let writer = topic(&mut world, &[]);
    let (old, _) = attach(&mut world, 9);
    old.stop_reading();
    world.publish(&writer, &["a", "b"]);
    let (new, _) = attach(&mut world, 9);
    world.publish(&writer, &["c"]);
    old.resume_reading();
    world.settle();
    assert_eq!(old.stream(), ["1/0=a", "1/1=b", "1 fenced by 2"]);
    assert_eq!(new.stream(), ["1/0=a #2", "1/1=b #2", "1/2=c"]);
}

#[test]
fn d_03_a_fenced_number_can_be_reused() {
    let mut world = World::with(|config| config.wire.max_subscriptions = 2);
    topic(&mut world, &["a"]);
    let (old, _) = attach(&mut world, 1);
    let (new, _) = attach(&mut world, 1);
    assert_eq!(old.stream(), ["1/0=a", "1 fenced by 2"]);
    assert_eq!(world.ask(&old, old.subscribe(2, "t")), "0..1");
    assert_eq!(
        world.ask(&old, old.subscribe(3, "u")),
        "refused SubscriptionsFull 2",
        "a fenced number counts against the limit"
    );
    assert_eq!(world.ask(&old, old.subscribe(1, "u")), "0..0 new");
    assert_eq!(world.ask(&old, old.commit(1, 0)), "refused CommitAhead");
    assert_eq!(world.ask(&new, new.commit(1, 0)), "done 1");
}

#[test]
fn d_04_an_attach_without_takeover_is_refused() {
    let mut world = World::new();
    topic(&mut world, &["a", "b"]);
    let (first, _) = attach(&mut world, 1);
    let second = world.connect();
    let polite = Sub::new(1, "t").durable("d").reject();
    // An epoch above the current one belongs to a holder that the broker has forgotten.
    for epoch in [0, 2] {
        let answer = world.ask(&second, second.subscribe_to(polite.epoch(epoch)));
        assert_eq!(answer, "refused SubscriptionHeld", "{epoch}");
    }
    assert_eq!(world.ask(&first, first.commit(1, 0)), "done 1");
    assert_eq!(first.stream(), ["1/0=a", "1/1=b"]);
    leave(&mut world, &first);
    assert_eq!(world.ask(&second, second.subscribe_to(polite)), "1..2 epoch 2 rewind 1");
}

#[test]
fn d_08_a_fenced_client_stays_fenced() {
    let mut world = World::new();
    topic(&mut world, &["a"]);
    let (old, _) = attach(&mut world, 1);
    let (new, _) = attach(&mut world, 1);
    leave(&mut world, &old);
    let again = world.connect();
    let sub = Sub::new(1, "t").durable("d").epoch(1);
    for _ in 0..3 {
        assert_eq!(world.ask(&again, again.subscribe_to(sub)), "refused SubscriptionFenced 2");
    }
    assert_eq!(new.stream(), ["1/0=a #2"], "no ping-pong");
    leave(&mut world, &new);
    assert_eq!(
        world.ask(&again, again.subscribe_to(sub)),
        "refused SubscriptionFenced 2",
        "even when no connection holds it"
    );
    assert_eq!(world.ask(&again, again.subscribe_to(sub.epoch(2))), "0..1 epoch 3 rewind 2");
}

#[test]
fn d3_the_holder_itself_reattaches_before_its_old_connection_is_gone() {
    let mut world = World::new();
    topic(&mut world, &["a"]);
    let (old, _) = attach(&mut world, 1);
    let back = world.connect();
    let sub = Sub::new(1, "t").durable("d").reject().epoch(1);
    assert_eq!(world.ask(&back, back.subscribe_to(sub)), "0..1 epoch 2 rewind 1");
    assert_eq!(old.stream(), ["1/0=a", "1 fenced by 2"]);
}

#[test]
fn d3_the_holder_may_reattach_although_the_answer_to_its_last_attach_was_lost() {
    let mut world = World::new();
    topic(&mut world, &["a", "b"]);
    let (first, _) = attach(&mut world, 1);
    leave(&mut world, &first);
    let own = Sub::new(1, "t").durable("d").reject().epoch(1);
    for epoch in 2..5 {
        // Each time the connection breaks before the client receives its new epoch.
        let again = world.connect();
        let expected = format!("0..2 epoch {epoch} rewind {}", epoch - 1);
        assert_eq!(world.ask(&again, again.subscribe_to(own)), expected);
        leave(&mut world, &again);
    }
    let (other, answer) = attach(&mut world, 1);
    assert_eq!(answer, "0..2 epoch 5 rewind 4");
    for epoch in 1..5 {
        let again = world.connect();
        let late = again.subscribe_to(own.epoch(epoch));
        assert_eq!(world.ask(&again, late), "refused SubscriptionFenced 5", "epoch {epoch}");
    }
    assert_eq!(world.ask(&other, other.commit(1, 0)), "done 1");
    let mut unheard = own.epoch(9);
    for epoch in [10, 11] {
        // The broker had forgotten that the client once had this epoch; it continues from there, twice.
        let again = world.connect();
        unheard = unheard.durable("new").reject().epoch(9);
        let answer = world.ask(&again, again.subscribe_to(unheard));
        assert_eq!(answer, format!("0..2 epoch {epoch} rewind {}", epoch - 10));
    }
}

#[test]
fn d3_epochs_never_fall() {
    let mut world = World::new();
    topic(&mut world, &["a"]);
    let peer = world.connect();
    // The broker had removed it meanwhile.
    assert_eq!(
        world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").durable("d").epoch(7))),
        "0..1 epoch 8 rewind 0"
    );
    let other = world.connect();
    let later = Sub::new(1, "t").durable("d").epoch(20);
    assert_eq!(world.ask(&other, other.subscribe_to(later)), "0..1 epoch 21 rewind 1");
}

#[test]
fn s5_a_fenced_client_receives_fenced_before_a_draining_broker_closes() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a"]);
    let (old, _) = attach(&mut world, 1);
    let new = world.connect();
    world.ask(&new, new.subscribe(2, "u"));
    world.ask(&writer, writer.publish("u", "x"));
    world.drain(secs(10));
    world.settle();
    assert!(!old.is_closed() && !new.is_closed(), "both have an uncommitted record");
    // Nothing but its Fenced is outstanding for the old holder now.
    assert_eq!(world.ask(&new, new.subscribe_to(Sub::new(1, "t").durable("d"))), "0..1 epoch 2 rewind 1");
    assert_eq!(old.stream(), ["1/0=a", "1 fenced by 2"]);
    assert!(old.is_closed());
    world.ask(&new, new.commit(2, 0));
    world.ask(&new, new.commit(1, 0));
    assert!(new.is_closed());
}

#[test]
fn d3_an_epoch_too_large_to_be_continued_is_refused() {
    let mut world = World::new();
    topic(&mut world, &["a"]);
    let sub = Sub::new(1, "t").durable("d");
    for epoch in [u32::MAX, u32::MAX - 1, (1 << 31) + 1] {
        let peer = world.connect();
        assert_eq!(world.ask(&peer, peer.subscribe_to(sub.epoch(epoch))), "refused EpochTooLarge");
    }
    // It left nothing behind, and fencing works.
    let (old, answer) = attach(&mut world, 1);
    assert_eq!(answer, "0..1 epoch 1 rewind 0");
    let (_new, answer) = attach(&mut world, 1);
    assert_eq!(answer, "0..1 epoch 2 rewind 1");
    assert_eq!(old.stream(), ["1/0=a", "1 fenced by 2"]);
    let again = world.connect();
    assert_eq!(
        world.ask(&again, again.subscribe_to(sub.epoch(u32::MAX).reject())),
        "refused EpochTooLarge 2"
    );
    assert_eq!(world.ask(&again, again.subscribe_to(sub.epoch(1 << 31))), "0..1 epoch 2147483649 rewind 2");
    // The holder's own range goes beyond the bound.
    let own = world.connect();
    assert_eq!(world.ask(&own, own.subscribe_to(sub.epoch((1 << 31) + 1))), "0..1 epoch 2147483650 rewind 3");
}
