//! One case per chapter of the rules, through the client.
//!
//! The engine's tests prove every row in simulated time. These cases show that a chapter works in each form: that the
//! client's calls reach the broker, and that answers, messages and refusals come back. The broker's clock is real:
//! records that must stay live have an hour, and records that must expire are polled until they have.

use std::time::Duration;

use futures::SinkExt;
use futures::future::join_all;
use zaichik_driver::{
    ClientError, CompactionMode, Counter, DurableOptions, ErrorClass, OnConflict, Outgoing, ProducerIdentity,
    RefusalCode, RequestError, Start, TopicOptions, TopicStatus,
};

use crate::broker::{Broker, ClientOf, HOUR, SOON, next, next_message, put, refused, settled, spawn};
use crate::form::Form;

pub(crate) async fn o_01_interleaved_publishers_are_seen_in_one_order<F: Form>() {
    let broker = Broker::<F>::start().await;
    let readers = [broker.client().await, broker.client().await];
    let mut seen = Vec::new();
    for reader in &readers {
        let mut subscription = reader.subscribe("order").window(0).await.expect("subscribed");
        seen.push(spawn::<F::Runtime, _>(async move {
            let (mut bodies, mut latest) = (Vec::new(), None);
            while bodies.len() < 400 {
                let message = next_message(&mut subscription).await;
                assert_eq!(message.offset, bodies.len() as u64);
                assert!(latest <= Some(message.timestamp), "timestamps never decrease (rule O5)");
                latest = Some(message.timestamp);
                bodies.push(message.into_message().body);
            }
            bodies
        }));
    }
    let mut publishing = Vec::new();
    for name in ["a", "b"] {
        let client = broker.client().await;
        publishing.push(spawn::<F::Runtime, _>(async move {
            let mut publisher = client.publisher("order").max_in_flight(4);
            for number in 0..200 {
                publisher.feed(Outgoing::new(format!("{name}{number}"))).await.expect("room");
                if number % 7 == 0 {
                    publisher.flush().await.expect("accepted");
                }
            }
            publisher.close().await.expect("accepted");
            client.close().await.expect("closed");
        }));
    }
    join_all(publishing).await;
    let orders = join_all(seen).await;
    assert_eq!(orders[0], orders[1]);
    for name in ["a", "b"] {
        let own: Vec<_> = orders[0].iter().filter(|body| body.starts_with(name.as_bytes())).collect();
        let sent: Vec<_> = (0..200).map(|number| format!("{name}{number}")).collect();
        assert_eq!(own, sent.iter().collect::<Vec<_>>(), "one connection's messages stay in order (rule O3)");
    }
    broker.stop().await;
}

pub(crate) async fn t_04_a_topic_is_created_adopted_altered_or_refused<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let options = TopicOptions::new().retention_ttl(HOUR).max_messages(5);
    assert_eq!(refused(client.alter_topic("t", options).await), "UnknownTopic");
    assert_eq!(put(&client, "t", "a").await, "@0 new");
    for status in [TopicStatus::Adopted, TopicStatus::Unchanged] {
        assert_eq!(client.create_topic("t", options).await.expect("answered"), status);
    }
    // Bit 0 is retention_ttl, bit 3 is max_messages.
    assert_eq!(refused(client.create_topic("t", TopicOptions::new()).await), "SettingsDiffer 9");
    client.alter_topic("t", TopicOptions::new().max_messages(6)).await.expect("altered");
    assert_eq!(refused(client.create_topic("t", options).await), "SettingsDiffer 8");
    assert_eq!(put(&client, "t", "b").await, "@1");
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    assert_eq!(settled(&client, &mut subscription).await, ["1=b"], "the first record was live-only");
    let longest = "n".repeat(255);
    assert_eq!(client.create_topic(&longest, options).await.expect("answered"), TopicStatus::Created);
    // The client refuses an invalid name without asking the broker.
    for name in ["", "$sys", "a\tb", &"n".repeat(256)] {
        let invalid = client.publish(name, "a").await;
        assert!(matches!(invalid, Err(ClientError::Request(RequestError::InvalidTopic(_)))), "{invalid:?}");
    }
    broker.stop().await;
}

pub(crate) async fn r_04_records_that_expire_before_their_turn_are_one_gap<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let forever = TopicOptions::new().retain_forever();
    client.create_topic("t", forever).await.expect("created");
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    put(&client, "t", "0").await;
    assert_eq!(next(&mut subscription).await, "0=0");
    for body in ["1", "2"] {
        put(&client, "t", Outgoing::new(body).ttl(SOON)).await;
    }
    newcomer_starts_at(&broker, Start::Offset(1), 3).await;
    put(&client, "t", "3").await;
    subscription.commit().await.expect("committed");
    assert_eq!(next(&mut subscription).await, "1..3 expired");
    assert_eq!(next(&mut subscription).await, "3=3");
    // A lowered time to live applies at once, and a raised one resurrects nothing.
    client.alter_topic("t", TopicOptions::new().retention_ttl(SOON)).await.expect("altered");
    newcomer_starts_at(&broker, Start::Earliest, 4).await;
    client.alter_topic("t", forever).await.expect("altered");
    newcomer_starts_at(&broker, Start::Earliest, 4).await;
    broker.stop().await;
}

pub(crate) async fn r_18_a_trim_is_a_gap_for_readers_behind_it_and_a_start_for_others<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (reader, writer) = (broker.client().await, broker.client().await);
    assert_eq!(refused(writer.trim_topic("t", Start::Latest).await), "UnknownTopic");
    writer.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    let mut subscription = reader.subscribe("t").await.expect("subscribed");
    for body in ["0", "1", "2", "3", "4"] {
        put(&writer, "t", body).await;
    }
    assert_eq!(next(&mut subscription).await, "0=0");
    let trimmed = writer.trim_topic("t", Start::Offset(3)).await.expect("answered");
    assert_eq!((trimmed.start, trimmed.removed), (3, 3));
    subscription.commit().await.expect("committed");
    assert_eq!(next(&mut subscription).await, "1..3 limit");
    assert_eq!(next(&mut subscription).await, "3=3");
    newcomer_starts_at(&broker, Start::Earliest, 3).await;
    let trimmed = writer.trim_topic("t", Start::Time(u64::MAX)).await.expect("answered");
    assert_eq!((trimmed.start, trimmed.removed), (5, 2));
    assert_eq!(put(&writer, "t", "5").await, "@5");
    newcomer_starts_at(&broker, Start::Earliest, 5).await;
    broker.stop().await;
}

/// Waits until a new subscription to `t` that requests `start` starts at `offset`.
pub(crate) async fn newcomer_starts_at<F: Form>(broker: &Broker<F>, start: Start, offset: u64) {
    let client = broker.client().await;
    loop {
        let subscription = client.subscribe("t").from(start).await.expect("subscribed");
        assert!(subscription.start() <= offset, "{} is too far", subscription.start());
        if subscription.start() == offset {
            return;
        }
        subscription.unsubscribe().await.expect("ended");
    }
}

pub(crate) async fn c_02_a_key_is_remembered_for_its_window_or_superseded<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let keyed = |key: &'static str, body: &'static str| Outgoing::new(body).key(key);
    let first = TopicOptions::new().retain_forever().compaction_window(HOUR);
    client.create_topic("t", first).await.expect("created");
    assert_eq!(put(&client, "t", keyed("k", "1")).await, "@0");
    assert_eq!(put(&client, "t", keyed("k", "2")).await, "=@0");
    let messages = [keyed("l", "3"), keyed("k", "4"), "5".into(), keyed("l", "6")];
    let receipt = client.publish_all("t", messages).await.expect("accepted");
    let offsets: Vec<_> =
        (0..4).map(|record| (receipt.offset(record), receipt.is_duplicate(record))).collect();
    assert_eq!(offsets, [(Some(1), false), (Some(0), true), (Some(2), false), (Some(1), true)]);
    // The window is anchored at the accepted record: if duplicates extended it, this loop would not end.
    client.alter_topic("t", TopicOptions::new().compaction_window(SOON)).await.expect("altered");
    let mut answer = put(&client, "t", keyed("k", "7")).await;
    while answer == "=@0" {
        answer = put(&client, "t", keyed("k", "7")).await;
    }
    assert_eq!(answer, "@3");

    let latest = TopicOptions::new().retain_forever().compaction(CompactionMode::Latest);
    client.create_topic("u", latest).await.expect("created");
    for message in [keyed("k", "1"), keyed("l", "2"), keyed("l", "3"), Outgoing::tombstone("k")] {
        put(&client, "u", message).await;
    }
    let mut subscription = client.subscribe("u").window(0).await.expect("subscribed");
    assert_eq!(next(&mut subscription).await, "2=3", "no gap for superseded records");
    let tombstone = next_message(&mut subscription).await;
    assert!(tombstone.tombstone && tombstone.key.as_deref() == Some(b"k"), "{tombstone:?}");
    broker.stop().await;
}

pub(crate) async fn a_13_a_message_is_nacked_committed_or_becomes_a_dead_letter<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    let full = Outgoing::new("a").key("k").header("trace", &[1, 2][..]).header("trace", "again");
    client.publish_all("t", [full, "b".into(), Outgoing::new("c").key("")]).await.expect("accepted");
    let subscribe = client.subscribe("t").window(2).dead_letter(2, "dead");
    let mut subscription = subscribe.await.expect("subscribed");
    let message = next_message(&mut subscription).await;
    assert_eq!((&*message.topic, message.offset, message.attempt), ("t", 0, 1));
    assert_eq!((&message.body[..], message.key.as_deref()), (&b"a"[..], Some(&b"k"[..])));
    let headers: Vec<_> = message.headers.iter().collect();
    assert_eq!(headers, [("trace", &[1_u8, 2][..]), ("trace", b"again")]);
    assert_eq!(settled(&client, &mut subscription).await, ["1=b"], "the window is full");
    assert_eq!(refused(subscription.commit_to(2).await), "CommitAhead 2");

    // The delay ends without further requests, and nothing overtakes the message.
    message.nack(SOON).await.expect("it was delivered");
    for expected in ["0=a #2", "1=b #2"] {
        assert_eq!(next(&mut subscription).await, expected);
    }
    // The second failure exceeds the maximum: the message is copied, and the cursor passes it.
    message.nack(Duration::ZERO).await.expect("it was delivered");
    for expected in ["1=b #3", "2=c"] {
        assert_eq!(next(&mut subscription).await, expected);
    }
    subscription.commit().await.expect("committed");
    assert!(settled(&client, &mut subscription).await.is_empty());
    let mut dead = client.subscribe("dead").await.expect("subscribed");
    let copy = next_message(&mut dead).await;
    assert_eq!((&copy.body[..], copy.key.as_deref()), (&b"a"[..], Some(&b"k"[..])));
    assert!(copy.headers.iter().any(|header| header == ("zaichik-reason", b"nack")), "{copy:?}");
    broker.stop().await;
}

pub(crate) async fn d_03_a_durable_subscription_is_kept_taken_over_and_moved<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (first, second) = (broker.client().await, broker.client().await);
    first.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for body in ["a", "b", "c"] {
        put(&first, "t", body).await;
    }
    let mut old = first.subscribe("t").durable("d").window(3).await.expect("subscribed");
    assert_eq!(settled(&first, &mut old).await, ["0=a", "1=b", "2=c"]);
    old.commit_to(0).await.expect("committed");
    let polite = DurableOptions::new("d").on_conflict(OnConflict::Reject);
    assert_eq!(refused(second.subscribe("t").durable(polite).await), "SubscriptionHeld");

    let mut subscription = second.subscribe("t").durable("d").window(3).await.expect("taken over");
    assert_eq!((subscription.start(), subscription.end()), (1, 3));
    assert_eq!(settled(&second, &mut subscription).await, ["1=b #2", "2=c #2"]);
    let fenced = old.next_message().await;
    assert!(matches!(fenced, Err(ClientError::Fenced { .. })), "{fenced:?}");
    assert_eq!(next(&mut old).await, "ended");

    // Any client may move it by name, whether or not a connection holds it.
    first.seek("t", "d", Start::Offset(2)).await.expect("moved");
    assert_eq!(settled(&second, &mut subscription).await, ["2=c #3"]);
    subscription.seek(Start::Earliest).await.expect("moved");
    assert_eq!(settled(&second, &mut subscription).await.len(), 3);
    assert_eq!(subscription.unsubscribe().await.expect("detached"), Some(2));
    first.seek("t", "d", Start::Latest).await.expect("moved");
    let subscription = second.subscribe("t").durable("d").await.expect("subscribed");
    assert_eq!(subscription.start(), 3);
    assert_eq!(refused(first.seek("t", "e", Start::Latest).await), "NotSubscribed");
    broker.stop().await;
}

pub(crate) async fn p_07_a_higher_epoch_fences_the_lower_one<F: Form>() {
    let broker = Broker::<F>::start().await;
    let owner = async |epoch| {
        let identity = ProducerIdentity::new(99).epoch(epoch);
        broker.client_builder().producer(Some(identity)).connect().await.expect("the broker listens")
    };
    let (first, second): (ClientOf<F>, ClientOf<F>) = (owner(1).await, owner(2).await);
    let mut subscription = second.subscribe("t").window(9).await.expect("subscribed");
    assert_eq!(refused(first.publish("t", "never").durable().await), "NotDurable");
    assert_eq!(put(&first, "t", "a").await, "@0");
    assert_eq!(put(&second, "t", "b").await, "@1");
    let fenced = first.publish("t", "never").await;
    assert_eq!(fenced.map_err(|error| error.class()), Err(ErrorClass::Fatal));
    second.publish("t", "c").no_ack().await.expect("queued");
    assert_eq!(put(&second, "t", "d").await, "@3");
    assert_eq!(settled(&second, &mut subscription).await, ["0=a", "1=b", "2=c", "3=d"]);
    broker.stop().await;
}

pub(crate) async fn x_01_a_transaction_has_all_of_its_effects_or_none<F: Form>() {
    let broker = Broker::<F>::with(|config| config.max_topics = 4).await;
    let client = broker.client().await;
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    client.create_topic("small", TopicOptions::new().max_messages(1)).await.expect("created");
    put(&client, "t", "0").await;
    put(&client, "t", "1").await;
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    let message = next_message(&mut subscription).await;

    let transaction = client.transaction().publish("t", "x").publish("new", "x").commit(&message);
    let transaction = transaction.publish_all("small", ["y", "z"]);
    match transaction.send().await {
        Err(ClientError::Request(RequestError::Refused { topic, refusal })) => {
            assert_eq!((&*topic, refusal.code, refusal.operation), ("small", RefusalCode::TooLarge, 3));
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert!(settled(&client, &mut subscription).await.is_empty(), "nothing was committed");

    let transaction = client.transaction().publish("t", "a").publish_all("u", ["b", "c"]);
    let transaction = transaction.commit(&message).publish("t", "d");
    assert!(settled(&client, &mut subscription).await.is_empty(), "nothing is sent before send");
    let receipt = transaction.send().await.expect("applied");
    let offsets: Vec<_> = receipt.publishes.iter().map(|one| (one.offset(0), one.created)).collect();
    assert_eq!(offsets, [(Some(2), false), (Some(0), true), (Some(3), false)]);
    assert_eq!(settled(&client, &mut subscription).await, ["1=1"], "the commit made room");
    assert_eq!(put(&client, "new", "x").await, "@0 new", "the refused transaction did not create it");

    // A client can't commit what another client's subscription delivered.
    let other = broker.client().await;
    let foreign = other.transaction().publish("t", "e").commit(&message).send().await;
    assert!(matches!(foreign, Err(ClientError::Request(RequestError::NoSubscription(_)))), "{foreign:?}");
    assert_eq!(put(&other, "t", "f").await, "@4");
    broker.stop().await;
}

pub(crate) async fn s11_a_client_sees_topics_subscriptions_and_counters<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (tool, reader) = (broker.client().await, broker.client().await);
    let options = TopicOptions::new().retention_ttl(HOUR);
    reader.create_topic("t", options).await.expect("created");
    put(&reader, "t", "a").await;
    let mut subscription = reader.subscribe("t").durable("d").await.expect("subscribed");
    let message = next_message(&mut subscription).await;
    message.commit().await.expect("committed");

    let topic = tool.topic("t").await.expect("described");
    assert_eq!((topic.start, topic.end, topic.messages, topic.subscriptions), (0, 1, 1, 1));
    assert_eq!(topic.settings.retention_ttl_micros, options.retention_ttl_micros);
    assert_eq!(tool.topics().await.expect("described"), [topic]);
    let held = tool.subscription("t", "d").await.expect("described");
    assert_eq!((held.attached, held.epoch, held.cursor, held.lag()), (true, 1, 1, 0));
    assert_eq!(tool.subscriptions(Some("t")).await.expect("described"), [held]);
    let info = tool.broker_info().await.expect("described");
    assert_eq!(info.counter(Counter::RecordsIn), Some(1));
    assert_eq!(info.counter(Counter::Connections), Some(2));
    assert_eq!(Some(info.instance), tool.instance());

    assert_eq!(refused(tool.topic("u").await), "UnknownTopic");
    assert_eq!(refused(tool.remove_subscription("t", "d").await), "SubscriptionHeld");
    subscription.unsubscribe().await.expect("left");
    tool.remove_subscription("t", "d").await.expect("removed");
    assert_eq!(tool.subscriptions(None).await.expect("described"), []);

    // More topics than one page has.
    let names: Vec<String> = (0..700).map(|number| format!("topic {number}")).collect();
    for name in &names {
        reader.publish(name, "x").no_ack().await.expect("queued");
    }
    put(&reader, "last", "x").await;
    let listed = tool.topics().await.expect("described");
    let expected = ["t"].into_iter().chain(names.iter().map(String::as_str)).chain(["last"]);
    assert!(listed.iter().map(|topic| &topic.name[..]).eq(expected));
    broker.stop().await;
}
