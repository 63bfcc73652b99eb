//! O: order and offsets.

use futures::SinkExt;
use futures::future::join_all;
use zaichik_driver::{Outgoing, TopicOptions};
use zaichik_testkit::{Sub, record};

use crate::broker::{Broker, put, refused, settled, spawn};
use crate::form::Form;

pub(crate) async fn o_01_interleaved_publishers_are_seen_in_one_order<F: Form>() {
    let broker = Broker::<F>::start().await;
    let readers = [broker.client().await, broker.client().await];
    let mut seen = Vec::new();
    for reader in &readers {
        let mut subscription = reader.subscribe("order").window(0).await.expect("subscribed");
        seen.push(spawn::<F::Runtime, _>(async move {
            let mut bodies = Vec::new();
            while bodies.len() < 400 {
                let message = subscription.next_message().await.expect("no gap").expect("a message");
                assert_eq!(message.offset, bodies.len() as u64);
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
        assert_eq!(own, sent.iter().collect::<Vec<_>>(), "O3: what one connection sent stays in its order");
    }
    broker.stop().await;
}

pub(crate) async fn o_02_live_only_does_not_show_what_was_before<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    assert_eq!(put(&client, "t", "a").await, "@0 new");
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    assert_eq!(put(&client, "t", "b").await, "@1");
    assert_eq!(settled(&client, &mut subscription).await, ["1=b"]);
    broker.stop().await;
}

pub(crate) async fn o_03_a_retaining_topic_shows_what_was_before<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    assert_eq!(put(&client, "t", "a").await, "@0");
    let mut subscription = client.subscribe("t").window(9).await.expect("subscribed");
    assert_eq!((subscription.start(), subscription.end()), (0, 1));
    assert_eq!(put(&client, "t", "b").await, "@1");
    assert_eq!(settled(&client, &mut subscription).await, ["0=a", "1=b"]);
    broker.stop().await;
}

/// Nobody outside can turn the clock back; what can be seen is that timestamps never fall.
pub(crate) async fn o_04_timestamps_never_fall<F: Form>() {
    let broker = Broker::<F>::start().await;
    let reader = broker.topic(TopicOptions::new().retain_forever()).await;
    let writers = [broker.peer().await, broker.peer().await];
    for round in 0..50 {
        for writer in &writers {
            let request = writer.publish("t", "x");
            if round % 7 == 0 {
                writer.answer(request).await;
            }
        }
    }
    for writer in &writers {
        writer.settle().await;
    }
    reader.answer(reader.subscribe_to(Sub::new(1, "t").window(0))).await;
    reader.stream_of(100).await;
    let timestamps: Vec<_> = reader.take_records().iter().map(|one| one.timestamp).collect();
    assert!(timestamps[0] > 0 && timestamps.is_sorted(), "{timestamps:?}");
    broker.stop().await;
}

pub(crate) async fn o_05_the_last_offsets_are_refused_cleanly<F: Form>() {
    let broker = Broker::<F>::with(|config| config.first_offset = u64::MAX - 3).await;
    let client = broker.client().await;
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    let mut subscription = client.subscribe("t").window(9).await.expect("subscribed");
    let (first, second) = (u64::MAX - 3, u64::MAX - 2);
    assert_eq!(put(&client, "t", "a").await, format!("@{first}"));
    assert_eq!(refused(client.publish_all("t", ["b", "c"]).await), "OffsetsExhausted");
    assert_eq!(put(&client, "t", "b").await, format!("@{second}"));
    assert_eq!(refused(client.publish("t", "c").await), "OffsetsExhausted");
    let expected = [format!("{first}=a"), format!("{second}=b")];
    assert_eq!(settled(&client, &mut subscription).await, expected);
    subscription.commit().await.expect("the connection is as good as before");
    broker.stop().await;
}

/// While deliveries never end, answers come, each in its request's turn.
pub(crate) async fn o_06_answers_leave_while_the_stream_lane_is_full<F: Form>() {
    let broker = Broker::<F>::start().await;
    let busy = broker.peer().await;
    let flood = TopicOptions::new().retain_forever().max_bytes(4 << 20);
    busy.answer(busy.create("t", flood)).await;
    let body = vec![b'x'; 32 << 10];
    let writer = broker.peer().await;
    for _ in 0..64 {
        writer.publish_all("t", &[record(&body)]);
    }
    writer.settle().await;
    busy.answer(busy.subscribe_to(Sub::new(1, "t").window(0))).await;
    for round in 0..40 {
        // The connection has something to deliver before the request and after its answer.
        busy.stream_of(1).await;
        let requests = [busy.publish("u", "x"), busy.publish("u", "y")];
        for _ in 0..2 {
            writer.publish_all("t", &[record(&body)]);
        }
        writer.flush().await;
        let created = if round == 0 { " new" } else { "" };
        assert_eq!(busy.answer(requests[0]).await, format!("@{}{created}", round * 2));
        assert_eq!(busy.answer(requests[1]).await, format!("@{}", round * 2 + 1));
    }
    writer.settle().await;
    broker.stop().await;
}

/// The seed's echo.
pub(crate) async fn o4_a_publisher_gets_its_own_messages<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let mut subscription = client.subscribe("t").window(9).await.expect("subscribed");
    put(&client, "t", "a").await;
    client.publish("t", "b").no_ack().await.expect("queued");
    assert_eq!(settled(&client, &mut subscription).await, ["0=a", "1=b"]);
    broker.stop().await;
}
