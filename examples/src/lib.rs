//! Shared by the examples: the broker's address, and how they check their expectations.

use std::fmt;

/// The result of an example; a failure makes the process exit with a code other than 0.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why an example failed, as text.
pub struct Failure(String);

/// The broker's address: this machine, at `PORT`, or at 8889 if `PORT` is not set or empty.
#[must_use]
pub fn address() -> String {
    let port = std::env::var("PORT").ok().filter(|port| !port.is_empty());
    let port = port.unwrap_or_else(|| "8889".to_owned());
    format!("127.0.0.1:{port}")
}

/// A name that no other run uses: topics cannot be deleted, and runs must not see each other's messages.
///
/// # Errors
/// If the operating system provides no random numbers.
pub fn unique(name: &str) -> Outcome<String> {
    Ok(format!("{name}/{:016x}", getrandom::u64()?))
}

/// Returns an error, which ends the example, unless `holds`.
///
/// # Errors
/// With `expectation` as its text, if `holds` is false.
pub fn expect(holds: bool, expectation: &str) -> Outcome {
    if holds { Ok(()) } else { Err(Failure(format!("expected {expectation}"))) }
}

impl<T: fmt::Display> From<T> for Failure {
    fn from(why: T) -> Self {
        Self(why.to_string())
    }
}

impl fmt::Debug for Failure {
    /// What `main` prints when it returns one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
