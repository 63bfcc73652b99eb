//! The client's frames as bytes (docs/protocol.md §6).

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};

use super::{client_kind as kind, framed, put_long, put_short};
use crate::error::ProtocolFault;
use crate::frame::client::{
    AckLevel, AlterTopic, Batch, ClientFrame, Commit, CreateTopic, Durable, Hello, Nack, OnConflict,
    Operation, Operations, OperationsBuilder, Producer, Publish, Seek, SeekTarget, Start, Subscribe,
    Unsubscribe,
};
use crate::limits::Limits;
use crate::options::TopicOptions;
use crate::read::Reader;
use crate::record::{Origin, Records};

impl<'a> ClientFrame<'a> {
    /// The frame's kind byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::CreateTopic(_) => kind::CREATE_TOPIC,
            Self::AlterTopic(_) => kind::ALTER_TOPIC,
            Self::Publish(_) => kind::PUBLISH,
            Self::Subscribe(_) => kind::SUBSCRIBE,
            Self::Unsubscribe(_) => kind::UNSUBSCRIBE,
            Self::Commit(_) => kind::COMMIT,
            Self::Nack(_) => kind::NACK,
            Self::Seek(_) => kind::SEEK,
            Self::Batch(_) => kind::BATCH,
            Self::Ping { .. } => kind::PING,
            Self::Pong { .. } => kind::PONG,
            Self::Close => kind::CLOSE,
            Self::Extension { kind, .. } => *kind,
        }
    }

    /// Appends the frame, header included.
    ///
    /// A field that is longer than its length prefix can tell is cut off: check names with
    /// [`TopicName`](crate::TopicName) and records with [`Record::check`](crate::Record::check) first.
    pub fn encode(&self, out: &mut BytesMut) {
        framed(out, self.kind(), |out| self.write(out));
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Hello(hello) => {
                out.put_u16_le(hello.version);
                put_short(out, hello.name.as_bytes());
                put_long(out, hello.token);
            }
            Self::CreateTopic(CreateTopic { request, topic, options })
            | Self::AlterTopic(AlterTopic { request, topic, options }) => {
                out.put_u32_le(*request);
                put_short(out, topic);
                options.write(out);
            }
            Self::Publish(publish) => {
                out.put_u32_le(publish.request);
                out.put_u32_le(publish.records.len());
                out.put_u8(ack_byte(publish.ack));
                write_producer(out, publish.producer);
                put_short(out, publish.topic);
                out.put_slice(publish.records.as_bytes());
            }
            Self::Subscribe(subscribe) => write_subscribe(out, subscribe),
            Self::Unsubscribe(Unsubscribe { request, subscription }) => {
                out.put_u32_le(*request);
                out.put_u32_le(*subscription);
            }
            Self::Commit(commit) => {
                out.put_u32_le(commit.request);
                out.put_u32_le(commit.subscription);
                out.put_u64_le(commit.offset);
                out.put_u8(u8::from(commit.quiet));
            }
            Self::Nack(nack) => {
                out.put_u32_le(nack.request);
                out.put_u32_le(nack.subscription);
                out.put_u64_le(nack.offset);
                out.put_u64_le(nack.delay_micros);
            }
            Self::Seek(seek) => {
                out.put_u32_le(seek.request);
                write_start(out, seek.to);
                match seek.target {
                    SeekTarget::Subscription(number) => {
                        out.put_u8(0);
                        out.put_u32_le(number);
                    }
                    SeekTarget::Durable { topic, name } => {
                        out.put_u8(1);
                        put_short(out, topic);
                        put_short(out, name.as_bytes());
                    }
                }
            }
            Self::Batch(batch) => {
                out.put_u32_le(batch.request);
                out.put_u32_le(batch.operations.count);
                out.put_u8(ack_byte(batch.ack));
                write_producer(out, batch.producer);
                out.put_slice(batch.operations.bytes);
            }
            Self::Ping { nonce } | Self::Pong { nonce } => out.put_u64_le(*nonce),
            Self::Close => {}
            Self::Extension { body, .. } => out.put_slice(body),
        }
    }

    /// Reads the body of a frame whose kind a client may send.
    pub(crate) fn parse(frame_kind: u8, body: &'a [u8], limits: &Limits) -> Result<Self, ProtocolFault> {
        let mut reader = Reader::new(body);
        let r = &mut reader;
        let frame = match frame_kind {
            kind::HELLO => {
                let (version, name, token) = (r.u16()?, r.short_text("client name")?, r.long_bytes()?);
                if token.len() > Limits::MAX_TOKEN {
                    return Err(ProtocolFault::BadValue { field: "token length", got: token.len() as u64 });
                }
                Self::Hello(Hello { version, name, token })
            }
            kind::CREATE_TOPIC => {
                let (request, topic, options) = (request(r)?, r.short_bytes()?, TopicOptions::read(r)?);
                Self::CreateTopic(CreateTopic { request, topic, options })
            }
            kind::ALTER_TOPIC => {
                let (request, topic, options) = (request(r)?, r.short_bytes()?, TopicOptions::read(r)?);
                Self::AlterTopic(AlterTopic { request, topic, options })
            }
            kind::PUBLISH => Self::Publish(read_publish(r, limits)?),
            kind::SUBSCRIBE => Self::Subscribe(read_subscribe(r)?),
            kind::UNSUBSCRIBE => {
                Self::Unsubscribe(Unsubscribe { request: request(r)?, subscription: r.u32()? })
            }
            kind::COMMIT => Self::Commit(Commit {
                request: request(r)?,
                subscription: r.u32()?,
                offset: r.u64()?,
                quiet: r.bool("quiet")?,
            }),
            kind::NACK => Self::Nack(Nack {
                request: request(r)?,
                subscription: r.u32()?,
                offset: r.u64()?,
                delay_micros: r.u64()?,
            }),
            kind::SEEK => {
                let (request, to) = (request(r)?, read_start(r)?);
                let target = match r.u8()? {
                    0 => SeekTarget::Subscription(r.u32()?),
                    1 => SeekTarget::Durable { topic: r.short_bytes()?, name: durable_name(r)? },
                    got => {
                        return Err(ProtocolFault::BadValue { field: "seek target", got: u64::from(got) });
                    }
                };
                Self::Seek(Seek { request, target, to })
            }
            kind::BATCH => {
                let (request, count) = (request(r)?, r.u32()?);
                let (ack, producer) = (read_ack(r)?, read_producer(r)?);
                if ack == AckLevel::None {
                    return Err(ProtocolFault::BadValue { field: "acknowledgement of a batch", got: 0 });
                }
                let operations = Operations::read(r, count, limits)?;
                Self::Batch(Batch { request, ack, producer, operations })
            }
            kind::PING => Self::Ping { nonce: r.u64()? },
            kind::PONG => Self::Pong { nonce: r.u64()? },
            kind::CLOSE => Self::Close,
            kind => Self::Extension { kind, body: r.rest() },
        };
        reader.finish()?;
        Ok(frame)
    }
}

fn request(r: &mut Reader<'_>) -> Result<u32, ProtocolFault> {
    match r.u32()? {
        0 => Err(ProtocolFault::BadValue { field: "request id", got: 0 }),
        request => Ok(request),
    }
}

fn durable_name<'a>(r: &mut Reader<'a>) -> Result<&'a str, ProtocolFault> {
    match r.short_text("durable name")? {
        "" => Err(ProtocolFault::BadValue { field: "durable name length", got: 0 }),
        name => Ok(name),
    }
}

const fn ack_byte(ack: AckLevel) -> u8 {
    match ack {
        AckLevel::None => 0,
        AckLevel::Accepted => 1,
        AckLevel::Durable => 2,
    }
}

fn read_ack(r: &mut Reader<'_>) -> Result<AckLevel, ProtocolFault> {
    match r.u8()? {
        0 => Ok(AckLevel::None),
        1 => Ok(AckLevel::Accepted),
        2 => Ok(AckLevel::Durable),
        got => Err(ProtocolFault::BadValue { field: "acknowledgement level", got: u64::from(got) }),
    }
}

fn write_producer(out: &mut BytesMut, producer: Option<Producer>) {
    out.put_u8(u8::from(producer.is_some()));
    if let Some(Producer { id, epoch, sequence }) = producer {
        out.put_u128_le(id);
        out.put_u32_le(epoch);
        out.put_u64_le(sequence);
    }
}

fn read_producer(r: &mut Reader<'_>) -> Result<Option<Producer>, ProtocolFault> {
    if !r.bool("has producer")? {
        return Ok(None);
    }
    Ok(Some(Producer { id: r.u128()?, epoch: r.u32()?, sequence: r.u64()? }))
}

fn read_publish<'a>(r: &mut Reader<'a>, limits: &Limits) -> Result<Publish<'a>, ProtocolFault> {
    let (request, count) = (r.u32()?, r.u32()?);
    let ack = read_ack(r)?;
    if request == 0 && ack != AckLevel::None {
        return Err(ProtocolFault::BadValue { field: "request id", got: 0 });
    }
    let (producer, topic) = (read_producer(r)?, r.short_bytes()?);
    let records = Records::read(r, count, limits.max_records.min(Limits::MAX_RECORDS), Origin::Publish)?;
    Ok(Publish { request, ack, producer, topic, records })
}

fn write_start(out: &mut BytesMut, start: Start) {
    let (kind, value) = match start {
        Start::Earliest => (0, 0),
        Start::Latest => (1, 0),
        Start::Offset(offset) => (2, offset),
        Start::Time(time) => (3, time),
    };
    out.put_u8(kind);
    out.put_u64_le(value);
}

fn read_start(r: &mut Reader<'_>) -> Result<Start, ProtocolFault> {
    match (r.u8()?, r.u64()?) {
        (0, 0) => Ok(Start::Earliest),
        (1, 0) => Ok(Start::Latest),
        (0 | 1, got) => Err(ProtocolFault::BadValue { field: "value of a start without one", got }),
        (2, offset) => Ok(Start::Offset(offset)),
        (3, time) => Ok(Start::Time(time)),
        (got, _) => Err(ProtocolFault::BadValue { field: "start", got: u64::from(got) }),
    }
}

fn write_subscribe(out: &mut BytesMut, subscribe: &Subscribe<'_>) {
    out.put_u32_le(subscribe.request);
    out.put_u32_le(subscribe.subscription);
    write_start(out, subscribe.start);
    out.put_u32_le(subscribe.window);
    out.put_u32_le(subscribe.window_bytes);
    out.put_u32_le(subscribe.max_attempts);
    put_short(out, subscribe.topic);
    put_short(out, subscribe.dead_letter);
    out.put_u8(u8::from(subscribe.durable.is_some()));
    if let Some(durable) = subscribe.durable {
        put_short(out, durable.name.as_bytes());
        out.put_u8(match durable.on_conflict {
            OnConflict::TakeOver => 0,
            OnConflict::Reject => 1,
        });
        out.put_u32_le(durable.epoch);
        out.put_u64_le(durable.inactive_ttl_micros);
    }
}

fn read_subscribe<'a>(r: &mut Reader<'a>) -> Result<Subscribe<'a>, ProtocolFault> {
    let (request, subscription, start) = (request(r)?, r.u32()?, read_start(r)?);
    let (window, window_bytes, max_attempts) = (r.u32()?, r.u32()?, r.u32()?);
    let (topic, dead_letter) = (r.short_bytes()?, r.short_bytes()?);
    let durable = if r.bool("durable")? {
        let name = durable_name(r)?;
        let on_conflict = match r.u8()? {
            0 => OnConflict::TakeOver,
            1 => OnConflict::Reject,
            got => {
                return Err(ProtocolFault::BadValue { field: "on conflict", got: u64::from(got) });
            }
        };
        Some(Durable { name, on_conflict, epoch: r.u32()?, inactive_ttl_micros: r.u64()? })
    } else {
        None
    };
    Ok(Subscribe {
        request,
        subscription,
        topic,
        start,
        window,
        window_bytes,
        max_attempts,
        dead_letter,
        durable,
    })
}

const OPERATION_PUBLISH: u8 = 0;
const OPERATION_COMMIT: u8 = 1;
/// The shortest operation is a commit: a kind byte, a number and an offset.
const MIN_OPERATION: usize = 13;

impl<'a> Operations<'a> {
    /// How many operations.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none; an empty batch is legal (semantics X-11).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The operations, in order.
    pub fn iter(&self) -> impl Iterator<Item = Operation<'a>> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || Operation::read(&mut reader, u32::MAX).ok())
    }

    fn read(r: &mut Reader<'a>, count: u32, limits: &Limits) -> Result<Self, ProtocolFault> {
        // One more than the semantics allow still decodes, so that it is refused and the connection lives.
        let possible = r.remaining().checked_div(MIN_OPERATION).unwrap_or(0);
        let limit = possible.min(Limits::MAX_ELEMENTS as usize);
        if count as usize > limit {
            let (limit, got) = (limit as u64, u64::from(count));
            return Err(ProtocolFault::CountTooLarge { field: "operations", limit, got });
        }
        let bytes = r.rest();
        let mut check = Reader::new(bytes);
        for _ in 0..count {
            Operation::read(&mut check, limits.max_records)?;
        }
        check.finish()?;
        Ok(Self { count, bytes })
    }
}

impl<'a> Operation<'a> {
    fn read(r: &mut Reader<'a>, max_records: u32) -> Result<Self, ProtocolFault> {
        match r.u8()? {
            OPERATION_PUBLISH => {
                let (count, len, topic) = (r.u32()?, r.u32()?, r.short_bytes()?);
                let mut records = Reader::new(r.take(len as usize)?);
                let records = Records::read(&mut records, count, max_records, Origin::Publish)?;
                Ok(Self::Publish { topic, records })
            }
            OPERATION_COMMIT => Ok(Self::Commit { subscription: r.u32()?, offset: r.u64()? }),
            got => Err(ProtocolFault::BadValue { field: "operation", got: u64::from(got) }),
        }
    }
}

impl OperationsBuilder {
    /// Appends an operation.
    pub fn push(&mut self, operation: Operation<'_>) {
        self.count = self.count.saturating_add(1);
        match operation {
            Operation::Publish { topic, records } => {
                let len = u32::try_from(records.as_bytes().len()).unwrap_or(u32::MAX);
                self.bytes.push(OPERATION_PUBLISH);
                self.bytes.extend_from_slice(&records.len().to_le_bytes());
                self.bytes.extend_from_slice(&len.to_le_bytes());
                let name_len = u8::try_from(topic.len()).unwrap_or(u8::MAX);
                self.bytes.push(name_len);
                self.bytes.extend_from_slice(topic.get(..usize::from(name_len)).unwrap_or_default());
                self.bytes.extend_from_slice(records.as_bytes());
            }
            Operation::Commit { subscription, offset } => {
                self.bytes.push(OPERATION_COMMIT);
                self.bytes.extend_from_slice(&subscription.to_le_bytes());
                self.bytes.extend_from_slice(&offset.to_le_bytes());
            }
        }
    }

    /// The operations collected.
    #[must_use]
    pub fn operations(&self) -> Operations<'_> {
        Operations { count: self.count, bytes: &self.bytes }
    }
}

impl FromIterator<Operation<'static>> for OperationsBuilder {
    fn from_iter<I: IntoIterator<Item = Operation<'static>>>(operations: I) -> Self {
        let mut builder = Self { count: 0, bytes: Vec::new() };
        operations.into_iter().for_each(|operation| builder.push(operation));
        builder
    }
}
