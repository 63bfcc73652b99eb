//! Two record layouts compared without a broker: the wire form in chunks, as the engine does it, and a handle for each
//! message, which is encoded again for each delivery (docs/adr/0001-record-layout.md).
//!
//! ```text
//! cargo bench -p zaichik-engine --bench layout
//! ```

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use zaichik_proto::{DeliveryHead, Record, RecordRef};

/// Counts allocations.
#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Messages of one round.
const MESSAGES: u32 = 64;

/// Messages retained during the rounds.
const RETAINED: u64 = 10_000;

/// Deliveries up to this size are copied next to their head, as the engine does it.
const INLINE_MAX: usize = 512;

/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;

fn main() {
    divan::main();
}

/// A round: some messages are published, and each reader gets them in one delivery.
#[divan::bench(types = [Wire, Handles], args = [0, 1, 10, 100], sample_count = 2_000)]
fn publish_and_read<L: Layout>(bencher: Bencher<'_, '_>, readers: usize) {
    let record = record();
    let mut log = L::default();
    let mut out = Output::default();
    (0..RETAINED).for_each(|_| log.publish(&record, 1));
    bencher.counter(ItemsCount::new(MESSAGES as usize * readers.max(1))).bench_local(|| {
        for _ in 0..MESSAGES {
            log.publish(&record, 1);
        }
        for _ in 0..readers {
            log.read(MESSAGES, &mut out);
            out.clear();
        }
        log.evict(RETAINED);
    });
}

/// The worst case for chunks: each message is read before the next one arrives.
#[divan::bench(types = [Wire, Handles], args = [1, 10, 100], sample_count = 1_000)]
fn publish_and_read_each<L: Layout>(bencher: Bencher<'_, '_>, readers: usize) {
    let record = record();
    let mut log = L::default();
    let mut out = Output::default();
    bencher.counter(ItemsCount::new(MESSAGES as usize * readers)).bench_local(|| {
        for _ in 0..MESSAGES {
            log.publish(&record, 1);
            for _ in 0..readers {
                log.read(1, &mut out);
                out.clear();
            }
        }
        log.evict(RETAINED);
    });
}

/// The memory cost of messages until they are dropped.
#[divan::bench(types = [Wire, Handles], sample_count = 20)]
fn retain<L: Layout>(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.counter(ItemsCount::new(RETAINED)).bench_local(|| {
        let mut log = L::default();
        (0..RETAINED).for_each(|_| log.publish(&record, 1));
        log
    });
}

/// A published record: no key, 128 bytes.
fn record() -> Vec<u8> {
    let mut record = Vec::new();
    Record { body: &[7; 128], ..Record::default() }.encode(&mut record);
    record
}

/// Output: small parts are copied, large ones shared.
#[derive(Default)]
struct Output {
    pieces: Vec<Bytes>,
    open: BytesMut,
}

impl Output {
    fn head(&mut self, count: u32, len: usize) {
        let head = DeliveryHead { subscription: 1, rewind: 0, attempt: 1, count, first_offset: 1 };
        head.encode(u32::try_from(len).expect("a batch is small"), &mut self.open);
    }

    /// The socket accepted everything.
    fn clear(&mut self) {
        divan::black_box(&self.open);
        self.pieces.clear();
        self.open.clear();
    }
}

trait Layout: Default {
    fn publish(&mut self, record: &[u8], timestamp: u64);
    /// Puts the last `count` messages into the output.
    fn read(&mut self, count: u32, out: &mut Output);
    /// Keeps the last messages.
    fn evict(&mut self, keep: u64);
}

/// Wire form in chunks.
#[derive(Default)]
struct Wire {
    chunks: VecDeque<(Bytes, u64)>,
    tail: BytesMut,
    in_tail: u64,
    len: u64,
}

impl Layout for Wire {
    fn publish(&mut self, record: &[u8], timestamp: u64) {
        if self.tail.capacity() - self.tail.len() < record.len() {
            self.freeze();
            self.tail = BytesMut::with_capacity(CHUNK);
        }
        let at = self.tail.len();
        self.tail.extend_from_slice(record);
        let stamp = self.tail.get_mut(at + 8..at + 16).expect("a record has a timestamp");
        stamp.copy_from_slice(&timestamp.to_le_bytes());
        self.in_tail += 1;
        self.len += 1;
    }

    fn read(&mut self, count: u32, out: &mut Output) {
        self.freeze();
        let mut left = u64::from(count);
        for (chunk, records) in self.chunks.iter().rev() {
            let taken = left.min(*records);
            let each = chunk.len() / usize::try_from(*records).expect("a chunk is small");
            let from = chunk.len() - each * usize::try_from(taken).expect("a chunk is small");
            out.head(u32::try_from(taken).expect("a batch is small"), chunk.len() - from);
            if chunk.len() - from <= INLINE_MAX {
                out.open.extend_from_slice(&chunk[from..]);
            } else {
                out.pieces.push(out.open.split().freeze());
                out.pieces.push(chunk.slice(from..));
            }
            left -= taken;
            if left == 0 {
                return;
            }
        }
    }

    fn evict(&mut self, keep: u64) {
        while let Some((_, records)) = self.chunks.front().filter(|(_, records)| self.len - records >= keep) {
            self.len -= records;
            self.chunks.pop_front();
        }
    }
}

impl Wire {
    fn freeze(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back((self.tail.split().freeze(), std::mem::take(&mut self.in_tail)));
        }
    }
}

/// A handle for each message.
#[derive(Default)]
struct Handles {
    messages: VecDeque<Message>,
}

struct Message {
    timestamp: u64,
    ttl_micros: Option<u64>,
    key: Option<Bytes>,
    body: Bytes,
}

impl Layout for Handles {
    fn publish(&mut self, record: &[u8], timestamp: u64) {
        let (record, _) = RecordRef::split_first(record).expect("a valid record");
        self.messages.push_back(Message {
            timestamp,
            ttl_micros: record.ttl_micros(),
            key: record.key().map(Bytes::copy_from_slice),
            body: Bytes::copy_from_slice(record.body()),
        });
    }

    fn read(&mut self, count: u32, out: &mut Output) {
        let messages = self.messages.range(self.messages.len() - count as usize..);
        let records = || {
            messages.clone().map(|Message { timestamp, ttl_micros, key, body }| Record {
                key: key.as_deref(),
                body,
                ttl_micros: *ttl_micros,
                timestamp: *timestamp,
                ..Record::default()
            })
        };
        out.head(count, records().map(|record| record.encoded_len()).sum());
        // Bodies of this size are cheaper to copy than to share.
        for record in records() {
            out.open.reserve(record.encoded_len());
            record.encode(&mut out.open);
        }
    }

    fn evict(&mut self, keep: u64) {
        while self.messages.len() as u64 > keep {
            self.messages.pop_front();
        }
    }
}
