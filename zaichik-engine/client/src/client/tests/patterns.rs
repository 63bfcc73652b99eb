//! Patterns of topics: frames under aliases, and what a broker may not do (chapter W).

use zaichik_proto::{
    Fenced, Gap, GapReason, Matched, NotMatched, PatternSubscribed, Refusal, RefusalCode, ServerFrame, Start,
    SubscribePattern, Unsubscribed, Version, Welcome,
};

use super::peer::Peer;
use super::sent::{Sent, Target};
use crate::{
    Answer, ClientConfig, Event, Link, LinkError, PatternEvent, PatternOptions, RequestError,
    SubscribeOptions, SubscriptionId, Violation,
};

pub(super) const FIRST: u32 = SubscribePattern::FIRST_ALIAS;

/// A peer before its connection, whose broker has patterns.
pub(super) fn offering(config: ClientConfig) -> Peer {
    let mut peer = Peer::new(config);
    (peer.version, peer.capabilities) = (Version::Two, Welcome::PATTERNS);
    peer
}

pub(super) fn open() -> Peer {
    let mut peer = offering(ClientConfig::new(7));
    peer.connect(1);
    peer
}

/// A pattern that is subscribed to, without topics.
pub(super) fn subscribed(peer: &mut Peer, options: PatternOptions) -> SubscriptionId {
    let (id, pattern) = peer.client.subscribe_pattern(peer.now, "a.*", options).unwrap();
    let sent = peer.sent_one();
    answer(peer, &sent, 0);
    assert!(matches!(peer.answer_to(id), Ok(Answer::PatternSubscribed(_))));
    pattern
}

/// Answers a `SubscribePattern`.
pub(super) fn answer(peer: &mut Peer, sent: &Sent, topics: u32) {
    let Sent::SubscribePattern { request, subscription, .. } = *sent else { panic!("{sent:?}") };
    let frame = PatternSubscribed { request, subscription, epoch: 0, topics };
    peer.send(&ServerFrame::PatternSubscribed(frame));
}

/// Announces a topic that has `start..end`.
pub(super) fn announce(peer: &mut Peer, pattern: u32, alias: u32, topic: &str, start: u64, end: u64) {
    let topic = topic.as_bytes();
    peer.send(&ServerFrame::Matched(Matched {
        subscription: pattern,
        alias,
        epoch: 0,
        rewind: 0,
        start,
        end,
        topic,
    }));
}

/// Announces a topic, and takes the event.
pub(super) fn matched(peer: &mut Peer, pattern: SubscriptionId, alias: u32, topic: &str) -> SubscriptionId {
    announce(peer, pattern.0, alias, topic, 0, 0);
    match peer.client.poll_pattern(pattern) {
        Some(PatternEvent::Matched { subscription, .. }) => subscription,
        other => panic!("{other:?}"),
    }
}

pub(super) fn not_matched(peer: &mut Peer, pattern: SubscriptionId, topic: &str, others: u32) {
    let (code, topic) = (RefusalCode::SubscriptionsFull, topic.as_bytes());
    let frame = NotMatched { subscription: pattern.0, code, value: 9, others, topic };
    peer.send(&ServerFrame::NotMatched(frame));
}

/// What a pattern hands out, as text.
pub(super) fn events(peer: &mut Peer, pattern: SubscriptionId) -> Vec<String> {
    std::iter::from_fn(|| peer.client.poll_pattern(pattern)).map(|event| show(&event)).collect()
}

fn show(event: &PatternEvent) -> String {
    match event {
        PatternEvent::Matched { topic, end, .. } => format!("{topic} to {end}"),
        PatternEvent::NotMatched { topic, refusal, others } => {
            format!("not {topic}: {:?} and {others}", refusal.code)
        }
        PatternEvent::Topic { topic, event: Event::Message(message), .. } => {
            assert_eq!(*topic, message.topic);
            format!("{topic}/{}", message.offset)
        }
        PatternEvent::Topic { topic, event, .. } => format!("{topic} {event:?}"),
        PatternEvent::Refused(refusal) => format!("refused {:?}", refusal.code),
        PatternEvent::Ended => "ended".to_owned(),
    }
}

pub(super) fn violation(peer: &Peer) -> Violation {
    match peer.client.link() {
        Link::Closed(Some(LinkError::Violation(violation))) => violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn w2_a_pattern_is_subscribed_to_with_its_options() {
    let mut peer = open();
    let options = PatternOptions::new().start(Start::Latest).window(7).dead_letter(3, "dead");
    let (id, pattern) = peer.client.subscribe_pattern(peer.now, "orders.*.>", options).unwrap();
    let sent = peer.sent_one();
    let Sent::SubscribePattern {
        pattern: ref text, start: Start::Latest, window: 7, ref dead_letter, ..
    } = sent
    else {
        panic!("{sent:?}");
    };
    assert_eq!((&text[..], &*dead_letter.1), ("orders.*.>", "dead"));
    answer(&mut peer, &sent, 2);
    let Ok(Answer::PatternSubscribed(begun)) = peer.answer_to(id) else { panic!("not subscribed") };
    assert_eq!((begun.subscription, begun.topics), (pattern, 2));
    for bad in ["", "a..b", "a.>.b"] {
        let refused = peer.client.subscribe_pattern(peer.now, bad, PatternOptions::new());
        assert!(matches!(refused, Err(RequestError::InvalidPattern(_))), "{bad}");
    }
    let wide = PatternOptions::new().window(u32::MAX);
    let refused = peer.client.subscribe_pattern(peer.now, "a.*", wide);
    assert!(matches!(refused, Err(RequestError::WindowTooLarge { .. })));
    assert!(peer.sent().is_empty());
}

#[test]
fn w2_a_broker_without_patterns_gets_no_request() {
    let unsupported =
        RequestError::Refused { topic: "a.*".into(), refusal: Refusal::new(RefusalCode::Unsupported) };
    let mut peer = Peer::open();
    let refused = peer.client.subscribe_pattern(peer.now, "a.*", PatternOptions::new());
    assert_eq!(refused, Err(unsupported.clone()));
    // The broker may not be known yet, or be another one later.
    let mut peer = Peer::new(ClientConfig::new(7));
    let (id, pattern) = peer.client.subscribe_pattern(peer.now, "a.*", PatternOptions::new()).unwrap();
    peer.connect(1);
    assert_eq!(peer.answer_to(id), Err(unsupported));
    assert_eq!(peer.client.poll_pattern(pattern), None);
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new());
    matched(&mut peer, pattern, FIRST, "a.x");
    peer.disconnect();
    peer.capabilities = 0;
    peer.connect(2);
    assert_eq!(events(&mut peer, pattern), ["refused Unsupported"]);
    assert!(peer.sent().is_empty());
}

#[test]
fn w3_frames_of_a_topic_carry_its_alias() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().window(8));
    let x = matched(&mut peer, pattern, FIRST, "a.x");
    let y = matched(&mut peer, pattern, FIRST + 9, "a.y");
    peer.deliver(SubscriptionId(FIRST), 0, &[b"0", b"1", b"2"]);
    peer.deliver(SubscriptionId(FIRST + 9), 0, &[b"0"]);
    let gap = Gap { subscription: FIRST + 9, rewind: 0, reason: GapReason::Limit, from: 1, to: 3 };
    peer.send(&ServerFrame::Gap(gap));
    assert_eq!(peer.client.poll_ready(), Some(pattern), "topics are ready with their pattern");
    assert_eq!(peer.client.poll_event(x), None, "events of a topic are taken from its pattern");
    let taken = events(&mut peer, pattern);
    let gap = "a.y Gap { from: 1, to: 3, reason: Limit }";
    assert_eq!(taken, ["a.x/0", "a.y/0", "a.x/1", gap, "a.x/2"], "topics have their turns");
    let id = peer.client.commit(peer.now, x, 1).unwrap();
    let Sent::Commit { request, subscription: FIRST, offset: 1, .. } = peer.sent_one() else { panic!() };
    peer.done(request, 2);
    assert_eq!(peer.answer_to(id), Ok(Answer::Committed { cursor: 2 }));
    peer.client.commit_last(peer.now).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Commit { subscription: FIRST, offset: 2, .. }));
    peer.client.nack(peer.now, y, 0, core::time::Duration::ZERO).unwrap();
    assert!(
        matches!(peer.sent_one(), Sent::Nack { subscription, offset: 0, .. } if subscription == FIRST + 9)
    );
    peer.client.seek(peer.now, x, Start::Earliest).unwrap();
    assert!(matches!(peer.sent_one(), Sent::Seek { target: Target::Number(FIRST), .. }));
    for refused in [
        peer.client.commit(peer.now, pattern, 0),
        peer.client.nack(peer.now, pattern, 0, core::time::Duration::ZERO),
        peer.client.seek(peer.now, pattern, Start::Earliest),
    ] {
        assert_eq!(refused, Err(RequestError::IsPattern(pattern)));
    }
    peer.client.check_invariants();
}

#[test]
fn w3_a_topic_ends_alone_and_a_pattern_with_its_topics() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().window(8));
    let x = matched(&mut peer, pattern, FIRST, "a.x");
    let y = matched(&mut peer, pattern, FIRST + 1, "a.y");
    matched(&mut peer, pattern, FIRST + 2, "a.z");
    peer.client.unsubscribe(peer.now, x).unwrap();
    let Sent::Unsubscribe { request, subscription: FIRST } = peer.sent_one() else { panic!() };
    peer.deliver(SubscriptionId(FIRST), 0, &[b"0"]);
    peer.send(&ServerFrame::Unsubscribed(Unsubscribed {
        request,
        subscription: FIRST,
        last_offset: Some(0),
    }));
    peer.send(&ServerFrame::Fenced(Fenced { subscription: FIRST + 1, epoch: 2 }));
    assert_eq!(events(&mut peer, pattern), ["a.x Ended(Some(0))", "a.y Fenced"]);
    assert_eq!(peer.client.commit(peer.now, y, 0), Err(RequestError::NoSubscription(y)));
    peer.client.unsubscribe(peer.now, pattern).unwrap();
    let sent = peer.sent_one();
    announce(&mut peer, pattern.0, FIRST + 3, "a.new", 0, 0);
    peer.deliver(SubscriptionId(FIRST + 3), 0, &[b"0"]);
    peer.deliver(SubscriptionId(FIRST + 2), 0, &[b"0"]);
    peer.unsubscribed(&sent, None);
    assert_eq!(events(&mut peer, pattern), ["ended"]);
    assert_eq!(peer.client.poll_pattern(pattern), None);
    peer.client.check_invariants();
    peer.deliver(SubscriptionId(FIRST + 2), 1, &[b"1"]);
    assert_eq!(violation(&peer), Violation::Subscription { subscription: FIRST + 2 });
}

#[test]
fn w6_topics_that_are_not_matched_are_reported_and_the_rest_is_counted() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new());
    for topic in 0..70 {
        not_matched(&mut peer, pattern, &format!("a.{topic}"), 1);
    }
    matched_at_the_end(&mut peer, pattern);
    let reported = events(&mut peer, pattern);
    assert_eq!(reported.len(), 65);
    assert_eq!(reported[0], "not a.0: SubscriptionsFull and 1");
    assert_eq!(reported[63], "not a.63: SubscriptionsFull and 13");
    assert_eq!(reported[64], "a.x to 0");
}

fn matched_at_the_end(peer: &mut Peer, pattern: SubscriptionId) {
    announce(peer, pattern.0, FIRST, "a.x", 0, 0);
}

#[test]
fn w5_the_window_of_a_pattern_is_taken_by_all_topics_together() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().window(2));
    let x = matched(&mut peer, pattern, FIRST, "a.x");
    matched(&mut peer, pattern, FIRST + 1, "a.y");
    peer.deliver(SubscriptionId(FIRST), 0, &[b"0"]);
    peer.deliver(SubscriptionId(FIRST + 1), 0, &[b"0"]);
    assert!(!peer.client.is_window_taken(pattern));
    events(&mut peer, pattern);
    assert!(peer.client.is_window_taken(pattern));
    peer.client.commit_quiet(peer.now, x, 0).unwrap();
    assert!(!peer.client.is_window_taken(pattern));
    peer.deliver(SubscriptionId(FIRST), 1, &[b"1", b"2", b"3"]);
    assert_eq!(violation(&peer), Violation::Window { subscription: FIRST, window: 2 });
}

#[test]
fn w5_without_a_window_what_is_not_taken_stops_reading() {
    let mut peer = offering(ClientConfig::new(7));
    peer.connect(1);
    let pattern = subscribed(&mut peer, PatternOptions::new().window(0));
    let x = matched(&mut peer, pattern, FIRST, "a.x");
    let body = vec![0; 64 << 10];
    for offset in 0..17 {
        peer.deliver(SubscriptionId(FIRST), offset, &[&body]);
    }
    assert!(!peer.client.wants_read());
    assert_eq!(events(&mut peer, pattern).len(), 17);
    assert!(peer.client.wants_read());
    peer.client.check_invariants();
    let refused = peer.client.commit(peer.now, x, 0);
    assert!(
        matches!(refused, Err(RequestError::Refused { refusal, .. }) if refusal.code == RefusalCode::CommitsOff)
    );
    peer.deliver(SubscriptionId(FIRST), 17, &[&body]);
    peer.client.discard_events(pattern);
    assert_eq!(events(&mut peer, pattern), Vec::<String>::new());
    peer.client.check_invariants();
}

/// A broker that contradicts itself is an error with a reason.
#[test]
fn w3_a_broker_that_breaks_the_rules_of_patterns_is_left() {
    let with = |step: &dyn Fn(&mut Peer, SubscriptionId)| {
        let mut peer = open();
        let pattern = subscribed(&mut peer, PatternOptions::new());
        matched(&mut peer, pattern, FIRST, "a.x");
        step(&mut peer, pattern);
        violation(&peer)
    };
    assert_eq!(
        with(&|peer, _| announce(peer, 77, FIRST + 1, "a.y", 0, 0)),
        Violation::Pattern { subscription: 77 }
    );
    for alias in [0, FIRST - 1, FIRST] {
        let used = with(&|peer, pattern| announce(peer, pattern.0, alias, "a.y", 0, 0));
        assert_eq!(used, Violation::Alias { alias });
    }
    for topic in ["a.x", "b.x", "a.y.z", ""] {
        let named = with(&|peer, pattern| announce(peer, pattern.0, FIRST + 1, topic, 0, 0));
        assert!(matches!(named, Violation::Topic { .. }), "{topic}");
    }
    assert!(matches!(with(&|peer, pattern| not_matched(peer, pattern, "b", 0)), Violation::Topic { .. }));
    let unknown = with(&|peer, _| peer.deliver(SubscriptionId(FIRST + 1), 0, &[b"0"]));
    assert_eq!(unknown, Violation::Subscription { subscription: FIRST + 1 });
    let to_pattern = with(&|peer, pattern| peer.deliver(pattern, 0, &[b"0"]));
    assert!(matches!(to_pattern, Violation::Subscription { .. }));
    let by_id = with(&|peer, pattern| peer.deliver(SubscriptionId(pattern.0 + 1), 0, &[b"0"]));
    assert!(matches!(by_id, Violation::Subscription { .. }), "a topic's own id is not on the wire");
    let answered = with(&|peer, _| {
        peer.client.subscribe(peer.now, "t", SubscribeOptions::new()).unwrap();
        let Sent::Subscribe { request, subscription, .. } = peer.sent_one() else { panic!() };
        let frame = PatternSubscribed { request, subscription, epoch: 0, topics: 0 };
        peer.send(&ServerFrame::PatternSubscribed(frame));
    });
    assert!(matches!(answered, Violation::Answer { .. }));
}
