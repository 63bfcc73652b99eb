//! The events that a subscription hands to the application: messages, losses, reconnects and its end.

use core::convert::Infallible;
use core::fmt;
use core::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use zaichik_proto::{GapReason, Headers, RecordRef, Refusal, Timestamp};

/// An event of a subscription, in order: a message, a loss, a reconnect, or its end.
///
/// `M` is the message. `Event<Infallible>` is an event that is not a message, see
/// [`into_message`](Self::into_message).
///
/// ```
/// # use zaichik_proto::Record;
/// # use zaichik_client::{Event, PublishOptions, SubscribeOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// let (_, orders) = client.subscribe(now, "orders", SubscribeOptions::new())?;
/// client.publish(now, "orders", &[Record { body: b"one tea", ..Record::default() }], PublishOptions::new())?;
/// broker.serve(now, &mut client);
/// assert_eq!(client.poll_ready(), Some(orders));
/// let Some(Event::Message(message)) = client.poll_event(orders) else { panic!("no message") };
/// assert_eq!((message.offset, &message.body[..]), (0, &b"one tea"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<M = Message> {
    /// A message.
    Message(M),
    /// This subscription will not receive the offsets from `from` up to, but not including, `to` (rule R9).
    ///
    /// Adjacent gaps are reported as one.
    Gap {
        /// The first missing offset.
        from: u64,
        /// The first offset after the gap.
        to: u64,
        /// The reason; [`GapReason::Limit`] if a limit removed any of them.
        reason: GapReason,
    },
    /// The connection broke and is open again: uncommitted messages are redelivered.
    ///
    /// Messages that had been received but not taken were dropped; they are redelivered as well.
    Reconnected {
        /// The first uncommitted offset, or where the subscription began or was moved to; with `window = 0` the
        /// offset after the last one taken. For a durable subscription that another client has moved meanwhile,
        /// `start`.
        from: u64,
        /// The first offset that will be delivered. Offsets in `from..start` are lost: while there was no connection
        /// they expired, a limit removed them, or newer records of their keys superseded them.
        start: u64,
    },
    /// The connection is open again, to another instance of the broker: offsets start over (rule P5).
    ///
    /// The subscription began again at its original position. Undelivered messages are lost.
    Restarted {
        /// The first offset that will be delivered.
        start: u64,
    },
    /// After a reconnect the broker refused the subscription: it has ended.
    Refused(Refusal),
    /// Another connection took over the durable subscription: it has ended, and this client does not reattach
    /// automatically (rule D3).
    Fenced,
    /// The subscription has ended; the last offset that the broker delivered, if any (rule A9).
    Ended(Option<u64>),
}

impl<M> Event<M> {
    /// The message, or the event if it is not a message.
    ///
    /// # Errors
    /// Every event but [`Event::Message`], unchanged.
    ///
    /// ```
    /// use zaichik_client::{Event, Message};
    /// use zaichik_proto::GapReason;
    /// let event: Event<Message> = Event::Gap { from: 3, to: 5, reason: GapReason::Expired };
    /// let no_message = event.into_message().expect_err("it is a gap");
    /// assert_eq!(no_message.lost_offsets(), Some(3..5));
    /// ```
    pub fn into_message(self) -> Result<M, Event<Infallible>> {
        match self {
            Self::Message(message) => Ok(message),
            Self::Gap { from, to, reason } => Err(Event::Gap { from, to, reason }),
            Self::Reconnected { from, start } => Err(Event::Reconnected { from, start }),
            Self::Restarted { start } => Err(Event::Restarted { start }),
            Self::Refused(refusal) => Err(Event::Refused(refusal)),
            Self::Fenced => Err(Event::Fenced),
            Self::Ended(last_offset) => Err(Event::Ended(last_offset)),
        }
    }

    /// The same event with another message.
    #[must_use]
    pub fn map_message<N>(self, map: impl FnOnce(M) -> N) -> Event<N> {
        match self {
            Self::Message(message) => Event::Message(map(message)),
            Self::Gap { from, to, reason } => Event::Gap { from, to, reason },
            Self::Reconnected { from, start } => Event::Reconnected { from, start },
            Self::Restarted { start } => Event::Restarted { start },
            Self::Refused(refusal) => Event::Refused(refusal),
            Self::Fenced => Event::Fenced,
            Self::Ended(last_offset) => Event::Ended(last_offset),
        }
    }

    /// The offsets that this event skips: a gap's, or those lost while there was no connection.
    ///
    /// `None` if no offset is lost, and for [`Restarted`](Self::Restarted), after which offsets have a new meaning.
    #[must_use]
    pub fn lost_offsets(&self) -> Option<Range<u64>> {
        match self {
            Self::Gap { from, to, .. } => Some(*from..*to),
            Self::Reconnected { from, start } if from < start => Some(*from..*start),
            Self::Message(_)
            | Self::Reconnected { .. }
            | Self::Restarted { .. }
            | Self::Refused(_)
            | Self::Fenced
            | Self::Ended(_) => None,
        }
    }

    /// Whether undelivered messages were lost, or may have been.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Restarted { .. }) || self.lost_offsets().is_some()
    }

    /// Whether this is the subscription's last event.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Fenced | Self::Ended(_))
    }
}

impl fmt::Display for Event<Infallible> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(never) => match *never {},
            Self::Gap { from, to, reason } => {
                let reason = match reason {
                    GapReason::Expired => "they expired",
                    GapReason::Limit => "a limit of the topic removed them",
                    _ => "the broker removed them",
                };
                write!(f, "messages {from} up to, but not including, {to} are lost: {reason}")
            }
            Self::Reconnected { from, start } if from < start => write!(
                f,
                "messages {from} up to, but not including, {start} are lost: they were removed while there was no connection"
            ),
            Self::Reconnected { .. } => f.write_str("connected again; nothing is lost"),
            Self::Restarted { start } => {
                write!(f, "the broker was restarted; its offsets start over, from {start}")
            }
            Self::Refused(refusal) => {
                write!(f, "the broker refused the subscription after a reconnect: {refusal}")
            }
            Self::Fenced => f.write_str("another connection took over the subscription"),
            Self::Ended(_) => f.write_str("the subscription has ended"),
        }
    }
}

/// A received message: cheap to clone, because its parts are slices of the frame that carried it.
///
/// Holding any part keeps the frame's whole read buffer in memory, which is at most the size of one read plus one
/// frame. Copy a small part that is to be kept for long.
///
/// ```
/// # use zaichik_proto::Record;
/// # use zaichik_client::{Event, PublishOptions, SubscribeOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// let (_, orders) = client.subscribe(now, "orders", SubscribeOptions::new())?;
/// let record = Record { key: Some(b"table-7"), headers: &[("trace", b"a1")], body: b"one tea", ..Record::default() };
/// client.publish(now, "orders", &[record], PublishOptions::new())?;
/// broker.serve(now, &mut client);
/// let Some(Event::Message(message)) = client.poll_event(orders) else { panic!("no message") };
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
    /// The message's offset in the topic.
    pub offset: u64,
    /// When the broker accepted it.
    pub timestamp: Timestamp,
    /// How often the broker delivered it to this subscription, this time included (rule A5), whether or not the
    /// application saw it: deliveries that were still buffered when a nack or a broken connection discarded them count
    /// too. So it is no count of failures, and it may be 2 when a message is seen for the first time. The broker counts
    /// from 1 again after it was restarted.
    pub attempt: u32,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its headers.
    pub headers: MessageHeaders,
    /// Its body.
    pub body: Bytes,
    /// Whether it deletes its key (rule C7).
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
        // The section was checked when its frame was decoded; an empty one means no headers.
        Headers::parse(&self.0).unwrap_or(Headers::EMPTY).iter()
    }

    /// The value of the first header with this name.
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

#[cfg(test)]
mod tests {
    use zaichik_proto::RefusalCode;

    use super::*;

    #[test]
    fn losses_and_the_last_event_are_recognised() {
        let refused = Event::<()>::Refused(Refusal::new(RefusalCode::NotSubscribed));
        let ended = [refused, Event::Fenced, Event::Ended(None), Event::Ended(Some(7))];
        let lost: [Event<()>; 3] = [
            Event::Gap { from: 3, to: 5, reason: GapReason::Limit },
            Event::Reconnected { from: 3, start: 4 },
            Event::Restarted { start: 3 },
        ];
        let others = [
            Event::Message(()),
            Event::Reconnected { from: 3, start: 3 },
            Event::Reconnected { from: 4, start: 3 },
        ];
        assert!(ended.iter().all(|event| event.is_end() && !event.is_loss()));
        assert!(lost.iter().all(|event| event.is_loss() && !event.is_end()));
        assert!(others.iter().all(|event| !event.is_loss() && !event.is_end()));
        assert_eq!(lost.each_ref().map(Event::lost_offsets), [Some(3..5), Some(3..4), None]);
    }
}
