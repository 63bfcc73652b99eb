//! The keeper of a store that does what the test says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use zaichik_proto::AckLevel;
use zaichik_testkit::record;

use super::*;
use crate::server::stored::{Fault, Stored, Woken};

const HOUR: Duration = Duration::from_hours(1);

const FULL: &str = "refused Busy 1000000";

#[test]
fn b_50_a_store_with_nothing_but_its_reserve_makes_commits_and_publishes_are_refused() {
    for was_full in [true, false] {
        let mut stored = if was_full { Stored::with_fault(Fault::Reserve) } else { Stored::new() };
        let peer = stored.connect();
        if !was_full {
            let request = stored.publish(peer, "x");
            stored.fail(Fault::Reserve);
            stored.keep();
            assert_eq!(
                stored.answer(peer, request).as_deref(),
                Some("@0 new"),
                "the reserve has space for it"
            );
        }
        for _ in 0..2 {
            let request = stored.publish(peer, "y");
            stored.keep();
            assert_eq!(stored.answer(peer, request).as_deref(), Some(FULL));
        }
        stored.fail(None);
        assert!(
            matches!(stored.keep(), Step::Wait(time) if time <= TEND_EVERY),
            "it looks for space now and then"
        );
        let request = stored.publish(peer, "y");
        stored.keep();
        let expected = if was_full { "@0 new" } else { "@1" };
        assert_eq!(stored.answer(peer, request).as_deref(), Some(expected));
    }
}

fn is_tried_again(step: &Step) -> bool {
    matches!(step, Step::Wait(time) if *time <= RETRY)
}

#[test]
fn b_13_an_answer_leaves_when_the_store_has_the_record() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    let request = stored.publish(peer, "x");
    assert_eq!(stored.answer(peer, request), None);
    stored.keep();
    assert_eq!(stored.answer(peer, request).as_deref(), Some("@0 new"));
    assert!(stored.has_topic());
}

#[test]
fn b_15_what_waits_is_never_answered_when_the_store_fails() {
    for fault in [Fault::Failed, Fault::NotTended] {
        let mut stored = Stored::new();
        let (peer, idle) = (stored.connect(), stored.connect());
        let request = stored.publish(peer, "x");
        stored.fail(fault);
        assert_eq!(stored.keep(), Step::Over);
        assert!(stored.world.is_over(idle));
        assert!(stored.error().is_some());
        stored.assert_ended(peer, request);
    }
}

#[test]
fn b_15_a_store_that_panics_has_failed() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    let request = stored.publish(peer, "x");
    stored.fail(Fault::Panics);
    let mut keeper = stored.keeper.take().expect("it is not over");
    // As the thread does, it ends with its steps.
    let ended = catch_unwind(AssertUnwindSafe(move || keeper.step()));
    assert!(ended.is_err());
    stored.world.run();
    assert_eq!(stored.error(), Some(Panicked.to_string()));
    stored.assert_ended(peer, request);
}

#[test]
fn a_store_that_cannot_be_closed_has_failed() {
    let mut stored = Stored::new();
    stored.fail(Fault::NotClosed);
    stored.world.shared.drain(HOUR);
    assert_eq!(stored.keep(), Step::Over);
    assert_eq!(stored.error().as_deref(), Some("not closed"));
    assert!(stored.is_over());
}

#[test]
fn a_commit_without_space_is_tried_again_and_answered_when_there_is_some() {
    let mut stored = Stored::new();
    let (peer, reader) = (stored.connect(), stored.connect());
    let subscribe = zaichik_testkit::Sub::new(1, "t").window(9);
    stored.world.send(reader, |raw| raw.subscribe_to(subscribe));
    stored.keep();
    stored.world.peers[reader].read().take_stream();
    stored.fail(Fault::Full);
    let before = stored.state().tends;
    let request = stored.publish(peer, "x");
    for _ in 0..3 {
        assert!(is_tried_again(&stored.keep()));
        assert_eq!(stored.answer(peer, request), None);
    }
    // What comes meanwhile is refused, behind what waits on its connection.
    let next = stored.publish(peer, "y");
    let other = stored.connect();
    let third = stored.publish(other, "z");
    assert!(is_tried_again(&stored.keep()));
    assert_eq!(stored.answer(other, third).as_deref(), Some(FULL));
    stored.world.send(peer, |raw| raw.ping(5));
    assert_eq!(stored.world.peers[peer].read().take_control(), ["pong 5"], "the peer is not given up");
    assert!(stored.world.peers[reader].read().take_stream().is_empty());
    assert_eq!(stored.state().tends, before + 1, "nothing else is done while a commit waits");
    stored.fail(None);
    stored.keep();
    let answers = [request, next].map(|request| stored.answer(peer, request));
    assert_eq!(answers.map(Option::unwrap_or_default), ["@0", FULL]);
    assert_eq!(stored.world.peers[reader].read().take_stream(), ["1/0=x"]);
    let again = stored.publish(peer, "y");
    stored.keep();
    assert_eq!(stored.answer(peer, again).as_deref(), Some("@1"), "there is space");
    assert_eq!(stored.error(), None);
}

#[test]
fn b_16_the_last_commit_is_made_before_a_broker_counts_as_stopped() {
    for is_dropped in [false, true] {
        let mut stored = Stored::new();
        let peer = stored.connect();
        let commits = stored.state().commits;
        // Nobody waits for it.
        stored.world.send(peer, |raw| raw.publish_with("t", AckLevel::None, &[record(b"x")]));
        stored.world.tasks[peer + 1].future = None;
        if is_dropped {
            stored.world.shared.abandon();
        } else {
            stored.world.shared.drain(HOUR);
        }
        stored.world.run();
        assert!(!stored.is_over(), "the store is left");
        assert_eq!(stored.keep(), Step::Over);
        assert!(stored.is_over());
        assert!(stored.state().commits > commits && stored.state().is_closed);
        assert!(stored.has_topic());
        assert_eq!(stored.error(), None);
    }
}

#[test]
fn a_store_without_space_is_waited_for_until_the_grace_of_a_stop_is_over() {
    for has_connection in [true, false] {
        let mut stored = Stored::new();
        let peer = stored.connect();
        stored.fail(Fault::Full);
        let request = stored.publish(peer, "x");
        assert!(is_tried_again(&stored.keep()));
        stored.world.shared.drain(HOUR);
        if !has_connection {
            stored.world.peers.clear();
        }
        for _ in 0..3 {
            assert!(is_tried_again(&stored.keep()), "the grace is not over");
            assert!(!stored.is_over());
        }
        stored.world.shared.drain(Duration::ZERO);
        assert_eq!(stored.keep(), Step::Over);
        assert_eq!(stored.error().as_deref(), Some("the test said so"));
        assert!(!stored.state().is_closed);
        if has_connection {
            stored.assert_ended(peer, request);
        } else {
            assert!(stored.is_over());
        }
    }
}

#[test]
fn space_that_is_found_during_a_stop_ends_it_in_order() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    stored.fail(Fault::Full);
    let request = stored.publish(peer, "x");
    stored.world.shared.drain(HOUR);
    assert!(is_tried_again(&stored.keep()));
    stored.fail(None);
    assert_ne!(stored.keep(), Step::Over, "the peer has not closed");
    assert_eq!(stored.answer(peer, request).as_deref(), Some("@0 new"));
    stored.world.peers.clear();
    stored.world.run();
    assert_eq!(stored.keep(), Step::Over);
    assert!(stored.is_over() && stored.state().is_closed);
    assert_eq!(stored.error(), None);
}

#[test]
fn a_store_without_space_is_not_waited_for_once_nobody_needs_its_broker() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    stored.fail(Fault::Full);
    stored.publish(peer, "x");
    assert!(is_tried_again(&stored.keep()));
    stored.world.shared.drain(HOUR);
    stored.world.shared.abandon();
    assert_eq!(stored.keep(), Step::Over);
    assert!(stored.world.is_over(peer) && stored.is_over());
}

#[test]
fn a_commit_that_is_due_wakes_the_store() {
    let mut stored = Stored::new();
    let peer = stored.connect();
    let flag = Arc::new(Woken::default());
    let keeper = stored.keeper.as_ref().expect("it is not over");
    keeper.wake_with(&Waker::from(Arc::clone(&flag)));
    assert!(!flag.take());
    stored.publish(peer, "x");
    assert!(flag.take(), "somebody waits");
    stored.keep();
    stored.world.shared.drain(HOUR);
    stored.world.peers.clear();
    stored.world.run();
    assert!(flag.take(), "it closes the store now");
}
