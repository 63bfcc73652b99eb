//! File descriptors: as many as the system permits, and no more connections than they allow.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything that is not a connection: the listener, the runtime, files, and room to close.
const RESERVED: u64 = 32;

/// Raises the limit of descriptors as far as it is permitted and useful; says how many connections fit below it,
/// `wanted` at most.
#[cfg(unix)]
pub(crate) fn connections(wanted: u32) -> u32 {
    let useful = u64::from(wanted).saturating_add(RESERVED);
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.unwrap_or(useful).min(useful);
    let mut current = limit.current.unwrap_or(useful);
    if current < raised
        && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok()
    {
        current = raised;
    }
    fitting(wanted, current)
}

/// Where there is no such limit.
#[cfg(not(unix))]
pub(crate) fn connections(wanted: u32) -> u32 {
    fitting(wanted, u64::MAX)
}

/// At least one, so that the broker can say that it is full.
fn fitting(wanted: u32, descriptors: u64) -> u32 {
    u32::try_from(descriptors.saturating_sub(RESERVED)).unwrap_or(u32::MAX).clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_below_the_descriptors() {
        assert_eq!(fitting(65_536, 1_024), 992);
        assert_eq!(fitting(65_536, u64::MAX), 65_536);
        assert_eq!(fitting(65_536, 8), 1);
    }
}
