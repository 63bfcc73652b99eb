//! What the examples share: where the broker is, and how they say what they expect.

use std::error::Error;

/// What an example ends with; an error makes the process exit with a code other than 0.
pub type Outcome = Result<(), Box<dyn Error>>;

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
pub fn unique(name: &str) -> Result<String, Box<dyn Error>> {
    Ok(format!("{name}/{:016x}", getrandom::u64()?))
}

/// Ends the example unless `holds`.
///
/// # Errors
/// With `expectation`, if it does not hold.
pub fn expect(holds: bool, expectation: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("expected: {expectation}").into())
    }
}
