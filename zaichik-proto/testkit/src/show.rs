//! Frames from the broker as short texts.

use zaichik_proto::{
    Acked, Batched, Counter, Counters, Duplicate, GapReason, Goodbye, GoodbyeReason, Members, Page,
    Published, Refused, SharedState, SubscribePattern, Subscribed, SubscriptionItem, TopicItem, Unsubscribed,
};

/// "7=body"; of a body of more than 24 bytes only the length is shown: "7=<100>".
#[must_use]
pub fn message(offset: u64, body: &[u8]) -> String {
    if body.len() > 24 {
        format!("{offset}=<{}>", body.len())
    } else {
        format!("{offset}={}", String::from_utf8_lossy(body))
    }
}

/// "0..3 expired".
#[must_use]
pub fn gap(from: u64, to: u64, reason: GapReason) -> String {
    let reason = match reason {
        GapReason::Expired => "expired",
        GapReason::Limit => "limit",
        reason => panic!("unknown reason {reason:?}"),
    };
    format!("{from}..{to} {reason}")
}

/// A word and its number, unless that is 0.
#[must_use]
pub fn number(word: &str, value: u64) -> String {
    if value == 0 { word.to_owned() } else { format!("{word} {value}") }
}

/// "refused `TooLarge` 1000 at 3": the code, the value and the operation, unless they are 0; a repeated answer ends
/// with "again", here and below.
pub(crate) fn refused(refused: &Refused) -> String {
    let value = number(&format!("refused {}", refused.refusal.code), refused.refusal.value);
    let text = number(&format!("{value} at"), refused.refusal.operation.into());
    again(text.trim_end_matches(" at").to_owned(), refused.repeated)
}

/// A subscription's number as it is shown: an alias counts from 0, as "~0".
pub(crate) fn numbered(subscription: u32) -> String {
    match subscription.checked_sub(SubscribePattern::FIRST_ALIAS) {
        Some(alias) => format!("~{alias}"),
        None => subscription.to_string(),
    }
}

/// "@7", with duplicates "@7 1=@3", "none 0=@3" without anything new, and " new" if the topic is.
pub(crate) fn published(published: &Published<'_>) -> String {
    let first = first(published.first_offset);
    let duplicates = published.duplicates.iter().map(|one| format!("{}=@{}", one.record, one.offset));
    let new = published.created.then(|| "new".to_owned());
    let text = [first].into_iter().chain(duplicates).chain(new).collect::<Vec<_>>().join(" ");
    again(text, published.repeated)
}

/// "acked to 42", and what is not held: "acked to 42 not 40..42 44..45".
pub(crate) fn acked(acked: &Acked<'_>) -> String {
    let not_held = acked.not_held.iter().map(|range| format!(" {}..{}", range.first, range.end()));
    let not_held: String = not_held.collect();
    let not = if not_held.is_empty() { "" } else { " not" };
    format!("acked to {}{not}{not_held}", acked.cursor)
}

/// "40..45 of 50, 5 in flight, 0 waiting, 0 blocked" and each member: ", w1 5/64".
pub(crate) fn members(members: &Members<'_>) -> String {
    let SharedState { cursor, next, end, in_flight, waiting, blocked, blocked_by, .. } = members.state;
    let by = if blocked_by == u64::MAX { String::new() } else { format!(" by {blocked_by}") };
    let each = members.members.iter().map(|member| {
        let stuck = if member.stuck { " stuck" } else { "" };
        format!(", {} {}/{}{stuck}", member.client, member.in_flight, member.window)
    });
    let each: String = each.collect();
    format!(
        "{cursor}..{next} of {end}, {in_flight} in flight, {waiting} waiting, {blocked} blocked{by}{each}"
    )
}

/// The publish operations by their number, then the duplicates: "batched 0@7 2@0new 3none 3.0=@5".
pub(crate) fn batched(batched: &Batched<'_>) -> String {
    let results = batched.results.iter().map(|result| {
        let offset = Some(result.first_offset).filter(|offset| *offset != u64::MAX);
        format!("{}{}{}", result.operation, first(offset), if result.created { "new" } else { "" })
    });
    let duplicates = batched.duplicates.iter().map(|one| {
        let Duplicate { record, offset } = one.duplicate;
        format!("{}.{record}=@{offset}", one.operation)
    });
    let text =
        ["batched".to_owned()].into_iter().chain(results).chain(duplicates).collect::<Vec<_>>().join(" ");
    again(text, batched.repeated)
}

fn again(text: String, repeated: Option<bool>) -> String {
    if repeated == Some(true) { text + " again" } else { text }
}

/// "counters Topics 1, Refused 3": counters that are not 0, except those of time and memory.
pub(crate) fn counters(counters: &Counters<'_>) -> String {
    let counted = counters.values.iter().filter(|one| one.value > 0 && is_deterministic(one.counter));
    let counted: Vec<_> = counted.map(|one| format!("{} {}", one.counter, one.value)).collect();
    format!("counters {}", counted.join(", "))
}

fn is_deterministic(counter: Counter) -> bool {
    counter != Counter::Uptime && !(Counter::MemoryTopics..=Counter::MemoryBudget).contains(&counter)
}

/// "topics orders 0..3: 2 messages, 40 bytes, 1 keys, 1 subscriptions", "next 7" before them if there are more.
pub(crate) fn topics(page: &Page<'_, TopicItem<'_>>) -> String {
    let topics = page.items.iter().map(|topic| {
        let TopicItem { name, start, end, messages, bytes, keys, subscriptions, .. } = topic;
        let kind = if topic.explicit { "explicit" } else { "implicit" };
        format!("{name} {kind} {start}..{end}: {messages} messages, {bytes} bytes, {keys} keys, {subscriptions} subscriptions")
    });
    listed("topics", page.next, topics)
}

/// "subscriptions orders/billing attached epoch 1 window 8 at 2, next 3 of 4", "next 7" before them if there are more.
pub(crate) fn subscriptions(page: &Page<'_, SubscriptionItem<'_>>) -> String {
    let subscriptions = page.items.iter().map(|one| {
        let SubscriptionItem { topic, name, epoch, window, cursor, next, end, .. } = one;
        let state = match (one.attached, one.expires_in_micros) {
            (true, _) => "attached".to_owned(),
            (false, micros) => format!("for {micros} us"),
        };
        format!("{topic}/{name} {state} epoch {epoch} window {window} at {cursor}, next {next} of {end}")
    });
    listed("subscriptions", page.next, subscriptions)
}

fn listed(what: &str, next: Option<u32>, items: impl Iterator<Item = String>) -> String {
    let next = next.map(|next| format!("next {next}"));
    [what.to_owned()].into_iter().chain(next).chain(items).collect::<Vec<_>>().join(" ")
}

/// "3..9", a durable one's "3..9 epoch 2 rewind 1", and " new" if the topic is.
pub(crate) fn subscribed(subscribed: &Subscribed) -> String {
    let Subscribed { start, end, created, epoch, rewind, .. } = subscribed;
    let durable = if *epoch > 0 { format!(" epoch {epoch} rewind {rewind}") } else { String::new() };
    format!("{start}..{end}{durable}{}", if *created { " new" } else { "" })
}

/// "ended 7", with the last offset delivered; "ended" without one.
pub(crate) fn unsubscribed(unsubscribed: &Unsubscribed) -> String {
    unsubscribed.last_offset.map_or_else(|| "ended".to_owned(), |offset| format!("ended {offset}"))
}

/// "goodbye closed", "goodbye draining 10000".
pub(crate) fn goodbye(goodbye: Goodbye) -> String {
    let reason = if goodbye.reason == GoodbyeReason::Closed { "closed" } else { "draining" };
    number(&format!("goodbye {reason}"), goodbye.grace_millis.into())
}

/// "@7", or "none".
pub(crate) fn first(offset: Option<u64>) -> String {
    offset.map_or_else(|| "none".to_owned(), |offset| format!("@{offset}"))
}
