//! Frames of shared subscriptions, which only version 2 has.

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zaichik_proto::{
    Ack, AckLevel, Acked, Batch, ClientDecoder, ClientFrame, DescribeShared, Entry, Extend, Item, Items,
    Limits, List, MemberItem, Members, NackShared, OffsetRange, Operation, OperationsBuilder, ProtocolFault,
    ServerDecoder, ServerFrame, SharedState, Start, SubscribeShared, Version,
};
use zaichik_testkit::{rebuilt_client_frame, rebuilt_server_frame};

use crate::{client_bytes, keep, raw_frame, server_bytes};

fn range() -> impl Strategy<Value = OffsetRange> {
    let first = prop_oneof![0..100u64, any::<u64>()];
    (first, prop_oneof![1..5u32, 1u32..]).prop_map(|(first, count)| OffsetRange {
        first: first.min(u64::MAX.saturating_sub(count.into())),
        count,
    })
}

fn list<T: Entry>(entries: impl IntoIterator<Item = T>) -> List<'static, T> {
    List::encode_into(Box::leak(Box::default()), entries)
}

fn ranges() -> impl Strategy<Value = List<'static, OffsetRange>> {
    prop_oneof![9 => vec_of(range(), 1..5), 1 => vec_of(range(), 1_024)].prop_map(list)
}

fn text() -> impl Strategy<Value = &'static str> {
    ".{0,20}".prop_map(|text| &*text.leak())
}

fn name() -> impl Strategy<Value = &'static str> {
    ".{1,20}".prop_map(|text| &*text.leak())
}

fn bytes() -> impl Strategy<Value = &'static [u8]> {
    vec_of(any::<u8>(), 0..=255).prop_map(|bytes| &*bytes.leak())
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::Earliest),
        Just(Start::Latest),
        any::<u64>().prop_map(Start::Offset),
        any::<u64>().prop_map(Start::Time)
    ]
}

fn subscribe() -> impl Strategy<Value = ClientFrame<'static>> {
    let numbers = (1u32.., any::<u32>(), any::<[u32; 4]>(), any::<[u64; 2]>(), any::<bool>());
    (numbers, start(), bytes(), bytes(), name()).prop_map(|(numbers, start, topic, dead_letter, name)| {
        let (request, subscription, limits, times, by_key) = numbers;
        let [window, window_bytes, max_attempts, max_span] = limits;
        let [ack_deadline_micros, inactive_ttl_micros] = times;
        ClientFrame::SubscribeShared(SubscribeShared {
            request,
            subscription,
            topic,
            name,
            start,
            window,
            window_bytes,
            max_attempts,
            dead_letter,
            ack_deadline_micros,
            max_span,
            inactive_ttl_micros,
            by_key,
        })
    })
}

fn client_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    let named = || (1u32.., any::<u32>(), any::<u32>(), ranges());
    prop_oneof![
        subscribe(),
        (named(), any::<bool>()).prop_map(|((request, subscription, rewind, ranges), quiet)| {
            ClientFrame::Ack(Ack { request, subscription, rewind, quiet, ranges })
        }),
        (named(), any::<u64>()).prop_map(|((request, subscription, rewind, ranges), delay_micros)| {
            ClientFrame::NackShared(NackShared { request, subscription, rewind, delay_micros, ranges })
        }),
        named().prop_map(|(request, subscription, rewind, ranges)| {
            ClientFrame::Extend(Extend { request, subscription, rewind, ranges })
        }),
        (1u32.., bytes(), name()).prop_map(|(request, topic, name)| ClientFrame::DescribeShared(
            DescribeShared { request, topic, name }
        )),
        named().prop_map(|(request, subscription, rewind, ranges)| {
            let acks = [Operation::Ack { subscription, rewind, ranges }; 2];
            let operations = keep(acks.into_iter().collect::<OperationsBuilder>()).operations();
            ClientFrame::Batch(Batch { request, ack: AckLevel::Accepted, producer: None, operations })
        }),
    ]
}

fn state() -> impl Strategy<Value = SharedState> {
    (any::<[u64; 9]>(), any::<[u32; 3]>(), any::<bool>()).prop_map(
        |(values, [max_span, rewind, members], by_key)| {
            let [
                ack_deadline_micros,
                cursor,
                next,
                end,
                in_flight,
                waiting,
                blocked,
                blocked_by,
                oldest_micros,
            ] = values;
            SharedState {
                by_key,
                ack_deadline_micros,
                max_span,
                rewind,
                cursor,
                next,
                end,
                in_flight,
                waiting,
                blocked,
                blocked_by,
                oldest_micros,
                members,
            }
        },
    )
}

fn server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    let member = (text(), any::<[u32; 2]>(), any::<u64>(), any::<bool>()).prop_map(
        |(client, numbers, oldest, stuck)| {
            let [window, in_flight] = numbers;
            MemberItem { client, window, in_flight, oldest_micros: oldest, stuck }
        },
    );
    prop_oneof![
        (1u32.., any::<u64>(), vec_of(range(), 0..5)).prop_map(|(request, cursor, not_held)| {
            ServerFrame::Acked(Acked { request, cursor, not_held: list(not_held) })
        }),
        (1u32.., state(), vec_of(member, 0..5)).prop_map(|(request, state, members)| {
            let mut bytes = Vec::new();
            for member in &members {
                member.write(&mut bytes);
            }
            let members = Items::from_encoded(u32::try_from(members.len()).unwrap_or(0), bytes.leak());
            ServerFrame::Members(Members { request, state, members })
        }),
    ]
}

proptest! {
    #[test]
    fn i18_frames_of_shared_subscriptions_survive_encoding(client in client_frame(), server in server_frame()) {
        let limits = Limits::default();
        let bytes = client_bytes(&client);
        let mut decoder = ClientDecoder::speaking(Version::Two, &limits);
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((client, bytes.len()))));
        prop_assert_eq!(rebuilt_client_frame(&client), bytes);
        let bytes = server_bytes(&server);
        let mut decoder = ServerDecoder::speaking(Version::Two, &limits);
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((server, bytes.len()))));
        prop_assert_eq!(rebuilt_server_frame(&server), bytes);
    }

    #[test]
    fn frames_of_shared_subscriptions_that_are_cut_off_are_errors(client in client_frame(), cut in any::<prop::sample::Index>()) {
        let bytes = client_bytes(&client);
        let body = bytes.get(8..).unwrap_or_default();
        let short = body.get(..cut.index(body.len())).unwrap_or_default();
        let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
        prop_assert!(decoder.decode(&raw_frame(client.kind(), short)).is_err());
    }
}

/// The fault of an acknowledgement of these ranges, as they are on the wire.
fn fault(ranges: &[(u64, u32)]) -> Option<ProtocolFault> {
    let mut body = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend_from_slice(&u32::try_from(ranges.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (first, count) in ranges {
        body.extend_from_slice(&first.to_le_bytes());
        body.extend_from_slice(&count.to_le_bytes());
    }
    let frame = raw_frame(0x14, &body);
    let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
    decoder.decode(&frame).err().map(|error| error.fault)
}

#[test]
fn ranges_of_offsets_have_bounds() {
    let field = "ranges of offsets";
    let value = Some(ProtocolFault::BadValue { field, got: 0 });
    assert_eq!(fault(&[]), value, "nothing is acknowledged");
    assert_eq!(fault(&[(7, 0)]), value, "an empty range");
    assert_eq!(fault(&[(7, 1), (8, 0)]), value, "not only the first one is checked");
    assert_eq!(fault(&[(u64::MAX, 1)]), value, "2^64 - 1 is not an offset");
    assert_eq!(fault(&[(u64::MAX - 1, 1)]), None, "the last offset");
    assert_eq!(fault(&[(9, 2), (7, 4), (9, 2)]), None, "in any order, and overlapping");
    assert_eq!(fault(&vec![(7, 1); 1_024]), None);
    let count = ProtocolFault::CountTooLarge { field, limit: 1_024, got: 1_025 };
    assert_eq!(fault(&vec![(7, 1); 1_025]), Some(count));
}

#[test]
fn an_acknowledgement_in_a_batch_is_an_error_in_version_one() {
    let ranges = list([OffsetRange { first: 7, count: 1 }]);
    let acks: OperationsBuilder =
        [Operation::Ack { subscription: 0, rewind: 0, ranges }].into_iter().collect();
    let batch = Batch { request: 1, ack: AckLevel::Accepted, producer: None, operations: acks.operations() };
    let error =
        ClientDecoder::new(&Limits::default()).decode(&client_bytes(&ClientFrame::Batch(batch))).unwrap_err();
    assert_eq!(error.fault, ProtocolFault::BadValue { field: "operation", got: 3 });
}
