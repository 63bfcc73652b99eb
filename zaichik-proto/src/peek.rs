//! Short ways to what is needed most: the head of a stored record, and the publish that most publishes are.

use crate::codec::client_kind::PUBLISH;
use crate::frame::client::{AckLevel, Publish};
use crate::header::HEADER_LEN;
use crate::limits::Limits;
use crate::read::Reader;
use crate::record::{Origin, RECORD_OVERHEAD, Records, TTL};

/// Bytes of a publish without a producer, before its topic.
const PUBLISH_HEAD: usize = 4 + 4 + 1 + 1 + 1;

/// Length and life of a record that was checked when it was published.
///
/// ```
/// use zaichik_proto::{Record, RecordHead};
/// let mut bytes = Vec::new();
/// Record { body: b"one tea", timestamp: 7, ..Record::default() }.encode(&mut bytes);
/// let head = RecordHead::peek(&bytes).expect("a whole head");
/// assert_eq!((head.len, head.timestamp), (bytes.len(), 7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Bytes of the whole record.
    pub len: usize,
    /// When the broker accepted it, in microseconds since the Unix epoch.
    pub timestamp: u64,
    /// Its own time to live in microseconds, if it has one.
    pub ttl_micros: Option<u64>,
}

impl RecordHead {
    /// Reads the record at the front of `bytes`; `None` if there is no whole head.
    #[must_use]
    #[inline]
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<RECORD_OVERHEAD>()?;
        let [a, b, c, d, flags, _, _, _, timestamp @ ..] = *fixed;
        let len = (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(4);
        let ttl_micros = if flags & TTL == 0 { None } else { Some(Reader::new(rest).u64().ok()?) };
        Some(Self { len, timestamp: u64::from_le_bytes(timestamp), ttl_micros })
    }
}

/// What follows a record of nothing but a body, which most are: any such record is valid.
#[inline]
pub(crate) fn after_plain(bytes: &[u8], origin: Origin) -> Option<&[u8]> {
    let [a, b, c, d, flags, zero, key_low, key_high, timestamp @ ..] =
        *bytes.first_chunk::<RECORD_OVERHEAD>()?;
    let is_plain = u32::from_le_bytes([flags, zero, key_low, key_high]) == 0;
    let is_stamped = u64::from_le_bytes(timestamp) != 0;
    if !is_plain || (origin == Origin::Publish && is_stamped) {
        return None;
    }
    let len = (u32::from_le_bytes([a, b, c, d]) as usize).checked_add(4)?;
    if len < RECORD_OVERHEAD { None } else { bytes.get(len..) }
}

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
