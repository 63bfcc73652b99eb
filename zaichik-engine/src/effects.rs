//! What a broker asks its caller to do, collected in a buffer that the caller owns and reuses.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use zaichik_proto::{Refusal, TopicStatus};

use crate::id::SessionId;

/// Maximum notes kept; the oldest are dropped if they are not taken.
const MAX_NOTES: usize = 256;

/// Whether a call left work to do.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp, Turn};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
/// while broker.handle_timeout(now, &mut effects) == Turn::More {
///     // other tasks may run in between
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "when this is More, work remains: call again"]
pub enum Turn {
    /// Nothing more can be done until something changes.
    Done,
    /// The call did a bounded share of the work; call again, perhaps after yielding.
    More,
}

/// What to do after a call: connections to wake, and whether the next deadline moved closer.
///
/// Take everything out after each call: [`pop_wake`](Self::pop_wake) until `None`, and
/// [`take_rearm`](Self::take_rearm). A dropped wake strands a connection, so debug builds panic on it.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
/// let session = broker.accept(now, &mut effects);
/// broker.detach(now, session.id(), &mut effects);
/// while let Some(id) = effects.pop_wake() {
///     println!("connection {id} has something to exchange");
/// }
/// if effects.take_rearm() {
///     println!("the next deadline is {:?}", broker.next_timeout());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Effects {
    wakes: VecDeque<SessionId>,
    rearm: bool,
    store: bool,
    fetch: bool,
    notes: Option<VecDeque<Note>>,
}

impl Effects {
    /// An empty buffer that collects no notes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns notes for a log on or off; each costs an allocation. Default: off.
    pub fn set_notes(&mut self, wanted: bool) {
        self.notes = wanted.then(VecDeque::new);
    }

    /// The next connection that has something to exchange.
    pub fn pop_wake(&mut self) -> Option<SessionId> {
        self.wakes.pop_front()
    }

    /// Whether [`Broker::next_timeout`](crate::Broker::next_timeout) moved closer since the last call.
    #[must_use]
    pub fn take_rearm(&mut self) -> bool {
        core::mem::take(&mut self.rearm)
    }

    /// Whether [`Broker::next_commit`](crate::Broker::next_commit) became earlier since the last call, for a broker with a
    /// store: its commit is due then.
    #[must_use]
    pub fn take_store(&mut self) -> bool {
        core::mem::take(&mut self.store)
    }

    /// Whether there is something to read back since the last call: [`Broker::poll_fetch`](crate::Broker::poll_fetch) gives
    /// it, for a broker with a store.
    #[must_use]
    pub fn take_fetch(&mut self) -> bool {
        core::mem::take(&mut self.fetch)
    }

    /// The next note for a log.
    pub fn pop_note(&mut self) -> Option<Note> {
        self.notes.as_mut()?.pop_front()
    }

    /// Clears everything, for when the broker itself is dropped.
    pub fn clear(&mut self) {
        self.wakes.clear();
        self.rearm = false;
        self.store = false;
        self.fetch = false;
        if let Some(notes) = &mut self.notes {
            notes.clear();
        }
    }

    pub(crate) fn wake(&mut self, id: SessionId) {
        self.wakes.push_back(id);
    }

    pub(crate) const fn rearm(&mut self) {
        self.rearm = true;
    }

    pub(crate) const fn store(&mut self) {
        self.store = true;
    }

    pub(crate) const fn fetch(&mut self) {
        self.fetch = true;
    }

    pub(crate) fn note(&mut self, note: impl FnOnce() -> Note) {
        if let Some(notes) = &mut self.notes {
            if notes.len() >= MAX_NOTES {
                notes.pop_front();
            }
            notes.push_back(note());
        }
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        debug_assert!(
            self.wakes.is_empty() || std::thread::panicking(),
            "effects dropped with {} connections still to be woken",
            self.wakes.len()
        );
    }
}

/// An event for a debug log.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, NoteEvent, Seed, Timestamp};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// effects.set_notes(true);
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
/// let mut session = broker.accept(now, &mut effects);
/// # use bytes::BytesMut;
/// # use zaichik_proto::{ClientFrame, Hello, MAGIC};
/// # let mut hello = BytesMut::from(&MAGIC[..]);
/// # ClientFrame::Hello(Hello { version: 1, name: "doc", token: b"" }).encode(&mut hello);
/// # session.inbound().extend_from_slice(&hello); session.handle_read(now);
/// let _ = session.exchange(now, &mut broker, &mut effects); // a Hello had arrived
/// let note = effects.pop_note().expect("something to log");
/// assert_eq!(note.session, session.id());
/// assert_eq!(note.event, NoteEvent::Opened { name: "doc".into() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// The session that made the request.
    pub session: SessionId,
    /// The topic concerned, if any.
    pub topic: Option<Arc<str>>,
    /// What happened.
    pub event: NoteEvent,
}

/// What happened.
///
/// ```
/// use zaichik_engine::NoteEvent;
/// let opened = NoteEvent::Opened { name: "billing".into() };
/// assert_eq!(opened.to_string(), "handshake done, the client is \"billing\"");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteEvent {
    /// The handshake is done.
    Opened {
        /// The client's name; may be empty.
        name: Box<str>,
    },
    /// A topic was created on first use.
    TopicCreatedImplicitly,
    /// `CreateTopic` was answered.
    TopicReady(TopicStatus),
    /// A topic's settings were changed.
    TopicAltered,
    /// The oldest records of a topic were removed.
    TopicTrimmed {
        /// The offset of the first record that is left; the end if there is none.
        start: u64,
        /// Live records that were removed.
        removed: u64,
    },
    /// A subscription began.
    Subscribed {
        /// Its number.
        subscription: u32,
        /// Its first offset.
        start: u64,
        /// The topic's end.
        end: u64,
    },
    /// A subscription ended.
    Unsubscribed {
        /// Its number.
        subscription: u32,
    },
    /// A request was refused.
    Refused(Refusal),
}

impl fmt::Display for NoteEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Escaped, because the name may contain anything.
            Self::Opened { name } => write!(f, "handshake done, the client is {name:?}"),
            Self::TopicCreatedImplicitly => f.write_str("topic created on first use"),
            Self::TopicReady(TopicStatus::Created) => f.write_str("topic created"),
            Self::TopicReady(TopicStatus::Adopted) => f.write_str("topic adopted"),
            Self::TopicReady(TopicStatus::Unchanged) => f.write_str("topic already exists"),
            Self::TopicReady(_) => f.write_str("topic is ready"),
            Self::TopicAltered => f.write_str("topic altered"),
            Self::TopicTrimmed { start, removed } => {
                write!(f, "topic trimmed: {removed} records removed, it starts at {start}")
            }
            Self::Subscribed { subscription, start, end } => {
                write!(f, "subscription {subscription} starts at {start}, the topic ends at {end}")
            }
            Self::Unsubscribed { subscription } => write!(f, "subscription {subscription} ended"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}
