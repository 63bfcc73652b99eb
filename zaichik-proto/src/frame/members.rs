//! Frames that describe a shared subscription and its members (docs/protocol.md §14.9).

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};

use crate::error::ProtocolFault;
use crate::page::{Item, Items};
use crate::read::Reader;
use crate::write::{put_short, put_topic};

/// Requests a description of a shared subscription; answered by [`Members`].
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, DescribeShared, Limits, Version};
/// let describe = DescribeShared { request: 8, topic: b"orders", name: "workers" };
/// let mut wire = BytesMut::new();
/// ClientFrame::DescribeShared(describe).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::DescribeShared(describe), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescribeShared<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// The subscription's name.
    pub name: &'a str,
}

/// The current state of a shared subscription.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Items, Limits, Members, ServerDecoder, ServerFrame, SharedState, Version};
/// let state = SharedState { cursor: 40, next: 45, end: 50, in_flight: 5, ..SharedState::default() };
/// let members = Members { request: 8, state, members: Items::EMPTY };
/// let mut wire = BytesMut::new();
/// ServerFrame::Members(members).encode(&mut wire);
/// let mut decoder = ServerDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Members(members), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Members<'a> {
    /// The request's id.
    pub request: u32,
    /// The state of the subscription.
    pub state: SharedState,
    /// Its members; of more than 1,024, some of them.
    pub members: Items<'a, MemberItem<'a>>,
}

/// What a shared subscription has handed out, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedState {
    /// Whether records with one key are held by one member at a time.
    pub by_key: bool,
    /// How long a member may hold a record without acknowledging it, in microseconds; 0 for any time.
    pub ack_deadline_micros: u64,
    /// Maximum distance between the cursor and the records handed out.
    pub max_span: u32,
    /// How often the subscription was moved.
    pub rewind: u32,
    /// The lowest offset that is not acknowledged.
    pub cursor: u64,
    /// The first offset that was never handed out.
    pub next: u64,
    /// The topic's end.
    pub end: u64,
    /// Number of records that members hold.
    pub in_flight: u64,
    /// Number of records that came back and wait to be handed out again, those with a delay included.
    pub waiting: u64,
    /// Number of records that wait for an earlier one with their key.
    pub blocked: u64,
    /// The offset that keeps new records from being handed out because it is `max_span` behind; `u64::MAX` if none does.
    pub blocked_by: u64,
    /// Time since the oldest record in flight was handed out, in microseconds; 0 if there is none.
    pub oldest_micros: u64,
    /// Number of members.
    pub members: u32,
}

/// A member of a shared subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberItem<'a> {
    /// The client's name for itself; may be empty.
    pub client: &'a str,
    /// Maximum number of records that it holds.
    pub window: u32,
    /// Number of records that it holds.
    pub in_flight: u32,
    /// Time since the oldest of them was handed out, in microseconds; 0 if there is none.
    pub oldest_micros: u64,
    /// Whether it holds records and has acknowledged nothing for the time that it may hold one.
    pub stuck: bool,
}

impl<'a> DescribeShared<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.request);
        put_topic(out, self.topic);
        put_short(out, self.name.as_bytes(), b"");
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self { request: r.request()?, topic: r.short_bytes()?, name: r.durable_name()? })
    }
}

impl<'a> Members<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.request);
        self.state.write(out);
        out.put_u32_le(self.members.len());
        out.put_slice(self.members.as_bytes());
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self { request: r.request()?, state: SharedState::read(r)?, members: Items::read(r, "members")? })
    }
}

impl SharedState {
    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.by_key));
        out.put_u64_le(self.ack_deadline_micros);
        out.put_u32_le(self.max_span);
        out.put_u32_le(self.rewind);
        let Self { cursor, next, end, in_flight, waiting, blocked, blocked_by, oldest_micros, .. } = *self;
        for value in [cursor, next, end, in_flight, waiting, blocked, blocked_by, oldest_micros] {
            out.put_u64_le(value);
        }
        out.put_u32_le(self.members);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolFault> {
        Ok(Self {
            by_key: r.bool("by key flag")?,
            ack_deadline_micros: r.u64()?,
            max_span: r.u32()?,
            rewind: r.u32()?,
            cursor: r.u64()?,
            next: r.u64()?,
            end: r.u64()?,
            in_flight: r.u64()?,
            waiting: r.u64()?,
            blocked: r.u64()?,
            blocked_by: r.u64()?,
            oldest_micros: r.u64()?,
            members: r.u32()?,
        })
    }
}

impl<'a> Item<'a> for MemberItem<'a> {
    const MIN_SIZE: usize = 1 + 4 + 4 + 8 + 1;

    fn write(&self, out: &mut Vec<u8>) {
        put_short(out, self.client.as_bytes(), b"");
        out.extend_from_slice(&self.window.to_le_bytes());
        out.extend_from_slice(&self.in_flight.to_le_bytes());
        out.extend_from_slice(&self.oldest_micros.to_le_bytes());
        out.push(u8::from(self.stuck));
    }

    fn read(rest: &mut &'a [u8]) -> Result<Self, ProtocolFault> {
        let mut reader = Reader::new(rest);
        let r = &mut reader;
        let item = Self {
            client: r.short_text("client name")?,
            window: r.u32()?,
            in_flight: r.u32()?,
            oldest_micros: r.u64()?,
            stuck: r.bool("stuck flag")?,
        };
        *rest = reader.rest();
        Ok(item)
    }
}
