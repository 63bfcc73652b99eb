//! T: topics.

use futures::join;
use zaichik_driver::{ClientError, RequestError, TopicOptions, TopicStatus};
use zaichik_proto::{ClientFrame, CreateTopic};

use crate::broker::{Broker, HOUR, put, refused, settled};
use crate::form::Form;

pub(crate) async fn t_01_subscribing_to_an_unknown_topic_creates_it<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (reader, writer) = (broker.client().await, broker.client().await);
    let mut subscription = reader.subscribe("t").await.expect("subscribed");
    assert_eq!(put(&writer, "t", "a").await, "@0");
    assert_eq!(settled(&reader, &mut subscription).await, ["0=a"]);
    // It is implicit: the first CreateTopic adopts it.
    assert_eq!(writer.create_topic("t", TopicOptions::new()).await.expect("adopted"), TopicStatus::Adopted);
    broker.stop().await;
}

pub(crate) async fn t_02_adoption_keeps_offsets_and_resurrects_nothing<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (writer, reader) = (broker.client().await, broker.client().await);
    let mut old = writer.subscribe("t").window(10).await.expect("subscribed");
    for body in ["a", "b"] {
        put(&writer, "t", body).await;
    }
    // The records are kept for the writer's own subscription, and a newcomer has no right to them.
    let adopted = reader.create_topic("t", TopicOptions::new().retention_ttl(HOUR)).await;
    assert_eq!(adopted.expect("adopted"), TopicStatus::Adopted);
    let mut new = reader.subscribe("t").await.expect("subscribed");
    assert_eq!((new.start(), new.end()), (2, 2));
    assert_eq!(put(&writer, "t", "c").await, "@2");
    assert_eq!(settled(&reader, &mut new).await, ["2=c"]);
    assert_eq!(settled(&writer, &mut old).await, ["0=a", "1=b", "2=c"]);
    // From here on a newcomer sees what is young enough.
    let late = broker.client().await.subscribe("t").await.expect("subscribed");
    assert_eq!((late.start(), late.end()), (2, 3));
    broker.stop().await;
}

pub(crate) async fn t_03_the_same_settings_twice_change_nothing<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let options = TopicOptions::new().retention_ttl(HOUR).max_messages(5);
    // A setting that is left out is compared as the broker's default for it.
    let expected = [
        (options, TopicStatus::Created),
        (options, TopicStatus::Unchanged),
        (options.max_bytes(64 << 20), TopicStatus::Unchanged),
    ];
    for (options, status) in expected {
        assert_eq!(client.create_topic("t", options).await.expect("answered"), status);
    }
    broker.stop().await;
}

pub(crate) async fn t_04_other_settings_are_refused_with_what_differs<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let options = TopicOptions::new().retention_ttl(HOUR).max_messages(5);
    client.create_topic("t", options).await.expect("created");
    // Bit 0 is retention_ttl, bit 3 max_messages.
    assert_eq!(refused(client.create_topic("t", TopicOptions::new()).await), "SettingsDiffer 9");
    assert_eq!(refused(client.create_topic("t", options.max_messages(6)).await), "SettingsDiffer 8");
    // The connection is as good as before, and so are the settings.
    for _ in 0..6 {
        put(&client, "t", "a").await;
    }
    let subscription = client.subscribe("t").await.expect("subscribed");
    assert_eq!((subscription.start(), subscription.end()), (1, 6));
    broker.stop().await;
}

pub(crate) async fn t_05_two_clients_create_one_topic_at_once<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (one, two) = (broker.client().await, broker.client().await);
    for round in 0..50 {
        let topic = format!("race/{round}");
        let mut first_status = TopicStatus::Created;
        if round % 2 == 1 {
            put(&one, &topic, "implicit").await;
            first_status = TopicStatus::Adopted;
        }
        let options = TopicOptions::new().retention_ttl(HOUR);
        let (first, second) = join!(one.create_topic(&topic, options), two.create_topic(&topic, options));
        let mut created = [first.expect("answered"), second.expect("answered")];
        created.sort_by_key(|status| *status == TopicStatus::Unchanged);
        assert_eq!(created, [first_status, TopicStatus::Unchanged]);
        let different = options.max_messages(8);
        assert_eq!(refused(two.create_topic(&topic, different).await), "SettingsDiffer 8");
    }
    // With different settings one of the two wins, and the other one is told.
    for round in 0..50 {
        let topic = format!("duel/{round}");
        put(&one, &topic, "implicit").await;
        let options = [TopicOptions::new().max_messages(7), TopicOptions::new().max_messages(8)];
        let (first, second) =
            join!(one.create_topic(&topic, options[0]), two.create_topic(&topic, options[1]));
        let (winner, loser, kept) =
            if first.is_ok() { (first, second, options[0]) } else { (second, first, options[1]) };
        assert_eq!(winner.expect("one of them"), TopicStatus::Adopted);
        assert_eq!(refused(loser), "SettingsDiffer 8");
        assert_eq!(two.create_topic(&topic, kept).await.expect("answered"), TopicStatus::Unchanged);
    }
    broker.stop().await;
}

pub(crate) async fn t_06_names<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.peer().await;
    let create = |topic: &[u8]| {
        let options = TopicOptions::new();
        peer.request(|request| ClientFrame::CreateTopic(CreateTopic { request, topic, options }))
    };
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    for name in [longest.as_bytes(), b"a", "caf\u{e9}/\u{1f407} x.y".as_bytes(), b"a$"] {
        assert_eq!(peer.answer(create(name)).await, "created", "{name:?}");
    }
    let nel = "a\u{85}b";
    for name in [&b""[..], b"$x", b"$", b"a\nb", b"a\0", b"\x7f", nel.as_bytes(), b"\xff\xfe", b"caf\xe9"] {
        assert_eq!(peer.answer(create(name)).await, "refused InvalidTopic", "{name:?}");
    }
    for name in ["", "$sys", "a\tb"] {
        assert_eq!(peer.answer(peer.publish(name, "a")).await, "refused InvalidTopic");
        assert_eq!(peer.answer(peer.subscribe(1, name)).await, "refused InvalidTopic");
    }
    // The client says so without asking; 256 bytes do not even fit a frame.
    let client = broker.client().await;
    for name in ["", "$sys", "a\tb", &too_long] {
        let refused = client.publish(name, "a").await;
        assert!(matches!(refused, Err(ClientError::Request(RequestError::InvalidTopic(_)))), "{refused:?}");
    }
    put(&client, &longest, "a").await;
    broker.stop().await;
}

pub(crate) async fn t_07_the_limit_of_topics_refuses_and_the_connection_survives<F: Form>() {
    let broker = Broker::<F>::with(|config| config.max_topics = 2).await;
    let peer = broker.peer().await;
    assert_eq!(peer.answer(peer.publish("a", "x")).await, "@0 new");
    assert_eq!(peer.answer(peer.subscribe(1, "b")).await, "0..0 new");
    assert_eq!(peer.answer(peer.publish("c", "x")).await, "refused TopicsFull 2");
    assert_eq!(peer.answer(peer.subscribe(2, "c")).await, "refused TopicsFull 2");
    assert_eq!(peer.answer(peer.create("c", TopicOptions::new())).await, "refused TopicsFull 2");
    assert_eq!(peer.answer(peer.publish("a", "x")).await, "@1");
    broker.stop().await;
}

pub(crate) async fn t7_alter_changes_only_what_is_given<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let options = TopicOptions::new().retention_ttl(HOUR).max_messages(5);
    assert_eq!(refused(client.alter_topic("t", options).await), "UnknownTopic");
    client.create_topic("t", options).await.expect("created");
    client.alter_topic("t", TopicOptions::new().max_messages(6)).await.expect("altered");
    let now = options.max_messages(6);
    assert_eq!(client.create_topic("t", now).await.expect("answered"), TopicStatus::Unchanged);
    broker.stop().await;
}
