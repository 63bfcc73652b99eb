//! Amounts of records: those a topic holds, those its limits allow, and those a publish adds.

/// A number of records, and the number of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Amount {
    /// One record of this size.
    pub(super) const fn one(bytes: u64) -> Self {
        Self { records: 1, bytes }
    }

    pub(super) const fn add(&mut self, more: Self) {
        self.records = self.records.saturating_add(more.records);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    pub(super) const fn subtract(&mut self, less: Self) {
        *self = self.without(less);
    }

    /// This amount without another one.
    #[inline]
    pub(super) const fn without(self, less: Self) -> Self {
        Self {
            records: self.records.saturating_sub(less.records),
            bytes: self.bytes.saturating_sub(less.bytes),
        }
    }

    /// Whether it is within both limits.
    #[inline]
    pub(super) const fn fits(self, limits: Self) -> bool {
        self.records <= limits.records && self.bytes <= limits.bytes
    }

    /// The part of it that is within both limits.
    #[inline]
    pub(super) fn min(self, limits: Self) -> Self {
        Self { records: self.records.min(limits.records), bytes: self.bytes.min(limits.bytes) }
    }
}
