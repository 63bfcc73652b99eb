//! Frames from the broker as short text, so that a test reads like a conversation.

use std::fmt::Write;

use zaichik_proto::{FaultCode, GapReason, RefusalCode, Refused, Subscribed, Unsubscribed};

pub(super) fn refused(refused: &Refused) -> String {
    let code: RefusalCode = refused.refusal.code;
    match refused.refusal.value {
        0 => format!("refused {code}"),
        value => format!("refused {code} {value}"),
    }
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
