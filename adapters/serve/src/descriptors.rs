//! File descriptors: raises their limit, and lowers the limit on connections to what they allow.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything that is neither a connection nor a listener: the runtime, files, and connections being
/// closed.
const RESERVED: u64 = 31;

/// Raises the descriptor limit as far as the system permits and `wanted` connections need beside `listeners`. Returns how
/// many connections fit, at most `wanted`.
#[cfg(unix)]
pub(crate) fn connection_limit(wanted: u32, listeners: usize) -> u32 {
    let useful = u64::from(wanted).saturating_add(reserved(listeners));
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.unwrap_or(useful).min(useful);
    let mut current = limit.current.unwrap_or(useful);
    if current < raised
        && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok()
    {
        current = raised;
    }
    connections_within(wanted, listeners, current)
}

/// Returns `wanted`: there is no such limit on this system.
#[cfg(not(unix))]
pub(crate) fn connection_limit(wanted: u32, listeners: usize) -> u32 {
    connections_within(wanted, listeners, u64::MAX)
}

/// Connections that fit into this number of descriptors: at least one, so that the broker can report that it is full.
fn connections_within(wanted: u32, listeners: usize, descriptors: u64) -> u32 {
    let left = descriptors.saturating_sub(reserved(listeners));
    u32::try_from(left).unwrap_or(u32::MAX).clamp(1, wanted.max(1))
}

/// Descriptors that connections cannot have.
fn reserved(listeners: usize) -> u64 {
    RESERVED.saturating_add(u64::try_from(listeners).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_below_the_descriptors() {
        assert_eq!(connections_within(65_536, 1, 1_024), 992);
        assert_eq!(connections_within(65_536, 100, 1_024), 893);
        assert_eq!(connections_within(65_536, 1, u64::MAX), 65_536);
        assert_eq!(connections_within(65_536, 1, 8), 1);
        assert_eq!(connections_within(65_536, 1_024, 1_024), 1);
    }
}
