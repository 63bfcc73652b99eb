//! Moments as people write them.

use jiff::Timestamp as Civil;
use zaichik_tokio::Timestamp;

/// A moment as RFC 3339 has it, in UTC, to the microsecond; as a number if the calendar ends before it.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    let micros = i64::try_from(moment.as_micros()).ok();
    let civil = micros.and_then(|micros| Civil::from_microsecond(micros).ok());
    civil.map_or_else(|| moment.as_micros().to_string(), |civil| format!("{civil:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_to_the_microsecond() {
        let moment = Timestamp::from_micros(1_763_805_600_000_042);
        assert_eq!(rfc3339(moment), "2025-11-22T10:00:00.000042Z");
        assert_eq!(rfc3339(Timestamp::MAX), u64::MAX.to_string());
    }
}
