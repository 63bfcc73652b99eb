//! The trie against matching each pattern alone.

use std::collections::BTreeMap;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zaichik_proto::{TopicName, TopicPattern};

use super::*;

fn pattern(text: &str) -> TopicPattern<'_> {
    TopicPattern::parse(text.as_bytes()).expect("a valid pattern")
}

/// The values of all patterns that match a name, and the steps that it took.
fn matches(trie: &mut Trie<u64>, name: &str) -> (Vec<u64>, usize) {
    let mut walk = trie.begin();
    let steps: Vec<_> = core::iter::from_fn(|| trie.step(&mut walk, name)).collect();
    let value = |step: &Found<u64>| if let Found::Match(value) = step { Some(*value) } else { None };
    let mut found: Vec<_> = steps.iter().filter_map(value).collect();
    found.sort_unstable();
    (found, steps.len())
}

/// Rule W6.
#[test]
fn w6_a_walk_visits_only_patterns_that_can_match() {
    let mut trie = Trie::new();
    for serial in 0..10_000 {
        trie.insert(pattern(&format!("region.{serial}.orders.*")), serial, serial);
    }
    for serial in 10_000..10_005 {
        trie.insert(pattern("region.7.>"), serial, serial);
        trie.insert(pattern("*.7.*.new"), serial + 10, serial + 10);
    }
    let (found, steps) = matches(&mut trie, "region.7.orders.new");
    let expected = [7].into_iter().chain(10_000..10_005).chain(10_010..10_015);
    assert!(found.into_iter().eq(expected));
    assert!(steps < 30, "{steps} steps with 10,010 patterns");
    assert_eq!(matches(&mut trie, "other.7.orders.new").0.len(), 5);
}

#[test]
fn w6_patterns_may_come_and_go_during_a_walk() {
    let mut trie = Trie::new();
    for (serial, text) in (0..).zip(["a.b", "a.*", "*.b", "a.>", ">"]) {
        trie.insert(pattern(text), serial, serial);
    }
    let (mut walk, mut found) = (trie.begin(), Vec::new());
    assert_eq!(trie.step(&mut walk, "a.b"), Some(Found::Node), "the root");
    for (serial, text) in (0..).zip(["a.b", "a.*"]) {
        trie.remove(pattern(text), serial);
    }
    trie.insert(pattern("c.d"), 9, 9);
    while let Some(step) = trie.step(&mut walk, "a.b") {
        found.extend(Some(step).filter(|step| *step != Found::Node));
    }
    found.sort_by_key(|found| if let Found::Match(serial) = found { *serial } else { 0 });
    assert_eq!(found, [2, 3, 4].map(Found::Match), "neither those that are gone nor any twice");
    for (serial, text) in [(2, "*.b"), (3, "a.>"), (4, ">"), (9, "c.d")] {
        trie.remove(pattern(text), serial);
    }
    assert_eq!(trie.nodes.len(), 1, "only the root is left");
}

#[derive(Debug, Clone)]
enum Action {
    Insert(String),
    Remove(usize),
    Find(String),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let of = |segments: &[&'static str]| vec_of(prop::sample::select(segments.to_vec()), 1..5);
    let text = (of(&["a", "b", "cc", "*"]), any::<bool>()).prop_map(|(mut segments, has_rest)| {
        segments.extend(Some(">").filter(|_| has_rest));
        segments.join(".")
    });
    let name = of(&["a", "b", "cc", "d", ""]).prop_map(|segments| segments.join("."));
    let action = prop_oneof![
        4 => text.prop_map(Action::Insert),
        2 => (0..40usize).prop_map(Action::Remove),
        3 => name.prop_map(Action::Find),
    ];
    vec_of(action, 0..80)
}

proptest! {
    #[test]
    fn w1_the_trie_agrees_with_each_pattern_alone(actions in actions()) {
        let (mut trie, mut all) = (Trie::new(), BTreeMap::<u64, String>::new());
        for (serial, action) in (0..).zip(actions) {
            match action {
                Action::Insert(text) => {
                    trie.insert(pattern(&text), serial, serial);
                    all.insert(serial, text);
                }
                Action::Remove(which) => {
                    if let Some(serial) = all.keys().nth(which).copied() {
                        trie.remove(pattern(&all[&serial]), serial);
                        all.remove(&serial);
                    }
                }
                Action::Find(name) => {
                    let Ok(topic) = TopicName::parse(name.as_bytes()) else { continue };
                    let naive = all.iter().filter(|(_, text)| pattern(text).matches(topic));
                    let naive: Vec<_> = naive.map(|(serial, _)| *serial).collect();
                    prop_assert_eq!(matches(&mut trie, &name).0, naive, "{}", name);
                }
            }
        }
        for (serial, text) in &all {
            trie.remove(pattern(text), *serial);
        }
        prop_assert!(trie.nodes.len() <= 1, "every node is freed");
    }
}
