//! Frames of subscriptions to patterns of topics, which only version 2 has.

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zaichik_proto::{
    ClientDecoder, ClientFrame, Durable, Limits, Matched, NotMatched, OnConflict, PatternSubscribed,
    ProtocolFault, RefusalCode, ServerDecoder, ServerFrame, Start, SubscribePattern, TopicName, TopicPattern,
    Version,
};
use zaichik_testkit::{rebuilt_client_frame, rebuilt_server_frame};

use crate::{client_bytes, raw_frame, server_bytes};

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

fn durable() -> impl Strategy<Value = Durable<'static>> {
    let name = ".{1,20}".prop_map(|text| &*text.leak());
    (name, any::<bool>(), any::<u32>(), any::<u64>()).prop_map(
        |(name, rejects, epoch, inactive_ttl_micros)| {
            let on_conflict = if rejects { OnConflict::Reject } else { OnConflict::TakeOver };
            Durable { name, on_conflict, epoch, inactive_ttl_micros }
        },
    )
}

fn client_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    let numbers = (1u32.., any::<[u32; 4]>());
    (numbers, start(), bytes(), bytes(), prop::option::of(durable())).prop_map(
        |((request, numbers), start, pattern, dead_letter, durable)| {
            let [subscription, window, window_bytes, max_attempts] = numbers;
            ClientFrame::SubscribePattern(SubscribePattern {
                request,
                subscription,
                pattern,
                start,
                window,
                window_bytes,
                max_attempts,
                dead_letter,
                durable,
            })
        },
    )
}

fn server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    prop_oneof![
        (1u32.., any::<[u32; 3]>()).prop_map(|(request, [subscription, epoch, topics])| {
            ServerFrame::PatternSubscribed(PatternSubscribed { request, subscription, epoch, topics })
        }),
        (any::<[u32; 4]>(), any::<[u64; 2]>(), bytes()).prop_map(
            |([subscription, alias, epoch, rewind], [start, end], topic)| {
                ServerFrame::Matched(Matched { subscription, alias, epoch, rewind, start, end, topic })
            }
        ),
        (any::<[u32; 2]>(), any::<u16>(), any::<u64>(), bytes()).prop_map(
            |([subscription, others], code, value, topic)| {
                let code = RefusalCode::from_code(code);
                ServerFrame::NotMatched(NotMatched { subscription, code, value, others, topic })
            }
        ),
    ]
}

proptest! {
    #[test]
    fn i18_frames_of_patterns_survive_encoding(client in client_frame(), server in server_frame()) {
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
    fn frames_of_patterns_that_are_cut_off_are_errors(
        client in client_frame(),
        server in server_frame(),
        cut in any::<prop::sample::Index>(),
    ) {
        let short = |bytes: &[u8]| {
            let body = bytes.get(8..).unwrap_or_default();
            body.get(..cut.index(body.len())).unwrap_or_default().to_vec()
        };
        let bytes = raw_frame(client.kind(), &short(&client_bytes(&client)));
        let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
        prop_assert!(decoder.decode(&bytes).is_err());
        let bytes = raw_frame(server.kind(), &short(&server_bytes(&server)));
        let mut decoder = ServerDecoder::speaking(Version::Two, &Limits::default());
        prop_assert!(decoder.decode(&bytes).is_err());
    }

    /// A pattern matches exactly the names that a recursive definition says.
    #[test]
    fn w1_a_pattern_matches_as_defined(
        pattern in vec_of(prop::sample::select(vec!["a", "b", "a*", "*", ">"]), 1..5),
        name in vec_of(prop::sample::select(vec!["a", "b", "a*", ""]), 1..6),
    ) {
        fn defined(pattern: &[&str], name: &[&str]) -> bool {
            match (pattern, name) {
                ([], []) | ([">"], [_, ..]) => true,
                (["*", pattern @ ..], [_, name @ ..]) => defined(pattern, name),
                ([literal, pattern @ ..], [segment, name @ ..]) => literal == segment && defined(pattern, name),
                _ => false,
            }
        }
        let (text, joined) = (pattern.join("."), name.join("."));
        let is_valid = pattern.iter().rev().skip(1).all(|segment| *segment != ">");
        let parsed = TopicPattern::parse(text.as_bytes());
        prop_assert_eq!(parsed.is_ok(), is_valid);
        if let (Ok(parsed), Ok(topic)) = (parsed, TopicName::parse(joined.as_bytes())) {
            prop_assert_eq!(parsed.matches(topic), defined(&pattern, &name), "{} {}", text, joined);
        }
    }
}

#[test]
fn a_flag_of_a_pattern_that_is_neither_0_nor_1_is_an_error() {
    let subscribe = SubscribePattern {
        request: 1,
        subscription: 0,
        pattern: b"a",
        start: Start::Earliest,
        window: 1,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    };
    let mut bytes = client_bytes(&ClientFrame::SubscribePattern(subscribe));
    *bytes.last_mut().unwrap() = 2;
    let error = ClientDecoder::speaking(Version::Two, &Limits::default()).decode(&bytes).unwrap_err();
    assert_eq!(error.fault, ProtocolFault::BadValue { field: "durable flag", got: 2 });
}
