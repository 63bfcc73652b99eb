//! Suggestions for misspelled names.

use strsim::normalized_damerau_levenshtein as similarity;

/// Minimum similarity of two names, from 0 to 1, for one to be a likely misspelling of the other.
const MIN_SIMILARITY: f64 = 0.6;

/// The candidate that `name` is most likely a misspelling of, as a whole or in its last part.
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    separator: char,
) -> Option<&'a str> {
    let last = |name: &'a str| name.rsplit_once(separator).map_or(name, |(_, last)| last);
    let own_last = name.rsplit_once(separator).map_or(name, |(_, last)| last);
    let score = |candidate: &'a str| {
        let whole = similarity(name, candidate);
        // The right name in the wrong table, or a misspelled last part.
        let part = similarity(own_last, last(candidate)).max(similarity(name, last(candidate)));
        // Of two equal scores, the one with the more similar whole name wins.
        (whole.max(part), whole)
    };
    let scored = candidates.into_iter().map(|candidate| (score(candidate), candidate));
    let best =
        scored.max_by(|(one, _), (other, _)| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    best.filter(|((score, _), _)| *score >= MIN_SIMILARITY).map(|(_, candidate)| candidate)
}

/// The end of a message about an unknown name.
pub(crate) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |suggestion| format!("; did you mean {suggestion}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_have_a_suggestion_and_other_names_have_none() {
        let known = ["listen", "limits.max_connections", "limits.max_topics", "topic_defaults.max_bytes"];
        let meant = |name| closest(name, known, '.');
        assert_eq!(meant("lisen"), Some("listen"));
        assert_eq!(meant("limits.max_conections"), Some("limits.max_connections"));
        assert_eq!(meant("max_topics"), Some("limits.max_topics"));
        assert_eq!(meant("limits.max_bytes"), Some("topic_defaults.max_bytes"));
        assert_eq!(meant("limits.colour"), None);
    }
}
