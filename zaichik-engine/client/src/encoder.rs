//! The encoded frames that requests keep: encoded once, in buffers that small frames share.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{ClientFrame, Publish, Record, Records, TopicName};

/// A buffer for records that is larger than this, in bytes, is freed after use.
const MAX_KEPT_SCRATCH: usize = 64 << 10;

/// Size of the buffer that small frames share, in bytes; one unanswered frame keeps all of it in memory.
const ARENA: usize = 16 << 10;

/// A frame that may be larger than this gets its own buffer, in bytes.
const MAX_ARENA_FRAME: usize = ARENA / 4;

/// More bytes than any frame without records and operations needs: two names of 255 and fixed fields.
const SMALL_FRAME: usize = 600;

/// Encodes requests.
#[derive(Default)]
pub(crate) struct Encoder {
    /// Records are encoded here on their way into a frame.
    scratch: Vec<u8>,
    /// Small frames are split off this.
    arena: BytesMut,
    last_topic: Arc<str>,
}

impl Encoder {
    /// A topic's name as shared text; the last name used is not copied again.
    pub(crate) fn share_topic(&mut self, name: TopicName<'_>) -> Arc<str> {
        if *self.last_topic != *name.as_str() {
            self.last_topic = Arc::from(name.as_str());
        }
        Arc::clone(&self.last_topic)
    }

    /// A frame without records and operations.
    pub(crate) fn small(&mut self, frame: &ClientFrame<'_>) -> Bytes {
        encode(&mut self.arena, SMALL_FRAME, frame)
    }

    /// A frame of at most `len` bytes.
    pub(crate) fn sized(&mut self, len: usize, frame: &ClientFrame<'_>) -> Bytes {
        encode(&mut self.arena, len, frame)
    }

    /// A publish of at most `len` bytes, with these records in place of its own.
    pub(crate) fn publish(&mut self, len: usize, publish: Publish<'_>, records: &[Record<'_>]) -> Bytes {
        self.scratch.clear();
        for record in records {
            record.encode(&mut self.scratch);
        }
        let records = Records::from_encoded(publish.records.len(), &self.scratch);
        let frame = encode(&mut self.arena, len, &ClientFrame::Publish(Publish { records, ..publish }));
        if self.scratch.capacity() > MAX_KEPT_SCRATCH {
            self.scratch = Vec::new();
        }
        frame
    }

    /// Frees its buffers.
    pub(crate) fn shrink(&mut self) {
        self.arena = BytesMut::new();
        self.scratch = Vec::new();
    }
}

fn encode(arena: &mut BytesMut, len: usize, frame: &ClientFrame<'_>) -> Bytes {
    if len > MAX_ARENA_FRAME {
        let mut own = BytesMut::with_capacity(len);
        frame.encode(&mut own);
        return own.freeze();
    }
    if arena.capacity() < len {
        // Reuses the same memory once all frames split off it are gone.
        arena.reserve(ARENA);
    }
    frame.encode(arena);
    arena.split().freeze()
}
