//! Short ways to what is needed most: the head of a stored record, and the publish that most publishes are.

use crate::frame::publish::{AckLevel, Publish};
use crate::header::HEADER_LEN;
use crate::header::client_kind::PUBLISH;
use crate::limits::Limits;
use crate::record::{Origin, Records, after_plain};

/// Bytes of a publish without a producer, before its topic.
const PUBLISH_HEAD: usize = 4 + 4 + 1 + 1 + 1;

/// A publish of one record of nothing but a body, without a producer, and how many bytes its frame has.
#[inline]
pub(crate) fn plain_publish<'a>(input: &'a [u8], limits: &Limits) -> Option<(Publish<'a>, usize)> {
    let (fixed, rest) = input.split_first_chunk::<{ HEADER_LEN + PUBLISH_HEAD }>()?;
    let [l0, l1, l2, l3, kind @ .., r0, r1, r2, r3, c0, c1, c2, c3, ack, producer, topic_len] = *fixed;
    let body_len = u32::from_le_bytes([l0, l1, l2, l3]);
    // Whole words are compared, which costs a fraction of comparing bytes.
    let is_publish = u32::from_le_bytes(kind) == u32::from_le_bytes([PUBLISH, 0, 0, 0]);
    let is_single = u32::from_le_bytes([c0, c1, c2, c3]) == 1 && producer == 0;
    if !is_publish || !is_single || body_len > limits.max_frame || limits.max_records == 0 {
        return None;
    }
    let rest = rest.get(..(body_len as usize).checked_sub(PUBLISH_HEAD)?)?;
    let (topic, record) = rest.split_at_checked(usize::from(topic_len))?;
    let request = u32::from_le_bytes([r0, r1, r2, r3]);
    let ack = match ack {
        0 => AckLevel::None,
        1 if request > 0 => AckLevel::Accepted,
        _ => return None,
    };
    if !after_plain(record, Origin::Publish)?.is_empty() {
        return None;
    }
    let publish = Publish { request, ack, producer: None, topic, records: Records::from_encoded(1, record) };
    Some((publish, (body_len as usize).saturating_add(HEADER_LEN)))
}

/// The publishes at the front of some bytes that are like one that came before; see
/// [`decode_plain_publishes`](crate::ClientDecoder::decode_plain_publishes).
#[derive(Debug)]
pub struct PlainPublishes<'d, 'a> {
    limits: &'d Limits,
    /// The decoder's.
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

    /// Request and record of the next one; `None`, and nothing is taken, if that is not like the others, not all there, or
    /// its record has more than `max_len` bytes.
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

    /// Bytes of the frames that were taken.
    #[must_use]
    pub const fn taken(&self) -> usize {
        self.taken
    }
}
