//! Frames from the broker as short text, so that a case reads like a conversation.

use zaichik_proto::{GapReason, Refused, Subscribed, Unsubscribed};

pub(crate) fn message(offset: u64, body: &[u8]) -> String {
    if body.len() > 24 {
        format!("{offset}=<{}>", body.len())
    } else {
        format!("{offset}={}", String::from_utf8_lossy(body))
    }
}

pub(crate) fn gap(from: u64, to: u64, reason: GapReason) -> String {
    let reason = match reason {
        GapReason::Expired => "expired",
        GapReason::Limit => "limit",
    };
    format!("{from}..{to} {reason}")
}

/// A word and its number, unless that is 0.
pub(crate) fn number(word: &str, value: u64) -> String {
    if value == 0 { word.to_owned() } else { format!("{word} {value}") }
}

pub(super) fn refused(refused: &Refused) -> String {
    number(&format!("refused {}", refused.refusal.code), refused.refusal.value)
}

pub(super) fn published(created: bool, first_offset: Option<u64>, duplicates: &[(u32, u64)]) -> String {
    let first = first_offset.map_or_else(|| "none".to_owned(), |offset| format!("@{offset}"));
    let rest = duplicates.iter().map(|(record, offset)| format!("{record}=@{offset}"));
    let new = created.then(|| "new".to_owned());
    [first].into_iter().chain(rest).chain(new).collect::<Vec<_>>().join(" ")
}

pub(super) fn subscribed(subscribed: &Subscribed) -> String {
    let Subscribed { start, end, created, .. } = subscribed;
    format!("{start}..{end}{}", if *created { " new" } else { "" })
}

pub(super) fn unsubscribed(unsubscribed: &Unsubscribed) -> String {
    unsubscribed.last_offset.map_or_else(|| "ended".to_owned(), |offset| format!("ended {offset}"))
}
