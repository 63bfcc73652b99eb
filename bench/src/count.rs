//! Counts the messages of a stream: by its bytes where all messages have the same length, by its frames with Zaichik.

use anyhow::{Result, bail, ensure};
use zaichik_proto::{DeliveryHead, FrameHeader, HEADER_LEN, RECORD_OVERHEAD};

use crate::payload::{self, HEAD};

/// The messages expected in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) messages: u64,
    /// Messages of a publisher's block (see [`payload`]).
    pub(crate) block: u64,
}

impl Expected {
    /// Whether a stream that is counted by its bytes checks this message: the first one of each block, and the last
    /// one.
    fn is_sample(self, message: u64) -> bool {
        message.is_multiple_of(self.block) || message + 1 == self.messages
    }

    /// The next message to check, from `message` on.
    fn next_sample(self, message: u64) -> u64 {
        message.next_multiple_of(self.block).min((self.messages - 1).max(message))
    }
}

/// Counts the messages that a subscriber reads.
#[derive(Debug, Clone)]
pub(crate) enum Counter {
    FixedLength(FixedLength),
    ZaichikFrames(ZaichikFrames),
}

impl Counter {
    /// Processes bytes that were read; checks samples.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::FixedLength(fixed) => fixed.feed(bytes),
            Self::ZaichikFrames(frames) => frames.feed(bytes),
        }
    }

    /// Messages read completely.
    pub(crate) const fn messages(&self) -> u64 {
        match self {
            Self::FixedLength(fixed) => fixed.messages,
            Self::ZaichikFrames(frames) => frames.messages,
        }
    }

    /// The answer that the broker's question between two messages requires now.
    pub(crate) fn reply(&mut self) -> Option<&'static [u8]> {
        match self {
            Self::FixedLength(fixed) => fixed.reply.take(),
            Self::ZaichikFrames(_) => None,
        }
    }
}

/// Counts messages of one length.
#[derive(Debug, Clone)]
pub(crate) struct FixedLength {
    expected: Expected,
    /// Bytes of a message.
    len: usize,
    /// Where its payload begins.
    payload_at: usize,
    /// The question that the broker may send between messages.
    question: Option<Question>,
    messages: u64,
    /// Bytes read of the incomplete message.
    partial: usize,
    /// Bytes of a question still to be read.
    question_left: usize,
    reply: Option<&'static [u8]>,
    payload_head: [u8; HEAD],
}

/// What a broker may ask between two messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The question; no message begins with its first byte.
    pub(crate) question: &'static [u8],
    pub(crate) answer: &'static [u8],
}

impl FixedLength {
    /// Messages of `len` bytes, whose payload begins at `payload_at`.
    pub(crate) const fn new(
        expected: Expected,
        (len, payload_at): (usize, usize),
        question: Option<Question>,
    ) -> Self {
        let payload_head = [0; HEAD];
        Self {
            expected,
            len,
            payload_at,
            question,
            messages: 0,
            partial: 0,
            question_left: 0,
            reply: None,
            payload_head,
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(first) = bytes.first() {
            if self.question_left > 0 {
                let count = self.question_left.min(bytes.len());
                self.question_left -= count;
                bytes = &bytes[count..];
                continue;
            }
            if self.partial == 0 {
                if let Some(question) = self.question.filter(|question| question.question[0] == *first) {
                    (self.question_left, self.reply) = (question.question.len(), Some(question.answer));
                    continue;
                }
                let skippable = self.skippable(bytes.len());
                if skippable > 0 {
                    self.messages += skippable as u64;
                    bytes = &bytes[skippable * self.len..];
                    continue;
                }
            }
            let count = (self.len - self.partial).min(bytes.len());
            self.keep_payload_head(&bytes[..count]);
            self.partial += count;
            bytes = &bytes[count..];
            if self.partial == self.len {
                if self.expected.is_sample(self.messages) {
                    payload::check(&self.payload_head, self.messages, self.expected.block)?;
                }
                (self.partial, self.messages) = (0, self.messages + 1);
            }
        }
        ensure!(self.messages <= self.expected.messages, "more messages than were published");
        Ok(())
    }

    /// The number of complete messages in the next `available` bytes that need no check.
    fn skippable(&self, available: usize) -> usize {
        let until = self.expected.next_sample(self.messages) - self.messages;
        let whole = (available / self.len).min(usize::try_from(until).unwrap_or(usize::MAX));
        // Where a question is possible, the first byte of each message has to be checked.
        if self.question.is_some() { whole.min(1) } else { whole }
    }

    /// Keeps bytes that belong to the head of the payload.
    fn keep_payload_head(&mut self, bytes: &[u8]) {
        let from = self.partial.max(self.payload_at);
        let to = (self.partial + bytes.len()).min(self.payload_at + HEAD);
        if from < to {
            let part = &bytes[from - self.partial..to - self.partial];
            self.payload_head[from - self.payload_at..to - self.payload_at].copy_from_slice(part);
        }
    }
}

/// The kinds of Zaichik's frames that matter to a subscriber.
const DELIVERY: u8 = 0x49;
const GAP: u8 = 0x4a;
const REFUSED: u8 = 0x46;
const FATAL: u8 = 0x50;

/// Bytes of a Delivery up to the end of the head of its first payload.
const HEAD_LEN: usize = DeliveryHead::LEN + RECORD_OVERHEAD + HEAD;

/// Counts the records of Zaichik's Delivery frames by their heads, and checks that offsets are consecutive.
#[derive(Debug, Clone)]
pub(crate) struct ZaichikFrames {
    expected: Expected,
    messages: u64,
    /// The beginning of the incomplete frame.
    head: [u8; HEAD_LEN],
    /// Bytes read of that frame.
    partial: usize,
    /// Bytes of that frame, once its header has been read.
    len: usize,
}

impl ZaichikFrames {
    /// Expects deliveries from offset 0 on.
    pub(crate) const fn new(expected: Expected) -> Self {
        Self { expected, messages: 0, head: [0; HEAD_LEN], partial: 0, len: HEADER_LEN }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            // The header first: it has the length of the rest.
            let end = if self.partial < HEADER_LEN { HEADER_LEN } else { self.len };
            let count = (end - self.partial).min(bytes.len());
            if self.partial < HEAD_LEN {
                let kept = count.min(HEAD_LEN - self.partial);
                self.head[self.partial..self.partial + kept].copy_from_slice(&bytes[..kept]);
            }
            self.partial += count;
            bytes = &bytes[count..];
            if self.partial == HEADER_LEN {
                let mut header = [0; HEADER_LEN];
                header.copy_from_slice(&self.head[..HEADER_LEN]);
                self.len = HEADER_LEN + FrameHeader::from_bytes(header)?.body_len as usize;
            }
            if self.partial >= HEADER_LEN && self.partial == self.len {
                self.frame()?;
                self.partial = 0;
            }
        }
        Ok(())
    }

    /// Processes a complete frame.
    fn frame(&mut self) -> Result<()> {
        match self.head[4] {
            DELIVERY => {
                let (count, first) = (self.field::<4>(20), self.field::<8>(24));
                let (count, first) = (u32::from_le_bytes(count), u64::from_le_bytes(first));
                ensure!(first == self.messages, "received offset {first} instead of {}", self.messages);
                payload::check(&self.head[HEAD_LEN - HEAD..], first, self.expected.block)?;
                self.messages += u64::from(count);
                ensure!(self.messages <= self.expected.messages, "more messages than were published");
                Ok(())
            }
            GAP => bail!("the broker reports a gap after message {}", self.messages),
            REFUSED => bail!("the broker refused a request, code {}", u16::from_le_bytes(self.field(16))),
            FATAL => bail!("the broker reports a protocol error, code {}", u16::from_le_bytes(self.field(8))),
            _ => Ok(()),
        }
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.head[at..at + N]);
        field
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    const EXPECTED: Expected = Expected { messages: 7, block: 3 };

    /// Payloads of 36 bytes, each with two bytes in front and one behind.
    fn stream(ask: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for message in 0..EXPECTED.messages {
            if ask && message == 4 {
                out.extend_from_slice(b"?!\n");
            }
            out.extend_from_slice(b"<<");
            out.extend_from_slice(&payload::payload(message, EXPECTED.block, HEAD + 4));
            out.push(b'>');
        }
        out
    }

    fn fixed() -> Counter {
        let question = Question { question: b"?!\n", answer: b"yes" };
        Counter::FixedLength(FixedLength::new(EXPECTED, (2 + HEAD + 5, 2), Some(question)))
    }

    #[test]
    fn the_count_does_not_depend_on_the_sizes_of_reads() {
        let stream = stream(true);
        for size in 1..stream.len() {
            let mut counter = fixed();
            let mut replies = 0;
            for bytes in stream.chunks(size) {
                counter.feed(bytes).unwrap();
                replies += usize::from(counter.reply().is_some());
            }
            assert_eq!((counter.messages(), replies), (EXPECTED.messages, 1), "{size}");
        }
    }

    #[test]
    fn a_missing_block_is_noticed() {
        let stream = stream(false);
        let message = stream.len() / 7;
        let mut counter = fixed();
        counter.feed(&stream[..message * 3]).unwrap();
        assert!(counter.feed(&stream[message * 6..]).is_err());
    }

    #[test]
    fn deliveries_are_counted_by_their_heads() {
        let mut wire = BytesMut::new();
        for (first, count) in [(0_u64, 3_u32), (3, 1), (4, 3)] {
            let mut records = Vec::new();
            for message in first..first + u64::from(count) {
                let body = payload::payload(message, EXPECTED.block, HEAD);
                zaichik_proto::Record { body: &body, ..Default::default() }.encode(&mut records);
            }
            let head = DeliveryHead { subscription: 1, rewind: 0, attempt: 1, count, first_offset: first };
            head.encode(u32::try_from(records.len()).unwrap(), &mut wire);
            wire.extend_from_slice(&records);
            zaichik_proto::ServerFrame::Ping { nonce: 1 }.encode(&mut wire);
        }
        for size in 1..wire.len() {
            let mut counter = ZaichikFrames::new(EXPECTED);
            for bytes in wire.chunks(size) {
                counter.feed(bytes).unwrap();
            }
            assert_eq!(counter.messages, EXPECTED.messages);
        }
    }
}
