//! Encodes and decodes publishes (docs/protocol.md §6.6), with a fast decoder for *plain* ones.
//!
//! A plain publish has no producer and one record with a body and nothing else. The fast decoder is a special case of
//! the general one: it gives up on more frames, but the same functions check framing, fields, records and limits.

use bytes::{BufMut, BytesMut};

use crate::error::ProtocolFault;
use crate::frame::publish::{AckLevel, Producer, Publish};
use crate::header::client_kind::PUBLISH;
use crate::header::{FrameHeader, HEADER_LEN};
use crate::limits::Limits;
use crate::read::Reader;
use crate::record::{Origin, Records};
use crate::write::put_topic;

/// Decodes plain publishes to one topic; see
/// [`decode_plain_publishes`](crate::ClientDecoder::decode_plain_publishes).
#[derive(Debug)]
pub struct PlainPublishes<'d, 'a> {
    limits: &'d Limits,
    /// That of the decoder.
    position: &'d mut u64,
    topic: &'a [u8],
    ack: AckLevel,
    input: &'a [u8],
    taken: usize,
}

impl<'d, 'a> PlainPublishes<'d, 'a> {
    pub(crate) const fn new(
        limits: &'d Limits,
        position: &'d mut u64,
        like: &Publish<'a>,
        input: &'a [u8],
    ) -> Self {
        Self { limits, position, topic: like.topic, ack: like.ack, input, taken: 0 }
    }

    /// Decodes the next publish: its request id and its encoded record.
    ///
    /// Returns `None` and consumes nothing if the next frame is incomplete, differs from the others in more than these
    /// two, or has a record of more than `max_len` bytes.
    #[inline]
    pub fn next_within(&mut self, max_len: usize) -> Option<(u32, &'a [u8])> {
        let (publish, len) = plain_publish(self.input, self.limits)?;
        let record = publish.records.as_bytes();
        if publish.topic != self.topic || publish.ack != self.ack || record.len() > max_len {
            return None;
        }
        self.input = self.input.get(len..).unwrap_or_default();
        self.taken = self.taken.saturating_add(len);
        *self.position = self.position.saturating_add(len as u64);
        Some((publish.request, record))
    }

    /// Number of bytes consumed by the decoded frames.
    #[must_use]
    pub const fn taken(&self) -> usize {
        self.taken
    }
}

/// Decodes a plain publish at the front of `input`, with the length of its frame; `None` for everything else.
#[inline]
pub(crate) fn plain_publish<'a>(input: &'a [u8], limits: &Limits) -> Option<(Publish<'a>, usize)> {
    // One length check for all fixed fields.
    let (fixed, rest) = input.split_first_chunk::<{ HEADER_LEN + Head::LEN }>()?;
    let (header, head) = fixed.split_first_chunk()?;
    let header = FrameHeader::from_bytes(*header).ok()?;
    if header.kind != PUBLISH || header.check_len(limits.max_frame).is_err() {
        return None;
    }
    let Head { request, count, ack, has_producer } = Head::read(&mut Reader::new(head)).ok()?;
    if count != 1 || has_producer {
        return None;
    }
    let rest = rest.get(..(header.body_len as usize).checked_sub(Head::LEN)?)?;
    let mut reader = Reader::new(rest);
    let topic = reader.short_bytes().ok()?;
    let records = Records::plain(reader.rest(), limits.record_limit(), Origin::Publish)?;
    Some((Publish { request, ack, producer: None, topic, records }, header.frame_len()))
}

impl<'a> Publish<'a> {
    pub(super) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.request);
        out.put_u32_le(self.records.len());
        out.put_u8(self.ack.to_byte());
        Producer::write_optional(self.producer, out);
        put_topic(out, self.topic);
        out.put_slice(self.records.as_bytes());
    }

    pub(super) fn read(r: &mut Reader<'a>, limits: &Limits) -> Result<Self, ProtocolFault> {
        let Head { request, count, ack, has_producer } = Head::read(r)?;
        let producer = if has_producer { Some(Producer::read(r)?) } else { None };
        let topic = r.short_bytes()?;
        let records = Records::read(r, count, limits.record_limit(), Origin::Publish)?;
        Ok(Self { request, ack, producer, topic, records })
    }
}

/// The fixed fields of a publish.
struct Head {
    request: u32,
    count: u32,
    ack: AckLevel,
    has_producer: bool,
}

impl Head {
    const LEN: usize = 4 + 4 + 1 + 1;

    #[inline]
    fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolFault> {
        let (request, count, ack) = (r.u32()?, r.u32()?, AckLevel::read(r)?);
        if request == 0 && ack != AckLevel::None {
            return Err(ProtocolFault::BadValue { field: "request id", got: 0 });
        }
        Ok(Self { request, count, ack, has_producer: r.bool("producer flag")? })
    }
}

impl AckLevel {
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Accepted => 1,
            Self::Durable => 2,
        }
    }

    #[inline]
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolFault> {
        match r.u8()? {
            0 => Ok(Self::None),
            1 => Ok(Self::Accepted),
            2 => Ok(Self::Durable),
            got => Err(ProtocolFault::BadValue { field: "acknowledgement level", got: u64::from(got) }),
        }
    }
}

impl Producer {
    pub(super) fn write_optional(producer: Option<Self>, out: &mut BytesMut) {
        out.put_u8(u8::from(producer.is_some()));
        if let Some(Self { id, epoch, sequence }) = producer {
            out.put_u128_le(id);
            out.put_u32_le(epoch);
            out.put_u64_le(sequence);
        }
    }

    pub(super) fn read_optional(r: &mut Reader<'_>) -> Result<Option<Self>, ProtocolFault> {
        if r.bool("producer flag")? { Self::read(r).map(Some) } else { Ok(None) }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolFault> {
        Ok(Self { id: r.u128()?, epoch: r.u32()?, sequence: r.u64()? })
    }
}
