//! What a broker wants its caller to do, collected in a buffer that the caller owns and uses again.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use zaichik_proto::{Refusal, TopicStatus};

use crate::id::SessionId;

/// Most notes kept; the oldest go when nobody takes them.
const MAX_NOTES: usize = 256;

/// Whether a call left work behind.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Timestamp, Turn};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::new(7, 8))?;
/// while broker.handle_timeout(now, &mut effects) == Turn::More {
///     // others may run in between
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "work is left behind when this is More: call again"]
pub enum Turn {
    /// Nothing more can be done until something changes.
    Done,
    /// The call did its share; call again, perhaps after letting others run.
    More,
}

/// What to do after a call: whom to wake, and whether the next deadline moved nearer.
///
/// Take everything out after each call: [`pop_wake`](Self::pop_wake) until `None`, and
/// [`take_rearm`](Self::take_rearm). A wake that is dropped strands a connection, so a debug build panics when
/// one is.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Timestamp};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::new(7, 8))?;
/// let session = broker.accept(now, &mut effects);
/// broker.detach(now, session.id(), &mut effects);
/// while let Some(waits) = effects.pop_wake() {
///     println!("connection {waits} has something to exchange");
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
    notes: Option<VecDeque<Note>>,
}

impl Effects {
    /// An empty buffer that collects no notes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether notes for a log are wanted; they cost an allocation each. Default: no.
    pub fn set_notes(&mut self, wanted: bool) {
        self.notes = wanted.then(VecDeque::new);
    }

    /// The next connection that has something to exchange.
    pub fn pop_wake(&mut self) -> Option<SessionId> {
        self.wakes.pop_front()
    }

    /// Whether [`Broker::next_timeout`](crate::Broker::next_timeout) moved nearer since this was asked last.
    #[must_use]
    pub fn take_rearm(&mut self) -> bool {
        core::mem::take(&mut self.rearm)
    }

    /// The next note for a log.
    pub fn pop_note(&mut self) -> Option<Note> {
        self.notes.as_mut()?.pop_front()
    }

    /// Forgets everything: the broker itself is going away.
    pub fn clear(&mut self) {
        self.wakes.clear();
        self.rearm = false;
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

/// Something worth a line in a debug log.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, NoteEvent, Timestamp};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// effects.set_notes(true);
/// let mut broker = Broker::new(BrokerConfig::new(7, 8))?;
/// let mut session = broker.accept(now, &mut effects);
/// # use bytes::BytesMut;
/// # use zaichik_proto::{ClientFrame, Hello, MAGIC};
/// # let mut hello = BytesMut::from(&MAGIC[..]);
/// # ClientFrame::Hello(Hello { version: 1, name: "doc", token: b"" }).encode(&mut hello);
/// # session.inbound().extend_from_slice(&hello); session.handle_read(now);
/// let _ = session.exchange(now, &mut broker, &mut effects); // a Hello had come
/// let note = effects.pop_note().expect("something to log");
/// assert_eq!(note.session, session.id());
/// assert_eq!(note.event, NoteEvent::Opened { name: "doc".into() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whose request it was.
    pub session: SessionId,
    /// The topic it was about, if it was about one.
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
        /// What the client calls itself; may be empty.
        name: Box<str>,
    },
    /// A topic came into being on first use.
    TopicCreatedImplicitly,
    /// `CreateTopic` was answered.
    TopicReady(TopicStatus),
    /// A topic's settings were changed.
    TopicAltered,
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
            // Escaped: it may hold anything.
            Self::Opened { name } => write!(f, "handshake done, the client is {name:?}"),
            Self::TopicCreatedImplicitly => f.write_str("topic created on first use"),
            Self::TopicReady(TopicStatus::Created) => f.write_str("topic created"),
            Self::TopicReady(TopicStatus::Adopted) => f.write_str("topic adopted"),
            Self::TopicReady(TopicStatus::Unchanged) => f.write_str("topic exists already"),
            Self::TopicReady(_) => f.write_str("topic is ready"),
            Self::TopicAltered => f.write_str("topic altered"),
            Self::Subscribed { subscription, start, end } => {
                write!(f, "subscription {subscription} begins at {start}, the topic ends at {end}")
            }
            Self::Unsubscribed { subscription } => write!(f, "subscription {subscription} ended"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}
