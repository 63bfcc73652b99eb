//! The requests of a member of a shared subscription.

use zaichik_proto::{
    Ack, ClientFrame, DescribeShared, Extend, List, NackShared, OffsetRange, Start, SubscribeShared,
};

use crate::client::RawClient;

/// The terms on which a client joins a shared subscription; without others, window 1, from the earliest record, no deadline.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a>(SubscribeShared<'a>);

impl<'a> Member<'a> {
    /// A member that names the subscription by this number on its connection.
    #[must_use]
    pub const fn new(number: u32, topic: &'a str, name: &'a str) -> Self {
        Self(SubscribeShared {
            request: 1,
            subscription: number,
            topic: topic.as_bytes(),
            name,
            start: Start::Earliest,
            window: 1,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            ack_deadline_micros: 0,
            max_span: 0,
            inactive_ttl_micros: 0,
            by_key: false,
        })
    }

    /// Its window in records.
    #[must_use]
    pub const fn window(self, window: u32) -> Self {
        Self(SubscribeShared { window, ..self.0 })
    }

    /// Its window in bytes.
    #[must_use]
    pub const fn window_bytes(self, window_bytes: u32) -> Self {
        Self(SubscribeShared { window_bytes, ..self.0 })
    }

    /// How long it may hold a record, in microseconds.
    #[must_use]
    pub const fn deadline(self, ack_deadline_micros: u64) -> Self {
        Self(SubscribeShared { ack_deadline_micros, ..self.0 })
    }

    /// How far what is handed out may be above the cursor.
    #[must_use]
    pub const fn span(self, max_span: u32) -> Self {
        Self(SubscribeShared { max_span, ..self.0 })
    }

    /// How long the subscription is kept without members, in microseconds.
    #[must_use]
    pub const fn inactive_ttl(self, inactive_ttl_micros: u64) -> Self {
        Self(SubscribeShared { inactive_ttl_micros, ..self.0 })
    }

    /// One record of a key at a time.
    #[must_use]
    pub const fn by_key(self) -> Self {
        Self(SubscribeShared { by_key: true, ..self.0 })
    }

    /// After so many failures a record goes to this topic.
    #[must_use]
    pub const fn dead_letter(self, max_attempts: u32, topic: &'a str) -> Self {
        Self(SubscribeShared { max_attempts, dead_letter: topic.as_bytes(), ..self.0 })
    }
}

/// Each call returns the request's id; nothing is sent before the transport takes it.
impl RawClient {
    /// Joins a shared subscription.
    pub fn join(&self, member: Member<'_>) -> u32 {
        self.request(|request| ClientFrame::SubscribeShared(SubscribeShared { request, ..member.0 }))
    }

    /// Acknowledges records: ranges of a first offset and a number.
    pub fn ack(&self, subscription: u32, ranges: &[(u64, u32)]) -> u32 {
        self.ack_of(subscription, ranges, self.rewind(subscription).unwrap_or_default(), false)
    }

    /// The same for what was received under this rewind number; a quiet one is answered only if something is wrong.
    pub fn ack_of(&self, subscription: u32, ranges: &[(u64, u32)], rewind: u32, quiet: bool) -> u32 {
        let mut bytes = Vec::new();
        let ranges = list(&mut bytes, ranges);
        self.request(|request| ClientFrame::Ack(Ack { request, subscription, rewind, quiet, ranges }))
    }

    /// Gives records back, after a delay in microseconds.
    pub fn give_back(&self, subscription: u32, ranges: &[(u64, u32)], delay_micros: u64) -> u32 {
        let (mut bytes, rewind) = (Vec::new(), self.rewind(subscription).unwrap_or_default());
        let ranges = list(&mut bytes, ranges);
        self.request(|request| {
            ClientFrame::NackShared(NackShared { request, subscription, rewind, delay_micros, ranges })
        })
    }

    /// Starts the time of records again.
    pub fn extend(&self, subscription: u32, ranges: &[(u64, u32)]) -> u32 {
        let (mut bytes, rewind) = (Vec::new(), self.rewind(subscription).unwrap_or_default());
        let ranges = list(&mut bytes, ranges);
        self.request(|request| ClientFrame::Extend(Extend { request, subscription, rewind, ranges }))
    }

    /// Asks for a description of a shared subscription.
    pub fn describe_shared(&self, topic: &str, name: &str) -> u32 {
        let topic = topic.as_bytes();
        self.request(|request| ClientFrame::DescribeShared(DescribeShared { request, topic, name }))
    }
}

pub(crate) fn list<'a>(bytes: &'a mut Vec<u8>, ranges: &[(u64, u32)]) -> List<'a, OffsetRange> {
    List::encode_into(bytes, ranges.iter().map(|(first, count)| OffsetRange { first: *first, count: *count }))
}
