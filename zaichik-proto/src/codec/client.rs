//! Encodes and decodes the frames of clients (docs/protocol.md §6).

use bytes::{BufMut, BytesMut};

use crate::error::ProtocolFault;
use crate::frame::batch::{Batch, Operations};
use crate::frame::client::ClientFrame;
use crate::frame::connection::{Hello, Shard};
use crate::frame::cursor::{Commit, Nack, RemoveDurable, Seek, SeekTarget};
use crate::frame::describe::{Describe, Subject};
use crate::frame::members::DescribeShared;
use crate::frame::pattern::SubscribePattern;
use crate::frame::publish::{AckLevel, Producer, Publish};
use crate::frame::shared::{Ack, Extend, NackShared, SubscribeShared};
use crate::frame::subscribe::{Durable, Start, Subscribe, Unsubscribe};
use crate::frame::topic::{AlterTopic, CreateTopic, TrimTopic};
use crate::header::client_kind as kind;
use crate::limits::Limits;
use crate::options::TopicOptions;
use crate::read::Reader;
use crate::version::Version;
use crate::write::{framed, put_label, put_long, put_short, put_topic};

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
            Self::Describe(_) => kind::DESCRIBE,
            Self::RemoveDurable(_) => kind::REMOVE_DURABLE,
            Self::Shard(_) => kind::SHARD,
            Self::TrimTopic(_) => kind::TRIM_TOPIC,
            Self::SubscribeShared(_) => kind::SUBSCRIBE_SHARED,
            Self::Ack(_) => kind::ACK,
            Self::NackShared(_) => kind::NACK_SHARED,
            Self::Extend(_) => kind::EXTEND,
            Self::DescribeShared(_) => kind::DESCRIBE_SHARED,
            Self::SubscribePattern(_) => kind::SUBSCRIBE_PATTERN,
            Self::Ping { .. } => kind::PING,
            Self::Pong { .. } => kind::PONG,
            Self::Close => kind::CLOSE,
            Self::Extension { kind, .. } => *kind,
        }
    }

    /// Appends the frame, including its header.
    ///
    /// A value that the layout can't hold is written in a form that the broker refuses; check names with
    /// [`TopicName`](crate::TopicName) and records with [`Record::check`](crate::Record::check) first. Only the
    /// client's own name is truncated if it is too long.
    pub fn encode(&self, out: &mut BytesMut) {
        framed(out, self.kind(), |out| self.write(out));
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Hello(hello) => {
                out.put_u16_le(hello.version);
                put_label(out, hello.name);
                put_long(out, hello.token);
            }
            Self::CreateTopic(CreateTopic { request, topic, options })
            | Self::AlterTopic(AlterTopic { request, topic, options }) => {
                out.put_u32_le(*request);
                put_topic(out, topic);
                options.write(out);
            }
            Self::Publish(publish) => publish.write(out),
            Self::Subscribe(subscribe) => write_subscribe(out, subscribe),
            Self::Unsubscribe(Unsubscribe { request, subscription }) => {
                out.put_u32_le(*request);
                out.put_u32_le(*subscription);
            }
            Self::Commit(commit) => {
                out.put_u32_le(commit.request);
                out.put_u32_le(commit.subscription);
                out.put_u64_le(commit.offset);
                if let Some(rewind) = commit.rewind {
                    out.put_u32_le(rewind);
                }
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
                seek.to.write(out);
                match seek.target {
                    SeekTarget::Subscription(number) => {
                        out.put_u8(0);
                        out.put_u32_le(number);
                    }
                    SeekTarget::Durable { topic, name } => {
                        out.put_u8(1);
                        put_topic(out, topic);
                        put_short(out, name.as_bytes(), b"");
                    }
                }
            }
            Self::Batch(batch) => {
                out.put_u32_le(batch.request);
                out.put_u32_le(batch.operations.count);
                out.put_u8(batch.ack.to_byte());
                Producer::write_optional(batch.producer, out);
                out.put_slice(batch.operations.bytes);
            }
            Self::Describe(Describe { request, subject }) => {
                out.put_u32_le(*request);
                write_subject(out, subject);
            }
            Self::RemoveDurable(RemoveDurable { request, topic, name }) => {
                out.put_u32_le(*request);
                put_topic(out, topic);
                put_short(out, name.as_bytes(), b"");
            }
            Self::Shard(Shard { request, shard }) => {
                out.put_u32_le(*request);
                out.put_u32_le(*shard);
            }
            Self::TrimTopic(TrimTopic { request, topic, before }) => {
                out.put_u32_le(*request);
                before.write(out);
                put_topic(out, topic);
            }
            Self::SubscribeShared(subscribe) => subscribe.write(out),
            Self::Ack(ack) => ack.write(out),
            Self::NackShared(nack) => nack.write(out),
            Self::Extend(extend) => extend.write(out),
            Self::DescribeShared(describe) => describe.write(out),
            Self::SubscribePattern(subscribe) => subscribe.write(out),
            Self::Ping { nonce } | Self::Pong { nonce } => out.put_u64_le(*nonce),
            Self::Close => {}
            Self::Extension { body, .. } => out.put_slice(body),
        }
    }

    /// Decodes the body of a frame whose kind a client may send in this version.
    pub(crate) fn parse(
        frame_kind: u8,
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, ProtocolFault> {
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
                let (request, topic, options) = (r.request()?, r.short_bytes()?, TopicOptions::read(r)?);
                Self::CreateTopic(CreateTopic { request, topic, options })
            }
            kind::ALTER_TOPIC => {
                let (request, topic, options) = (r.request()?, r.short_bytes()?, TopicOptions::read(r)?);
                Self::AlterTopic(AlterTopic { request, topic, options })
            }
            kind::PUBLISH => Self::Publish(Publish::read(r, limits)?),
            kind::SUBSCRIBE => Self::Subscribe(read_subscribe(r)?),
            kind::UNSUBSCRIBE => {
                Self::Unsubscribe(Unsubscribe { request: r.request()?, subscription: r.u32()? })
            }
            kind::COMMIT => Self::Commit(Commit {
                request: r.request()?,
                subscription: r.u32()?,
                offset: r.u64()?,
                rewind: if version > Version::One { Some(r.u32()?) } else { None },
                quiet: r.bool("quiet flag")?,
            }),
            kind::NACK => Self::Nack(Nack {
                request: r.request()?,
                subscription: r.u32()?,
                offset: r.u64()?,
                delay_micros: r.u64()?,
            }),
            kind::SEEK => {
                let (request, to) = (r.request()?, Start::read(r)?);
                let target = match r.u8()? {
                    0 => SeekTarget::Subscription(r.u32()?),
                    1 => SeekTarget::Durable { topic: r.short_bytes()?, name: r.durable_name()? },
                    got => {
                        return Err(ProtocolFault::BadValue { field: "seek target", got: u64::from(got) });
                    }
                };
                Self::Seek(Seek { request, target, to })
            }
            kind::BATCH => {
                let (request, count) = (r.request()?, r.u32()?);
                let (ack, producer) = (AckLevel::read(r)?, Producer::read_optional(r)?);
                if ack == AckLevel::None {
                    return Err(ProtocolFault::BadValue { field: "acknowledgement of a batch", got: 0 });
                }
                let operations = Operations::read(r, count, version, limits)?;
                Self::Batch(Batch { request, ack, producer, operations })
            }
            kind::DESCRIBE => Self::Describe(Describe { request: r.request()?, subject: read_subject(r)? }),
            kind::REMOVE_DURABLE => Self::RemoveDurable(RemoveDurable {
                request: r.request()?,
                topic: r.short_bytes()?,
                name: r.durable_name()?,
            }),
            kind::SHARD => Self::Shard(Shard { request: r.request()?, shard: r.u32()? }),
            kind::TRIM_TOPIC => {
                let (request, before, topic) = (r.request()?, Start::read(r)?, r.short_bytes()?);
                Self::TrimTopic(TrimTopic { request, topic, before })
            }
            kind::SUBSCRIBE_SHARED => Self::SubscribeShared(SubscribeShared::read(r)?),
            kind::ACK => Self::Ack(Ack::read(r)?),
            kind::NACK_SHARED => Self::NackShared(NackShared::read(r)?),
            kind::EXTEND => Self::Extend(Extend::read(r)?),
            kind::DESCRIBE_SHARED => Self::DescribeShared(DescribeShared::read(r)?),
            kind::SUBSCRIBE_PATTERN => Self::SubscribePattern(SubscribePattern::read(r)?),
            kind::PING => Self::Ping { nonce: r.u64()? },
            kind::PONG => Self::Pong { nonce: r.u64()? },
            kind::CLOSE => Self::Close,
            kind => Self::Extension { kind, body: r.rest() },
        };
        reader.finish()?;
        Ok(frame)
    }
}

fn write_subject(out: &mut BytesMut, subject: &Subject<'_>) {
    match subject {
        Subject::Broker => out.put_u8(0),
        Subject::Topics { from } => {
            out.put_u8(1);
            out.put_u32_le(*from);
        }
        Subject::Topic { topic } => {
            out.put_u8(2);
            put_topic(out, topic);
        }
        Subject::Subscriptions { from, topic } => {
            out.put_u8(3);
            out.put_u32_le(*from);
            put_topic(out, topic);
        }
        Subject::Durable { topic, name } => {
            out.put_u8(4);
            put_topic(out, topic);
            put_short(out, name.as_bytes(), b"");
        }
    }
}

fn read_subject<'a>(r: &mut Reader<'a>) -> Result<Subject<'a>, ProtocolFault> {
    match r.u8()? {
        0 => Ok(Subject::Broker),
        1 => Ok(Subject::Topics { from: r.u32()? }),
        2 => Ok(Subject::Topic { topic: r.short_bytes()? }),
        3 => Ok(Subject::Subscriptions { from: r.u32()?, topic: r.short_bytes()? }),
        4 => Ok(Subject::Durable { topic: r.short_bytes()?, name: r.durable_name()? }),
        got => Err(ProtocolFault::BadValue { field: "subject", got: u64::from(got) }),
    }
}

fn write_subscribe(out: &mut BytesMut, subscribe: &Subscribe<'_>) {
    out.put_u32_le(subscribe.request);
    out.put_u32_le(subscribe.subscription);
    subscribe.start.write(out);
    out.put_u32_le(subscribe.window);
    out.put_u32_le(subscribe.window_bytes);
    out.put_u32_le(subscribe.max_attempts);
    put_topic(out, subscribe.topic);
    put_topic(out, subscribe.dead_letter);
    Durable::write_optional(subscribe.durable, out);
}

fn read_subscribe<'a>(r: &mut Reader<'a>) -> Result<Subscribe<'a>, ProtocolFault> {
    let (request, subscription, start) = (r.request()?, r.u32()?, Start::read(r)?);
    let (window, window_bytes, max_attempts) = (r.u32()?, r.u32()?, r.u32()?);
    let (topic, dead_letter) = (r.short_bytes()?, r.short_bytes()?);
    let durable = Durable::read_optional(r)?;
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
