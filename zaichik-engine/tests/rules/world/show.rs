//! Frames from the broker as short text, so that a test reads like a conversation.

use std::fmt::Write;

use zaichik_proto::{Batched, FaultCode, GapReason, RefusalCode, Refused, Subscribed, Unsubscribed};

pub(super) fn refused(refused: &Refused) -> String {
    let code: RefusalCode = refused.refusal.code;
    let mut text = format!("refused {code}");
    if refused.refusal.value > 0 {
        write!(text, " {}", refused.refusal.value).unwrap();
    }
    if refused.refusal.operation > 0 {
        write!(text, " at {}", refused.refusal.operation).unwrap();
    }
    text
}

/// The publish operations by their number, then the duplicates: "batched 0@7 2@0new 3none 3.0=@5".
pub(super) fn batched(batched: &Batched<'_>) -> String {
    let mut text = "batched".to_owned();
    for result in batched.results.iter() {
        match result.first_offset {
            u64::MAX => write!(text, " {}none", result.operation).unwrap(),
            offset => write!(text, " {}@{offset}", result.operation).unwrap(),
        }
        text += if result.created { "new" } else { "" };
    }
    for one in batched.duplicates.iter() {
        write!(text, " {}.{}=@{}", one.operation, one.duplicate.record, one.duplicate.offset).unwrap();
    }
    text
}

pub(super) fn published(created: bool, first_offset: Option<u64>, duplicates: &[(u32, u64)]) -> String {
    let mut text = first_offset.map_or_else(|| "none".to_owned(), |offset| format!("@{offset}"));
    for (record, offset) in duplicates {
        write!(text, " {record}=@{offset}").unwrap();
    }
    text + if created { " new" } else { "" }
}

pub(super) fn subscribed(subscribed: &Subscribed) -> String {
    let Subscribed { start, end, created, epoch, rewind, .. } = subscribed;
    let durable = if *epoch > 0 { format!(" epoch {epoch} rewind {rewind}") } else { String::new() };
    format!("{start}..{end}{durable}{}", if *created { " new" } else { "" })
}

pub(super) fn unsubscribed(unsubscribed: &Unsubscribed) -> String {
    unsubscribed.last_offset.map_or_else(|| "ended".to_owned(), |offset| format!("ended {offset}"))
}

pub(super) fn body(body: &[u8]) -> String {
    if body.len() > 24 { format!("<{}>", body.len()) } else { String::from_utf8_lossy(body).into_owned() }
}

pub(super) const fn reason(reason: GapReason) -> &'static str {
    match reason {
        GapReason::Expired => "expired",
        GapReason::Limit => "limit",
    }
}

pub(super) fn fatal(code: FaultCode) -> String {
    format!("fatal {code}")
}
