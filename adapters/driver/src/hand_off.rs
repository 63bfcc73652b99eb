//! The hand-off between connections and the broker, under many interleavings of threads.
//!
//! Clients, connections, housekeeping and the store run as threads of a scheduler that picks the next thread at every lock. Timers
//! never ring, so a thread that misses its wake stays blocked, and the scheduler reports the deadlock:
//!
//! `cargo test -p zaichik-driver --features shuttle hand_off`

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use shuttle::future as threads;

use bytes::Bytes;
use zaichik_engine::store::{Commit, Fetch};
use zaichik_engine::{Broker, Seed};
use zaichik_testkit::Rows;

use crate::manual::Manual;
use crate::sync::Mutex;
use crate::{
    BrokerConfig, Client, ClientError, DurableOptions, EmbeddedBroker, Fetcher, OnConflict, Overflow, Start,
    Store, StoreError, Subscription, TopicOptions,
};

/// Schedules of each kind that each test tries.
const SCHEDULES: usize = 200;

/// Tries schedules: uniformly random ones, and ones with few context switches.
fn weave<T: Future<Output = ()> + 'static>(program: fn() -> T) {
    let run = move || threads::block_on(program());
    shuttle::check_random(run, SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, 3);
}

fn broker() -> EmbeddedBroker<Manual> {
    EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid")
}

/// Stores at once, after others had a turn.
#[derive(Default)]
struct Fast(Arc<Mutex<Rows>>);

impl Store for Fast {
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        shuttle::thread::yield_now();
        self.0.lock().expect("no panic").apply(commit);
        Ok(())
    }

    fn fetcher(&mut self) -> Result<Box<dyn Fetcher>, StoreError> {
        Ok(Box::new(Shelf(Arc::clone(&self.0))))
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Reads from it, after others had a turn.
struct Shelf(Arc<Mutex<Rows>>);

impl Fetcher for Shelf {
    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        shuttle::thread::yield_now();
        Ok(self.0.lock().expect("no panic").fetch(fetch))
    }
}

fn storing() -> EmbeddedBroker<Manual> {
    storing_with(BrokerConfig::default())
}

fn storing_with(config: BrokerConfig) -> EmbeddedBroker<Manual> {
    let broker = Broker::new(config, Seed::new(1, 2)).expect("a valid configuration");
    EmbeddedBroker::start_with(broker, Box::new(Fast::default())).expect("a thread")
}

async fn stop(broker: EmbeddedBroker<Manual>, clients: impl IntoIterator<Item = Client<Manual>>) {
    for client in clients {
        client.close().await.expect("no answer is outstanding");
    }
    broker.shutdown(Duration::from_secs(1)).await.expect("an orderly end");
}

/// Takes and commits `count` messages.
async fn consume(mut subscription: Subscription, count: usize) -> Result<(), ClientError> {
    for number in 0..count {
        let message = subscription.next_message().await?.expect("the subscription continues");
        assert_eq!(message.offset, number as u64, "in order");
        message.commit().await?;
    }
    Ok(())
}

#[test]
fn hand_off_a_reader_with_something_to_pull_is_woken() {
    weave(|| async {
        let broker = broker();
        let (writer, reader) = (broker.client(), broker.client());
        let subscription = reader.subscribe("t").await.expect("subscribed");
        let reading = threads::spawn(consume(subscription, 3));
        for body in ["a", "b", "c"] {
            writer.publish("t", body).await.expect("accepted");
        }
        reading.await.expect("no panic").expect("three messages");
        stop(broker, [writer, reader]).await;
    });
}

#[test]
fn hand_off_commits_of_one_connection_make_room_for_another() {
    weave(|| async {
        let broker = broker();
        let (writer, reader) = (broker.client(), broker.client());
        let options = TopicOptions::new().max_messages(1).overflow(Overflow::Reject);
        writer.create_topic("t", options).await.expect("created");
        let subscription = reader.subscribe("t").window(2).await.expect("subscribed");
        writer.publish("t", "a").await.expect("accepted");
        consume(subscription, 1).await.expect("one message");
        writer.publish("t", "b").await.expect("there is room again");
        stop(broker, [writer, reader]).await;
    });
}

#[test]
fn hand_off_a_transaction_wakes_readers_of_all_its_topics() {
    weave(|| async {
        let broker = broker();
        let (worker, reader) = (broker.client(), broker.client());
        let mut input = worker.subscribe("in").durable("d").await.expect("subscribed");
        let output = reader.subscribe("out").await.expect("subscribed");
        let reading = threads::spawn(consume(output, 2));
        for body in ["a", "b"] {
            reader.publish("in", body).await.expect("accepted");
        }
        for _ in 0..2 {
            let message = input.next_message().await.expect("no error").expect("a message");
            let transaction = worker.transaction().publish("out", message.body.clone()).commit(&message);
            transaction.send().await.expect("applied");
        }
        reading.await.expect("no panic").expect("two messages");
        drop(input);
        stop(broker, [worker, reader]).await;
    });
}

#[test]
fn hand_off_a_client_that_loses_a_durable_subscription_is_notified() {
    weave(|| async {
        let broker = broker();
        let (old, new) = (broker.client(), broker.client());
        let mut lost = old.subscribe("t").durable("d").await.expect("subscribed");
        let waiting = threads::spawn(async move { lost.next_message().await });
        let held = new.subscribe("t").durable(DurableOptions::new("d").on_conflict(OnConflict::Reject)).await;
        assert!(held.is_err(), "another client holds it");
        let mut taken = new.subscribe("t").durable("d").await.expect("subscribed");
        let lost = waiting.await.expect("no panic");
        assert!(matches!(lost, Err(ClientError::Fenced { .. })), "{lost:?}");
        old.publish("t", "a").await.expect("accepted");
        assert_eq!(taken.next_message().await.expect("no error").expect("a message").body, "a");
        drop(taken);
        stop(broker, [old, new]).await;
    });
}

#[test]
fn hand_off_a_broker_that_stops_leaves_no_task_behind() {
    weave(|| async {
        let broker = broker();
        // A reconnect would wait for a timer.
        let client = || broker.client_builder().reconnect(false).start();
        let (writer, reader) = (client(), client());
        let mut subscription = reader.subscribe("t").window(0).await.expect("subscribed");
        let reading =
            threads::spawn(async move { while let Ok(Some(_)) = subscription.next_message().await {} });
        let writing = threads::spawn(async move {
            // Bounded, because some schedules make the other threads wait for all of it.
            for _ in 0..5 {
                if writer.publish("t", "x").await.is_err() {
                    break;
                }
            }
        });
        broker.shutdown(Duration::ZERO).await.expect("an orderly end");
        reading.await.expect("no panic");
        writing.await.expect("no panic");
        drop(reader);
    });
}

#[test]
fn hand_off_what_waits_for_the_store_leaves_when_it_has_it() {
    weave(|| async {
        let broker = storing();
        let (writer, reader) = (broker.client(), broker.client());
        let subscription = reader.subscribe("t").durable("d").await.expect("subscribed");
        let reading = threads::spawn(consume(subscription, 3));
        for body in ["a", "b", "c"] {
            writer.publish("t", body).await.expect("stored");
        }
        reading.await.expect("no panic").expect("three messages");
        stop(broker, [writer, reader]).await;
    });
}

#[test]
fn hand_off_what_is_only_in_the_store_is_read_back_for_whoever_waits() {
    weave(|| async {
        let mut config = BrokerConfig::default();
        config.max_resident_bytes = Some(0);
        let broker = storing_with(config);
        let (writer, reader) = (broker.client(), broker.client());
        writer.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
        for body in ["a", "b", "c"] {
            writer.publish("t", body.repeat(60_000)).await.expect("stored");
        }
        let subscription = reader.subscribe("t").from(Start::Earliest).await.expect("subscribed");
        consume(subscription, 3).await.expect("three messages");
        stop(broker, [writer, reader]).await;
    });
}

#[test]
fn hand_off_a_store_takes_the_last_commit_of_a_broker_that_stops() {
    weave(|| async {
        let broker = storing();
        let writer = broker.client_builder().reconnect(false).start();
        let writing = threads::spawn(async move {
            for _ in 0..3 {
                if writer.publish("t", "x").await.is_err() {
                    break;
                }
            }
        });
        broker.shutdown(Duration::ZERO).await.expect("an orderly end");
        writing.await.expect("no panic");
    });
}
