//! A: delivery and commit.

use std::time::Duration;

use futures::SinkExt;
use futures::future::{join, join_all};
use zaichik_driver::{ClientError, Outgoing, Overflow, RequestError, Start, TopicOptions};
use zaichik_testkit::Sub;

use crate::broker::{Broker, ClientOf, PeerOf, next, next_committed, put, refused, settled};
use crate::form::Form;

/// A broker with a topic `t` that keeps everything, a reader and a writer.
async fn pair<F: Form>() -> (Broker<F>, ClientOf<F>, ClientOf<F>) {
    let broker = Broker::<F>::start().await;
    let (reader, writer) = (broker.client().await, broker.client().await);
    writer.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    (broker, reader, writer)
}

/// The same with a raw reader that has subscribed with a window.
async fn raw_pair<F: Form>(window: u32) -> (Broker<F>, PeerOf<F>, ClientOf<F>) {
    let (broker, _, writer) = pair::<F>().await;
    let reader = broker.peer().await;
    assert_eq!(reader.answer(reader.subscribe_to(Sub::new(1, "t").window(window))).await, "0..0");
    (broker, reader, writer)
}

async fn publish<F: Form>(writer: &ClientOf<F>, bodies: &[&'static str]) {
    for body in bodies {
        put(writer, "t", *body).await;
    }
}

pub(crate) async fn a_01_window_1_delivers_exactly_one<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let mut subscription = reader.subscribe("t").await.expect("subscribed");
    publish::<F>(&writer, &["a", "b", "c"]).await;
    assert_eq!(settled(&reader, &mut subscription).await, ["0=a"]);
    broker.stop().await;
}

pub(crate) async fn a_02_the_next_follows_each_commit<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let mut subscription = reader.subscribe("t").await.expect("subscribed");
    publish::<F>(&writer, &["a", "b", "c"]).await;
    for expected in ["0=a", "1=b", "2=c"] {
        assert_eq!(settled(&reader, &mut subscription).await, [expected]);
        subscription.commit().await.expect("committed");
    }
    assert!(settled(&reader, &mut subscription).await.is_empty());
    publish::<F>(&writer, &["d"]).await;
    assert_eq!(next(&mut subscription).await, "3=d");
    broker.stop().await;
}

pub(crate) async fn a_03_a_commit_in_the_middle_slides_the_window<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let mut subscription = reader.subscribe("t").window(3).await.expect("subscribed");
    publish::<F>(&writer, &["a", "b", "c", "d", "e", "f"]).await;
    assert_eq!(settled(&reader, &mut subscription).await, ["0=a", "1=b", "2=c"]);
    subscription.commit_to(1).await.expect("committed");
    assert_eq!(settled(&reader, &mut subscription).await, ["3=d", "4=e"]);
    broker.stop().await;
}

pub(crate) async fn a_04_committing_twice_gives_no_extra_credit<F: Form>() {
    let (broker, reader, writer) = raw_pair::<F>(1).await;
    publish::<F>(&writer, &["a", "b", "c"]).await;
    assert_eq!(reader.stream().await, ["1/0=a"]);
    for _ in 0..3 {
        assert_eq!(reader.answer(reader.commit(1, 0)).await, "done 1");
    }
    assert_eq!(reader.stream().await, ["1/1=b"]);
    // Through the client as well.
    let client = broker.client().await;
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    assert_eq!(next(&mut subscription).await, "0=a");
    for _ in 0..3 {
        subscription.commit_to(0).await.expect("committed");
    }
    assert_eq!(settled(&client, &mut subscription).await, ["1=b"]);
    broker.stop().await;
}

pub(crate) async fn a_05_committing_ahead_is_refused_and_changes_nothing<F: Form>() {
    let (broker, reader, writer) = raw_pair::<F>(2).await;
    publish::<F>(&writer, &["a", "b", "c", "d"]).await;
    assert_eq!(reader.stream().await, ["1/0=a", "1/1=b"]);
    assert_eq!(reader.answer(reader.commit(1, 2)).await, "refused CommitAhead 2");
    assert_eq!(reader.answer(reader.commit(1, u64::MAX)).await, "refused CommitAhead 2");
    assert!(reader.stream().await.is_empty());
    assert_eq!(reader.answer(reader.commit(1, 0)).await, "done 1");
    assert_eq!(reader.stream().await, ["1/2=c"]);
    // The client knows without asking what it has not taken.
    let client = broker.client().await;
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    assert_eq!(next(&mut subscription).await, "0=a");
    assert_eq!(refused(subscription.commit_to(1).await), "CommitAhead 1");
    broker.stop().await;
}

pub(crate) async fn a_06_committing_a_subscription_of_nobody_or_of_another_connection<F: Form>() {
    let (broker, reader, writer) = raw_pair::<F>(1).await;
    let other = broker.peer().await;
    publish::<F>(&writer, &["a", "b"]).await;
    assert_eq!(other.answer(other.commit(1, 0)).await, "refused NotSubscribed");
    assert_eq!(reader.answer(reader.commit(2, 0)).await, "refused NotSubscribed");
    assert_eq!(reader.stream().await, ["1/0=a"]);
    broker.stop().await;
}

pub(crate) async fn a_07_a_bare_commit_is_for_the_message_taken_last<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let nothing = client.commit().await;
    assert!(matches!(nothing, Err(ClientError::Request(RequestError::NothingToCommit))), "{nothing:?}");
    let mut one = client.subscribe("one").await.expect("subscribed");
    let mut two = client.subscribe("two").await.expect("subscribed");
    for body in ["a", "b"] {
        put(&client, "one", body).await;
        put(&client, "two", body).await;
    }
    assert_eq!(next(&mut one).await, "0=a");
    assert_eq!(next(&mut two).await, "0=a");
    client.commit().await.expect("committed");
    assert_eq!(settled(&client, &mut two).await, ["1=b"], "the last message came from here");
    assert!(settled(&client, &mut one).await.is_empty());
    assert_eq!(two.unsubscribe().await.expect("ended"), Some(1));
    broker.stop().await;
}

pub(crate) async fn a_15_subscribing_again_after_unsubscribe_starts_by_its_start<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let mut subscription = reader.subscribe("t").window(2).await.expect("subscribed");
    publish::<F>(&writer, &["a", "b", "c"]).await;
    assert_eq!(settled(&reader, &mut subscription).await, ["0=a", "1=b"]);
    assert_eq!(subscription.unsubscribe().await.expect("ended"), Some(1));
    let mut again = reader.subscribe("t").await.expect("subscribed");
    assert_eq!((again.start(), again.end()), (0, 3));
    assert_eq!(next(&mut again).await, "0=a");
    // A subscription that is dropped makes room for the next one just as well.
    drop(again);
    for _ in 0..20 {
        let mut latest = reader.subscribe("t").from(Start::Latest).await.expect("subscribed");
        assert!(settled(&reader, &mut latest).await.is_empty());
    }
    broker.stop().await;
}

/// A limit that may remove only what every subscription has committed shows who has: the one that stayed.
pub(crate) async fn a_16_what_was_on_its_way_when_the_connection_ended_is_not_committed<F: Form>() {
    let broker = Broker::<F>::start().await;
    for end in ["close", "cut", "finish"] {
        let (stays, leaves) = (broker.client().await, broker.peer().await);
        let options = TopicOptions::new().max_messages(3).overflow(Overflow::Reject);
        let topic = format!("t/{end}");
        stays.create_topic(&topic, options).await.expect("created");
        let mut kept = stays.subscribe(&topic).window(3).await.expect("subscribed");
        leaves.answer(leaves.subscribe_to(Sub::new(1, &topic).window(3))).await;
        for body in ["a", "b", "c"] {
            put(&stays, &topic, body).await;
        }
        // The messages are in the transport, and the connection ends without a commit.
        match end {
            "close" => {
                leaves.close();
                assert_eq!(leaves.end().await.last().map(String::as_str), Some("goodbye closed"));
            }
            "finish" => {
                leaves.finish().await;
                leaves.end().await;
            }
            _ => drop(leaves),
        }
        let asks = broker.peer().await;
        let full = asks.answer(asks.publish(&topic, "d")).await;
        assert_eq!(full, "refused TopicFull", "nobody has committed anything");
        for expected in ["0=a", "1=b", "2=c"] {
            assert_eq!(next(&mut kept).await, expected);
        }
        // A subscription ends with its connection, so now only the one that stayed counts.
        kept.commit().await.expect("committed");
        assert_eq!(put(&stays, &topic, "d").await, "@3");
    }
    broker.stop().await;
}

pub(crate) async fn a_17_a_peer_that_stops_reading_hurts_nobody<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let options = TopicOptions::new().retain_forever().max_bytes(1 << 20);
    writer.create_topic("flood", options).await.expect("created");
    let stuck = broker.peer().await;
    stuck.answer(stuck.subscribe_to(Sub::new(1, "flood").window(0))).await;
    // Far more than the buffers between the broker and the peer that does not read.
    let mut subscription = reader.subscribe("flood").window(64).await.expect("subscribed");
    let body = vec![7; 64 << 10];
    for offset in 0..512 {
        let receipt = writer.publish("flood", body.clone()).await.expect("accepted");
        assert_eq!(receipt.offset(0), Some(offset));
        let message = subscription.next_message().await.expect("no gap").expect("a message");
        assert_eq!(message.offset, offset);
        message.commit().await.expect("committed");
    }
    // Its requests are served, and when it reads again it gets everything, or a Gap in its place: the peer checks
    // that there is no hole.
    assert_eq!(stuck.answer(stuck.publish("other", "x")).await, "@0 new");
    let mut last = String::new();
    while !last.starts_with("1/511=") {
        last = stuck.stream_of(1).await.pop().expect("at least one");
    }
    broker.stop().await;
}

/// A client with every buffer at its smallest, of a broker with lanes of one frame.
async fn smallest<F: Form>() -> (Broker<F>, ClientOf<F>) {
    let broker = Broker::<F>::with(|config| {
        config.lane_bytes = 1;
        config.topic_defaults.retention_ttl_micros = u64::MAX;
    })
    .await;
    let client = broker.client_builder().max_in_flight(1).configure(|config| {
        config.max_in_flight_bytes = 1;
        config.max_outbound_bytes = 1;
        config.buffer_bytes = 1;
    });
    (broker, client.connect().await.expect("the broker listens"))
}

pub(crate) async fn a_18_a_handler_publishes_on_its_own_connection_at_window_one<F: Form>() {
    let (broker, client) = smallest::<F>().await;
    let mut subscription = client.subscribe("loop").await.expect("subscribed");
    client.publish("loop", "0").await.expect("accepted");
    for round in 1..=200_u32 {
        let message = subscription.next_message().await.expect("no gap").expect("a message");
        client.publish("loop", round.to_string()).await.expect("accepted");
        message.commit().await.expect("committed");
    }
    broker.stop().await;
}

/// A thousand messages press while the handler publishes on the connection that they come from, also messages that are
/// larger than every buffer; and nobody reads the other subscription of that connection meanwhile.
pub(crate) async fn a_18_a_handler_publishes_under_load_and_always_progresses<F: Form>() {
    const MESSAGES: usize = 1_000;
    let (broker, client) = smallest::<F>().await;
    let mut unread = client.subscribe("answers").await.expect("subscribed");
    let mut work = client.subscribe("work").await.expect("subscribed");
    let writer = broker.client().await;
    let flood = async {
        let mut publisher = writer.publisher("work");
        for number in 0..MESSAGES {
            let size = if number % 100 == 99 { 200 << 10 } else { 10 };
            publisher.feed(Outgoing::new(vec![b'x'; size])).await.expect("accepted");
        }
        publisher.close().await.expect("accepted");
    };
    let handler = async {
        for number in 0..MESSAGES {
            let message = work.next_message().await.expect("no gap").expect("a message");
            match number % 3 {
                0 => {
                    client.publish("answers", message.body.clone()).await.expect("accepted");
                    message.commit().await.expect("committed");
                }
                1 => {
                    message.commit().await.expect("committed");
                    client.publish("answers", message.body.clone()).no_ack().await.expect("queued");
                }
                _ => {
                    let transaction = client.transaction().publish("answers", message.body.clone());
                    transaction.commit(&message).send().await.expect("applied");
                }
            }
        }
    };
    join(flood, handler).await;
    for offset in 0..MESSAGES as u64 {
        let message = unread.next_message().await.expect("no gap").expect("a message");
        assert_eq!(message.offset, offset);
        message.commit().await.expect("committed");
    }
    broker.stop().await;
}

pub(crate) async fn a_21_a_message_larger_than_the_window_in_bytes_is_delivered_alone<F: Form>() {
    let (broker, _, writer) = pair::<F>().await;
    let reader = broker.peer().await;
    reader.answer(reader.subscribe_to(Sub::new(1, "t").window(100).window_bytes(40))).await;
    for body in ["a".to_owned(), "x".repeat(200_000), "b".to_owned(), "c".to_owned()] {
        put(&writer, "t", body).await;
    }
    assert_eq!(reader.stream().await, ["1/0=a"]);
    reader.answer(reader.commit(1, 0)).await;
    assert_eq!(reader.stream_of(1).await, ["1/1=<200000>"]);
    reader.answer(reader.commit(1, 1)).await;
    assert_eq!(reader.stream().await, ["1/2=b", "1/3=c"]);
    broker.stop().await;
}

pub(crate) async fn a_22_unsubscribing_twice_and_subscribing_twice<F: Form>() {
    let (broker, reader, writer) = raw_pair::<F>(9).await;
    assert_eq!(reader.answer(reader.subscribe(1, "u")).await, "refused AlreadySubscribed");
    assert_eq!(reader.answer(reader.subscribe(2, "t")).await, "refused AlreadySubscribed");
    publish::<F>(&writer, &["a"]).await;
    assert_eq!(reader.stream().await, ["1/0=a"], "one stream");
    assert_eq!(reader.answer(reader.unsubscribe(1)).await, "ended 0");
    assert_eq!(reader.answer(reader.unsubscribe(1)).await, "refused NotSubscribed");
    assert_eq!(reader.answer(reader.subscribe(2, "t")).await, "0..1");
    // The client passes the refusal on.
    let client = broker.client().await;
    let mut first = client.subscribe("t").await.expect("subscribed");
    assert_eq!(refused(client.subscribe("t").await), "AlreadySubscribed");
    assert_eq!(next_committed(&mut first).await, "0=a");
    broker.stop().await;
}

pub(crate) async fn a1_window_0_has_no_commits<F: Form>() {
    let (broker, reader, writer) = raw_pair::<F>(0).await;
    publish::<F>(&writer, &["a", "b", "c"]).await;
    assert_eq!(reader.stream().await, ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(reader.answer(reader.commit(1, 0)).await, "refused CommitsOff");
    broker.stop().await;
}

pub(crate) async fn a5_a_delivery_carries_everything_of_the_message<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let full = Outgoing::new("body").key("k").header("trace", &[1, 2][..]).header("trace", "again");
    writer.publish_all("t", [full, "plain".into(), Outgoing::new("").key("")]).await.expect("accepted");
    let mut subscription = reader.subscribe("t").window(9).await.expect("subscribed");
    let mut messages = Vec::new();
    for offset in 0..3 {
        let message = subscription.next_message().await.expect("no gap").expect("a message");
        assert_eq!((message.offset, message.attempt, &*message.topic), (offset, 1, "t"));
        messages.push(message);
    }
    assert_eq!(messages[0].key.as_deref(), Some(&b"k"[..]));
    let headers: Vec<_> = messages[0].headers.iter().collect();
    assert_eq!(headers, [("trace", &[1_u8, 2][..]), ("trace", b"again")]);
    assert_eq!((&messages[0].body[..], &messages[1].body[..]), (&b"body"[..], &b"plain"[..]));
    assert_eq!((messages[1].key.as_deref(), messages[1].headers.is_empty()), (None, true));
    assert_eq!(messages[2].key.as_deref(), Some(&b""[..]));
    broker.stop().await;
}

/// A driver looks at an idle connection only when it is woken, and nothing but the publish does that here.
pub(crate) async fn a7_idle_connections_are_woken_by_what_comes_for_them<F: Form>() {
    let broker = Broker::<F>::with(|config| config.wire.heartbeat_millis = u32::MAX).await;
    let writer = broker.client().await;
    let (clients, peers) = (join_all((0..4).map(|_| broker.client())).await, [broker.peer().await]);
    let mut subscriptions = Vec::new();
    for client in &clients {
        subscriptions.push(client.subscribe("t").await.expect("subscribed"));
    }
    for peer in &peers {
        peer.answer(peer.subscribe(1, "t")).await;
    }
    // A publish that is refused until its deadline takes longer than connections need to go idle.
    let full = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    writer.create_topic("full", full).await.expect("created");
    put(&writer, "full", "x").await;
    let brief = writer.publish("full", "y").deadline(Duration::from_millis(1_500));
    assert_eq!(refused(brief.await), "TopicFull");
    put(&writer, "t", "a").await;
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription).await, "0=a");
    }
    for peer in &peers {
        assert_eq!(peer.stream_of(1).await, ["1/0=a"]);
    }
    broker.stop().await;
}

/// Many and large messages, through every buffer on the way.
pub(crate) async fn a7_large_and_small_messages_arrive_whole<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let mut subscription = reader.subscribe("t").window(16).await.expect("subscribed");
    let sizes = (0..300).map(|number: usize| number * 379 % 100_000);
    let sending = async {
        let mut publisher = writer.publisher("t");
        for size in sizes.clone() {
            publisher.feed(Outgoing::new(vec![7; size])).await.expect("accepted");
        }
        publisher.close().await.expect("accepted");
    };
    let reading = async {
        for size in sizes.clone() {
            let message = subscription.next_message().await.expect("no gap").expect("a message");
            assert!(message.body.len() == size && message.body.iter().all(|byte| *byte == 7));
            message.commit().await.expect("committed");
        }
    };
    futures::join!(sending, reading);
    broker.stop().await;
}
