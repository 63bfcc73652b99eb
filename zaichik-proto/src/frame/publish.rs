//! Publishes and their answers.

use alloc::vec::Vec;

use crate::limits::Limits;
use crate::list::{Entry, List};
use crate::read::Reader;
use crate::record::Records;

/// How much a publish wants to know (semantics P2).
///
/// ```
/// use zaichik_proto::AckLevel;
/// assert_eq!(AckLevel::default(), AckLevel::Accepted);
/// assert!(AckLevel::None < AckLevel::Accepted && AckLevel::Accepted < AckLevel::Durable);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AckLevel {
    /// No answer; refusals are counted and told at most once a second.
    None,
    /// An answer when the records are in the log.
    #[default]
    Accepted,
    /// An answer when they are on stable storage; a broker without storage refuses.
    Durable,
}

/// Who publishes, so that a retry is stored once (semantics P3).
///
/// ```
/// use zaichik_proto::Producer;
/// let first = Producer { id: 0x1234, epoch: 1, sequence: 0 };
/// let next = Producer { sequence: first.sequence + 1, ..first }; // the same one again is the same request
/// assert_ne!(first, next);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Chosen by the caller, unique among producers.
    pub id: u128,
    /// Raised by each new owner of the id.
    pub epoch: u32,
    /// Number of this request; one more than the producer's last one.
    pub sequence: u64,
}

/// Appends records to one topic (semantics P1); all of them in one step.
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
    /// The request's id, above 0; it may be anything with [`AckLevel::None`].
    pub request: u32,
    /// Which answer is wanted.
    pub ack: AckLevel,
    /// Who publishes, for retries.
    pub producer: Option<Producer>,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// At least one record.
    pub records: Records<'a>,
}

/// Answers publishes that were plainly accepted (semantics P1).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, AckRun, Acks, List};
/// let mut bytes = Vec::new();
/// // Requests 1 to 3, whose records have the offsets from 40 on.
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
    /// The runs, in request order; at least one.
    pub runs: List<'a, AckRun>,
}

/// One run of plainly accepted publish requests (docs/protocol.md §5.2).
///
/// ```
/// use zaichik_proto::AckRun;
/// // Requests 7, 8 and 9, of one record each, have the offsets 40, 41 and 42.
/// let run = AckRun { request: 7, requests: 3, first_offset: 40 };
/// assert_eq!(run.first_offset + u64::from(run.requests) - 1, 42);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckRun {
    /// Id of the first request answered.
    pub request: u32,
    /// How many acknowledged publish requests, in the order sent, the run answers; at least 1.
    pub requests: u32,
    /// Offset of the first record of the first request; the records of the whole run have consecutive offsets.
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

/// Answers one publish in full.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Duplicate, List, Published};
/// let mut bytes = Vec::new();
/// let duplicates = List::encode_into(&mut bytes, [Duplicate { record: 1, offset: 7 }]);
/// let published = Published { request: 1, created: false, first_offset: Some(40), duplicates };
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
    /// Offset of the first record appended, the others follow it; `None` if all were duplicates.
    pub first_offset: Option<u64>,
    /// The records that were not appended, in order.
    pub duplicates: List<'a, Duplicate>,
}

/// A record that was not appended because its key was still remembered (semantics C1).
///
/// ```
/// use zaichik_proto::Duplicate;
/// let second_of_the_publish = Duplicate { record: 1, offset: 7 }; // its original is there
/// assert_eq!(second_of_the_publish.offset, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// Which record of the publish, from 0.
    pub record: u32,
    /// Offset of the record that the topic accepted under that key.
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
