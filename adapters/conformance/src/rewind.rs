//! A4, A6, D6: going back, moving on, and what fails too often.

use std::time::Duration;

use futures::join;
use zaichik_driver::{Delivery, Overflow, Start, Subscription, TopicOptions};
use zaichik_testkit::Sub;

use crate::broker::{Broker, ClientOf, HOUR, SOON, next, next_committed, put, refused, settled};
use crate::form::Form;

const NOW: Duration = Duration::ZERO;

/// A broker whose topic `t` keeps these for ever, and a client that reads it with a window.
async fn reading<F: Form>(window: u32, bodies: &[&'static str]) -> (Broker<F>, ClientOf<F>, Subscription) {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for body in bodies {
        put(&client, "t", *body).await;
    }
    let subscription = client.subscribe("t").window(window).await.expect("subscribed");
    (broker, client, subscription)
}

async fn take(subscription: &mut Subscription) -> Delivery {
    subscription.next_message().await.expect("no gap").expect("a message")
}

/// What a newcomer gets of a topic: headers and body of each record.
async fn copies<F: Form>(broker: &Broker<F>, topic: &str) -> Vec<String> {
    let peer = broker.peer().await;
    peer.answer(peer.subscribe_to(Sub::new(1, topic).window(0))).await;
    peer.settle().await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let records = peer.take_records().into_iter().map(|one| {
        let headers = one.headers.iter().map(|(name, value)| format!("{name}={} ", text(value)));
        headers.collect::<String>() + &text(&one.body)
    });
    records.collect()
}

pub(crate) async fn a_08_nack_of_the_first_brings_all_of_them_again_in_order<F: Form>() {
    let (broker, client, mut subscription) = reading::<F>(3, &["a", "b", "c", "d"]).await;
    for expected in [["1=b", "2=c"], ["1=b #2", "2=c #2"], ["1=b #3", "2=c #3"]] {
        let first = take(&mut subscription).await;
        assert_eq!(settled(&client, &mut subscription).await, expected);
        first.nack(NOW).await.expect("it was delivered");
    }
    let again = ["0=a #4", "1=b #4", "2=c #4"];
    assert_eq!(settled(&client, &mut subscription).await, again);
    subscription.commit().await.expect("committed");
    assert_eq!(next(&mut subscription).await, "3=d");
    // On the wire, each nack raises the rewind.
    let peer = broker.peer().await;
    peer.answer(peer.subscribe_to(Sub::new(1, "t").window(3))).await;
    assert_eq!(peer.stream().await, ["1/0=a", "1/1=b", "1/2=c"]);
    for rewind in 1..4 {
        assert_eq!(peer.answer(peer.nack(1, 0, 0)).await, format!("done {rewind}"));
        assert_eq!(peer.stream().await.len(), 3);
    }
    assert_eq!(peer.answer(peer.nack(1, 3, 0)).await, "refused NackAhead 3");
    broker.stop().await;
}

pub(crate) async fn a_09_nack_of_the_second_after_a_commit_of_the_first<F: Form>() {
    let (broker, client, mut subscription) = reading::<F>(3, &["a", "b", "c"]).await;
    let (first, second) = (take(&mut subscription).await, take(&mut subscription).await);
    assert_eq!(next(&mut subscription).await, "2=c");
    first.commit().await.expect("committed");
    second.nack(NOW).await.expect("it was delivered");
    assert_eq!(settled(&client, &mut subscription).await, ["1=b #2", "2=c #2"]);
    broker.stop().await;
}

pub(crate) async fn a_10_nothing_overtakes_a_delayed_message<F: Form>() {
    let (broker, client, mut subscription) = reading::<F>(4, &["a", "b", "c"]).await;
    let first = take(&mut subscription).await;
    let (second, third) = (take(&mut subscription).await, take(&mut subscription).await);
    third.nack(HOUR).await.expect("it was delivered");
    put(&client, "t", "d").await;
    assert!(settled(&client, &mut subscription).await.is_empty(), "the whole subscription waits");
    first.commit().await.expect("a commit does not end the delay");
    assert!(settled(&client, &mut subscription).await.is_empty());
    // The last nack decides, and after its delay they come by themselves.
    second.nack(SOON).await.expect("it was delivered");
    put(&client, "t", "e").await;
    for expected in ["1=b #2", "2=c #2", "3=d", "4=e"] {
        assert_eq!(next(&mut subscription).await, expected);
    }
    broker.stop().await;
}

pub(crate) async fn a_11_nack_of_what_is_committed_has_no_effect<F: Form>() {
    let (broker, client, mut subscription) = reading::<F>(1, &["a", "b"]).await;
    let first = take(&mut subscription).await;
    first.commit().await.expect("committed");
    assert_eq!(next(&mut subscription).await, "1=b");
    first.nack(HOUR).await.expect("nothing happens");
    assert!(settled(&client, &mut subscription).await.is_empty());
    subscription.commit().await.expect("committed");
    put(&client, "t", "c").await;
    assert_eq!(next(&mut subscription).await, "2=c", "there is no delay either");
    // The broker says the same, whoever asks.
    let peer = broker.peer().await;
    peer.answer(peer.subscribe(1, "t")).await;
    peer.answer(peer.commit(1, 0)).await;
    assert_eq!(peer.answer(peer.nack(1, 0, 3_600_000_000)).await, "done 0");
    assert_eq!(peer.stream().await, ["1/0=a", "1/1=b"]);
    broker.stop().await;
}

pub(crate) async fn a_12_a_commit_of_what_was_taken_back_is_ahead<F: Form>() {
    let (broker, client, mut subscription) = reading::<F>(3, &["a", "b", "c"]).await;
    let peer = broker.peer().await;
    peer.answer(peer.subscribe_to(Sub::new(1, "t").window(3))).await;
    assert_eq!(peer.stream().await, ["1/0=a", "1/1=b", "1/2=c"]);
    // In one piece: the commit belongs to the old delivery.
    let (nack, commit) = (peer.nack(1, 0, 0), peer.commit(1, 1));
    assert_eq!(peer.answer(nack).await, "done 1");
    assert_eq!(peer.answer(commit).await, "refused CommitAhead");
    assert_eq!(peer.stream().await, ["1/0=a #2", "1/1=b #2", "1/2=c #2"], "nothing was skipped");
    assert_eq!(peer.answer(peer.commit(1, 1)).await, "done 2");
    // The client knows without asking.
    let (first, second) = (take(&mut subscription).await, take(&mut subscription).await);
    first.nack(HOUR).await.expect("it was delivered");
    assert_eq!(refused(second.commit().await), "CommitAhead");
    subscription.seek(Start::Earliest).await.expect("which ends the delay");
    assert_eq!(settled(&client, &mut subscription).await, ["0=a #2", "1=b #2", "2=c #2"]);
    broker.stop().await;
}

pub(crate) async fn a_13_only_what_failed_too_often_goes_to_the_dead_letters<F: Form>() {
    let (broker, client, _) = reading::<F>(1, &["a", "b", "c"]).await;
    let reader = broker.client().await;
    let subscribe = reader.subscribe("t").window(3).durable("d").dead_letter(2, "dead");
    let mut subscription = subscribe.await.expect("subscribed");
    let mut watcher = client.subscribe("dead").window(9).await.expect("subscribed");
    let first = take(&mut subscription).await;
    assert_eq!(settled(&reader, &mut subscription).await, ["1=b", "2=c"]);
    first.nack(NOW).await.expect("it was delivered");
    assert_eq!(settled(&reader, &mut subscription).await, ["0=a #2", "1=b #2", "2=c #2"]);
    assert!(settled(&client, &mut watcher).await.is_empty(), "it failed once");
    first.nack(NOW).await.expect("it was delivered");
    assert_eq!(next(&mut watcher).await, "0=a", "whoever reads there is woken");
    assert_eq!(settled(&reader, &mut subscription).await, ["1=b #3", "2=c #3"], "the cursor has passed it");
    let expected = "zaichik-topic=t zaichik-offset=0 zaichik-subscription=d zaichik-failures=2 \
                    zaichik-reason=nack a";
    assert_eq!(copies(&broker, "dead").await, [expected]);
    broker.stop().await;
}

pub(crate) async fn a_13_the_end_of_a_connection_is_a_failure_of_its_only_message<F: Form>() {
    let (broker, _, _) = reading::<F>(1, &["a", "b"]).await;
    let sub = Sub::new(1, "t").durable("d").dead_letter(2, "dead");
    for expected in ["1/0=a", "1/0=a #2"] {
        let peer = broker.peer().await;
        peer.answer(peer.subscribe_to(sub)).await;
        assert_eq!(peer.stream().await, [expected]);
        peer.close();
        peer.end().await;
    }
    let peer = broker.peer().await;
    assert_eq!(peer.answer(peer.subscribe_to(sub)).await, "1..2 epoch 3 rewind 2");
    assert_eq!(peer.stream().await, ["1/1=b"]);
    let copies = copies(&broker, "dead").await;
    assert!(copies.len() == 1 && copies[0].ends_with("zaichik-reason=disconnected a"), "{copies:?}");
    broker.stop().await;
}

pub(crate) async fn a_14_a_dead_letter_topic_that_can_not_be_used_is_refused<F: Form>() {
    let (broker, client, _) = reading::<F>(1, &["a"]).await;
    client.create_topic("live only", TopicOptions::new()).await.expect("created");
    let other = broker.client().await;
    for unusable in ["t", "live only"] {
        assert_eq!(refused(other.subscribe("t").dead_letter(1, unusable).await), "InvalidDeadLetter");
    }
    assert_eq!(refused(other.subscribe("t").window(0).dead_letter(1, "dead").await), "CommitsOff");
    let mut subscription = other.subscribe("t").dead_letter(1, "dead").await.expect("a usable one");
    assert_eq!(next(&mut subscription).await, "0=a");
    broker.stop().await;
}

/// The message stays, and comes again after a second.
pub(crate) async fn a_14_a_full_dead_letter_topic_leaves_the_message_where_it_is<F: Form>() {
    let (broker, client, _) = reading::<F>(1, &["a", "b"]).await;
    let full = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    client.create_topic("dead", full).await.expect("created");
    put(&client, "dead", "full").await;
    let reader = broker.client().await;
    let mut subscription = reader.subscribe("t").window(2).dead_letter(1, "dead").await.expect("subscribed");
    let first = take(&mut subscription).await;
    assert_eq!(settled(&reader, &mut subscription).await, ["1=b"]);
    first.nack(NOW).await.expect("it was delivered");
    assert!(settled(&reader, &mut subscription).await.is_empty(), "it waits");
    assert_eq!(copies(&broker, "dead").await, ["full"]);
    assert_eq!(next(&mut subscription).await, "0=a #2");
    assert_eq!(next(&mut subscription).await, "1=b #2");
    client.alter_topic("dead", TopicOptions::new().max_messages(2)).await.expect("altered");
    first.nack(NOW).await.expect("it was delivered");
    assert_eq!(next(&mut subscription).await, "1=b #3");
    assert_eq!(copies(&broker, "dead").await.len(), 2);
    broker.stop().await;
}

pub(crate) async fn d_06_a_seek_goes_back_and_on<F: Form>() {
    let (broker, client, mut subscription) = reading::<F>(2, &["a", "b", "c", "d"]).await;
    assert_eq!(settled(&client, &mut subscription).await, ["0=a", "1=b"]);
    subscription.commit().await.expect("committed");
    assert_eq!(settled(&client, &mut subscription).await, ["2=c", "3=d"]);
    subscription.seek(Start::Earliest).await.expect("moved");
    assert_eq!(settled(&client, &mut subscription).await, ["0=a", "1=b"]);
    assert_eq!(refused(subscription.commit_to(2).await), "CommitAhead 2", "the window is a new one");
    subscription.seek(Start::Offset(3)).await.expect("moved");
    assert_eq!(next_committed(&mut subscription).await, "3=d #2");
    // Beyond the end it waits.
    subscription.seek(Start::Offset(6)).await.expect("moved");
    for (body, offset) in [("e", "@4"), ("f", "@5"), ("g", "@6")] {
        assert_eq!(put(&client, "t", body).await, offset);
    }
    assert_eq!(settled(&client, &mut subscription).await, ["6=g"]);
    subscription.seek(Start::Latest).await.expect("moved");
    put(&client, "t", "h").await;
    assert_eq!(next(&mut subscription).await, "7=h");
    broker.stop().await;
}

pub(crate) async fn d_06_anybody_may_seek_a_durable_subscription<F: Form>() {
    let (broker, client, _) = reading::<F>(1, &["a", "b", "c"]).await;
    let reader = broker.client().await;
    let mut subscription = reader.subscribe("t").durable("d").await.expect("subscribed");
    assert_eq!(next(&mut subscription).await, "0=a");
    client.seek("t", "d", Start::Offset(2)).await.expect("moved");
    assert_eq!(settled(&reader, &mut subscription).await, ["2=c"]);
    assert_eq!(subscription.unsubscribe().await.expect("detached"), Some(2));
    client.seek("t", "d", Start::Earliest).await.expect("also a detached one");
    let mut again = reader.subscribe("t").durable("d").await.expect("subscribed");
    assert_eq!(again.start(), 0);
    assert_eq!(next(&mut again).await, "0=a");
    let (unknown, nowhere) =
        join!(client.seek("t", "e", Start::Latest), client.seek("none", "d", Start::Latest));
    assert_eq!((refused(unknown), refused(nowhere)), ("NotSubscribed".to_owned(), "UnknownTopic".to_owned()));
    broker.stop().await;
}
