//! Patterns over several connections: each topic continues where the application is (rules W2, W3, P4, P5).

use zaichik_proto::{Record, RefusalCode, ServerFrame, Start, Unsubscribed};

use super::patterns::{FIRST, announce, answer, events, matched, offering, open, subscribed};
use super::peer::Peer;
use super::producer::config;
use super::sent::{Op, Sent, Target};
use crate::{Answer, Batch, PatternOptions, PublishOptions, RequestError, SubscriptionId};

/// Reconnects to an instance; returns the `SubscribePattern`, which must be the first frame.
fn reconnect(peer: &mut Peer, instance: u128) -> Sent {
    peer.disconnect();
    peer.connect(instance);
    let sent = peer.sent();
    assert!(matches!(sent[0], Sent::SubscribePattern { .. }), "{sent:?}");
    sent[0].clone()
}

fn start_of(sent: &Sent) -> Start {
    match sent {
        Sent::SubscribePattern { start, .. } => *start,
        other => panic!("{other:?}"),
    }
}

/// The positions that are sought now, by number.
fn sought(peer: &mut Peer) -> Vec<(u32, Start, u32)> {
    let seek = |sent| match sent {
        Sent::Seek { request, target: Target::Number(number), to } => (number, to, request),
        other => panic!("{other:?}"),
    };
    peer.sent().into_iter().map(seek).collect()
}

#[test]
fn w3_after_a_reconnect_each_topic_continues_after_its_last_commit() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().window(9));
    let x = matched(&mut peer, pattern, FIRST, "a.x");
    let y = matched(&mut peer, pattern, FIRST + 1, "a.y");
    peer.deliver(SubscriptionId(FIRST), 0, &[b"0", b"1", b"2"]);
    peer.deliver(SubscriptionId(FIRST + 1), 0, &[b"0"]);
    events(&mut peer, pattern);
    peer.client.commit_quiet(peer.now, x, 0).unwrap();
    peer.client.commit_quiet(peer.now, y, 0).unwrap();
    peer.sent();
    let sent = reconnect(&mut peer, 1);
    assert_eq!(start_of(&sent), Start::Latest, "what was delivered is not asked for again");
    // The numbers are others, and in another order.
    announce(&mut peer, pattern.0, FIRST, "a.y", 1, 1);
    announce(&mut peer, pattern.0, FIRST + 1, "a.x", 5, 5);
    let seeks = sought(&mut peer);
    let &[(number, to, request)] = &seeks[..] else { panic!("{seeks:?}") };
    assert_eq!((number, to), (FIRST + 1, Start::Offset(1)));
    assert_eq!(events(&mut peer, pattern), ["a.y Reconnected { from: 1, start: 1 }"]);
    // What was delivered before the Seek is not for the application.
    peer.deliver(SubscriptionId(FIRST + 1), 5, &[b"5"]);
    peer.done(request, 1);
    peer.deliver_rewound(SubscriptionId(FIRST + 1), 1, 1, &[b"1", b"2"]);
    answer(&mut peer, &sent, 2);
    assert_eq!(events(&mut peer, pattern), ["a.x Reconnected { from: 1, start: 1 }", "a.x/1", "a.x/2"]);
    peer.client.commit_quiet(peer.now, x, 2).unwrap();
    assert!(
        matches!(peer.sent_one(), Sent::Commit { subscription, offset: 2, .. } if subscription == FIRST + 1)
    );
    peer.client.check_invariants();
}

#[test]
fn r9_what_is_lost_meanwhile_is_reported() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().window(9));
    for (number, topic) in (FIRST..).zip(["a.x", "a.y", "a.z"]) {
        matched(&mut peer, pattern, number, topic);
        peer.deliver(SubscriptionId(number), 0, &[b"0"]);
    }
    events(&mut peer, pattern);
    let sent = reconnect(&mut peer, 1);
    for (number, topic) in (FIRST..).zip(["a.x", "a.y", "a.z"]) {
        announce(&mut peer, pattern.0, number, topic, 5, 5);
    }
    answer(&mut peer, &sent, 3);
    assert_eq!(sought(&mut peer).len(), 3);
    // The first one has nothing before 3, and a commit without its delivery is the client's own.
    peer.deliver_rewound(SubscriptionId(FIRST), 1, 3, &[b"3"]);
    peer.deliver_rewound(SubscriptionId(FIRST + 1), 1, 5, &[b"5"]);
    assert_eq!(
        events(&mut peer, pattern),
        ["a.x Reconnected { from: 0, start: 3 }", "a.y Reconnected { from: 0, start: 5 }", "a.x/3", "a.y/5"]
    );
}

#[test]
fn w2_topics_that_were_created_meanwhile_begin_at_their_first_message() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().start(Start::Latest).window(9));
    let sent = reconnect(&mut peer, 1);
    announce(&mut peer, pattern.0, FIRST, "a.empty", 0, 0);
    announce(&mut peer, pattern.0, FIRST + 1, "a.new", 3, 3);
    let seeks = sought(&mut peer);
    let &[(number, Start::Earliest, request)] = &seeks[..] else { panic!("{seeks:?}") };
    assert_eq!(number, FIRST + 1);
    peer.done(request, 1);
    answer(&mut peer, &sent, 2);
    peer.deliver_rewound(SubscriptionId(FIRST + 1), 1, 0, &[b"0"]);
    peer.deliver(SubscriptionId(FIRST), 0, &[b"0"]);
    announce(&mut peer, pattern.0, FIRST + 2, "a.newer", 0, 1);
    peer.deliver(SubscriptionId(FIRST + 2), 0, &[b"0"]);
    let mut all = events(&mut peer, pattern);
    all.sort();
    assert_eq!(all, ["a.empty to 0", "a.empty/0", "a.new to 3", "a.new/0", "a.newer to 1", "a.newer/0"]);
    assert!(peer.sent().is_empty());
}

#[test]
fn p5_at_another_instance_topics_begin_again_and_others_are_over() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().start(Start::Latest).window(9));
    let x = matched(&mut peer, pattern, FIRST, "a.x");
    matched(&mut peer, pattern, FIRST + 1, "a.gone");
    peer.deliver(SubscriptionId(FIRST), 0, &[b"0"]);
    events(&mut peer, pattern);
    let sent = reconnect(&mut peer, 2);
    assert_eq!(start_of(&sent), Start::Latest, "as the application asked");
    announce(&mut peer, pattern.0, FIRST, "a.x", 7, 7);
    announce(&mut peer, pattern.0, FIRST + 1, "a.other", 4, 4);
    answer(&mut peer, &sent, 2);
    assert!(peer.sent().is_empty(), "nothing is sought");
    let mut all = events(&mut peer, pattern);
    all.sort();
    assert_eq!(all, ["a.gone Ended(None)", "a.other to 4", "a.x Restarted { start: 7 }"]);
    let refused = peer.client.commit(peer.now, x, 0).map(|_| ());
    assert_eq!(refused, Ok(()), "below the new position");
    peer.client.check_invariants();
}

#[test]
fn w3_a_topic_that_was_left_stays_left() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().window(9));
    let x = matched(&mut peer, pattern, FIRST, "a.x");
    let y = matched(&mut peer, pattern, FIRST + 1, "a.y");
    peer.client.unsubscribe(peer.now, x).unwrap();
    let left = peer.sent_one();
    peer.disconnect();
    peer.client.unsubscribe(peer.now, y).unwrap();
    assert_eq!(events(&mut peer, pattern), ["a.x Ended(None)", "a.y Ended(None)"], "{left:?}");
    peer.connect(1);
    let sent = peer.sent_one();
    announce(&mut peer, pattern.0, FIRST, "a.y", 3, 3);
    let Sent::Unsubscribe { request, subscription: FIRST } = peer.sent_one() else { panic!() };
    peer.deliver(SubscriptionId(FIRST), 3, &[b"3"]);
    peer.send(&ServerFrame::Unsubscribed(Unsubscribed {
        request,
        subscription: FIRST,
        last_offset: Some(3),
    }));
    answer(&mut peer, &sent, 0);
    assert_eq!(events(&mut peer, pattern), Vec::<String>::new());
    peer.client.check_invariants();
}

#[test]
fn p4_what_the_application_does_without_a_connection_counts() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new().window(9));
    let topics = ["a.commit", "a.nack", "a.seek"];
    let subs: Vec<_> =
        (FIRST..).zip(topics).map(|(number, topic)| matched(&mut peer, pattern, number, topic)).collect();
    for number in FIRST..FIRST + 3 {
        peer.deliver(SubscriptionId(number), 0, &[b"0", b"1"]);
    }
    events(&mut peer, pattern);
    peer.disconnect();
    let commit = peer.client.commit(peer.now, subs[0], 1).unwrap();
    assert_eq!(peer.answer_to(commit), Ok(Answer::Committed { cursor: 2 }));
    peer.client.nack(peer.now, subs[1], 0, core::time::Duration::ZERO).unwrap();
    peer.client.seek(peer.now, subs[2], Start::Offset(9)).unwrap();
    peer.connect(1);
    let sent = peer.sent_one();
    for (number, topic) in (FIRST..).zip(topics) {
        announce(&mut peer, pattern.0, number, topic, 2, 2);
    }
    answer(&mut peer, &sent, 3);
    let seeks: Vec<_> = sought(&mut peer).into_iter().map(|(number, to, _)| (number, to)).collect();
    assert_eq!(seeks, [(FIRST + 1, Start::Offset(0)), (FIRST + 2, Start::Offset(9))]);
    peer.deliver_rewound(SubscriptionId(FIRST + 2), 1, 9, &[b"9"]);
    assert_eq!(
        events(&mut peer, pattern),
        [
            "a.commit Reconnected { from: 2, start: 2 }",
            "a.seek Reconnected { from: 9, start: 9 }",
            "a.seek/9"
        ]
    );
}

#[test]
fn w2_a_request_that_was_not_answered_is_sent_again() {
    let mut peer = open();
    let options = PatternOptions::new().start(Start::Offset(5)).window(9);
    let (id, pattern) = peer.client.subscribe_pattern(peer.now, "a.*", options).unwrap();
    peer.sent_one();
    announce(&mut peer, pattern.0, FIRST, "a.x", 5, 6);
    peer.deliver(SubscriptionId(FIRST), 5, &[b"5"]);
    let sent = reconnect(&mut peer, 1);
    assert_eq!(start_of(&sent), Start::Offset(5));
    announce(&mut peer, pattern.0, FIRST, "a.x", 5, 6);
    announce(&mut peer, pattern.0, FIRST + 1, "a.y", 5, 6);
    answer(&mut peer, &sent, 2);
    assert!(peer.sent().is_empty());
    assert!(matches!(peer.answer_to(id), Ok(Answer::PatternSubscribed(_))));
    assert_eq!(events(&mut peer, pattern), ["a.x to 6", "a.y to 6", "a.x Reconnected { from: 5, start: 5 }"]);
}

#[test]
fn w6_a_refusal_after_a_reconnect_ends_the_pattern_or_is_tried_again() {
    let mut peer = open();
    let pattern = subscribed(&mut peer, PatternOptions::new());
    let x = matched(&mut peer, pattern, FIRST, "a.x");
    let sent = reconnect(&mut peer, 1);
    peer.refuse(sent.request(), RefusalCode::Busy, 0);
    peer.advance(core::time::Duration::from_secs(5));
    let sent = peer.sent();
    let [Sent::SubscribePattern { request, .. }] = sent[..] else { panic!("{sent:?}") };
    peer.refuse(request, RefusalCode::InvalidPattern, 0);
    assert_eq!(events(&mut peer, pattern), ["refused InvalidPattern"]);
    assert_eq!(peer.client.commit(peer.now, x, 0), Err(RequestError::NoSubscription(x)));
    peer.client.check_invariants();
}

/// Rules X1, P4: the numbers of topics mean others on the next connection, so a batch that names them is not resent.
#[test]
fn x1_a_batch_that_commits_in_a_matched_topic_is_settled_before_the_pattern_resumes() {
    for was_applied in [false, true] {
        let mut peer = offering(config());
        peer.connect(1);
        let pattern = subscribed(&mut peer, PatternOptions::new().window(9));
        let x = matched(&mut peer, pattern, FIRST + 4, "a.x");
        peer.deliver(SubscriptionId(FIRST + 4), 0, &[b"0"]);
        events(&mut peer, pattern);
        let mut batch = Batch::new();
        batch.publish("out", &[Record { body: b"done", ..Record::default() }]).commit(x, 0);
        let id = peer.client.send_batch(peer.now, &batch, PublishOptions::new()).unwrap();
        let Sent::Batch { operations, .. } = peer.sent_one() else { panic!("no batch") };
        assert_eq!(operations[1], Op::Commit { subscription: FIRST + 4, offset: 0 });
        peer.disconnect();
        peer.connect(1);
        let Sent::Batch { request, operations, .. } = peer.sent_one() else { panic!("no batch") };
        assert_eq!(operations, [], "an empty batch asks what became of it");
        peer.repeats = was_applied;
        peer.batched(request, if was_applied { &[(0, 3)] } else { &[] }, &[]);
        let answer_of_batch = peer.answer_to(id);
        assert_eq!(answer_of_batch.is_ok(), was_applied, "{answer_of_batch:?}");
        let sent = peer.sent_one();
        announce(&mut peer, pattern.0, FIRST + 4, "a.x", 1, 1);
        answer(&mut peer, &sent, 1);
        let seeks = sought(&mut peer);
        if was_applied {
            assert_eq!(seeks, []);
        } else {
            assert!(matches!(answer_of_batch, Err(RequestError::NotApplied { .. })));
            assert!(matches!(seeks[..], [(_, Start::Offset(0), _)]), "{seeks:?}");
        }
        peer.client.check_invariants();
    }
}
