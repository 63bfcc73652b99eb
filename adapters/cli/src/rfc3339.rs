//! Moments as people write them.

use jiff::Timestamp as Civil;
use zaichik_tokio::Timestamp;

/// A moment as RFC 3339 has it, in UTC, to the microsecond; as a number if the calendar ends before it.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    let micros = i64::try_from(moment.as_micros()).ok();
    let civil = micros.and_then(|micros| Civil::from_microsecond(micros).ok());
    civil.map_or_else(|| moment.as_micros().to_string(), |civil| format!("{civil:.6}"))
}

/// A moment from RFC 3339; seconds may be left out, the offset may not. `None` for anything else, and before 1970.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let civil: Civil = text.parse().ok()?;
    u64::try_from(civil.as_microsecond()).ok().map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_back_as_itself() {
        let moment = Timestamp::from_micros(1_763_805_600_000_042);
        assert_eq!(rfc3339(moment), "2025-11-22T10:00:00.000042Z");
        assert_eq!(parse(&rfc3339(moment)), Some(moment));
        assert_eq!(rfc3339(Timestamp::MAX), u64::MAX.to_string());
    }

    #[test]
    fn what_people_leave_out() {
        let ten = Some(Timestamp::from_micros(1_763_805_600_000_000));
        assert_eq!(parse("2025-11-22T10:00Z"), ten);
        assert_eq!(parse("2025-11-22T12:00:00+02:00"), ten);
        assert_eq!(parse("2025-11-22 10:00:00Z"), ten);
        for wrong in ["2025-11-22T10:00", "2025-11-22", "yesterday", "", "1969-12-31T00:00Z"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
