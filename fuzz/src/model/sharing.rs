//! Requests and answers of shared subscriptions (docs/protocol.md §14.9).

/// Offsets that follow each other: the first one, and their number.
pub(crate) type Range = (u64, u32);

/// A member names records that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settle {
    pub(crate) how: How,
    pub(crate) number: u32,
    pub(crate) rewind: u32,
    pub(crate) ranges: Vec<Range>,
}

/// What becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Ack { quiet: bool },
    GiveBack { delay: u64 },
    Extend,
}

/// The description of a shared subscription (rule G11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) by_key: bool,
    /// 0 for none.
    pub(crate) ack_deadline: u64,
    pub(crate) max_span: u32,
    pub(crate) rewind: u32,
    pub(crate) cursor: u64,
    pub(crate) end: u64,
    pub(crate) in_flight: u64,
    pub(crate) oldest: u64,
    /// In the order in which they joined.
    pub(crate) members: Vec<DescribedMember>,
    /// What depends on how far the broker has looked; `None` if the model does not know that.
    pub(crate) reached: Option<Reached>,
}

/// How far a shared subscription has looked into its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) next: u64,
    pub(crate) waiting: u64,
    pub(crate) blocked: u64,
    /// `u64::MAX` for none.
    pub(crate) blocked_by: u64,
}

/// A member in a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DescribedMember {
    pub(crate) window: u32,
    pub(crate) in_flight: u32,
    pub(crate) oldest: u64,
    pub(crate) stuck: bool,
}

impl Described {
    /// Whether this description of the model allows one of the engine.
    pub(crate) fn allows(&self, other: &Self) -> bool {
        let other = Self { reached: self.reached.and(other.reached), ..other.clone() };
        *self == other
    }
}

/// The offset behind the last one of a range.
pub(crate) const fn end(range: Range) -> u64 {
    range.0.saturating_add(range.1 as u64)
}

/// Ranges that touch are one, in order.
pub(crate) fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.0 <= end(*last) => {
                let to = end(*last).max(end(range));
                match u32::try_from(to - last.0) {
                    Ok(count) => last.1 = count,
                    Err(_) => merged.push(range),
                }
            }
            _ => merged.push(range),
        }
    }
    merged
}
