//! Deliveries that the model does not make itself, but follows: which of them it accepts, and which it misses.

use std::rc::Rc;

use zaichik_proto::AckLevel;

use super::{BOUNDS, KEEP, PLAIN, record, tombstone};
use crate::model::broker::Model;
use crate::model::words::{Event, Record, Request, Settings, Subscribe};

/// A model, and the connection 1 with its subscription.
struct Observed(Model);

impl Observed {
    fn new(defaults: Settings, subscribe: Subscribe) -> Self {
        let mut model = Model::new(defaults, BOUNDS);
        model.request(1, &Request::Subscribe(subscribe));
        model.check_drained(1).expect("nothing was published");
        Self(model)
    }

    fn publish(&mut self, records: &[Record]) {
        let records = records.to_vec();
        self.0.request(9, &Request::Publish { ack: AckLevel::Accepted, producer: None, topic: 0, records });
    }

    fn receives(&mut self, offset: u64, record: &Record) {
        let (timestamp, record) = (self.0.now, Rc::new(record.clone()));
        let event = Event::Record { rewind: 0, attempt: 1, offset, timestamp, record };
        self.0.follow(1, 1, &event).expect("it is due");
    }

    fn commits(&mut self, offset: u64) {
        self.0.request(1, &Request::Commit { number: 1, offset, rewind: None });
    }
}

/// The window holds four records, and this many bytes.
const fn narrow(window_bytes: u32) -> Subscribe {
    Subscribe { window: 4, window_bytes, ..PLAIN }
}

#[test]
fn i5_what_becomes_due_by_time_alone_does_not_wake_a_subscription_that_its_window_stopped() {
    let (a, b) = (record(None, "a"), record(None, "b"));
    let mut observed = Observed::new(Settings { ttl: 10, ..KEEP }, narrow(20));
    observed.publish(&[a.clone(), b]);
    observed.receives(0, &a);
    // The output is full, so the broker may have found that `b` does not fit, or not have looked.
    observed.0.not_drained(1);
    observed.publish(&[record(None, "c")]);
    observed.0.tick(10);
    observed.0.check_drained(1).expect("the Gap from 1 to 3 waits for a commit");
    observed.commits(0);
    let broken = observed.0.check_drained(1).expect_err("it was committed");
    assert_eq!(broken.rule, "I5");
}

#[test]
fn i5_a_publish_does_not_wake_a_subscription_that_its_window_stopped_before_a_record_that_is_gone() {
    let (a, b) = (record(None, "a"), tombstone("a long key"));
    let mut observed = Observed::new(Settings { latest: true, tombstone_ttl: 10, ..KEEP }, narrow(40));
    observed.publish(&[a.clone(), b]);
    observed.receives(0, &a);
    observed.0.not_drained(1);
    observed.0.tick(10);
    observed.0.check_drained(1).expect("the tombstone is gone");
    observed.publish(&[record(None, "c")]);
    observed.0.check_drained(1).expect("`c` waits for a commit");
    observed.commits(0);
    let broken = observed.0.check_drained(1).expect_err("it was committed");
    assert_eq!(broken.rule, "I5");
}
