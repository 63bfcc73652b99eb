//! A request is refused: an answer, not an error of the connection.

use core::fmt;

use crate::code::wire_codes;
use crate::options::SettingNames;

wire_codes! {
    /// Why a request was refused (docs/protocol.md §8). The connection lives on.
    ///
    /// ```
    /// use zaichik_proto::RefusalCode;
    /// assert!(RefusalCode::Busy.is_retryable());
    /// assert!(!RefusalCode::Unknown(999).is_retryable(), "what a newer broker says is not tried again");
    /// ```
    pub enum RefusalCode {
        /// The topic's name is empty, too long, not UTF-8, has a control character or starts with `$`.
        InvalidTopic = 1,
        /// The topic exists with other settings; `value` is the mask of the settings that differ.
        SettingsDiffer = 2,
        /// A limit is 0, or `compaction` would change under records; `value` is the mask of the offending settings.
        InvalidSettings = 3,
        /// The topic does not exist, and the request does not create it.
        UnknownTopic = 4,
        /// The broker has as many topics as it may; `value` is the limit.
        TopicsFull = 5,
        /// The topic is at its limit and may not drop anything (`overflow = reject`).
        TopicFull = 6,
        /// The topic remembers as many keys as it may; `value` is the limit.
        KeysFull = 7,
        /// A message, or what the topic would have to hold for the request, is above a limit; `value` is the limit.
        TooLarge = 8,
        /// The broker is at its memory budget; `value` is how many microseconds to wait before trying again.
        Busy = 9,
        /// The broker is stopping and accepts no more messages.
        Draining = 10,
        /// The topic has used all of its offsets.
        OffsetsExhausted = 11,
        /// The connection has no subscription of that number, or the topic no durable one of that name.
        NotSubscribed = 16,
        /// The number is in use, or this connection already subscribes to that topic under that name.
        AlreadySubscribed = 17,
        /// The connection has as many subscriptions as it may, or the broker as many durable ones; `value` is the limit.
        SubscriptionsFull = 18,
        /// The window is above the limit; `value` is the limit in messages.
        WindowTooLarge = 19,
        /// The offset was not delivered yet; `value` is the first offset that was not.
        CommitAhead = 20,
        /// The subscription has `window = 0`: nothing to commit.
        CommitsOff = 21,
        /// The offset of a negative acknowledgement was not delivered yet; `value` as in `CommitAhead`.
        NackAhead = 22,
        /// Another connection holds the durable subscription, and the request asked not to take over.
        SubscriptionHeld = 23,
        /// A newer attachment of the durable subscription exists; `value` is its epoch.
        SubscriptionFenced = 24,
        /// The dead-letter topic can't be used.
        InvalidDeadLetter = 25,
        /// The producer skipped sequence numbers; `value` is the one expected.
        SequenceGap = 32,
        /// The sequence number is older than what the broker remembers.
        SequenceTooOld = 33,
        /// A newer epoch of the producer exists; `value` is that epoch.
        ProducerFenced = 34,
        /// The broker remembers as many producers as it may; `value` is the limit.
        ProducersFull = 35,
        /// The batch has more operations than allowed; `value` is the limit.
        BatchTooLong = 36,
        /// This broker has no storage, so it can't acknowledge durably.
        NotDurable = 48,
        /// The broker knows the request but does not implement it; `value` is the mask of the settings if they
        /// are the reason.
        Unsupported = 49,
    }
}

impl RefusalCode {
    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::TopicFull
                | Self::KeysFull
                | Self::TopicsFull
                | Self::Draining
                | Self::ProducersFull
        )
    }
}

/// A refused request: which rule, where, and the number that belongs to it.
///
/// ```
/// use zaichik_proto::{Refusal, RefusalCode};
/// let refusal = Refusal::with_value(RefusalCode::Busy, 50_000);
/// assert!(refusal.code.is_retryable());
/// assert_eq!(refusal.to_string(), "the broker is at its memory budget; try again in 50000 us");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The rule.
    pub code: RefusalCode,
    /// Which operation of a batch, from 0; 0 elsewhere.
    pub operation: u32,
    /// A number whose meaning [`RefusalCode`] gives; 0 where it gives none.
    pub value: u64,
}

impl Refusal {
    /// A refusal without a number.
    #[must_use]
    pub const fn new(code: RefusalCode) -> Self {
        Self { code, operation: 0, value: 0 }
    }

    /// A refusal with the number that [`RefusalCode`] describes.
    #[must_use]
    pub const fn with_value(code: RefusalCode, value: u64) -> Self {
        Self { code, operation: 0, value }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match self.code {
            RefusalCode::InvalidTopic => {
                f.write_str("the topic's name is invalid: use 1 to 255 bytes of UTF-8 without control characters and without a leading $")
            }
            RefusalCode::SettingsDiffer => {
                write!(f, "the topic exists with other settings; these differ: {}", SettingNames(value))
            }
            RefusalCode::InvalidSettings => {
                write!(f, "the topic's settings are invalid; look at: {}", SettingNames(value))
            }
            RefusalCode::UnknownTopic => f.write_str("the topic does not exist; create it first"),
            RefusalCode::TopicsFull => write!(f, "the broker already has {value} topics, its limit; use one of them, or raise max_topics"),
            RefusalCode::TopicFull => {
                f.write_str("the topic is full and its overflow is reject; try again when consumers have committed")
            }
            RefusalCode::KeysFull => {
                write!(f, "the topic already remembers {value} keys, its limit; try again when some have left the window")
            }
            RefusalCode::TooLarge => write!(f, "the request is above the limit of {value}; send less at once"),
            RefusalCode::Busy => write!(f, "the broker is at its memory budget; try again in {value} us"),
            RefusalCode::Draining => f.write_str("the broker is stopping; connect again later"),
            RefusalCode::OffsetsExhausted => f.write_str("the topic has used all of its offsets; use another topic"),
            RefusalCode::NotSubscribed => {
                f.write_str("there is no such subscription: none of that number here, or no durable one of that name; subscribe first")
            }
            RefusalCode::AlreadySubscribed => {
                f.write_str("this connection already has that subscription; unsubscribe first")
            }
            RefusalCode::SubscriptionsFull => {
                write!(f, "there are already {value} subscriptions, the limit of this connection or of durable ones; end some")
            }
            RefusalCode::WindowTooLarge => write!(f, "the window is above the limit of {value} messages; ask for less"),
            RefusalCode::CommitAhead | RefusalCode::NackAhead => {
                write!(f, "the offset was not delivered, or was taken back; the first undelivered one is {value}")
            }
            RefusalCode::CommitsOff => f.write_str("the subscription has window 0; commits, nacks and dead letters need a window of at least 1"),
            RefusalCode::SubscriptionHeld => f.write_str("another connection holds that durable subscription; wait until it is gone, or take it over"),
            RefusalCode::SubscriptionFenced => {
                write!(f, "another connection took the subscription over, epoch {value}; stop using it, or subscribe anew to take it back")
            }
            RefusalCode::InvalidDeadLetter => {
                f.write_str("the dead-letter topic's name is invalid, or it is the topic itself or retains nothing; choose another")
            }
            RefusalCode::SequenceGap => write!(f, "the producer skipped a sequence; send again from {value}, in order"),
            RefusalCode::SequenceTooOld => f.write_str("the sequence is older than what the broker remembers, so what became of it is unknown"),
            RefusalCode::ProducerFenced => write!(f, "a newer epoch of the producer exists: {value}; stop publishing under this one"),
            RefusalCode::ProducersFull => write!(f, "the broker already remembers {value} producers, its limit; try again later, or publish without one"),
            RefusalCode::BatchTooLong => write!(f, "the batch has more than {value} operations, the limit; split it"),
            RefusalCode::NotDurable => {
                f.write_str("the broker has no storage; ask for the acknowledgement level accepted")
            }
            RefusalCode::Unsupported => f.write_str("the broker does not implement the request"),
            RefusalCode::Unknown(code) => write!(f, "refused with code {code}, which this version does not know"),
        }
    }
}

impl core::error::Error for Refusal {}
