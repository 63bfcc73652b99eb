//! What somebody may have meant.

use strsim::normalized_damerau_levenshtein as similarity;

/// How alike two names must be, from 0 to 1, for one to be a slip of the other.
const ALIKE: f64 = 0.6;

/// The candidate that `name` is most likely a slip of: as a whole, or in its last part.
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    separator: char,
) -> Option<&'a str> {
    let last = |name: &'a str| name.rsplit_once(separator).map_or(name, |(_, last)| last);
    let own_last = name.rsplit_once(separator).map_or(name, |(_, last)| last);
    let alike = |candidate: &'a str| {
        let whole = similarity(name, candidate);
        // The right name in the wrong place, or a slip in the last part only.
        let part = similarity(own_last, last(candidate)).max(similarity(name, last(candidate)));
        // A whole name that fits is better than a part that does.
        (whole.max(part), whole)
    };
    let scored = candidates.into_iter().map(|candidate| (alike(candidate), candidate));
    let best =
        scored.max_by(|(one, _), (other, _)| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    best.filter(|((score, _), _)| *score >= ALIKE).map(|(_, candidate)| candidate)
}

/// The end of a message about a name that nobody knows.
pub(crate) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |suggestion| format!("; did you mean {suggestion}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_nonsense_is_not() {
        let known = ["listen", "limits.max_connections", "limits.max_topics", "topic_defaults.max_bytes"];
        let meant = |name| closest(name, known, '.');
        assert_eq!(meant("lisen"), Some("listen"));
        assert_eq!(meant("limits.max_conections"), Some("limits.max_connections"));
        assert_eq!(meant("max_topics"), Some("limits.max_topics"));
        assert_eq!(meant("limits.max_bytes"), Some("topic_defaults.max_bytes"));
        assert_eq!(meant("limits.colour"), None);
    }
}
