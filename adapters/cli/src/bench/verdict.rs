//! What verification found.

use std::fmt;

use serde::Serialize;

use super::number::grouped;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Verdict {
    /// Different messages that came intact, those of the warm-up included.
    pub(crate) verified: u64,
    /// Messages that did not come though later ones of their publisher did, or its end.
    pub(crate) lost: u64,
    /// Messages that came again.
    pub(crate) duplicated: u64,
    /// Messages that came after later ones of their publisher.
    pub(crate) reordered: u64,
    /// Messages whose bytes are not those that were published.
    pub(crate) corrupted: u64,
    /// Gaps that the broker told of.
    pub(crate) gaps: u64,
    /// Publishers whose end did not come.
    pub(crate) unfinished: u64,
    /// Messages of others in the same topic; they are no fault.
    pub(crate) foreign: u64,
}

impl Verdict {
    /// Whether everything came, once, in order and intact.
    pub(crate) const fn holds(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.reordered == 0
            && self.corrupted == 0
            && self.gaps == 0
            && self.unfinished == 0
    }

    /// What several subscribers found.
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
        }
    }
}

/// Rare findings are left out where there are none.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reordered {
            0 => f.write_str("order ok")?,
            reordered => write!(f, "{} out of order", grouped(reordered))?,
        }
        let [lost, duplicated, gaps] = [self.lost, self.duplicated, self.gaps].map(grouped);
        write!(f, " · {lost} lost · {duplicated} duplicated · {gaps} gaps")?;
        for (count, what) in [
            (self.corrupted, "corrupted"),
            (self.unfinished, "publishers without an end"),
            (self.foreign, "of others, passed over"),
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
    fn a_verdict_tells_what_is_wrong_and_leaves_out_what_is_rare() {
        assert_eq!(Verdict::default().to_string(), "order ok · 0 lost · 0 duplicated · 0 gaps");
        let found = Verdict { reordered: 1_000, lost: 2, corrupted: 3, foreign: 4, ..Verdict::default() };
        assert_eq!(
            found.to_string(),
            "1,000 out of order · 2 lost · 0 duplicated · 0 gaps · 3 corrupted · 4 of others, passed over"
        );
    }
}
