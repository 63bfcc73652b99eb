//! A shared subscription and its members as the broker describes them (docs/protocol.md §14.9).

use core::time::Duration;

use zaichik_proto::{MemberItem, Members, SharedState};

/// A shared subscription's state at the time of the request (rule G11).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedInfo {
    /// Whether messages with one key are held by one member at a time.
    pub by_key: bool,
    /// How long a member may hold a message; `None` for any time.
    pub ack_deadline: Option<Duration>,
    /// Maximum distance between the cursor and the messages that are handed out.
    pub max_span: u32,
    /// How often it was moved.
    pub rewind: u32,
    /// The first offset that is not acknowledged.
    pub cursor: u64,
    /// The first offset that was never handed out.
    pub next: u64,
    /// The topic's end: the offset of the next record.
    pub end: u64,
    /// The number of messages that members hold.
    pub in_flight: u64,
    /// The number of messages that came back and wait to be handed out again, those with a delay included.
    pub waiting: u64,
    /// The number of messages that wait for an earlier one with their key.
    pub blocked: u64,
    /// The cursor, if it is `max_span` behind, so that nothing new is handed out.
    pub blocked_by: Option<u64>,
    /// Time since the oldest message in flight was handed out; zero if there is none.
    pub oldest: Duration,
    /// The number of members, which may be more than are listed.
    pub member_count: u32,
    /// At most 1,024 of its members.
    pub members: Vec<MemberInfo>,
}

/// A member of a shared subscription at the time of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberInfo {
    /// The client's name for itself; may be empty.
    pub client: String,
    /// Maximum messages that it holds; 0 if it does not acknowledge them.
    pub window: u32,
    /// The number of messages that it holds.
    pub in_flight: u32,
    /// Time since the oldest of them was handed out; zero if there is none.
    pub oldest: Duration,
    /// Whether it holds messages and has settled none for the time that it may hold one.
    pub stuck: bool,
}

impl From<&Members<'_>> for SharedInfo {
    fn from(frame: &Members<'_>) -> Self {
        let SharedState { by_key, max_span, rewind, cursor, next, end, .. } = frame.state;
        let SharedState { in_flight, waiting, blocked, blocked_by, oldest_micros, members, .. } = frame.state;
        let deadline = frame.state.ack_deadline_micros;
        Self {
            by_key,
            ack_deadline: (!matches!(deadline, 0 | u64::MAX)).then(|| Duration::from_micros(deadline)),
            max_span,
            rewind,
            cursor,
            next,
            end,
            in_flight,
            waiting,
            blocked,
            blocked_by: (blocked_by != u64::MAX).then_some(blocked_by),
            oldest: Duration::from_micros(oldest_micros),
            member_count: members,
            members: frame.members.iter().map(MemberInfo::from).collect(),
        }
    }
}

impl From<MemberItem<'_>> for MemberInfo {
    fn from(item: MemberItem<'_>) -> Self {
        let MemberItem { client, window, in_flight, oldest_micros, stuck } = item;
        let (client, oldest) = (client.to_owned(), Duration::from_micros(oldest_micros));
        Self { client, window, in_flight, oldest, stuck }
    }
}
