//! Arbitrary frames from the broker.

use proptest::prelude::*;
use zaichik_proto::{
    AckRun, Acks, BatchDuplicate, BatchResult, Batched, Counter, CounterValue, Counters, Delivery, Done,
    Duplicate, Entry, Fatal, FaultCode, Fenced, Gap, GapReason, Goodbye, GoodbyeReason, Item, Items, Limits,
    List, Page, Published, Refusal, RefusalCode, Refused, ServerFrame, Subscribed, SubscriptionItem,
    TopicItem, TopicReady, TopicStatus, Unsubscribed, Welcome,
};

use crate::client_frames::options;
use crate::records::records;
use crate::{edgy_u32, edgy_u64, keep_bytes, label, request};

/// Every frame but Welcome.
pub(crate) fn server_frame() -> BoxedStrategy<ServerFrame<'static>> {
    prop_oneof![answer(), on_subscription(), on_connection()].boxed()
}

pub(crate) fn welcome() -> impl Strategy<Value = Welcome<'static>> {
    let limits = prop::array::uniform7(request());
    (any::<u16>(), any::<u128>(), limits, label(0)).prop_map(|(version, instance, limits, server)| {
        let [
            max_message,
            max_frame,
            max_records,
            max_window,
            max_window_size,
            max_subscriptions,
            heartbeat_millis,
        ] = limits;
        Welcome {
            version,
            instance,
            limits: Limits::new()
                .max_message(max_message)
                .max_frame(max_frame)
                .max_records(max_records)
                .max_window(max_window)
                .max_window_size(max_window_size)
                .max_subscriptions(max_subscriptions)
                .heartbeat_millis(heartbeat_millis),
            capabilities: if version > 1 { u64::from(max_window) } else { 0 },
            server,
        }
    })
}

pub(crate) fn fatal() -> impl Strategy<Value = ServerFrame<'static>> {
    let code = any::<u16>().prop_map(|code| FaultCode::from_code(code % 50));
    (code, edgy_u64(), label(0))
        .prop_map(|(code, offset, text)| ServerFrame::Fatal(Fatal { code, offset, text }))
}

fn answer() -> BoxedStrategy<ServerFrame<'static>> {
    let status =
        prop_oneof![Just(TopicStatus::Unchanged), Just(TopicStatus::Created), Just(TopicStatus::Adopted)];
    let run = (request(), request(), edgy_u64()).prop_map(|(request, requests, first_offset)| AckRun {
        request,
        requests,
        first_offset,
    });
    let duplicate = || (edgy_u32(), edgy_u64()).prop_map(|(record, offset)| Duplicate { record, offset });
    let result = (edgy_u32(), any::<bool>(), edgy_u64())
        .prop_map(|(operation, created, first_offset)| BatchResult { operation, created, first_offset });
    let batch_duplicate =
        (edgy_u32(), duplicate()).prop_map(|(operation, duplicate)| BatchDuplicate { operation, duplicate });
    let counter = (any::<u16>(), edgy_u64())
        .prop_map(|(code, value)| CounterValue { counter: Counter::from_code(code), value });
    let published = (request(), any::<bool>(), offset(), list(duplicate(), 0));
    prop_oneof![
        (request(), status)
            .prop_map(|(request, status)| ServerFrame::TopicReady(TopicReady { request, status })),
        list(run, 1).prop_map(|runs| ServerFrame::Acks(Acks { runs })),
        published.prop_map(|(request, created, first_offset, duplicates)| {
            ServerFrame::Published(Published { repeated: None, request, created, first_offset, duplicates })
        }),
        (request(), list(result, 0), list(batch_duplicate, 0)).prop_map(|(request, results, duplicates)| {
            ServerFrame::Batched(Batched { repeated: None, request, results, duplicates })
        }),
        refused(),
        (request(), list(counter, 0))
            .prop_map(|(request, values)| ServerFrame::Counters(Counters { request, values })),
        page(topic_item()).prop_map(ServerFrame::Topics),
        page(subscription_item()).prop_map(ServerFrame::Subscriptions),
        (request(), edgy_u64()).prop_map(|(request, value)| ServerFrame::Done(Done { request, value })),
    ]
    .boxed()
}

fn page<T: Item<'static> + std::fmt::Debug + 'static>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = Page<'static, T>> {
    let next = prop::option::of(edgy_u32().prop_map(|next| next.min(u32::MAX - 1)));
    (request(), next, prop::collection::vec(item, 0..4)).prop_map(|(request, next, items)| {
        let mut bytes = Vec::new();
        for item in &items {
            item.write(&mut bytes);
        }
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        Page { request, next, items: Items::from_encoded(count, bytes.leak()) }
    })
}

fn topic_item() -> impl Strategy<Value = TopicItem<'static>> {
    let numbers = (edgy_u64(), edgy_u64(), edgy_u64(), edgy_u64(), edgy_u64(), edgy_u64());
    (label(0), any::<bool>(), options(), numbers, edgy_u32()).prop_map(
        |(name, explicit, settings, (start, end, messages, bytes, keys, memory), subscriptions)| TopicItem {
            name,
            explicit,
            settings,
            start,
            end,
            messages,
            bytes,
            keys,
            subscriptions,
            memory,
        },
    )
}

fn subscription_item() -> impl Strategy<Value = SubscriptionItem<'static>> {
    let numbers = (edgy_u64(), edgy_u64(), edgy_u64(), edgy_u64());
    (label(0), label(0), any::<bool>(), edgy_u32(), edgy_u32(), numbers).prop_map(
        |(topic, name, attached, epoch, window, (cursor, next, end, expires_in_micros))| SubscriptionItem {
            topic,
            name,
            attached,
            epoch,
            window,
            cursor,
            next,
            end,
            expires_in_micros,
        },
    )
}

fn refused() -> impl Strategy<Value = ServerFrame<'static>> {
    let code = any::<u16>().prop_map(|code| RefusalCode::from_code(code % 60));
    let who = prop_oneof![request().prop_map(|id| (id, 1)), request().prop_map(|count| (0, count))];
    (who, code, edgy_u32(), edgy_u64()).prop_map(|((request, count), code, operation, value)| {
        let refusal = Refusal { code, operation, value };
        ServerFrame::Refused(Refused { request, count, refusal, repeated: None })
    })
}

fn on_subscription() -> BoxedStrategy<ServerFrame<'static>> {
    let reason = prop_oneof![Just(GapReason::Expired), Just(GapReason::Limit)];
    let range = (edgy_u64(), edgy_u64())
        .prop_filter_map("an empty gap", |(a, b)| (a != b).then(|| (a.min(b), a.max(b))));
    let subscribed = ((request(), edgy_u32(), edgy_u32(), edgy_u32()), any::<bool>(), edgy_u64(), edgy_u64());
    // The offsets of a delivery must not overflow.
    let first_offset = edgy_u64().prop_map(|offset| offset.min(u64::MAX - 4));
    let delivery = (edgy_u32(), edgy_u32(), edgy_u32(), first_offset, records(true));
    prop_oneof![
        subscribed.prop_map(|((request, subscription, epoch, rewind), created, start, end)| {
            ServerFrame::Subscribed(Subscribed { request, subscription, epoch, rewind, created, start, end })
        }),
        delivery.prop_map(|(subscription, rewind, attempt, first_offset, records)| {
            ServerFrame::Delivery(Delivery { subscription, rewind, attempt, first_offset, records })
        }),
        (edgy_u32(), edgy_u32(), reason, range).prop_map(|(subscription, rewind, reason, (from, to))| {
            ServerFrame::Gap(Gap { subscription, rewind, reason, from, to })
        }),
        (edgy_u32(), edgy_u32())
            .prop_map(|(subscription, epoch)| ServerFrame::Fenced(Fenced { subscription, epoch })),
        (edgy_u32(), edgy_u32(), offset()).prop_map(|(request, subscription, last_offset)| {
            ServerFrame::Unsubscribed(Unsubscribed { request, subscription, last_offset })
        }),
    ]
    .boxed()
}

fn on_connection() -> BoxedStrategy<ServerFrame<'static>> {
    let reason = prop_oneof![Just(GoodbyeReason::Closed), Just(GoodbyeReason::Draining)];
    prop_oneof![
        edgy_u64().prop_map(|nonce| ServerFrame::Ping { nonce }),
        edgy_u64().prop_map(|nonce| ServerFrame::Pong { nonce }),
        (reason, edgy_u32())
            .prop_map(|(reason, grace_millis)| { ServerFrame::Goodbye(Goodbye { reason, grace_millis }) }),
        fatal(),
        (0x80u8.., prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, body)| { ServerFrame::Extension { kind, body: keep_bytes(body) } }),
    ]
    .boxed()
}

/// An optional offset.
fn offset() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(edgy_u64().prop_map(|offset| offset.min(u64::MAX - 1)))
}

fn list<T: Entry + std::fmt::Debug + 'static>(
    entry: impl Strategy<Value = T>,
    min: usize,
) -> impl Strategy<Value = List<'static, T>> {
    prop::collection::vec(entry, min..6)
        .prop_map(|entries| List::encode_into(Box::leak(Box::default()), entries))
}
