//! Dead and removed records of a chunk.

/// The losses of one chunk.
///
/// Records are marked when they die. When more than half of the chunk's bytes are dead, it is
/// [rewritten](super::Log::reclaim): then it is *sparse*, and holds only some of the offsets in its range.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// A bit for each record in the chunk, in order: whether it died silently, superseded or as a tombstone.
    silent: Vec<u64>,
    /// The same for records that expired by their own time to live.
    expired: Vec<u64>,
    /// Bytes and number of the dead records that are still in the chunk.
    pub(super) dead: usize,
    pub(super) dead_records: u64,
    /// Whether the chunk is queued to be rewritten.
    pub(super) is_queued: bool,
    sparse: Option<SparseIndex>,
}

/// The contents of a sparse chunk. Offsets in neither list died silently.
#[derive(Debug, Default)]
pub(super) struct SparseIndex {
    /// The records present, by offset.
    extents: Vec<Extent>,
    /// Ranges of offsets, end exclusive, whose records expired by their own time to live.
    gaps: Vec<(u64, u64)>,
    /// Bytes that the topic had accepted before the end of the chunk.
    end_base: u64,
    /// Number of records present.
    records: u64,
}

/// Contiguous records with consecutive offsets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Bytes that the topic had accepted before the first one.
    pub(super) base: u64,
    /// Where the first one begins in the chunk, and where the last one ends.
    pub(super) byte: u32,
    pub(super) stop: u32,
    /// Number of records in the chunk before the first one.
    ordinal: u32,
}

/// Maximum records in an extent, so that finding one is a short walk.
const MAX_EXTENT: u64 = 64;

impl Losses {
    /// Marks a record as dead, silently or by its own time to live; `false` if it was removed or marked before.
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

    /// Whether it was marked as dead for either reason.
    pub(super) fn is_dead(&self, ordinal: u64) -> bool {
        self.is_silent(ordinal) || is_set(&self.expired, ordinal)
    }

    /// The number of the record at an offset in the chunk that starts at offset `chunk`; `None` if it was removed.
    pub(super) fn ordinal(&self, chunk: u64, offset: u64) -> Option<u64> {
        self.place(chunk, offset, u64::MAX).map(|(ordinal, _)| ordinal)
    }

    /// The same, and the offset up to which those of the following records rise by one each. The chunk ends at `end`.
    pub(super) fn place(&self, chunk: u64, offset: u64, end: u64) -> Option<(u64, u64)> {
        let Some(sparse) = &self.sparse else {
            return Some((offset.checked_sub(chunk)?, end));
        };
        let extent =
            sparse.extents.get(sparse.extent_from(offset)).filter(|extent| extent.start <= offset)?;
        let ordinal = u64::from(extent.ordinal).saturating_add(offset.saturating_sub(extent.start));
        Some((ordinal, extent.end))
    }

    /// If the record that is number `ordinal` was marked: whether it died silently, and the number of the first one after
    /// it that was not marked alike. Looks at 64 records at a time.
    pub(super) fn marked(&self, ordinal: u64) -> Option<(bool, u64)> {
        let is_silent = self.is_silent(ordinal);
        if !is_silent && !is_set(&self.expired, ordinal) {
            return None;
        }
        let bits = if is_silent { &self.silent } else { &self.expired };
        let (mut word, _) = place(ordinal);
        let mut passed = ordinal % 64;
        loop {
            let marks = bits.get(word).copied().unwrap_or_default();
            let run = u64::from((marks >> passed).trailing_ones());
            let end = (word as u64).saturating_mul(64).saturating_add(passed).saturating_add(run);
            if passed.saturating_add(run) < 64 {
                return Some((is_silent, end));
            }
            (word, passed) = (word.saturating_add(1), 0);
        }
    }

    /// Takes over the marks of an appended chunk, whose first record gets the number `ordinal`.
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
    /// An empty index of a chunk before whose end the topic had accepted `end_base` bytes.
    pub(super) fn new(end_base: u64) -> Self {
        Self { end_base, ..Self::default() }
    }

    pub(super) const fn end_base(&self) -> u64 {
        self.end_base
    }

    /// Adds a record at `byte` to `stop` of the new chunk. Records are added in order.
    pub(super) fn keep(&mut self, offset: u64, base: u64, byte: u32, stop: u32) {
        let end = offset.saturating_add(1);
        self.records = self.records.saturating_add(1);
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

    /// Adds a range of records that expired by their own time to live.
    pub(super) fn lose(&mut self, from: u64, to: u64) {
        match self.gaps.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.gaps.push((from, to)),
        }
    }

    /// Number of records present.
    pub(super) const fn len(&self) -> u64 {
        self.records
    }

    /// Entries of this index.
    pub(super) fn entries(&self) -> usize {
        self.extents.len().saturating_add(self.gaps.len())
    }

    pub(super) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The first extent that ends above an offset.
    pub(super) fn extent_from(&self, offset: u64) -> usize {
        self.extents.partition_point(|extent| extent.end <= offset)
    }

    /// The end of the records that follow a given one without a hole.
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

    /// For a removed record: whether it expired by its own time to live, and the offset at which that may change.
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
