//! P3: producers whose retries are stored once.

use std::time::Duration;

use zaichik_driver::{ErrorClass, Overflow, ProducerIdentity, Start, TopicOptions};
use zaichik_proto::{AckLevel, Producer, Record};
use zaichik_testkit::{Sub, done, keyed, put as publishing, record};

use crate::broker::{Broker, ClientOf, HOUR, PeerOf, SOON, put};
use crate::chapters::newcomer_starts_at;
use crate::form::Form;

/// Producer 7 in its first epoch.
const fn seq(sequence: u64) -> Producer {
    Producer { id: 7, epoch: 0, sequence }
}

/// Publishes one record to `t`; the answer.
async fn publish<F: Form>(peer: &PeerOf<F>, producer: Producer, body: &str) -> String {
    publish_to::<F>(peer, producer, "t", &[record(body.as_bytes())]).await
}

async fn publish_to<F: Form>(
    peer: &PeerOf<F>,
    producer: Producer,
    topic: &str,
    records: &[Record<'_>],
) -> String {
    peer.answer(peer.publish_as(Some(producer), topic, AckLevel::Accepted, records)).await
}

/// A broker with a topic `t` that keeps everything, and a connection.
async fn kept<F: Form>() -> (Broker<F>, PeerOf<F>) {
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new().retain_forever()).await;
    (broker, peer)
}

/// All of `t`.
async fn everything<F: Form>(broker: &Broker<F>) -> Vec<String> {
    let newcomer = broker.peer().await;
    newcomer.answer(newcomer.subscribe_to(Sub::new(1, "t").window(0))).await;
    newcomer.stream().await
}

pub(crate) async fn p_01_the_same_sequence_again_gets_the_stored_answer<F: Form>() {
    let (broker, peer) = kept::<F>().await;
    for (sequence, body) in (40..).zip(["a", "b", "c"]) {
        assert_eq!(publish::<F>(&peer, seq(sequence), body).await, format!("@{}", sequence - 40));
    }
    // Whatever stands in the retry, whichever connection it comes from, and as often as it comes.
    let other = broker.peer().await;
    for peer in [&peer, &other, &other] {
        assert_eq!(publish::<F>(peer, seq(41), "something else").await, "@1");
        assert_eq!(publish_to::<F>(peer, seq(40), "another topic", &[record(b"x")]).await, "@0");
    }
    drop(peer);
    assert_eq!(publish::<F>(&other, seq(43), "d").await, "@3");
    assert_eq!(publish::<F>(&other, seq(43), "d").await, "@3");
    assert_eq!(everything(&broker).await, ["1/0=a", "1/1=b", "1/2=c", "1/3=d"]);
    broker.stop().await;
}

pub(crate) async fn p_02_a_hole_is_refused_and_nothing_is_appended<F: Form>() {
    let (broker, peer) = kept::<F>().await;
    assert_eq!(publish::<F>(&peer, seq(5), "a").await, "@0", "the first one may be any");
    for sequence in [7, 8, u64::MAX] {
        assert_eq!(publish::<F>(&peer, seq(sequence), "b").await, "refused SequenceGap 6");
        let batch = peer.batch_as(seq(sequence), &[publishing("new", "b")]);
        assert_eq!(peer.answer(batch).await, "refused SequenceGap 6");
    }
    assert_eq!(publish::<F>(&peer, seq(6), "c").await, "@1");
    assert_eq!(everything(&broker).await, ["1/0=a", "1/1=c"]);
    assert_eq!(peer.answer(peer.subscribe(1, "new")).await, "0..0 new", "it did not exist");
    broker.stop().await;
}

pub(crate) async fn p_03_a_sequence_older_than_what_is_remembered_is_too_old<F: Form>() {
    let (broker, peer) = kept::<F>().await;
    assert_eq!(publish::<F>(&peer, seq(100), "x").await, "@0");
    assert_eq!(publish::<F>(&peer, seq(99), "x").await, "refused SequenceTooOld", "below the first one");
    let records = [record(b"x")];
    let one = |sequence| peer.publish_as(Some(seq(sequence)), "t", AckLevel::Accepted, &records);
    let last = (101..=100 + 1_024).map(one).last().expect("many");
    assert_eq!(peer.answer(last).await, "@1024");
    assert_eq!(publish::<F>(&peer, seq(100), "x").await, "refused SequenceTooOld");
    assert_eq!(publish::<F>(&peer, seq(101), "x").await, "@1", "1,024 are remembered");
    assert_eq!(publish::<F>(&peer, seq(1_125), "x").await, "@1025");
    broker.stop().await;
}

pub(crate) async fn p_04_a_final_refusal_uses_the_sequence_up<F: Form>() {
    let (broker, peer) = kept::<F>().await;
    for sequence in [1, 1] {
        assert_eq!(
            publish_to::<F>(&peer, seq(sequence), "$bad", &[record(b"x")]).await,
            "refused InvalidTopic"
        );
        assert_eq!(publish::<F>(&peer, seq(sequence), "would be accepted").await, "refused InvalidTopic");
    }
    let batch = [publishing("t", "x"), done(9, 0)];
    assert_eq!(peer.answer(peer.batch_as(seq(2), &batch)).await, "refused NotSubscribed at 1");
    assert_eq!(peer.answer(peer.batch_as(seq(2), &[])).await, "refused NotSubscribed at 1");
    assert_eq!(publish::<F>(&peer, seq(3), "a").await, "@0");
    broker.stop().await;
}

pub(crate) async fn p_04_a_retryable_refusal_does_not_use_it_up<F: Form>() {
    let broker = Broker::<F>::start().await;
    let full = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    let peer = broker.topic(full).await;
    assert_eq!(publish::<F>(&peer, seq(1), "a").await, "@0");
    // Three requests in flight: the first one is refused for now, so those behind it are.
    let record = [record(b"b")];
    let send = |sequence, topic| peer.publish_as(Some(seq(sequence)), topic, AckLevel::Accepted, &record);
    for _ in 0..2 {
        let mut answers = Vec::new();
        for request in [send(2, "t"), send(3, "u"), send(4, "u")] {
            answers.push(peer.answer(request).await);
        }
        assert_eq!(answers, ["refused TopicFull", "refused SequenceGap 2", "refused SequenceGap 2"]);
    }
    peer.answer(peer.alter("t", TopicOptions::new().max_messages(2))).await;
    for (request, answer) in [(send(2, "t"), "@1"), (send(3, "u"), "@0 new"), (send(4, "u"), "@1")] {
        assert_eq!(peer.answer(request).await, answer);
    }
    broker.stop().await;
}

/// A client that publishes while a topic is full keeps the order of all that it has under way.
pub(crate) async fn p_04_a_client_resends_from_the_first_that_was_refused<F: Form>() {
    let broker = Broker::<F>::start().await;
    let full = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    let peer = broker.topic(full).await;
    let client = broker.client().await;
    put(&client, "t", "0").await;
    let handles: Vec<_> = (1..20_u64)
        .map(|number| (number, client.publish_nowait("t", number.to_string()).expect("room")))
        .collect();
    client.ping().await.expect("connected");
    peer.answer(peer.alter("t", TopicOptions::new().max_messages(100))).await;
    for (number, handle) in handles {
        assert_eq!(handle.await.expect("accepted, in the end").offset(0), Some(number));
    }
    let expected: Vec<_> = (0..20).map(|number| format!("1/{number}={number}")).collect();
    assert_eq!(everything(&broker).await, expected);
    broker.stop().await;
}

pub(crate) async fn p_05_a_producer_that_was_idle_too_long_is_a_new_one<F: Form>() {
    let broker = Broker::<F>::with(|config| config.producer_ttl = SOON).await;
    let peer = broker.topic(TopicOptions::new().retention_ttl(2 * SOON)).await;
    assert_eq!(publish::<F>(&peer, seq(5), "a").await, "@0");
    // The record outlives what is remembered of its producer.
    newcomer_starts_at(&broker, Start::Earliest, 1).await;
    assert_eq!(publish::<F>(&peer, seq(5), "a").await, "@1", "any sequence is as good as another");
    broker.stop().await;
}

pub(crate) async fn p_07_a_higher_epoch_fences_the_lower_one<F: Form>() {
    let (broker, peer) = kept::<F>().await;
    let owner = async |epoch| {
        let identity = ProducerIdentity::new(99).epoch(epoch);
        let builder = broker.client_builder().producer(Some(identity));
        builder.connect().await.expect("the broker listens")
    };
    let (first, second): (ClientOf<F>, ClientOf<F>) = (owner(1).await, owner(2).await);
    assert_eq!(put(&first, "t", "a").await, "@0");
    assert_eq!(put(&second, "t", "b").await, "@1");
    let fenced = first.publish("t", "never").await;
    assert_eq!(fenced.map_err(|error| error.class()), Err(ErrorClass::Fatal));
    assert_eq!(put(&second, "t", "c").await, "@2");
    let late = Producer { id: 99, epoch: 1, sequence: 1 };
    assert_eq!(publish::<F>(&peer, late, "never").await, "refused ProducerFenced 2");
    let batch = peer.batch_as(late, &[publishing("t", "never")]);
    assert_eq!(peer.answer(batch).await, "refused ProducerFenced 2");
    assert_eq!(everything(&broker).await, ["1/0=a", "1/1=b", "1/2=c"]);
    broker.stop().await;
}

pub(crate) async fn p_11_a_retry_gets_its_answer_and_not_that_of_the_key<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new().retain_forever().compaction_window(HOUR)).await;
    let keyed = [keyed("k", b"x")];
    assert_eq!(publish_to::<F>(&peer, seq(1), "t", &keyed).await, "@0");
    assert_eq!(publish_to::<F>(&peer, seq(1), "t", &keyed).await, "@0", "no duplicate of itself");
    assert_eq!(publish_to::<F>(&peer, seq(2), "t", &keyed).await, "none 0=@0");
    assert_eq!(publish_to::<F>(&peer, seq(2), "t", &keyed).await, "none 0=@0");
    assert_eq!(everything(&broker).await, ["1/0=x"]);
    broker.stop().await;
}

/// A client gives up what was refused for the moment at its deadline, and what waited behind it goes on.
pub(crate) async fn p4_a_deadline_holds_nothing_back_for_ever<F: Form>() {
    let broker = Broker::<F>::start().await;
    let full = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    let _peer = broker.topic(full).await;
    let client = broker.client().await;
    put(&client, "t", "0").await;
    let brief = zaichik_driver::PublishOptions::new().deadline(Duration::from_millis(50));
    let messages = ["never".into()];
    let (refused, behind) =
        futures::join!(client.publish_with("t", &messages, brief), client.publish("u", "behind"));
    assert_eq!(refused.map_err(|error| error.class()), Err(ErrorClass::Retryable));
    assert_eq!(behind.expect("accepted").offset(0), Some(0));
    assert_eq!(everything(&broker).await, ["1/0=0"]);
    broker.stop().await;
}
