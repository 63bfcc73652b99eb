//! Members of a shared subscription (chapter G).

use zaichik_proto::RefusalCode;

use super::*;

/// A client with these messages in the topic `t`, and its subscription `workers`.
async fn member(broker: &Broker, bodies: &[&'static str]) -> (Client<Manual>, Subscription) {
    let client = broker.client();
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for body in bodies {
        client.publish("t", *body).await.expect("accepted");
    }
    let jobs = client.subscribe("t").shared("workers").window(8).await.expect("joined");
    (client, jobs)
}

async fn take(jobs: &mut Subscription, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(jobs.next_message().await.expect("it continues").expect("a message"));
    }
    taken
}

fn code(result: Result<(), ClientError>) -> RefusalCode {
    match result {
        Err(ClientError::Request(RequestError::Refused { refusal, .. })) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn g3_a_message_is_acknowledged_once_and_alone() {
    let broker = broker();
    Manual::block_on(async {
        let (client, mut jobs) = member(&broker, &["a", "b", "c"]).await;
        let taken = take(&mut jobs, 3).await;
        taken[1].ack().await.expect("it is held");
        let error = taken[1].ack().await.expect_err("it is done");
        assert!(matches!(error, ClientError::Request(RequestError::NotHeld { offset: 1, .. })), "{error:?}");
        assert_eq!(error.class(), ErrorClass::Refused);
        assert_eq!(client.shared_subscription("t", "workers").await.expect("described").cursor, 0);
        taken[0].extend().await.expect("it is held");
        assert_eq!(jobs.ack_all(&taken).await.expect("answered"), [1], "one of them was done");
        assert!(jobs.ack_all(&[]).await.expect("nothing to do").is_empty());
        let info = client.shared_subscription("t", "workers").await.expect("described");
        assert_eq!((info.cursor, info.in_flight, info.members.len()), (3, 0, 1));
    });
}

#[test]
fn g3_a_quiet_ack_reaches_the_broker_and_reports_only_what_is_wrong() {
    let broker = broker();
    Manual::block_on(async {
        let (client, mut jobs) = member(&broker, &["a", "b"]).await;
        let taken = take(&mut jobs, 2).await;
        taken[1].ack_quiet().expect("it is held");
        taken[0].ack_quiet().expect("it is held");
        assert_eq!(client.shared_subscription("t", "workers").await.expect("described").cursor, 2);
        assert_eq!(client.take_refused(), None);
        taken[0].ack_quiet().expect("sent");
        client.shared_subscription("t", "workers").await.expect("described");
        let refused = client.take_refused().map(|(count, refusal)| (count, refusal.code, refusal.value));
        assert_eq!(refused, Some((1, RefusalCode::NotHeld, 0)));
        let mut exclusive = client.subscribe("t").await.expect("subscribed");
        let message = take(&mut exclusive, 1).await.remove(0);
        assert_eq!(code(message.ack_quiet()), RefusalCode::ModeDiffers);
    });
}

#[test]
fn g5_a_message_that_is_given_back_comes_again_and_nothing_waits_for_it() {
    let broker = broker();
    Manual::block_on(async {
        let (_client, mut jobs) = member(&broker, &["a", "b"]).await;
        let taken = take(&mut jobs, 1).await;
        taken[0].nack(Duration::ZERO).await.expect("it is held");
        let next = take(&mut jobs, 2).await;
        let seen: Vec<_> = next.iter().map(|job| (job.offset, job.attempt)).collect();
        assert_eq!(seen, [(1, 1), (0, 2)]);
    });
}

#[test]
fn g3_each_kind_of_subscription_names_what_settles_its_messages() {
    let broker = broker();
    Manual::block_on(async {
        let (client, mut jobs) = member(&broker, &["a"]).await;
        let job = take(&mut jobs, 1).await.remove(0);
        assert_eq!(code(job.commit().await), RefusalCode::CommitShared);
        let error = jobs.commit().await.expect_err("it is shared");
        assert!(error.to_string().contains("Ack"), "{error}");
        assert_eq!(code(client.commit().await), RefusalCode::CommitShared);
        let mut exclusive = client.subscribe("t").await.expect("subscribed");
        let message = take(&mut exclusive, 1).await.remove(0);
        assert_eq!(code(message.ack().await), RefusalCode::ModeDiffers);
        assert_eq!(code(message.extend().await), RefusalCode::ModeDiffers);
        assert_eq!(
            code(exclusive.ack_all(std::slice::from_ref(&message)).await.map(drop)),
            RefusalCode::ModeDiffers
        );
        let sent = client.transaction().publish("out", "a").ack(&message).send().await;
        assert_eq!(code(sent.map(drop)), RefusalCode::ModeDiffers);
        let other = broker.client();
        let theirs = other.subscribe("t").shared("workers").await.expect("joined");
        let error = theirs.ack_all(std::slice::from_ref(&job)).await.expect_err("it is of another client");
        assert!(matches!(error, ClientError::Request(RequestError::NoSubscription(_))), "{error:?}");
        let sent = other.transaction().ack(&job).send().await;
        assert!(matches!(sent, Err(ClientError::Request(RequestError::NoSubscription(_)))), "{sent:?}");
        let both = client.subscribe("t").durable("d").shared("workers").await;
        assert!(matches!(both, Err(ClientError::Request(RequestError::DurableAndShared))), "{both:?}");
    });
}

#[test]
fn g9_a_transaction_acknowledges_what_this_client_holds_or_has_no_effect() {
    let broker = broker();
    Manual::block_on(async {
        let (client, mut jobs) = member(&broker, &["a", "b"]).await;
        client.create_topic("out", TopicOptions::new().retain_forever()).await.expect("created");
        let taken = take(&mut jobs, 2).await;
        client.transaction().publish("out", "A").ack(&taken[0]).send().await.expect("applied");
        let again = client.transaction().publish("out", "B").ack(&taken[1]).ack(&taken[0]).send().await;
        assert_eq!(code(again.map(drop)), RefusalCode::NotHeld);
        assert_eq!(client.topic("out").await.expect("described").end, 1);
        taken[1].ack().await.expect("it is still held");
    });
}
