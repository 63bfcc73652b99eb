//! The window of a member of a shared subscription, and what it has received and not taken (rule G2).

use zaichik_proto::{Delivery, Record, Records, ServerFrame};

use super::peer::Peer;
use super::shared::{deliver, joined, open, options};
use crate::{Event, Link, LinkError, SubscriptionId, Violation};

/// A member with room for four messages and this many bytes, where the broker allows `limit`.
fn joined_within(window_bytes: u32, limit: u32) -> (Peer, SubscriptionId) {
    let mut peer = open();
    peer.disconnect();
    peer.limits.max_window_size = limit;
    peer.connect(1);
    let (_, sub) = peer.client.subscribe(peer.now, "t", options().window_bytes(window_bytes)).unwrap();
    let sent = peer.sent_one();
    peer.attached(&sent, 5, 0, 0);
    (peer, sub)
}

/// Delivers one record with a body of this size; returns its size.
fn deliver_large(peer: &mut Peer, sub: SubscriptionId, first_offset: u64, body: usize) -> u32 {
    let (body, mut bytes) = (vec![7; body], Vec::new());
    Record { body: &body, timestamp: 5, ..Record::default() }.encode(&mut bytes);
    let records = Records::from_encoded(1, &bytes);
    let (subscription, rewind, attempt) = (sub.0, 0, 1);
    peer.send(&ServerFrame::Delivery(Delivery { subscription, rewind, attempt, first_offset, records }));
    u32::try_from(bytes.len()).unwrap()
}

fn taken(peer: &mut Peer, sub: SubscriptionId) -> Vec<u64> {
    let taken = std::iter::from_fn(|| peer.event(sub)).map(|event| match event {
        Event::Message(message) => message.offset,
        other => panic!("{other:?}"),
    });
    taken.collect()
}

#[test]
fn g6_a_message_whose_deadline_passed_before_it_was_taken_is_handed_out_once() {
    let mut peer = open();
    let sub = joined(&mut peer);
    deliver(&mut peer, sub, 9, 3, 1, 0);
    deliver(&mut peer, sub, 10, 1, 2, 0);
    let mut messages = Vec::new();
    while let Some(Event::Message(message)) = peer.event(sub) {
        messages.push((message.offset, message.attempt));
    }
    assert_eq!(messages, [(9, 1), (11, 1), (10, 2)]);
    // Others got the first two: the window of four is never exceeded.
    for first in [20, 23] {
        deliver(&mut peer, sub, first, 3, 1, 0);
    }
    assert_eq!(taken(&mut peer, sub), [22, 23, 24, 25]);
    deliver(&mut peer, sub, 30, 5, 1, 0);
    let window = Violation::Window { subscription: sub.0, window: 4 };
    assert_eq!(peer.client.link(), Link::Closed(Some(LinkError::Violation(window))));
}

#[test]
fn g2_what_was_not_taken_is_bounded_in_bytes() {
    let size = {
        let (mut peer, sub) = joined_within(0, 1 << 20);
        deliver_large(&mut peer, sub, 9, 100)
    };
    // Of three messages whose deadlines passed one after another, the window in bytes holds the last ones.
    for (window_bytes, limit, kept) in [
        (3 * size, 1 << 20, vec![9, 10, 11]),
        (3 * size - 1, 1 << 20, vec![10, 11]),
        (0, 2 * size, vec![10, 11]),
        (size, 2 * size, vec![11]),
        (1, 1 << 20, vec![11]),
    ] {
        let (mut peer, sub) = joined_within(window_bytes, limit);
        for offset in 9..12 {
            deliver_large(&mut peer, sub, offset, 100);
        }
        assert_eq!(taken(&mut peer, sub), kept, "a window of {window_bytes} where {limit} are allowed");
        // A message that is larger than the window comes alone.
        deliver_large(&mut peer, sub, 12, 10_000);
        assert_eq!(taken(&mut peer, sub), [12]);
        assert!(matches!(peer.client.link(), Link::Open));
    }
}
