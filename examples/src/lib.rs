//! What the examples share: where the broker is, and how they say what they expect.

use std::fmt;

/// What an example ends with; a failure makes the process exit with a code other than 0.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why an example failed, for people.
pub struct Failure(String);

/// The broker's address: on this machine, at `PORT`, or at 8889 without it.
#[must_use]
pub fn address() -> String {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8889".to_owned());
    format!("127.0.0.1:{port}")
}

/// A name that no other run of an example uses: topics can't be deleted, and runs are not to see each other.
///
/// # Errors
/// The operating system has no random numbers.
pub fn unique(name: &str) -> Outcome<String> {
    Ok(format!("{name}/{:016x}", getrandom::u64()?))
}

/// Ends the example unless `holds`.
///
/// # Errors
/// With `expectation`, if it does not hold.
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
