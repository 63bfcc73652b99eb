//! A rule violation.

use std::fmt;

/// A rule that does not hold.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The rule's letter and number.
    pub rule: &'static str,
    /// What was observed.
    pub text: String,
}

/// Whether every rule holds.
pub(crate) type Verdict = Result<(), Broken>;

impl Broken {
    pub(crate) fn because<T>(rule: &'static str, text: String) -> Result<T, Self> {
        Err(Self { rule, text })
    }

    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.rule, self.text)
    }
}
