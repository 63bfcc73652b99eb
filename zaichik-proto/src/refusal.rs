//! Refusals: answers to requests that the broker does not carry out.

use core::fmt;

use crate::code::wire_codes;
use crate::options::SettingNames;
use crate::version::Version;

wire_codes! {
    /// Why a request was refused (docs/protocol.md §8). The connection stays open.
    ///
    /// ```
    /// use zaichik_proto::RefusalCode;
    /// assert!(RefusalCode::Busy.is_retryable());
    /// assert!(!RefusalCode::Unknown(999).is_retryable(), "unknown codes are not retried");
    /// ```
    pub enum RefusalCode {
        /// The topic's name is empty, too long, not UTF-8, has a control character or starts with `$`;
        /// or the topic does not exist, and its name has `*` or `>` as a whole segment.
        InvalidTopic = 1,
        /// The topic exists with other settings; `value` is the mask of the settings that differ.
        SettingsDiffer = 2,
        /// A limit is 0, or `compaction` would change under records; `value` is the mask of the offending settings.
        InvalidSettings = 3,
        /// The topic does not exist, and the request does not create it.
        UnknownTopic = 4,
        /// The broker has reached its limit of topics; `value` is the limit.
        TopicsFull = 5,
        /// The topic is at its limit and must not evict records (`overflow = reject`).
        TopicFull = 6,
        /// The topic has reached its limit of remembered keys; `value` is the limit.
        KeysFull = 7,
        /// A message, or the space that the request needs in the topic, is above a limit; `value` is the limit.
        TooLarge = 8,
        /// The broker has used its memory budget; `value` is the delay before a retry, in microseconds.
        Busy = 9,
        /// The broker is stopping and accepts no more messages.
        Draining = 10,
        /// The topic has used all of its offsets.
        OffsetsExhausted = 11,
        /// The broker's storage has no space; `value` is the delay before a retry, in microseconds. Version 1 reports
        /// `Busy` instead.
        StorageFull = 12,
        /// The pattern of topics is empty or too long, is not UTF-8, has a control character, starts with `$`, has an empty
        /// segment, or has `>` before its last segment.
        InvalidPattern = 13,
        /// The broker has reached its limit of patterns; `value` is the limit.
        PatternsFull = 14,
        /// The connection has no subscription with this number, or the topic has no durable one with this name.
        NotSubscribed = 16,
        /// The number is in use, or the connection already holds the durable subscription.
        AlreadySubscribed = 17,
        /// The connection has reached its limit of subscriptions, or the broker that of durable ones; `value` is the
        /// limit.
        SubscriptionsFull = 18,
        /// The window is above the limit; `value` is the limit in messages.
        WindowTooLarge = 19,
        /// The offset has not been delivered; `value` is the first undelivered offset.
        CommitAhead = 20,
        /// The subscription has `window = 0`, so there are no commits.
        CommitsOff = 21,
        /// The offset of a Nack has not been delivered; `value` is the first undelivered offset.
        NackAhead = 22,
        /// Another connection holds the durable subscription, and the request does not take it over.
        SubscriptionHeld = 23,
        /// Another connection took over the durable subscription; `value` is the new epoch.
        SubscriptionFenced = 24,
        /// The dead-letter topic can't be used.
        InvalidDeadLetter = 25,
        /// The subscription was moved by a Seek after the client received what it commits; `value` is the rewind number.
        CommitRewound = 26,
        /// The offset of a Nack is committed; `value` is the cursor. Version 1 reports success instead.
        NackCommitted = 27,
        /// The epoch is too large to be continued; `value` is the newest one.
        EpochTooLarge = 28,
        /// The subscription is exclusive and the request is for a shared one, or the reverse, or it is shared in another
        /// way (`by_key`).
        ModeDiffers = 29,
        /// The subscription is shared: its records are acknowledged one by one.
        CommitShared = 30,
        /// An acknowledgement in a batch names an offset that this member does not hold; `value` is the first one.
        NotHeld = 31,
        /// The producer skipped sequence numbers; `value` is the expected number.
        SequenceGap = 32,
        /// The broker no longer remembers the request with this sequence number.
        SequenceTooOld = 33,
        /// The producer has a newer epoch; `value` is that epoch.
        ProducerFenced = 34,
        /// The broker has reached its limit of remembered producers; `value` is the limit.
        ProducersFull = 35,
        /// The batch has too many operations; `value` is the limit.
        BatchTooLong = 36,
        /// The broker has no storage, so it can't acknowledge durably.
        NotDurable = 48,
        /// The broker does not implement the request; `value` is the mask of the unsupported settings, if any.
        Unsupported = 49,
    }
}

impl RefusalCode {
    /// Whether the same request may succeed later.
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
                | Self::StorageFull
        )
    }
}

/// Why and where a request was refused.
///
/// ```
/// use zaichik_proto::{Refusal, RefusalCode};
/// let refusal = Refusal::with_value(RefusalCode::Busy, 50_000);
/// assert!(refusal.code.is_retryable());
/// assert_eq!(refusal.to_string(), "the broker is at its memory budget; try again in 50000 us");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub code: RefusalCode,
    /// The index of the refused operation in a batch, from 0; 0 for other requests.
    pub operation: u32,
    /// A number whose meaning depends on the [`code`](RefusalCode); 0 if it has none.
    pub value: u64,
}

impl Refusal {
    /// A refusal without a value.
    #[must_use]
    pub const fn new(code: RefusalCode) -> Self {
        Self { code, operation: 0, value: 0 }
    }

    /// A refusal with the value that its [`code`](RefusalCode) describes.
    #[must_use]
    pub const fn with_value(code: RefusalCode, value: u64) -> Self {
        Self { code, operation: 0, value }
    }

    /// The delay before a retry that the broker asks for, in microseconds; 0 if it names none.
    ///
    /// ```
    /// use zaichik_proto::{Refusal, RefusalCode};
    /// assert_eq!(Refusal::with_value(RefusalCode::Busy, 50_000).retry_after_micros(), 50_000);
    /// assert_eq!(Refusal::with_value(RefusalCode::KeysFull, 1_000).retry_after_micros(), 0, "that is a limit");
    /// ```
    #[must_use]
    pub const fn retry_after_micros(&self) -> u64 {
        if matches!(self.code, RefusalCode::Busy | RefusalCode::StorageFull) { self.value } else { 0 }
    }

    /// The same, as a connection of this version reports it: codes of a later version are replaced by one that it knows.
    ///
    /// ```
    /// use zaichik_proto::{Refusal, RefusalCode, Version};
    /// let refusal = Refusal::with_value(RefusalCode::StorageFull, 1_000_000);
    /// assert_eq!(refusal.in_version(Version::Two), refusal);
    /// assert_eq!(refusal.in_version(Version::One).code, RefusalCode::Busy);
    /// ```
    #[must_use]
    pub const fn in_version(self, version: Version) -> Self {
        match (version, self.code) {
            (Version::One, RefusalCode::StorageFull) => Self { code: RefusalCode::Busy, ..self },
            _ => self,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match self.code {
            RefusalCode::InvalidTopic => {
                f.write_str("the topic's name is invalid: use 1 to 255 bytes of UTF-8 without control characters, without a leading $, and without * or > between two dots")
            }
            RefusalCode::SettingsDiffer => {
                write!(f, "the topic exists with other settings; these differ: {}; to change them, alter the topic", SettingNames(value))
            }
            RefusalCode::InvalidSettings => {
                write!(f, "the topic's settings are invalid: {}", SettingNames(value))
            }
            RefusalCode::UnknownTopic => f.write_str("the topic does not exist; create it first"),
            RefusalCode::TopicsFull => write!(f, "the broker has reached its limit of {value} topics; use an existing topic, or raise max_topics"),
            RefusalCode::TopicFull => {
                f.write_str("the topic is full, and its overflow is reject; try again when its consumers have committed")
            }
            RefusalCode::KeysFull => {
                write!(f, "the topic has reached its limit of {value} remembered keys; try again when keys have left the window")
            }
            RefusalCode::TooLarge => write!(f, "the request is above the limit of {value}; send less in one request"),
            RefusalCode::Busy => write!(f, "the broker is at its memory budget; try again in {value} us"),
            RefusalCode::Draining => f.write_str("the broker is stopping; connect again later"),
            RefusalCode::OffsetsExhausted => f.write_str("the topic has used all of its offsets; use another topic"),
            RefusalCode::StorageFull => {
                write!(f, "the broker's storage has no space; free some on its disk, or remove messages, and try again in {value} us")
            }
            RefusalCode::InvalidPattern => {
                f.write_str("the pattern is invalid: use segments separated by dots, none of them empty, * for one segment, and > only as the last one")
            }
            RefusalCode::PatternsFull => write!(f, "the broker has reached its limit of {value} patterns; use an existing one, or raise max_patterns"),
            RefusalCode::NotSubscribed => {
                f.write_str("the subscription does not exist: this connection has none with that number, or the topic has no durable one with that name; subscribe first")
            }
            RefusalCode::AlreadySubscribed => {
                f.write_str("this connection already has that subscription; unsubscribe first")
            }
            RefusalCode::SubscriptionsFull => {
                write!(f, "the limit of {value} subscriptions, of this connection or of durable ones, is reached; end some")
            }
            RefusalCode::WindowTooLarge => write!(f, "the window is above the limit of {value} messages; request a smaller one"),
            RefusalCode::CommitAhead | RefusalCode::NackAhead => {
                write!(f, "the offset was not delivered, or was rewound; the first undelivered offset is {value}")
            }
            RefusalCode::CommitsOff => f.write_str("the subscription has window 0; commits, nacks and dead letters need a window of at least 1"),
            RefusalCode::SubscriptionHeld => f.write_str("another connection holds the durable subscription; wait until it ends, or take the subscription over"),
            RefusalCode::SubscriptionFenced => {
                write!(f, "another connection took over the subscription with epoch {value}; stop using it, or subscribe again to take it back")
            }
            RefusalCode::InvalidDeadLetter => {
                f.write_str("the dead-letter topic has an invalid name, is the topic itself or retains nothing; choose another")
            }
            RefusalCode::CommitRewound => {
                write!(f, "the subscription was moved after the messages were received, and is at rewind {value} now; commit what it delivers from there")
            }
            RefusalCode::NackCommitted => {
                write!(f, "the offset is committed, and the cursor is {value}; seek to redeliver committed messages")
            }
            RefusalCode::EpochTooLarge => write!(f, "the epoch is too large to be continued; subscribe with the epoch {value} or 0"),
            RefusalCode::ModeDiffers => {
                f.write_str("the subscription is exclusive and the request is for a shared one, or the reverse, or its by_key differs; use another name, or subscribe in its mode")
            }
            RefusalCode::CommitShared => f.write_str("the subscription is shared; acknowledge its messages one by one with Ack, or give them back with NackShared"),
            RefusalCode::NotHeld => {
                write!(f, "this member does not hold offset {value}: it was acknowledged, given back, or its deadline passed; leave it out")
            }
            RefusalCode::SequenceGap => write!(f, "the producer skipped a sequence number; resend from {value}, in order"),
            RefusalCode::SequenceTooOld => f.write_str("the broker no longer remembers this sequence number, so the outcome of the request is unknown"),
            RefusalCode::ProducerFenced => write!(f, "the producer has a newer epoch, {value}; stop publishing under this one"),
            RefusalCode::ProducersFull => write!(f, "the broker has reached its limit of {value} remembered producers; try again later, or publish without a producer"),
            RefusalCode::BatchTooLong => write!(f, "the batch has more operations than the limit of {value}; split it"),
            RefusalCode::NotDurable => {
                f.write_str("the broker has no storage; request the acknowledgement level accepted")
            }
            RefusalCode::Unsupported => f.write_str("the broker does not implement the request"),
            RefusalCode::Unknown(code) => write!(f, "the request was refused with code {code}, which this version does not know"),
        }
    }
}

impl core::error::Error for Refusal {}
