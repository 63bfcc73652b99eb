//! Encodes and decodes the frames of brokers (docs/protocol.md §7).

use bytes::{BufMut, BytesMut};

use crate::code::FaultCode;
use crate::error::ProtocolFault;
use crate::frame::batch::Batched;
use crate::frame::connection::{Fatal, Goodbye, GoodbyeReason, Welcome};
use crate::frame::delivery::{Delivery, Fenced, Gap, GapReason};
use crate::frame::describe::Counters;
use crate::frame::members::Members;
use crate::frame::pattern::{Matched, NotMatched, PatternSubscribed};
use crate::frame::publish::{Acks, Published};
use crate::frame::server::{Done, Refused, ServerFrame};
use crate::frame::shared::Acked;
use crate::frame::subscribe::{Subscribed, Unsubscribed};
use crate::frame::topic::{TopicReady, TopicStatus, Trimmed};
use crate::header::server_kind as kind;
use crate::limits::Limits;
use crate::list::{Entry, List};
use crate::page::{Item, Items, Page};
use crate::read::Reader;
use crate::refusal::{Refusal, RefusalCode};
use crate::version::Version;
use crate::write::{cut, framed, put_label, put_long};

impl<'a> ServerFrame<'a> {
    /// The frame's kind byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Welcome(_) => kind::WELCOME,
            Self::TopicReady(_) => kind::TOPIC_READY,
            Self::Acks(_) => kind::ACKS,
            Self::Published(_) => kind::PUBLISHED,
            Self::Batched(_) => kind::BATCHED,
            Self::Refused(_) => kind::REFUSED,
            Self::Done(_) => kind::DONE,
            Self::Subscribed(_) => kind::SUBSCRIBED,
            Self::Delivery(_) => kind::DELIVERY,
            Self::Gap(_) => kind::GAP,
            Self::Fenced(_) => kind::FENCED,
            Self::Unsubscribed(_) => kind::UNSUBSCRIBED,
            Self::Counters(_) => kind::COUNTERS,
            Self::Topics(_) => kind::TOPICS,
            Self::Subscriptions(_) => kind::SUBSCRIPTIONS,
            Self::Trimmed(_) => kind::TRIMMED,
            Self::Acked(_) => kind::ACKED,
            Self::Members(_) => kind::MEMBERS,
            Self::PatternSubscribed(_) => kind::PATTERN_SUBSCRIBED,
            Self::Matched(_) => kind::MATCHED,
            Self::NotMatched(_) => kind::NOT_MATCHED,
            Self::Ping { .. } => kind::PING,
            Self::Pong { .. } => kind::PONG,
            Self::Goodbye(_) => kind::GOODBYE,
            Self::Fatal(_) => kind::FATAL,
            Self::Extension { kind, .. } => *kind,
        }
    }

    /// Appends the frame, including its header; text that is too long is truncated.
    pub fn encode(&self, out: &mut BytesMut) {
        framed(out, self.kind(), |out| self.write(out));
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Welcome(welcome) => {
                out.put_u16_le(welcome.version);
                out.put_u128_le(welcome.instance);
                for limit in limit_fields(&welcome.limits) {
                    out.put_u32_le(limit);
                }
                if welcome.version > Version::One.number() {
                    out.put_u64_le(welcome.capabilities);
                }
                put_label(out, welcome.server);
            }
            Self::TopicReady(TopicReady { request, status }) => {
                out.put_u32_le(*request);
                out.put_u8(match status {
                    TopicStatus::Unchanged => 0,
                    TopicStatus::Created => 1,
                    TopicStatus::Adopted => 2,
                });
            }
            Self::Acks(Acks { runs }) => put_list(out, runs),
            Self::Published(published) => {
                out.put_u32_le(published.request);
                out.put_u8(u8::from(published.created));
                put_optional_bool(out, published.repeated);
                out.put_u64_le(published.first_offset.unwrap_or(NO_OFFSET));
                put_list(out, &published.duplicates);
            }
            Self::Batched(batched) => {
                out.put_u32_le(batched.request);
                put_optional_bool(out, batched.repeated);
                put_list(out, &batched.results);
                put_list(out, &batched.duplicates);
            }
            Self::Refused(Refused { request, count, refusal, repeated }) => {
                out.put_u32_le(*request);
                out.put_u32_le(*count);
                out.put_u16_le(refusal.code.code());
                out.put_u32_le(refusal.operation);
                out.put_u64_le(refusal.value);
                put_optional_bool(out, *repeated);
            }
            Self::Done(Done { request, value }) => {
                out.put_u32_le(*request);
                out.put_u64_le(*value);
            }
            Self::Subscribed(subscribed) => {
                out.put_u32_le(subscribed.request);
                out.put_u32_le(subscribed.subscription);
                out.put_u32_le(subscribed.epoch);
                out.put_u32_le(subscribed.rewind);
                out.put_u8(u8::from(subscribed.created));
                out.put_u64_le(subscribed.start);
                out.put_u64_le(subscribed.end);
            }
            Self::Delivery(delivery) => {
                delivery.head().write(out);
                out.put_slice(delivery.records.as_bytes());
            }
            Self::Gap(gap) => write_gap(out, gap),
            Self::Fenced(Fenced { subscription, epoch }) => {
                out.put_u32_le(*subscription);
                out.put_u32_le(*epoch);
            }
            Self::Unsubscribed(Unsubscribed { request, subscription, last_offset }) => {
                out.put_u32_le(*request);
                out.put_u32_le(*subscription);
                out.put_u64_le(last_offset.unwrap_or(NO_OFFSET));
            }
            Self::Counters(Counters { request, values }) => {
                out.put_u32_le(*request);
                put_list(out, values);
            }
            Self::Topics(page) => write_page(out, page),
            Self::Subscriptions(page) => write_page(out, page),
            Self::Trimmed(Trimmed { request, start, removed }) => {
                out.put_u32_le(*request);
                out.put_u64_le(*start);
                out.put_u64_le(*removed);
            }
            Self::Acked(acked) => acked.write(out),
            Self::Members(members) => members.write(out),
            Self::PatternSubscribed(subscribed) => subscribed.write(out),
            Self::Matched(matched) => matched.write(out),
            Self::NotMatched(not_matched) => not_matched.write(out),
            Self::Ping { nonce } | Self::Pong { nonce } => out.put_u64_le(*nonce),
            Self::Goodbye(Goodbye { reason, grace_millis }) => {
                out.put_u8(match reason {
                    GoodbyeReason::Closed => 0,
                    GoodbyeReason::Draining => 1,
                });
                out.put_u32_le(*grace_millis);
            }
            Self::Fatal(Fatal { code, offset, text }) => {
                out.put_u16_le(code.code());
                out.put_u64_le(*offset);
                put_long(out, cut(text, Limits::MAX_TEXT).as_bytes());
            }
            Self::Extension { body, .. } => out.put_slice(body),
        }
    }

    /// Decodes the body of a frame whose kind a broker may send in this version.
    pub(crate) fn parse(frame_kind: u8, body: &'a [u8], version: Version) -> Result<Self, ProtocolFault> {
        let mut reader = Reader::new(body);
        let r = &mut reader;
        let frame = match frame_kind {
            kind::WELCOME => Self::Welcome(read_welcome(r)?),
            kind::TOPIC_READY => {
                Self::TopicReady(TopicReady { request: r.request()?, status: read_topic_status(r)? })
            }
            kind::ACKS => Self::Acks(read_acks(r)?),
            kind::PUBLISHED => Self::Published(Published {
                request: r.request()?,
                created: r.bool("created flag")?,
                repeated: read_repeated(r, version)?,
                first_offset: optional_offset(r)?,
                duplicates: List::read(r, "duplicates")?,
            }),
            kind::BATCHED => Self::Batched(Batched {
                request: r.request()?,
                repeated: read_repeated(r, version)?,
                results: List::read(r, "batch results")?,
                duplicates: List::read(r, "batch duplicates")?,
            }),
            kind::REFUSED => Self::Refused(read_refused(r, version)?),
            kind::DONE => Self::Done(Done { request: r.request()?, value: r.u64()? }),
            kind::SUBSCRIBED => Self::Subscribed(Subscribed {
                request: r.request()?,
                subscription: r.u32()?,
                epoch: r.u32()?,
                rewind: r.u32()?,
                created: r.bool("created flag")?,
                start: r.u64()?,
                end: r.u64()?,
            }),
            kind::DELIVERY => Self::Delivery(Delivery::read(r)?),
            kind::GAP => Self::Gap(read_gap(r)?),
            kind::FENCED => Self::Fenced(Fenced { subscription: r.u32()?, epoch: r.u32()? }),
            kind::UNSUBSCRIBED => Self::Unsubscribed(Unsubscribed {
                request: r.u32()?,
                subscription: r.u32()?,
                last_offset: optional_offset(r)?,
            }),
            kind::COUNTERS => {
                Self::Counters(Counters { request: r.request()?, values: List::read(r, "counters")? })
            }
            kind::TOPICS => Self::Topics(read_page(r, "topics")?),
            kind::SUBSCRIPTIONS => Self::Subscriptions(read_page(r, "subscriptions")?),
            kind::TRIMMED => {
                Self::Trimmed(Trimmed { request: r.request()?, start: r.u64()?, removed: r.u64()? })
            }
            kind::ACKED => Self::Acked(Acked::read(r)?),
            kind::MEMBERS => Self::Members(Members::read(r)?),
            kind::PATTERN_SUBSCRIBED => Self::PatternSubscribed(PatternSubscribed::read(r)?),
            kind::MATCHED => Self::Matched(Matched::read(r)?),
            kind::NOT_MATCHED => Self::NotMatched(NotMatched::read(r)?),
            kind::PING => Self::Ping { nonce: r.u64()? },
            kind::PONG => Self::Pong { nonce: r.u64()? },
            kind::GOODBYE => {
                Self::Goodbye(Goodbye { reason: read_goodbye_reason(r)?, grace_millis: r.u32()? })
            }
            kind::FATAL => Self::Fatal(read_fatal(r)?),
            kind => Self::Extension { kind, body: r.rest() },
        };
        reader.finish()?;
        Ok(frame)
    }
}

fn put_list<T: Entry>(out: &mut BytesMut, list: &List<'_, T>) {
    out.put_u32_le(u32::try_from(list.len()).unwrap_or(u32::MAX));
    out.put_slice(list.as_bytes());
}

/// The value that means that no page follows.
const NO_PAGE: u32 = u32::MAX;

fn write_page<'a, T: Item<'a>>(out: &mut BytesMut, page: &Page<'a, T>) {
    out.put_u32_le(page.request);
    out.put_u32_le(page.next.unwrap_or(NO_PAGE));
    out.put_u32_le(page.items.len());
    out.put_slice(page.items.as_bytes());
}

fn read_page<'a, T: Item<'a>>(r: &mut Reader<'a>, field: &'static str) -> Result<Page<'a, T>, ProtocolFault> {
    let (request, next) = (r.request()?, r.u32()?);
    Ok(Page { request, next: (next != NO_PAGE).then_some(next), items: Items::read(r, field)? })
}

fn optional_offset(r: &mut Reader<'_>) -> Result<Option<u64>, ProtocolFault> {
    Ok(Some(r.u64()?).filter(|offset| *offset != NO_OFFSET))
}

const fn limit_fields(limits: &Limits) -> [u32; 7] {
    [
        limits.max_message,
        limits.max_frame,
        limits.max_records,
        limits.max_window,
        limits.max_window_size,
        limits.max_subscriptions,
        limits.heartbeat_millis,
    ]
}

fn read_welcome<'a>(r: &mut Reader<'a>) -> Result<Welcome<'a>, ProtocolFault> {
    let (version, instance) = (r.u16()?, r.u128()?);
    let limits = Limits {
        max_message: r.u32()?,
        max_frame: r.u32()?,
        max_records: r.u32()?,
        max_window: r.u32()?,
        max_window_size: r.u32()?,
        max_subscriptions: r.u32()?,
        heartbeat_millis: r.u32()?,
    };
    if limit_fields(&limits).contains(&0) {
        return Err(ProtocolFault::BadValue { field: "limit", got: 0 });
    }
    let capabilities = if version > Version::One.number() { r.u64()? } else { 0 };
    Ok(Welcome { version, instance, limits, capabilities, server: r.short_text("server")? })
}

/// Version 1 does not say whether an answer is repeated.
fn read_repeated(r: &mut Reader<'_>, version: Version) -> Result<Option<bool>, ProtocolFault> {
    if version > Version::One { r.bool("repeated flag").map(Some) } else { Ok(None) }
}

fn put_optional_bool(out: &mut BytesMut, value: Option<bool>) {
    if let Some(value) = value {
        out.put_u8(u8::from(value));
    }
}

fn read_topic_status(r: &mut Reader<'_>) -> Result<TopicStatus, ProtocolFault> {
    match r.u8()? {
        0 => Ok(TopicStatus::Unchanged),
        1 => Ok(TopicStatus::Created),
        2 => Ok(TopicStatus::Adopted),
        got => Err(ProtocolFault::BadValue { field: "topic status", got: u64::from(got) }),
    }
}

fn read_acks<'a>(r: &mut Reader<'a>) -> Result<Acks<'a>, ProtocolFault> {
    let runs = List::read(r, "acknowledgement runs")?;
    if runs.is_empty() {
        return Err(ProtocolFault::BadValue { field: "count of acknowledgement runs", got: 0 });
    }
    Ok(Acks { runs })
}

fn read_refused(r: &mut Reader<'_>, version: Version) -> Result<Refused, ProtocolFault> {
    let (request, count) = (r.u32()?, r.u32()?);
    if count == 0 || (request != 0 && count != 1) {
        return Err(ProtocolFault::BadValue { field: "count of refused requests", got: u64::from(count) });
    }
    let refusal = Refusal { code: RefusalCode::from_code(r.u16()?), operation: r.u32()?, value: r.u64()? };
    Ok(Refused { request, count, refusal, repeated: read_repeated(r, version)? })
}

fn read_goodbye_reason(r: &mut Reader<'_>) -> Result<GoodbyeReason, ProtocolFault> {
    match r.u8()? {
        0 => Ok(GoodbyeReason::Closed),
        1 => Ok(GoodbyeReason::Draining),
        got => Err(ProtocolFault::BadValue { field: "goodbye reason", got: u64::from(got) }),
    }
}

fn read_fatal<'a>(r: &mut Reader<'a>) -> Result<Fatal<'a>, ProtocolFault> {
    let (code, offset, text) = (FaultCode::from_code(r.u16()?), r.u64()?, r.long_text("text")?);
    if text.len() > Limits::MAX_TEXT {
        return Err(ProtocolFault::BadValue { field: "text length", got: text.len() as u64 });
    }
    Ok(Fatal { code, offset, text })
}

fn write_gap(out: &mut BytesMut, gap: &Gap) {
    out.put_u32_le(gap.subscription);
    out.put_u32_le(gap.rewind);
    out.put_u8(match gap.reason {
        GapReason::Expired => 0,
        GapReason::Limit => 1,
    });
    out.put_u64_le(gap.from);
    out.put_u64_le(gap.to);
}

fn read_gap(r: &mut Reader<'_>) -> Result<Gap, ProtocolFault> {
    let (subscription, rewind) = (r.u32()?, r.u32()?);
    let reason = match r.u8()? {
        0 => GapReason::Expired,
        1 => GapReason::Limit,
        got => {
            return Err(ProtocolFault::BadValue { field: "gap reason", got: u64::from(got) });
        }
    };
    let (from, to) = (r.u64()?, r.u64()?);
    if from >= to {
        return Err(ProtocolFault::BadValue { field: "end of a gap", got: to });
    }
    Ok(Gap { subscription, rewind, reason, from, to })
}

/// The value that means `None` where an offset is optional.
const NO_OFFSET: u64 = u64::MAX;
