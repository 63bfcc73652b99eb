//! A broker that implements exactly rule P3, for one producer.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::BytesMut;
use zaichik_proto::{
    BatchResult, Batched, List, Producer, Published, Refusal, RefusalCode, Refused, ServerFrame, Timestamp,
};

use crate::client::tests::sent::{Op, Sent};

/// One instance of a broker, with one topic and one producer.
#[derive(Default)]
pub(super) struct Broker {
    /// The numbers of the records.
    pub(super) log: Vec<u32>,
    expected: Option<u64>,
    answers: BTreeMap<u64, Stored>,
    used_at: Timestamp,
}

impl Broker {
    const REMEMBERED: Duration = Duration::from_mins(10);
    const RETRYABLE: [RefusalCode; 6] = [
        RefusalCode::Busy,
        RefusalCode::TopicFull,
        RefusalCode::KeysFull,
        RefusalCode::TopicsFull,
        RefusalCode::Draining,
        RefusalCode::StorageFull,
    ];

    /// Handles a request; `choice` selects the broker's response if the sequence number is in order.
    pub(super) fn handle(&mut self, now: Timestamp, sent: &Sent, choice: u8) -> BytesMut {
        let (producer, publishes, is_batch) = match sent {
            Sent::Publish { producer, bodies, .. } => (*producer, vec![bodies.clone()], false),
            Sent::Batch { producer, operations, .. } => {
                let bodies = operations.iter().map(|operation| match operation {
                    Op::Publish { bodies, .. } => bodies.clone(),
                    Op::Commit { .. } | Op::Ack { .. } => panic!("{operation:?}"),
                });
                (*producer, bodies.collect(), true)
            }
            other => panic!("{other:?}"),
        };
        let Producer { sequence, .. } = producer.unwrap();
        if now >= self.used_at + Self::REMEMBERED {
            self.expected = None;
            self.answers.clear();
        }
        let request = sent.request();
        match self.expected {
            Some(expected) if sequence > expected => {
                return refused(request, RefusalCode::SequenceGap, expected);
            }
            Some(expected) if sequence < expected => {
                let Some(stored) = self.answers.get(&sequence) else {
                    return refused(request, RefusalCode::SequenceTooOld, 0);
                };
                return stored.encode(request);
            }
            _ => {}
        }
        if let Some(code) = Self::RETRYABLE.get(usize::from(choice / 8)).filter(|_| choice < 40) {
            // A new producer is not remembered after a retryable refusal.
            return refused(request, *code, u64::from(choice) * 1_000);
        }
        let stored = if choice > 240 {
            Stored::Refused(RefusalCode::TooLarge)
        } else {
            let mut append = |bodies: &Vec<Vec<u8>>| {
                let first = self.log.len() as u64;
                self.log.extend(bodies.iter().map(|body| u32::from_le_bytes(body[..4].try_into().unwrap())));
                first
            };
            Stored::Accepted(publishes.iter().map(&mut append).collect(), is_batch)
        };
        self.expected = Some(sequence + 1);
        self.used_at = now;
        self.answers.insert(sequence, stored.clone());
        stored.encode(request)
    }
}

/// The broker's answer to a sequence number.
#[derive(Debug, Clone)]
enum Stored {
    /// The offset of the first record of each publish, and whether it was a batch.
    Accepted(Vec<u64>, bool),
    Refused(RefusalCode),
}

fn refused(request: u32, code: RefusalCode, value: u64) -> BytesMut {
    let mut out = BytesMut::new();
    let refusal = Refusal::with_value(code, value);
    ServerFrame::Refused(Refused { request, count: 1, refusal, repeated: None }).encode(&mut out);
    out
}

impl Stored {
    fn encode(&self, request: u32) -> BytesMut {
        let (mut out, mut bytes) = (BytesMut::new(), Vec::new());
        let frame = match self {
            Self::Refused(code) => return refused(request, *code, 0),
            Self::Accepted(offsets, false) => ServerFrame::Published(Published {
                repeated: None,
                request,
                created: false,
                first_offset: offsets.first().copied(),
                duplicates: List::EMPTY,
            }),
            Self::Accepted(offsets, true) => {
                let results = (0..).zip(offsets).map(|(operation, first_offset)| BatchResult {
                    operation,
                    created: false,
                    first_offset: *first_offset,
                });
                let results = List::encode_into(&mut bytes, results);
                ServerFrame::Batched(Batched { repeated: None, request, results, duplicates: List::EMPTY })
            }
        };
        frame.encode(&mut out);
        out
    }
}
