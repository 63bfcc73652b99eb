//! Zaichik's dialect: a blocking connection with the protocol's own codec.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BytesMut};
use zaichik_proto::{
    AckLevel, ClientFrame, CreateTopic, Durable, FrameHeader, HEADER_LEN, Hello, Limits, MAGIC, OnConflict,
    PROTOCOL_VERSION, Publish, Record, Records, ServerDecoder, ServerFrame, Start, Subscribe,
    SubscribeShared, TopicOptions, Version,
};

use crate::wire;

/// Subscriptions to send before reading the broker's answers.
const CHUNK: usize = 500;

/// Topics that keep a message until their subscriptions have received it. The only limit is the broker's memory, at which
/// it stops reading from publishers. No message is lost, and none is stored longer than needed.
pub(crate) const fn live_only() -> TopicOptions {
    TopicOptions::new().max_messages(u64::MAX).max_bytes(u64::MAX)
}

/// Topics that keep every message.
pub(crate) const fn retained() -> TopicOptions {
    live_only().retain_forever()
}

/// A connection that is ready to publish.
pub(super) fn publisher(port: u16) -> Result<TcpStream> {
    Ok(Client::connect(port)?.socket)
}

/// Subscribes to a live-only topic without commits, and waits for the answer.
pub(super) fn subscribe(port: u16, topic: &str) -> Result<TcpStream> {
    let mut client = Client::connect(port)?;
    client.create(topic, live_only())?;
    client.subscribe(topic, 0)?;
    Ok(client.socket)
}

/// Subscribes to several topics on one connection.
pub(super) fn subscribe_all(port: u16, topics: &[String]) -> Result<TcpStream> {
    let mut client = Client::connect(port)?;
    for (topics, first) in topics.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
        let mut out = BytesMut::new();
        for (topic, number) in topics.iter().zip(first..) {
            subscription(number, topic, 0, None).encode(&mut out);
        }
        client.send(&out)?;
        client.receive_answers(topics.len(), |frame| matches!(frame, ServerFrame::Subscribed(_)))?;
    }
    Ok(client.socket)
}

/// An unacknowledged publish of one record.
pub(super) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_records(topic, AckLevel::None, 1, &[payload])
}

pub(crate) fn publish_records(topic: &str, ack: AckLevel, request: u32, payloads: &[&[u8]]) -> Vec<u8> {
    let records = payloads.iter().map(|payload| Record { body: payload, ..Record::default() });
    publish_all(topic, ack, request, records)
}

/// An acknowledged publish of one record with a key.
pub(crate) fn publish_keyed(topic: &str, request: u32, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let record = Record { body: payload, key: Some(key), ..Record::default() };
    publish_all(topic, AckLevel::Accepted, request, [record].into_iter())
}

fn publish_all<'a>(
    topic: &str,
    ack: AckLevel,
    request: u32,
    all: impl ExactSizeIterator<Item = Record<'a>>,
) -> Vec<u8> {
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let mut records = Vec::new();
    all.for_each(|record| record.encode(&mut records));
    let records = Records::from_encoded(count, &records);
    let mut out = BytesMut::new();
    let topic = topic.as_bytes();
    ClientFrame::Publish(Publish { request, ack, producer: None, topic, records }).encode(&mut out);
    out.to_vec()
}

fn subscription<'a>(
    number: u32,
    topic: &'a str,
    window: u32,
    durable: Option<Durable<'a>>,
) -> ClientFrame<'a> {
    ClientFrame::Subscribe(Subscribe {
        request: number + 1,
        subscription: number,
        topic: topic.as_bytes(),
        start: Start::Earliest,
        window,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable,
    })
}

#[derive(Debug)]
pub(crate) struct Client {
    socket: TcpStream,
    decoder: ServerDecoder,
    input: BytesMut,
    output: BytesMut,
    chunk: Vec<u8>,
}

impl Client {
    /// Opens a connection and performs the handshake, without reading beyond the answer.
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let socket = wire::connect(port)?;
        let decoder = ServerDecoder::handshake(&Limits::default());
        let (input, output) = (BytesMut::new(), BytesMut::new());
        let mut client = Self { socket, decoder, input, output, chunk: Vec::new() };
        client.send(&MAGIC)?;
        client.send_frame(&ClientFrame::Hello(Hello {
            version: PROTOCOL_VERSION,
            name: "bench",
            token: b"",
        }))?;
        client.answer("Welcome", |frame| matches!(frame, ServerFrame::Welcome(_)))?;
        client.decoder.open(Version::NEWEST, &Limits::default());
        Ok(client)
    }

    /// Creates a topic unless it exists with the same settings, and waits for the answer.
    pub(crate) fn create(&mut self, topic: &str, options: TopicOptions) -> Result<()> {
        let topic = topic.as_bytes();
        self.send_frame(&ClientFrame::CreateTopic(CreateTopic { request: 1, topic, options }))?;
        self.answer("TopicReady", |frame| matches!(frame, ServerFrame::TopicReady(_)))
    }

    /// Creates several topics, and waits for the answers.
    pub(crate) fn create_all(&mut self, topics: &[String], options: TopicOptions) -> Result<()> {
        let mut out = BytesMut::new();
        for topic in topics {
            let topic = topic.as_bytes();
            ClientFrame::CreateTopic(CreateTopic { request: 1, topic, options }).encode(&mut out);
        }
        self.send(&out)?;
        self.receive_answers(topics.len(), |frame| matches!(frame, ServerFrame::TopicReady(_)))
    }

    /// Subscribes from the topic's beginning with id 0, and waits for the answer.
    pub(crate) fn subscribe(&mut self, topic: &str, window: u32) -> Result<()> {
        self.send_frame(&subscription(0, topic, window, None))?;
        self.answer("Subscribed", |frame| matches!(frame, ServerFrame::Subscribed(_)))
    }

    /// The same with a durable subscription, whose cursor the broker keeps.
    pub(crate) fn subscribe_durable(&mut self, topic: &str, window: u32, name: &str) -> Result<()> {
        let durable = Durable { name, on_conflict: OnConflict::TakeOver, epoch: 0, inactive_ttl_micros: 0 };
        self.send_frame(&subscription(0, topic, window, Some(durable)))?;
        self.answer("Subscribed", |frame| matches!(frame, ServerFrame::Subscribed(_)))
    }

    /// Joins a shared subscription from the topic's beginning with id 0, and waits for the answer. A member may hold a record
    /// for 30 s.
    pub(crate) fn join(&mut self, topic: &str, window: u32, by_key: bool) -> Result<()> {
        self.send_frame(&ClientFrame::SubscribeShared(SubscribeShared {
            request: 1,
            subscription: 0,
            topic: topic.as_bytes(),
            name: "workers",
            start: Start::Earliest,
            window,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            ack_deadline_micros: 30_000_000,
            max_span: 0,
            inactive_ttl_micros: 0,
            by_key,
        }))?;
        self.answer("Subscribed", |frame| matches!(frame, ServerFrame::Subscribed(_)))
    }

    pub(crate) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).context("cannot write to the broker")
    }

    fn send_frame(&mut self, frame: &ClientFrame<'_>) -> Result<()> {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.send(&bytes)
    }

    /// Reads one frame, which must be the expected one, and no byte after it.
    fn answer(&mut self, what: &str, is_it: impl Fn(&ServerFrame<'_>) -> bool) -> Result<()> {
        ensure!(self.input.is_empty(), "bytes were read before {what}");
        let header = wire::read_array::<HEADER_LEN>(&mut self.socket).context(what.to_owned())?;
        let body = FrameHeader::from_bytes(header)?.body_len as usize;
        let mut bytes = vec![0; HEADER_LEN + body];
        bytes[..HEADER_LEN].copy_from_slice(&header);
        self.socket.read_exact(&mut bytes[HEADER_LEN..]).context(what.to_owned())?;
        let (frame, _) = self.decoder.decode(&bytes)?.context("part of a frame")?;
        ensure!(is_it(&frame), "expected {what}, the broker sent {frame:?}");
        Ok(())
    }

    /// Reads `count` frames, which must be the expected ones.
    fn receive_answers(&mut self, count: usize, is_it: impl Fn(&ServerFrame<'_>) -> bool) -> Result<()> {
        let mut answers = 0;
        while answers < count {
            self.receive(|frame, _| {
                ensure!(is_it(frame), "the broker sent {frame:?}");
                answers += 1;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Reads and processes at least one frame, then sends what `take` has written.
    pub(crate) fn receive(
        &mut self,
        mut take: impl FnMut(&ServerFrame<'_>, &mut BytesMut) -> Result<()>,
    ) -> Result<()> {
        self.chunk.resize(256 << 10, 0);
        let mut taken = 0;
        while taken == 0 {
            let count = self.socket.read(&mut self.chunk).context("cannot read from the broker")?;
            ensure!(count > 0, "the broker closed the connection");
            self.input.extend_from_slice(&self.chunk[..count]);
            while let Some((frame, len)) = self.decoder.decode(&self.input)? {
                take(&frame, &mut self.output)?;
                self.input.advance(len);
                taken += len;
            }
        }
        if !self.output.is_empty() {
            self.socket.write_all(&self.output).context("cannot write to the broker")?;
            self.output.clear();
        }
        Ok(())
    }

    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> Result<()> {
        self.socket.set_read_timeout(Some(timeout)).context("setting a read timeout")
    }
}

#[cfg(test)]
mod tests {
    use zaichik_proto::ClientDecoder;

    use super::*;

    #[test]
    fn a_publish_is_a_frame_that_a_broker_decodes() {
        let bytes = publish_records("t0", AckLevel::Accepted, 7, &[b"one", b"two"]);
        let mut decoder = ClientDecoder::new(&Limits::default());
        let (frame, len) = decoder.decode(&bytes).unwrap().unwrap();
        assert_eq!(len, bytes.len());
        assert!(matches!(frame, ClientFrame::Publish(publish) if publish.records.len() == 2));
    }
}
