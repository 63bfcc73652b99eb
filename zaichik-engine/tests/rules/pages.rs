//! Lists that need several pages: docs/protocol.md §6.15, rule S11.

use zaichik_client::{Answer, DurableOptions, SubscribeOptions};
use zaichik_proto::{Subject, TopicOptions};

use crate::world::{Peer, Sub, World};

/// Bytes of the longest page: its last item may exceed 32 KiB.
const LONGEST: usize = (32 << 10) + 512;

/// The items of each page of a list, as the first words of their text, and the longest frame. `subject` is the list from
/// a place on.
fn pages<'a>(
    world: &mut World,
    peer: &Peer,
    subject: impl Fn(u32) -> Subject<'a>,
) -> (Vec<Vec<String>>, usize) {
    let (mut pages, mut from, mut longest) = (Vec::new(), Some(0), 0);
    while let Some(place) = from {
        peer.frames();
        let told = world.ask(peer, peer.describe(subject(place)));
        longest = peer.frames().into_iter().map(|(_, len)| len).max().unwrap_or_default().max(longest);
        let words: Vec<_> = told.split(' ').collect();
        from = match words.as_slice() {
            [_, "next", place, ..] => place.parse().ok(),
            _ => None,
        };
        assert!(from.is_none_or(|next| next > place), "{told}");
        let is_name = |word: &&&str| word.starts_with("item-");
        pages.push(words.iter().filter(is_name).map(|word| (*word).to_owned()).collect());
    }
    (pages, longest)
}

/// `item-0007` and 50 bytes more.
fn name(number: usize) -> String {
    format!("item-{number:04}{}", "-long".repeat(10))
}

#[test]
fn s11_topics_are_listed_in_creation_order_on_bounded_pages() {
    let mut world = World::new();
    let peer = world.connect();
    let expected: Vec<_> = (0..1_000).map(name).collect();
    for topic in &expected {
        world.ask(&peer, peer.create(topic, TopicOptions::new()));
    }
    let (pages, longest) = pages(&mut world, &peer, |from| Subject::Topics { from });
    assert!(pages.len() > 2 && longest <= LONGEST, "{} pages, {longest} bytes", pages.len());
    assert_eq!(pages.concat(), expected);
}

#[test]
fn s11_each_subscription_is_on_one_page() {
    const SUBSCRIPTIONS: usize = 1_000;
    const TOPICS: [&str; 2] = ["item-a", "item-b"];
    let mut world = World::new();
    let peer = world.connect();
    // In the table neighbours are of one topic, or of two, and some places are empty.
    let topic = |number: usize| TOPICS[number / 8 % 2];
    let is_removed = |number: usize| number % 11 == 10;
    for number in 0..SUBSCRIPTIONS {
        let id = u32::try_from(number).unwrap();
        world.ask(&peer, peer.subscribe_to(Sub::new(id, topic(number)).durable(&name(number))));
    }
    let reader = world.connect();
    for number in (0..SUBSCRIPTIONS).filter(|number| is_removed(*number)) {
        world.ask(&peer, peer.unsubscribe(u32::try_from(number).unwrap()));
        assert_eq!(world.ask(&reader, reader.remove_durable(topic(number), &name(number))), "done 0");
    }
    for wanted in ["", TOPICS[0], TOPICS[1]] {
        let subject = |from| Subject::Subscriptions { from, topic: wanted.as_bytes() };
        let (pages, longest) = pages(&mut world, &reader, subject);
        assert!(pages.len() > 1 && longest <= LONGEST, "{} pages, {longest} bytes", pages.len());
        let mut names = pages.concat();
        names.sort_unstable();
        let left = (0..SUBSCRIPTIONS).filter(|number| !is_removed(*number));
        let listed = left.filter(|number| wanted.is_empty() || topic(*number) == wanted);
        let mut expected: Vec<_> =
            listed.map(|number| format!("{}/{}", topic(number), name(number))).collect();
        expected.sort_unstable();
        assert_eq!(names, expected, "{wanted:?}");
    }
}

/// A page of one topic's subscriptions also ends when 1,024 places were examined: most of these are of another topic.
#[test]
fn s11_a_page_may_be_empty_although_others_follow() {
    let mut world = World::new();
    let peer = world.connect();
    for number in 0..2_500 {
        peer.subscribe_to(Sub::new(number, "crowd").durable(&number.to_string()));
        world.settle();
    }
    world.ask(&peer, peer.subscribe_to(Sub::new(2_500, "item-last").durable("d")));
    let (pages, _) = pages(&mut world, &peer, |from| Subject::Subscriptions { from, topic: b"item-last" });
    let none = Vec::<String>::new();
    assert_eq!(pages, [none.clone(), none, vec!["item-last/d".to_owned()]]);
}

/// A page from beyond the last place is empty and the last one (rule S11).
#[test]
fn s11_a_page_from_beyond_the_end_is_empty_and_the_last() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    world.ask(&peer, peer.subscribe(1, "t"));
    for from in [1_000, u32::MAX] {
        assert_eq!(world.ask(&peer, peer.describe(Subject::Topics { from })), "topics");
        let subject = Subject::Subscriptions { from, topic: b"" };
        assert_eq!(world.ask(&peer, peer.describe(subject)), "subscriptions");
    }
}

#[test]
fn an_exchange_produces_few_pages_for_any_number_of_requests() {
    let mut world = World::new();
    let peer = world.connect();
    for number in 0..600 {
        peer.create(&format!("topic-{number}"), TopicOptions::new());
    }
    world.settle();
    peer.frames();
    for _ in 0..50 {
        peer.describe(Subject::Topics { from: 0 });
    }
    let (mut most, mut all) = (0, 0);
    while all < 50 {
        assert!(world.step(), "work continues");
        let answers = peer.frames().len();
        (most, all) = (most.max(answers), all + answers);
    }
    assert!(most <= 8, "{most} pages in one exchange");
    assert_eq!(all, 50);
}

#[test]
fn s11_a_client_asks_for_the_page_that_follows() {
    const ITEMS: usize = 600;
    let mut world = World::new();
    let client = world.client();
    let expected: Vec<_> = (0..ITEMS).map(name).collect();
    for topic in &expected {
        let options = DurableOptions::new(topic.as_str());
        let subscribing = SubscribeOptions::new().durable(options);
        world.done(client, |client, now| Ok(client.subscribe(now, topic, subscribing)?.0)).unwrap();
    }
    let (mut topics, mut subscriptions) = (Vec::new(), Vec::new());
    let (mut from, mut count) = (Some(0), 0);
    while let Some(place) = from {
        let page = world.done(client, |client, now| client.describe_topics(now, place));
        let Ok(Answer::Topics { topics: items, next }) = page else { panic!("no topics") };
        topics.extend(items.iter().map(|item| item.name.clone()));
        (from, count) = (next, count + 1);
    }
    assert!(count > 1 && topics == expected, "{count} pages with {} topics", topics.len());
    (from, count) = (Some(0), 0);
    while let Some(place) = from {
        let page = world.done(client, |client, now| client.describe_subscriptions(now, None, place));
        let Ok(Answer::Subscriptions { subscriptions: items, next }) = page else {
            panic!("no subscriptions")
        };
        subscriptions.extend(items.iter().map(|item| item.name.clone()));
        (from, count) = (next, count + 1);
    }
    subscriptions.sort_unstable();
    assert!(
        count > 1 && subscriptions == expected,
        "{count} pages with {} subscriptions",
        subscriptions.len()
    );
}
