//! What a chunk of a topic with `latest` compaction has lost: records that are dead, and records that are gone.

/// The losses of one chunk.
///
/// Records are marked when they die. When more than half of the chunk's bytes are dead, it is
/// [rewritten](super::Log::reclaim): then it is *sparse*, and holds only some of the offsets that it stands for.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// A bit for each record in the chunk, in order: whether it died silently, superseded or as a tombstone.
    silent: Vec<u64>,
    /// The same for those that died by their own time to live.
    expired: Vec<u64>,
    /// Bytes of the dead records that are still in the chunk, and how many those are.
    pub(super) dead: usize,
    pub(super) dead_records: u64,
    /// Whether the chunk waits to be rewritten.
    pub(super) is_queued: bool,
    sparse: Option<SparseIndex>,
}

/// What a sparse chunk holds, and what it does not hold any more. What is in neither list died silently.
#[derive(Debug, Default)]
pub(super) struct SparseIndex {
    /// The records that are there, by offset.
    extents: Vec<Extent>,
    /// Offsets, from and to, whose records died by their own time to live.
    gaps: Vec<(u64, u64)>,
    /// Bytes that the topic had accepted before the end of the chunk.
    end_base: u64,
}

/// Records with consecutive offsets, one behind the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Bytes that the topic had accepted before the first one.
    pub(super) base: u64,
    /// Where the first one begins in the chunk, and where the last one ends.
    pub(super) byte: u32,
    pub(super) stop: u32,
    /// How many records of the chunk stand before the first one.
    ordinal: u32,
}

/// Records in a extent at most, so that finding one is a short walk.
const MAX_EXTENT: u64 = 64;

impl Losses {
    /// Marks a record as dead, silently or by its own time to live; `false` if it is gone or was marked before.
    pub(super) fn mark(&mut self, chunk: u64, offset: u64, len: u32, is_silent: bool) -> bool {
        let Some(ordinal) = self.ordinal(chunk, offset) else {
            return false;
        };
        if self.is_dead(ordinal) {
            return false;
        }
        set(if is_silent { &mut self.silent } else { &mut self.expired }, ordinal);
        self.dead = self.dead.saturating_add(len as usize);
        self.dead_records = self.dead_records.saturating_add(1);
        true
    }

    /// Whether the record that is number `ordinal` in the chunk died silently.
    pub(super) fn is_silent(&self, ordinal: u64) -> bool {
        is_set(&self.silent, ordinal)
    }

    /// Whether it was marked as dead, for whatever reason.
    pub(super) fn is_dead(&self, ordinal: u64) -> bool {
        self.is_silent(ordinal) || is_set(&self.expired, ordinal)
    }

    /// The number in the chunk that starts at offset `chunk` of the record at an offset; `None` if it is gone.
    pub(super) fn ordinal(&self, chunk: u64, offset: u64) -> Option<u64> {
        let Some(sparse) = &self.sparse else {
            return offset.checked_sub(chunk);
        };
        let extent =
            sparse.extents.get(sparse.extent_from(offset)).filter(|extent| extent.start <= offset)?;
        Some(u64::from(extent.ordinal).saturating_add(offset.saturating_sub(extent.start)))
    }

    /// Takes over the marks of a chunk that is appended, whose first record gets the number `ordinal`.
    pub(super) fn absorb(&mut self, other: &Self, records: u64, ordinal: u64) {
        for at in 0..records {
            if other.is_silent(at) {
                set(&mut self.silent, ordinal.saturating_add(at));
            }
            if is_set(&other.expired, at) {
                set(&mut self.expired, ordinal.saturating_add(at));
            }
        }
        self.dead = self.dead.saturating_add(other.dead);
        self.dead_records = self.dead_records.saturating_add(other.dead_records);
    }

    pub(super) const fn sparse(&self) -> Option<&SparseIndex> {
        self.sparse.as_ref()
    }

    /// Bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        let bits = self.silent.capacity().saturating_add(self.expired.capacity()).saturating_mul(8);
        let sparse = self.sparse.as_ref().map_or(0, |sparse| {
            let extents = sparse.extents.capacity().saturating_mul(size_of::<Extent>());
            extents.saturating_add(sparse.gaps.capacity().saturating_mul(16))
        });
        size_of::<Self>().saturating_add(bits).saturating_add(sparse)
    }
}

impl From<SparseIndex> for Losses {
    fn from(mut sparse: SparseIndex) -> Self {
        sparse.extents.shrink_to_fit();
        sparse.gaps.shrink_to_fit();
        Self { sparse: Some(sparse), ..Self::default() }
    }
}

impl SparseIndex {
    /// An empty one, for a chunk before whose end the topic had accepted that many bytes.
    pub(super) fn new(end_base: u64) -> Self {
        Self { end_base, ..Self::default() }
    }

    pub(super) const fn end_base(&self) -> u64 {
        self.end_base
    }

    /// A record stays: `byte` to `stop` of the new chunk. Records are kept in order.
    pub(super) fn keep(&mut self, offset: u64, base: u64, byte: u32, stop: u32) {
        let end = offset.saturating_add(1);
        let ordinal = match self.extents.last_mut() {
            None => 0,
            Some(extent) if extent.end == offset && end.saturating_sub(extent.start) <= MAX_EXTENT => {
                (extent.end, extent.stop) = (end, stop);
                return;
            }
            Some(extent) => {
                let records = extent.end.saturating_sub(extent.start);
                extent.ordinal.saturating_add(u32::try_from(records).unwrap_or(u32::MAX))
            }
        };
        self.extents.push(Extent { start: offset, end, base, byte, stop, ordinal });
    }

    /// Records died by their own time to live.
    pub(super) fn lose(&mut self, from: u64, to: u64) {
        match self.gaps.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.gaps.push((from, to)),
        }
    }

    /// How many records are there.
    pub(super) fn len(&self) -> u64 {
        self.extents.iter().map(|extent| extent.end.saturating_sub(extent.start)).fold(0, u64::saturating_add)
    }

    pub(super) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The first extent that ends above an offset.
    pub(super) fn extent_from(&self, offset: u64) -> usize {
        self.extents.partition_point(|extent| extent.end <= offset)
    }

    /// The end of the records that stand behind one without a hole.
    pub(super) fn end_of_consecutive(&self, offset: u64) -> u64 {
        let mut end = offset;
        for extent in self.extents.get(self.extent_from(offset)..).unwrap_or_default() {
            if extent.start > end {
                break;
            }
            end = extent.end;
        }
        end
    }

    /// For an offset that is gone: whether it died by its own time to live, and where that may change.
    pub(super) fn gone(&self, offset: u64, chunk_end: u64) -> (bool, u64) {
        let held = self.extents.get(self.extent_from(offset)).map_or(chunk_end, |extent| extent.start);
        let gap = self.gaps.get(self.gaps.partition_point(|gap| gap.1 <= offset));
        match gap {
            Some((from, to)) if *from <= offset => (true, held.min(*to)),
            Some((from, _)) => (false, held.min(*from)),
            None => (false, held),
        }
    }
}

fn set(bits: &mut Vec<u64>, ordinal: u64) {
    let (word, bit) = place(ordinal);
    if word >= bits.len() {
        bits.resize(word.saturating_add(1), 0);
    }
    if let Some(bits) = bits.get_mut(word) {
        *bits |= bit;
    }
}

fn is_set(bits: &[u64], ordinal: u64) -> bool {
    let (word, bit) = place(ordinal);
    bits.get(word).is_some_and(|bits| bits & bit != 0)
}

fn place(ordinal: u64) -> (usize, u64) {
    (usize::try_from(ordinal / 64).unwrap_or(usize::MAX), 1 << (ordinal % 64))
}
