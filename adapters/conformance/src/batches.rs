//! X: transactions.

use futures::future::join_all;
use zaichik_driver::{ClientError, Outgoing, Overflow, RequestError, TopicOptions};
use zaichik_proto::{AckLevel, Producer};
use zaichik_testkit::{Sub, done, keyed, put as publishing, put_all, record};

use crate::broker::{Broker, HOUR, next, put, refused, settled, spawn};
use crate::form::Form;

pub(crate) async fn x1_publishes_and_commits_happen_in_one_step<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    put(&client, "t", "0").await;
    put(&client, "t", "1").await;
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    let message = subscription.next_message().await.expect("no gap").expect("a message");
    let transaction = client.transaction().publish("t", "a").publish_all("u", ["b", "c"]);
    let transaction = transaction.commit(&message).publish("t", "d");
    assert!(settled(&client, &mut subscription).await.is_empty(), "nothing is sent before send");
    let receipt = transaction.send().await.expect("applied");
    let offsets: Vec<_> = receipt.publishes.iter().map(|one| (one.offset(0), one.created)).collect();
    assert_eq!(offsets, [(Some(2), false), (Some(0), true), (Some(3), false)]);
    assert_eq!(settled(&client, &mut subscription).await, ["1=1"], "the commit made room");
    // What another client's subscription delivered is not this one's to commit.
    let other = broker.client().await;
    let foreign = other.transaction().publish("t", "e").commit(&message).send().await;
    assert!(matches!(foreign, Err(ClientError::Request(RequestError::NoSubscription(_)))), "{foreign:?}");
    assert_eq!(put(&other, "t", "f").await, "@4");
    broker.stop().await;
}

pub(crate) async fn x_01_an_operation_that_is_too_large_undoes_all<F: Form>() {
    let broker = Broker::<F>::with(|config| config.wire.max_message = 1_000).await;
    let client = broker.client().await;
    for topic in ["t", "u", "v"] {
        client
            .create_topic(topic, TopicOptions::new().retain_forever().max_bytes(900))
            .await
            .expect("created");
    }
    let mut readers = Vec::new();
    for topic in ["t", "u", "v"] {
        readers.push(client.subscribe(topic).window(9).await.expect("subscribed"));
    }
    // Above the topic's limit, which only the broker knows; then above the broker's, which the client knows as well.
    for (size, named) in [(950, "TooLarge 900 at 3"), (1_001, "")] {
        let transaction = client.transaction().publish("t", "a").publish("u", "b").publish("v", "c");
        let transaction = transaction.publish("t", vec![b'x'; size]);
        match transaction.send().await {
            Err(ClientError::Request(RequestError::Refused { topic, refusal })) => {
                assert_eq!(&*topic, "t");
                let told = format!("{} {} at {}", refusal.code, refusal.value, refusal.operation);
                assert_eq!(told, named);
            }
            Err(ClientError::Request(RequestError::TooLarge { .. } | RequestError::InBatch { .. })) => {
                assert_eq!(named, "");
            }
            other => panic!("{other:?}"),
        }
        for reader in &mut readers {
            assert!(settled(&client, reader).await.is_empty(), "nothing is visible");
        }
    }
    let peer = broker.peer().await;
    let large = vec![b'x'; 1_001];
    let operations =
        [publishing("t", "a"), publishing("u", "b"), publishing("v", "c"), put_all("t", &[record(&large)])];
    assert_eq!(peer.answer(peer.batch(&operations)).await, "refused TooLarge 1000 at 3");
    assert_eq!(peer.answer(peer.batch(&operations[..3])).await, "batched 0@0 1@0 2@0", "no offset was used");
    for (reader, expected) in readers.iter_mut().zip(["0=a", "0=b", "0=c"]) {
        assert_eq!(next(reader).await, expected);
    }
    broker.stop().await;
}

/// However often somebody looks: the topic ends between two transactions and never within one.
pub(crate) async fn x_02_no_reader_ever_sees_a_part<F: Form>() {
    const PARTS: u64 = 10;
    const ROUNDS: u64 = 40;
    let broker = Broker::<F>::start().await;
    let looks = broker.topic(TopicOptions::new().retain_forever()).await;
    let client = broker.client().await;
    let writing = spawn::<F::Runtime, _>(async move {
        for round in 0..ROUNDS {
            let mut transaction = client.transaction();
            for part in 0..PARTS {
                transaction = transaction.publish("t", format!("{round}.{part}"));
                if part % 4 == 0 {
                    transaction = transaction.publish("u", "elsewhere");
                }
            }
            transaction.send().await.expect("applied");
        }
    });
    let end = async |topic| {
        let answer = looks.answer(looks.subscribe(1, topic)).await;
        looks.answer(looks.unsubscribe(1)).await;
        let end = answer.trim_end_matches(" new").split("..").nth(1).map(str::parse::<u64>);
        end.expect("an end").expect("a number")
    };
    loop {
        let (first, second) = (end("t").await, end("u").await);
        assert_eq!(first % PARTS, 0, "all or nothing");
        assert_eq!(second % 3, 0, "all or nothing");
        assert!(second / 3 >= first / PARTS, "what is seen of one topic is there in the other");
        if first == ROUNDS * PARTS {
            break;
        }
    }
    writing.await;
    broker.stop().await;
}

pub(crate) async fn x_03_a_retry_gets_the_stored_answer<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new().retain_forever()).await;
    peer.answer(peer.publish("t", "0")).await;
    peer.answer(peer.subscribe_to(Sub::new(1, "t").durable("d"))).await;
    assert_eq!(peer.stream().await, ["1/0=0"]);
    let producer = Producer { id: 1, epoch: 0, sequence: 10 };
    let operations = [publishing("t", "a"), done(1, 0), put_all("new", &[record(b"b"), record(b"c")])];
    assert_eq!(peer.answer(peer.batch_as(producer, &operations)).await, "batched 0@1 2@0new");
    drop(peer);
    // The retry comes over a connection that has no such subscription, and gets the answer all the same.
    let again = broker.peer().await;
    assert_eq!(again.answer(again.batch_as(producer, &operations)).await, "batched 0@1 2@0new");
    let cursor = again.answer(again.subscribe_to(Sub::new(1, "t").durable("d"))).await;
    assert_eq!(cursor, "1..2 epoch 2 rewind 1", "committed once, appended once");
    broker.stop().await;
}

pub(crate) async fn x_04_a_fenced_commit_refuses_the_whole<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new().retain_forever()).await;
    peer.answer(peer.publish("t", "0")).await;
    let sub = Sub::new(1, "t").durable("d");
    peer.answer(peer.subscribe_to(sub)).await;
    assert_eq!(peer.stream().await, ["1/0=0"]);
    let client = broker.client().await;
    let mut subscription = client.subscribe("t").durable("d").await.expect("taken over");
    assert_eq!(next(&mut subscription).await, "0=0 #2");
    let operations = [publishing("t", "never"), done(1, 0)];
    assert_eq!(peer.answer(peer.batch(&operations)).await, "refused SubscriptionFenced 2 at 1");
    // The same for a client that knows nothing yet, or everything.
    subscription.commit_to(0).await.expect("it holds it");
    put(&client, "t", "1").await;
    let message = subscription.next_message().await.expect("no gap").expect("a message");
    assert_eq!(message.offset, 1, "nothing of the refused one was appended");
    peer.answer(peer.unsubscribe(1)).await;
    peer.answer(peer.subscribe_to(Sub::new(2, "t").durable("d"))).await;
    let transaction = client.transaction().publish("t", "never").commit(&message);
    transaction.send().await.expect_err("it was taken over");
    assert_eq!(put(&client, "t", "2").await, "@2");
    broker.stop().await;
}

pub(crate) async fn x_05_the_first_of_two_operations_with_one_key_wins<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let options = TopicOptions::new().retain_forever().compaction_window(HOUR);
    client.create_topic("t", options).await.expect("created");
    let transaction = client.transaction().publish("t", Outgoing::new("first").key("k"));
    let transaction = transaction.publish("t", "plain").publish("t", Outgoing::new("second").key("k"));
    let receipt = transaction.send().await.expect("applied");
    let told: Vec<_> = receipt.publishes.iter().map(|one| (one.offset(0), one.is_duplicate(0))).collect();
    assert_eq!(told, [(Some(0), false), (Some(1), false), (Some(0), true)]);
    let mut subscription = client.subscribe("t").window(9).await.expect("subscribed");
    assert_eq!(settled(&client, &mut subscription).await, ["0=first", "1=plain"]);
    // Keys of a refused one are not remembered.
    let peer = broker.peer().await;
    let operations = [put_all("t", &[keyed("l", b"1")]), done(1, 0)];
    assert_eq!(peer.answer(peer.batch(&operations)).await, "refused NotSubscribed at 1");
    assert_eq!(peer.answer(peer.publish_keyed("t", "l", "2")).await, "@2");
    broker.stop().await;
}

pub(crate) async fn x_06_topics_of_a_refused_one_are_not_created<F: Form>() {
    let broker = Broker::<F>::with(|config| config.max_topics = 2).await;
    let client = broker.client().await;
    client.create_topic("full", TopicOptions::new().retain_forever().max_messages(1)).await.expect("created");
    for _ in 0..3 {
        let transaction = client.transaction().publish("a", "x").publish_all("full", ["y", "z"]);
        assert_eq!(refused(transaction.send().await), "TooLarge 1");
    }
    assert_eq!(put(&client, "b", "x").await, "@0 new", "there is room for it");
    broker.stop().await;
}

pub(crate) async fn x_09_more_than_a_thousand_operations_are_refused<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let of = |operations: usize| {
        let mut transaction = client.transaction();
        for _ in 0..operations {
            transaction = transaction.publish("t", "x");
        }
        transaction.send()
    };
    let long = of(1_001).await;
    let limit = RequestError::BatchTooLong { limit: 1_000 };
    assert!(matches!(&long, Err(ClientError::Request(error)) if *error == limit), "{long:?}");
    assert_eq!(of(1_000).await.expect("applied").publishes[999].offset(0), Some(999));
    let peer = broker.peer().await;
    let operations: Vec<_> = (0..1_001).map(|_| publishing("t", "x")).collect();
    assert_eq!(peer.answer(peer.batch(&operations)).await, "refused BatchTooLong 1000 at 1000");
    assert_eq!(put(&client, "t", "x").await, "@1000");
    broker.stop().await;
}

pub(crate) async fn x_10_records_are_contiguous_whoever_else_publishes<F: Form>() {
    const ROUNDS: usize = 30;
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new().retain_forever()).await;
    let mut writing = Vec::new();
    for name in ["a", "b"] {
        let client = broker.client().await;
        writing.push(spawn::<F::Runtime, _>(async move {
            for round in 0..ROUNDS {
                let mut transaction = client.transaction();
                for part in 0..5 {
                    let body = format!("{name}.{round}.{part}");
                    transaction = transaction.publish("t", body).publish("u", "elsewhere");
                }
                transaction.send().await.expect("applied");
            }
        }));
    }
    for _ in 0..ROUNDS {
        peer.answer(peer.publish("t", "single")).await;
    }
    join_all(writing).await;
    peer.answer(peer.subscribe_to(Sub::new(1, "t").window(0))).await;
    peer.settle().await;
    let bodies: Vec<_> =
        peer.take_records().into_iter().map(|one| String::from_utf8(one.body).expect("text")).collect();
    assert_eq!(bodies.len(), ROUNDS * 11);
    let mut rest = bodies.iter();
    while let Some(body) = rest.next() {
        if let Some(start) = body.strip_suffix(".0") {
            for part in 1..5 {
                assert_eq!(rest.next(), Some(&format!("{start}.{part}")));
            }
        } else {
            assert_eq!(body, "single");
        }
    }
    broker.stop().await;
}

pub(crate) async fn x_11_an_empty_one_is_a_success<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    assert!(client.transaction().send().await.expect("nothing to do").publishes.is_empty());
    let peer = broker.peer().await;
    assert_eq!(peer.answer(peer.batch(&[])).await, "batched");
    let durable = peer.batch_with(None, AckLevel::Durable, &[publishing("t", "x")]);
    assert_eq!(peer.answer(durable).await, "refused NotDurable", "P-08");
    assert_eq!(put(&client, "t", "x").await, "@0 new");
    broker.stop().await;
}

/// What is refused for the moment is tried again, as a whole.
pub(crate) async fn x4_a_client_waits_for_room<F: Form>() {
    let broker = Broker::<F>::start().await;
    let full = TopicOptions::new().retain_forever().max_messages(2).overflow(Overflow::Reject);
    let peer = broker.topic(full).await;
    let client = broker.client().await;
    put(&client, "t", "0").await;
    let transaction = client.transaction().publish("u", "a").publish("t", "1").publish("t", "2");
    let sending = spawn::<F::Runtime, _>(transaction.send());
    peer.settle().await;
    assert_eq!(peer.answer(peer.subscribe(1, "u")).await, "0..0 new", "no part of it");
    peer.answer(peer.alter("t", TopicOptions::new().max_messages(3))).await;
    let receipt = sending.await.expect("applied");
    assert_eq!(receipt.publishes[2].offset(0), Some(2));
    broker.stop().await;
}
