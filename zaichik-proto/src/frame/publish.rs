//! Frames that publish records, and their answers.

use alloc::vec::Vec;

use crate::limits::Limits;
use crate::list::{Entry, List};
use crate::read::Reader;
use crate::record::Records;

/// Which acknowledgement a publish requests (rule P2).
///
/// ```
/// use zaichik_proto::AckLevel;
/// assert_eq!(AckLevel::default(), AckLevel::Accepted);
/// assert!(AckLevel::None < AckLevel::Accepted && AckLevel::Accepted < AckLevel::Durable);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AckLevel {
    /// No answer; refusals are counted and reported at most once a second.
    None,
    /// An answer when the records are in the log.
    #[default]
    Accepted,
    /// An answer when the records are on stable storage; a broker without storage refuses the request.
    Durable,
}

/// Identifies a publisher and its request, so that a retry is stored once (rule P3).
///
/// ```
/// use zaichik_proto::Producer;
/// let first = Producer { id: 0x1234, epoch: 1, sequence: 0 };
/// let next = Producer { sequence: first.sequence + 1, ..first }; // the same sequence again is a retry
/// assert_ne!(first, next);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// The producer's id, chosen by the caller and unique among producers.
    pub id: u128,
    /// The epoch, which each new owner of the id increases.
    pub epoch: u32,
    /// The sequence number of the request: one more than that of the producer's previous request.
    pub sequence: u64,
}

/// Appends records to one topic, all of them or none (rule P1).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, AckLevel, Publish, Record, Records};
/// let mut bytes = Vec::new();
/// Record { key: Some(b"table-7"), body: b"one tea", ..Record::default() }.encode(&mut bytes);
/// let records = Records::from_encoded(1, &bytes);
/// let publish = Publish { request: 1, ack: AckLevel::Accepted, producer: None, topic: b"orders", records };
/// let mut wire = BytesMut::new();
/// ClientFrame::Publish(publish).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Publish(publish), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The request's id, above 0; any number with [`AckLevel::None`].
    pub request: u32,
    /// The requested acknowledgement.
    pub ack: AckLevel,
    /// The producer, if retries must not be stored twice.
    pub producer: Option<Producer>,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// The records, at least one.
    pub records: Records<'a>,
}

/// Answers publishes that appended all of their records to existing topics (rule P1).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, AckRun, Acks, List};
/// let mut bytes = Vec::new();
/// // Requests 1 to 3, whose records have consecutive offsets from 40.
/// let runs = List::encode_into(&mut bytes, [AckRun { request: 1, requests: 3, first_offset: 40 }]);
/// let acks = Acks { runs };
/// let mut wire = BytesMut::new();
/// ServerFrame::Acks(acks).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Acks(acks), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acks<'a> {
    /// The runs, at least one, in the order of requests.
    pub runs: List<'a, AckRun>,
}

/// A run of publish requests that appended all of their records to existing topics (docs/protocol.md §5.2).
///
/// ```
/// use zaichik_proto::AckRun;
/// // Requests 7, 8 and 9, of one record each, have the offsets 40, 41 and 42.
/// let run = AckRun { request: 7, requests: 3, first_offset: 40 };
/// assert_eq!(run.first_offset + u64::from(run.requests) - 1, 42);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckRun {
    /// The id of the first request.
    pub request: u32,
    /// Number of acknowledged publish requests that the run answers, in the order in which they were sent; at least 1.
    pub requests: u32,
    /// The offset of the first request's first record; all records of the run have consecutive offsets.
    pub first_offset: u64,
}

impl Entry for AckRun {
    const SIZE: usize = 16;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request.to_le_bytes());
        out.extend_from_slice(&self.requests.to_le_bytes());
        out.extend_from_slice(&self.first_offset.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let entry = Self {
            request: reader.request().ok()?,
            requests: reader.u32().ok()?,
            first_offset: reader.u64().ok()?,
        };
        (entry.requests > 0).then_some(entry)
    }
}

/// Answers one publish that created its topic or had duplicates.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Duplicate, List, Published};
/// let mut bytes = Vec::new();
/// let duplicates = List::encode_into(&mut bytes, [Duplicate { record: 1, offset: 7 }]);
/// let (created, repeated) = (false, None);
/// let published = Published { request: 1, created, repeated, first_offset: Some(40), duplicates };
/// let mut wire = BytesMut::new();
/// ServerFrame::Published(published).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Published(published), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published<'a> {
    /// The request's id.
    pub request: u32,
    /// Whether the publish created its topic.
    pub created: bool,
    /// Whether the request had been answered before, and this is the stored answer; `None` in version 1, and only there.
    pub repeated: Option<bool>,
    /// The offset of the first appended record, which the others follow; `None` if all records were duplicates.
    pub first_offset: Option<u64>,
    /// The records that were not appended, in order.
    pub duplicates: List<'a, Duplicate>,
}

/// A record that was not appended because the topic still remembered its key (rule C1).
///
/// ```
/// use zaichik_proto::Duplicate;
/// let duplicate = Duplicate { record: 1, offset: 7 }; // the second record; the original has offset 7
/// assert_eq!(duplicate.offset, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// The record's index in the publish, from 0.
    pub record: u32,
    /// The offset of the record that the topic accepted under that key.
    pub offset: u64,
}

impl Entry for Duplicate {
    const SIZE: usize = 12;
    const MAX_ELEMENTS: u32 = Limits::MAX_RECORDS;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.record.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self { record: reader.u32().ok()?, offset: reader.u64().ok()? })
    }
}
