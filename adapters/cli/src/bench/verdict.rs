//! The findings of verification.

use std::fmt;

use serde::Serialize;

use super::number::grouped;

/// The findings of one subscriber, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Verdict {
    /// Messages received intact, without duplicates, including the warm-up.
    pub(crate) verified: u64,
    /// Messages that did not arrive although later ones of their publisher did, or its end.
    pub(crate) lost: u64,
    /// Messages that arrived again, or were acknowledged twice.
    pub(crate) duplicated: u64,
    /// Messages that arrived after later ones of their publisher; of a shared subscription by key, those that arrived before an
    /// earlier one of their key was acknowledged, or after a later one.
    pub(crate) reordered: u64,
    /// Messages whose bytes differ from the published ones.
    pub(crate) corrupted: u64,
    /// Gaps that the broker reported.
    pub(crate) gaps: u64,
    /// Publishers whose end did not arrive.
    pub(crate) unfinished: u64,
    /// Messages of other programs in the same topic; they are not faults.
    pub(crate) foreign: u64,
    /// Messages that the broker handed out again, and said so; they are not faults.
    pub(crate) redelivered: u64,
    /// Whether messages may arrive in any order.
    #[serde(skip)]
    pub(crate) is_unordered: bool,
}

impl Verdict {
    /// Whether every message arrived once, in order and intact.
    pub(crate) const fn holds(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.reordered == 0
            && self.corrupted == 0
            && self.gaps == 0
            && self.unfinished == 0
    }

    /// The findings of both.
    pub(crate) const fn and(self, other: &Self) -> Self {
        Self {
            verified: self.verified.saturating_add(other.verified),
            lost: self.lost.saturating_add(other.lost),
            duplicated: self.duplicated.saturating_add(other.duplicated),
            reordered: self.reordered.saturating_add(other.reordered),
            corrupted: self.corrupted.saturating_add(other.corrupted),
            gaps: self.gaps.saturating_add(other.gaps),
            unfinished: self.unfinished.saturating_add(other.unfinished),
            foreign: self.foreign.saturating_add(other.foreign),
            redelivered: self.redelivered.saturating_add(other.redelivered),
            is_unordered: self.is_unordered || other.is_unordered,
        }
    }
}

/// Rare findings are left out where there are none.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reordered {
            0 if self.is_unordered => f.write_str("any order")?,
            0 => f.write_str("order ok")?,
            reordered => write!(f, "{} out of order", grouped(reordered))?,
        }
        let [lost, duplicated, gaps] = [self.lost, self.duplicated, self.gaps].map(grouped);
        write!(f, " · {lost} lost · {duplicated} duplicated · {gaps} gaps")?;
        for (count, what) in [
            (self.corrupted, "corrupted"),
            (self.unfinished, "unfinished publishers"),
            (self.redelivered, "redelivered"),
            (self.foreign, "foreign messages, ignored"),
        ] {
            if count > 0 {
                write!(f, " · {} {what}", grouped(count))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_leaves_out_rare_findings_that_are_0() {
        let unordered = Verdict { is_unordered: true, redelivered: 5, ..Verdict::default() };
        assert_eq!(unordered.to_string(), "any order · 0 lost · 0 duplicated · 0 gaps · 5 redelivered");
        assert!(unordered.holds());
        assert_eq!(Verdict::default().to_string(), "order ok · 0 lost · 0 duplicated · 0 gaps");
        let found = Verdict { reordered: 1_000, lost: 2, corrupted: 3, foreign: 4, ..Verdict::default() };
        assert_eq!(
            found.to_string(),
            "1,000 out of order · 2 lost · 0 duplicated · 0 gaps · 3 corrupted · 4 foreign messages, ignored"
        );
    }
}
