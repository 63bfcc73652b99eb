//! Counts the messages of a stream: by its bytes where all messages have one length, by its frames with Zaichik.

use anyhow::{Result, bail, ensure};
use zaichik_proto::{DeliveryHead, FrameHeader, HEADER_LEN, RECORD_OVERHEAD};

use crate::payload::{self, HEAD};

/// Which messages a stream should bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Messages, all in all.
    pub(crate) messages: u64,
    /// Messages of a publisher's block (see [`payload`]).
    pub(crate) block: u64,
}

impl Expected {
    /// Whether the message is looked at in a stream that is counted by its bytes: the first, the last, and the first
    /// of each block.
    fn is_sample(self, message: u64) -> bool {
        message.is_multiple_of(self.block) || message + 1 == self.messages
    }

    /// The next message that is looked at, from `message` on.
    fn next_sample(self, message: u64) -> u64 {
        message.next_multiple_of(self.block).min((self.messages - 1).max(message))
    }
}

/// Counts what a subscriber reads.
#[derive(Debug, Clone)]
pub(crate) enum Counter {
    /// Messages of one length.
    FixedLength(FixedLength),
    /// Zaichik's frames.
    ZaichikFrames(ZaichikFrames),
}

impl Counter {
    /// Takes in what was read; checks samples.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::FixedLength(fixed) => fixed.feed(bytes),
            Self::ZaichikFrames(frames) => frames.feed(bytes),
        }
    }

    /// Messages that are there as a whole.
    pub(crate) const fn messages(&self) -> u64 {
        match self {
            Self::FixedLength(fixed) => fixed.messages,
            Self::ZaichikFrames(frames) => frames.messages,
        }
    }

    /// What the broker asked for between messages and must be answered now.
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
    /// What may stand between messages.
    question: Option<Question>,
    messages: u64,
    /// Bytes of the message that is not whole yet.
    partial: usize,
    /// Bytes of a question that are still to come.
    question_left: usize,
    reply: Option<&'static [u8]>,
    payload_head: [u8; HEAD],
}

/// What a broker may ask between two messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The question; no message begins with its first byte.
    pub(crate) question: &'static [u8],
    /// What it is answered.
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

    /// How many whole messages of the next `available` bytes nobody looks at.
    fn skippable(&self, available: usize) -> usize {
        let until = self.expected.next_sample(self.messages) - self.messages;
        let whole = (available / self.len).min(usize::try_from(until).unwrap_or(usize::MAX));
        // Where a question may come, each message's first byte has to be looked at.
        if self.question.is_some() { whole.min(1) } else { whole }
    }

    /// Keeps what belongs to the payload's stamp.
    fn keep_payload_head(&mut self, bytes: &[u8]) {
        let from = self.partial.max(self.payload_at);
        let to = (self.partial + bytes.len()).min(self.payload_at + HEAD);
        if from < to {
            let part = &bytes[from - self.partial..to - self.partial];
            self.payload_head[from - self.payload_at..to - self.payload_at].copy_from_slice(part);
        }
    }
}

/// The kinds of Zaichik's frames that a subscriber has to know.
const DELIVERY: u8 = 0x49;
const GAP: u8 = 0x4a;
const REFUSED: u8 = 0x46;
const FATAL: u8 = 0x50;

/// Bytes of a Delivery up to the end of its first payload's stamp.
const HEAD_LEN: usize = DeliveryHead::LEN + RECORD_OVERHEAD + HEAD;

/// Counts the records of Zaichik's Delivery frames by their heads, and checks that the offsets go on.
#[derive(Debug, Clone)]
pub(crate) struct ZaichikFrames {
    expected: Expected,
    messages: u64,
    /// The beginning of the frame that is not whole yet.
    head: [u8; HEAD_LEN],
    /// Bytes of that frame that are there.
    partial: usize,
    /// Bytes of that frame, once its header is there.
    len: usize,
}

impl ZaichikFrames {
    /// Deliveries from offset 0 on.
    pub(crate) const fn new(expected: Expected) -> Self {
        Self { expected, messages: 0, head: [0; HEAD_LEN], partial: 0, len: HEADER_LEN }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            // Header first, its length is not known before.
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

    /// A frame is whole.
    fn frame(&mut self) -> Result<()> {
        match self.head[4] {
            DELIVERY => {
                let (count, first) = (self.field::<4>(20), self.field::<8>(24));
                let (count, first) = (u32::from_le_bytes(count), u64::from_le_bytes(first));
                ensure!(first == self.messages, "offset {first} came where {} was due", self.messages);
                payload::check(&self.head[HEAD_LEN - HEAD..], first, self.expected.block)?;
                self.messages += u64::from(count);
                ensure!(self.messages <= self.expected.messages, "more messages than were published");
                Ok(())
            }
            GAP => bail!("the broker reports a gap behind message {}", self.messages),
            REFUSED => bail!("the broker refused something, code {}", u16::from_le_bytes(self.field(16))),
            FATAL => bail!("the broker reports a breach, code {}", u16::from_le_bytes(self.field(8))),
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

    /// Payloads of 36 bytes, between two bytes in front and one behind.
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
    fn however_the_stream_is_cut_the_count_is_the_same() {
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
    fn a_block_that_is_missing_is_noticed() {
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
