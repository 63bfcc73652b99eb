//! What a subscription hands to the application.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use zaichik_proto::{GapReason, Headers, RecordRef, Refusal};

use zaichik_proto::Timestamp;

/// The next thing that a subscription has to tell, in order.
///
/// ```
/// # use zaichik_proto::Record;
/// # use zaichik_client::{Incoming, PublishOptions, SubscribeOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// let (_, orders) = client.subscribe(now, "orders", SubscribeOptions::new())?;
/// client.publish(now, "orders", &[Record { body: b"one tea", ..Record::default() }], PublishOptions::new())?;
/// broker.serve(now, &mut client);
/// assert_eq!(client.poll_ready(), Some(orders));
/// let Some(Incoming::Message(message)) = client.poll_incoming(orders) else { panic!("no message") };
/// assert_eq!((message.offset, &message.body[..]), (0, &b"one tea"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// A message.
    Message(Message),
    /// Offsets from `from` up to, not including, `to` that this subscription will not get (semantics R9).
    ///
    /// Gaps that follow each other are told as one.
    Gap {
        /// The first missing offset.
        from: u64,
        /// The first offset after the gap.
        to: u64,
        /// Why; [`GapReason::Limit`] if a limit removed any of them.
        reason: GapReason,
    },
    /// The connection broke and is open again: what was delivered and not committed comes again.
    ///
    /// What had been received and not taken was dropped; it comes again as well.
    Reconnected {
        /// The first offset that is not committed, or where the subscription began or was moved to; with `window = 0` the
        /// one after the last one taken. For a durable subscription that somebody else has moved meanwhile, `start`.
        from: u64,
        /// The first offset that will come. Offsets in `from..start` are gone: they expired, a limit removed them
        /// or newer records of their keys superseded them while there was no connection.
        start: u64,
    },
    /// The connection is open again, to another instance of the broker: offsets start anew (semantics P5).
    ///
    /// The subscription began again at its original position.
    Restarted {
        /// The first offset that will come.
        start: u64,
    },
    /// After a reconnect the broker refused the subscription: it has ended.
    Refused(Refusal),
    /// Another connection took the durable subscription over: it has ended, and this client does not attach again by
    /// itself (semantics D3).
    Fenced,
    /// The subscription has ended; the last offset that the broker delivered, if any (semantics A9).
    Ended(Option<u64>),
}

/// A message as it was received: cheap to clone, its parts are slices of the frame that carried it.
///
/// Holding any part keeps the whole read buffer in memory that the frame was cut from, which is at most as large
/// as what one read took plus one frame. Copy a small part that is to be kept for long.
///
/// ```
/// # use zaichik_proto::Record;
/// # use zaichik_client::{Incoming, PublishOptions, SubscribeOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// let (_, orders) = client.subscribe(now, "orders", SubscribeOptions::new())?;
/// let record = Record { key: Some(b"table-7"), headers: &[("trace", b"a1")], body: b"one tea", ..Record::default() };
/// client.publish(now, "orders", &[record], PublishOptions::new())?;
/// broker.serve(now, &mut client);
/// let Some(Incoming::Message(message)) = client.poll_incoming(orders) else { panic!("no message") };
/// assert_eq!((message.offset, message.attempt), (0, 1));
/// assert_eq!(message.key.as_deref(), Some(&b"table-7"[..]));
/// assert_eq!(message.headers.get("trace"), Some(&b"a1"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The message's place in the topic.
    pub offset: u64,
    /// When the broker accepted it.
    pub timestamp: Timestamp,
    /// How often it was delivered to this subscription, this time included (semantics A5).
    pub attempt: u32,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its headers.
    pub headers: MessageHeaders,
    /// Its body.
    pub body: Bytes,
    /// Whether it deletes its key (semantics C7).
    pub tombstone: bool,
}

impl Message {
    /// Cuts a message out of `frame`, which the record borrows from.
    pub(crate) fn cut(
        frame: &Bytes,
        record: &RecordRef<'_>,
        topic: Arc<str>,
        offset: u64,
        attempt: u32,
    ) -> Self {
        let cut = |part: &[u8]| {
            if part.is_empty() { Bytes::new() } else { frame.slice_ref(part) }
        };
        Self {
            topic,
            offset,
            timestamp: Timestamp::from_micros(record.timestamp()),
            attempt,
            key: record.key().map(cut),
            headers: MessageHeaders(cut(record.headers().as_bytes())),
            body: cut(record.body()),
            tombstone: record.is_tombstone(),
        }
    }
}

/// The headers of a message, in order; names may repeat.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct MessageHeaders(Bytes);

impl MessageHeaders {
    /// Name and value of each header.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        // The section was checked when its frame was decoded; an empty one stands for no headers.
        Headers::parse(&self.0).unwrap_or(Headers::EMPTY).iter()
    }

    /// The value of the first header of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find_map(|(found, value)| (found == name).then_some(value))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for MessageHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
