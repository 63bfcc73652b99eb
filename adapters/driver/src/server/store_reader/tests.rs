//! What reads from a store that does what the test says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::server::stored::{Fault, Stored, Woken};
use crate::server::storekeeper;

/// Records that fill a chunk each.
fn bodies() -> Vec<String> {
    (0..6).map(|number| format!("{number}").repeat(60_000)).collect()
}

/// Both threads do what there is to do; returns the bodies that a peer has received.
fn read_all(stored: &mut Stored, reader: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..9 {
        assert_eq!(stored.fetch(), Step::Wait);
        stored.keep();
        bodies.append(&mut stored.received(reader));
    }
    bodies
}

#[test]
fn b8_records_are_read_back_while_a_commit_has_no_space() {
    let mut stored = Stored::with_cold(&bodies());
    let (writer, reader) = (stored.connect(), stored.connect());
    stored.subscribe(reader);
    assert!(stored.received(reader).is_empty(), "they are only in the store");
    stored.fail(Fault::Full);
    let request = stored.publish(writer, "x");
    assert!(matches!(stored.keep(), storekeeper::Step::Wait(_)));
    assert_eq!(stored.fetch(), Step::Wait);
    assert!(stored.state().fetches > 3, "what is needed, and what follows it");
    assert_eq!(stored.answer(writer, request), None, "the commit is still under way");
    stored.fail(None);
    stored.keep();
    assert_eq!(stored.answer(writer, request).as_deref(), Some("@6"));
    assert_eq!(read_all(&mut stored, reader), [bodies(), vec!["x".to_owned()]].concat());
}

#[test]
fn b8_a_commit_is_made_while_records_are_read_back() {
    let mut stored = Stored::with_cold(&bodies());
    let (writer, reader) = (stored.connect(), stored.connect());
    stored.subscribe(reader);
    let request = stored.publish(writer, "x");
    stored.keep();
    assert_eq!(stored.answer(writer, request).as_deref(), Some("@6"));
    assert!(stored.received(reader).is_empty(), "nothing was read back yet");
}

#[test]
fn b_15_what_waits_is_never_answered_when_records_cannot_be_read_back() {
    let mut stored = Stored::with_cold(&bodies());
    let (writer, reader) = (stored.connect(), stored.connect());
    stored.subscribe(reader);
    let request = stored.publish(writer, "x");
    let commits = stored.state().commits;
    stored.fail(Fault::NotFetched);
    assert_eq!(stored.fetch(), Step::Over);
    assert_eq!(stored.keep(), storekeeper::Step::Over);
    assert_eq!(stored.error().as_deref(), Some("not fetched"));
    let state = stored.state();
    assert!(state.commits == commits && !state.is_closed, "what failed is left as it is");
    drop(state);
    stored.assert_ended(writer, request);
}

#[test]
fn b_15_a_store_that_panics_when_it_is_read_has_failed() {
    let mut stored = Stored::with_cold(&bodies());
    let reader = stored.connect();
    stored.subscribe(reader);
    stored.fail(Fault::FetchPanics);
    let mut fetching = stored.reader.take().expect("it is not over");
    // As the thread does, it ends with its steps.
    let ended = catch_unwind(AssertUnwindSafe(move || fetching.step()));
    assert!(ended.is_err());
    assert_eq!(stored.keep(), storekeeper::Step::Over);
    assert_eq!(stored.error(), Some(Panicked.to_string()));
    assert!(stored.world.is_over(reader));
}

#[test]
fn what_is_to_be_read_back_wakes_the_reader_and_so_does_the_end() {
    let mut stored = Stored::with_cold(&bodies());
    let flag = Arc::new(Woken::default());
    let fetching = stored.reader.as_ref().expect("it is not over");
    fetching.wake_with(&Waker::from(Arc::clone(&flag)));
    let reader = stored.connect();
    assert!(!flag.take());
    stored.subscribe(reader);
    assert!(flag.take(), "a subscription waits");
    assert_eq!(read_all(&mut stored, reader), bodies());
    let _ = flag.take();
    stored.world.shared.abandon();
    stored.world.peers.clear();
    assert_eq!(stored.keep(), storekeeper::Step::Over);
    assert!(flag.take(), "the broker has stopped");
    assert_eq!(stored.fetch(), Step::Over);
    assert!(stored.is_over());
}
