//! What has changed since it was staged for a store.

/// Members of a table that have changed, each once, in the order of their first change.
#[derive(Debug)]
pub(super) struct Changes<T> {
    members: Vec<T>,
    /// Changes ever; shows whether there was one.
    count: u64,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self { members: Vec::new(), count: 0 }
    }
}

impl<T> Changes<T> {
    /// A member has changed; `is_listed` is kept with it.
    pub(super) fn add(&mut self, member: T, is_listed: &mut bool) {
        self.count = self.count.saturating_add(1);
        if !*is_listed {
            *is_listed = true;
            self.members.push(member);
        }
    }

    /// A member is gone that a store may have.
    pub(super) fn add_removed(&mut self, member: T) {
        self.count = self.count.saturating_add(1);
        self.members.push(member);
    }

    /// How many members have changed.
    pub(super) const fn len(&self) -> usize {
        self.members.len()
    }

    /// Changes ever.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The members that have changed; from now on, none has.
    pub(super) fn take(&mut self) -> Vec<T> {
        core::mem::take(&mut self.members)
    }
}
