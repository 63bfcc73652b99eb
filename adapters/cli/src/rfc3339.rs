//! Times in RFC 3339.

use jiff::Timestamp as Civil;
use zaichik_tokio::Timestamp;

/// A time in UTC, to the microsecond; the number of microseconds if it is beyond the calendar.
pub(crate) fn format(time: Timestamp) -> String {
    let micros = i64::try_from(time.as_micros()).ok();
    let civil = micros.and_then(|micros| Civil::from_microsecond(micros).ok());
    civil.map_or_else(|| time.as_micros().to_string(), |civil| format!("{civil:.6}"))
}

/// Parses a time; seconds are optional, the offset is not. `None` for anything else, and for times before 1970.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let civil: Civil = text.parse().ok()?;
    u64::try_from(civil.as_microsecond()).ok().map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_time_parses_to_itself() {
        let time = Timestamp::from_micros(1_763_805_600_000_042);
        assert_eq!(format(time), "2025-11-22T10:00:00.000042Z");
        assert_eq!(parse(&format(time)), Some(time));
        assert_eq!(format(Timestamp::MAX), u64::MAX.to_string());
    }

    #[test]
    fn seconds_are_optional_and_the_offset_is_not() {
        let ten = Some(Timestamp::from_micros(1_763_805_600_000_000));
        assert_eq!(parse("2025-11-22T10:00Z"), ten);
        assert_eq!(parse("2025-11-22T12:00:00+02:00"), ten);
        assert_eq!(parse("2025-11-22 10:00:00Z"), ten);
        for wrong in ["2025-11-22T10:00", "2025-11-22", "yesterday", "", "1969-12-31T00:00Z"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
