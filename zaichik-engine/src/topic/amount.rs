//! Amounts of records.

/// How many records, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Amount {
    /// One record.
    pub(super) const fn one(bytes: u64) -> Self {
        Self { records: 1, bytes }
    }

    pub(super) const fn add(&mut self, more: Self) {
        self.records = self.records.saturating_add(more.records);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    pub(super) const fn subtract(&mut self, less: Self) {
        self.records = self.records.saturating_sub(less.records);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}
