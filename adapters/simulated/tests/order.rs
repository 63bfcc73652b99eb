//! Publishes of one client are stored in the order in which they are called (rule P6), whatever makes them wait.
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{join_all, poll_immediate};
use futures::{FutureExt, SinkExt, StreamExt, stream};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use zaichik_simulated::{
    BrokerConfig, Client, EmbeddedBroker, Outgoing, Overflow, Server, Simulation, Start, TopicOptions,
    break_connections, sleep, spawn, timeout,
};

const TOPIC: &str = "t";

/// One call of a program.
#[derive(Debug, Clone, Copy)]
struct Call {
    form: Form,
    /// Bytes of each message.
    size: usize,
    /// Turns of the executor before it.
    pause: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Publish,
    /// Refused by a broker without a disk, at its place in the order.
    Durable,
    NoAck,
    Enqueue,
    EnqueueNoAck,
    /// Two messages in one step.
    All,
    Transaction,
    /// Two messages through a sink.
    Publisher,
    /// Dropped after the first poll.
    Dropped,
    /// Polled once, and again only when everything else is done.
    Kept,
}

/// The calls in the order of their first polls, and those whose messages are certainly stored.
#[derive(Debug, Default)]
struct Calls {
    made: Vec<String>,
    stored: Vec<String>,
}

/// Calls `begun` at the first poll of `future`.
async fn noting<T>(future: impl Future<Output = T>, begun: impl FnOnce()) -> T {
    let mut future = pin!(future);
    let mut begun = Some(begun);
    poll_fn(move |cx| {
        if let Some(begun) = begun.take() {
            begun();
        }
        future.as_mut().poll(cx)
    })
    .await
}

fn message(name: &str, size: usize) -> Outgoing {
    Outgoing::new(format!("{name}:{}", "x".repeat(size)))
}

/// A task's calls: each runs beside the ones after it.
async fn run_task(client: Client, task: usize, calls: Vec<Call>, seen: Rc<RefCell<Calls>>) {
    let mut running: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    let mut kept = Vec::new();
    for (number, Call { form, size, pause }) in calls.into_iter().enumerate() {
        for _ in 0..pause {
            poll_fn(yield_once()).await;
        }
        let names = [0, 1].map(|part| format!("{task}.{number}.{part}"));
        let [first, second] = names.clone();
        let one = message(&first, size);
        let both = [one.clone(), message(&second, 10)];
        let count = if matches!(form, Form::All | Form::Publisher) { 2 } else { 1 };
        let names: Vec<_> = names.into_iter().take(count).collect();
        let begun = {
            let (names, seen) = (names.clone(), Rc::clone(&seen));
            move || seen.borrow_mut().made.extend(names)
        };
        let stored = {
            let seen = Rc::clone(&seen);
            move || seen.borrow_mut().stored.extend(names)
        };
        let (client, seen) = (client.clone(), Rc::clone(&seen));
        let mut future: Pin<Box<dyn Future<Output = ()>>> = match form {
            Form::Publish | Form::Kept => Box::pin(async move {
                noting(client.publish(TOPIC, one), begun).await.expect("accepted");
                stored();
            }),
            Form::Dropped => Box::pin(async move {
                let _ = noting(client.publish(TOPIC, one), begun).await;
            }),
            Form::Durable => Box::pin(async move {
                noting(client.publish(TOPIC, one).durable(), begun).await.expect_err("no disk");
            }),
            Form::NoAck => Box::pin(async move {
                noting(client.publish(TOPIC, one).no_ack(), begun).await.expect("queued");
            }),
            Form::All => Box::pin(async move {
                noting(client.publish_all(TOPIC, both), begun).await.expect("accepted");
                stored();
            }),
            Form::Transaction => Box::pin(async move {
                noting(client.transaction().publish(TOPIC, one).send(), begun).await.expect("applied");
                stored();
            }),
            Form::Publisher => Box::pin(async move {
                // One step: each step of a publisher is a call of its own.
                let mut publisher = client.publisher(TOPIC).max_in_flight(1);
                for message in [message(&first, size.min(1_000)), message(&second, 10)] {
                    publisher.feed(message).await.expect("collected");
                }
                noting(publisher.flush(), begun).await.expect("accepted");
                stored();
            }),
            Form::Enqueue => {
                let publish = client.publish(TOPIC, one);
                let Ok(receipt) = publish.enqueue() else { continue };
                begun();
                Box::pin(async move {
                    receipt.await.expect("accepted");
                    stored();
                })
            }
            Form::EnqueueNoAck => {
                if client.publish(TOPIC, one).no_ack().enqueue().is_ok() {
                    seen.borrow_mut().made.push(first);
                }
                continue;
            }
        };
        if poll_immediate(&mut future).await.is_some() {
            continue;
        }
        if form == Form::Kept {
            kept.push(future);
        } else if form != Form::Dropped {
            running.push(future);
        }
    }
    join_all(running).await;
    join_all(kept).await;
}

/// A poll function that is ready with its second poll.
fn yield_once() -> impl FnMut(&mut Context<'_>) -> Poll<()> {
    let mut has_yielded = false;
    move |cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The names of the messages of the topic, in the order of the log, once `client` has no more to send.
async fn log_of(reader: &Client) -> Vec<String> {
    let end = reader.topic(TOPIC).await.expect("it exists").end;
    let mut log = Vec::new();
    let mut subscription = reader.subscribe(TOPIC).window(0).from(Start::Earliest).await.expect("subscribed");
    while (log.len() as u64) < end {
        let message = subscription.next_message().await.expect("no error").expect("it continues");
        let body = String::from_utf8(message.body.to_vec()).expect("a name");
        log.push(body.split(':').next().unwrap_or_default().to_owned());
    }
    log
}

/// The environment of the calls.
#[derive(Debug, Clone, Copy)]
struct Around {
    seed: u64,
    max_in_flight: usize,
    max_in_flight_bytes: usize,
    /// How often connections break.
    breaks: u8,
    /// Whether the topic is often full: another client commits, slowly.
    is_full: bool,
}

fn check(around: Around, tasks: Vec<Vec<Call>>) -> (Calls, Vec<String>) {
    let Around { seed, max_in_flight, max_in_flight_bytes, breaks, is_full } = around;
    let seen = Rc::new(RefCell::new(Calls::default()));
    let log = Simulation::with_seed(seed).run(async {
        let server = Server::bind("broker:8889", BrokerConfig::default()).await.expect("the port is free");
        let other = server.broker().client();
        let serving = spawn(server.serve());
        let options = TopicOptions::new().retain_forever();
        let options = if is_full { options.max_messages(3).overflow(Overflow::Reject) } else { options };
        other.create_topic(TOPIC, options).await.expect("created");
        let slow = Rc::new(RefCell::new(Vec::new()));
        let reader = is_full.then(|| {
            let (other, slow) = (other.clone(), Rc::clone(&slow));
            spawn(async move {
                let mut subscription = other.subscribe(TOPIC).durable("slow").await.expect("subscribed");
                while let Some(received) = timeout(Duration::from_secs(20), subscription.next_message()).await
                {
                    let message = received.expect("no error").expect("it continues");
                    let body = String::from_utf8(message.body.to_vec()).expect("a name");
                    slow.borrow_mut().push(body.split(':').next().unwrap_or_default().to_owned());
                    sleep(Duration::from_millis(3)).await;
                    message.commit().await.expect("committed");
                }
            })
        });
        let client = Client::builder("broker:8889")
            .max_in_flight(max_in_flight)
            .configure(|config| config.max_in_flight_bytes = max_in_flight_bytes)
            .start();
        let running: Vec<_> = tasks
            .into_iter()
            .enumerate()
            .map(|(task, calls)| spawn(run_task(client.clone(), task, calls, Rc::clone(&seen))))
            .collect();
        for _ in 0..breaks {
            sleep(Duration::from_millis(2)).await;
            break_connections();
        }
        join_all(running).await;
        client.close().await.expect("nothing is unanswered");
        if let Some(reader) = reader {
            reader.await;
            return slow.take();
        }
        let log = log_of(&other).await;
        drop(serving);
        log
    });
    (seen.take(), log)
}

fn form() -> impl Strategy<Value = Form> {
    use Form::{All, Dropped, Durable, Enqueue, EnqueueNoAck, Kept, NoAck, Publish, Publisher, Transaction};
    prop::sample::select(vec![
        Publish,
        Publish,
        Durable,
        NoAck,
        Enqueue,
        EnqueueNoAck,
        All,
        Transaction,
        Publisher,
        Dropped,
        Kept,
    ])
}

fn call() -> impl Strategy<Value = Call> {
    let size = prop::sample::select(vec![0, 0, 10, 3_000, 70_000]);
    let pause = prop::sample::select(vec![0_u8, 0, 0, 1, 5]);
    (form(), size, pause).prop_map(|(form, size, pause)| Call { form, size, pause })
}

fn around() -> impl Strategy<Value = Around> {
    let bytes = prop::sample::select(vec![1, 5_000, 100_000, 8 << 20]);
    (any::<u64>(), 1_usize..20, bytes, 0_u8..3, any::<bool>()).prop_map(
        |(seed, max_in_flight, max_in_flight_bytes, breaks, is_full)| Around {
            seed,
            max_in_flight,
            max_in_flight_bytes,
            breaks,
            is_full,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p6_every_form_of_publish_is_stored_in_the_order_of_the_calls(
        around in around(),
        tasks in prop::collection::vec(prop::collection::vec(call(), 1..40), 1..4),
    ) {
        let (calls, log) = check(around, tasks);
        let mut made = calls.made.iter();
        for (place, name) in log.iter().enumerate() {
            prop_assert!(made.any(|call| call == name), "{name}, number {place} of {log:?}, was called earlier");
        }
        for name in &calls.stored {
            prop_assert!(log.contains(name), "{name} is missing");
        }
        prop_assert_eq!(log.iter().collect::<std::collections::BTreeSet<_>>().len(), log.len(), "stored once");
    }
}

#[test]
fn p6_a_buffered_stream_of_publishes_is_stored_in_its_order() {
    Simulation::new().run(async {
        let broker = EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid");
        let client = broker.client_builder().max_in_flight(16).start();
        client.create_topic(TOPIC, TopicOptions::new().retain_forever()).await.expect("created");
        let publishes = (0..2_000).map(|number| client.publish(TOPIC, format!("{number}:")));
        let receipts: Vec<_> = stream::iter(publishes).buffered(64).collect().await;
        for (number, receipt) in (0..).zip(receipts) {
            assert_eq!(receipt.expect("accepted").offset(0), Some(number));
        }
    });
}

#[test]
fn p6_large_messages_are_not_overtaken_by_small_ones() {
    Simulation::new().run(async {
        let broker = EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid");
        let client = broker.client();
        client.create_topic(TOPIC, TopicOptions::new().retain_forever()).await.expect("created");
        let size = |number: u64| if number.is_multiple_of(10) { 700 << 10 } else { 10 };
        let publishes = (0..200).map(|number| client.publish(TOPIC, vec![0; size(number)]));
        for (number, receipt) in (0..).zip(join_all(publishes).await) {
            assert_eq!(receipt.expect("accepted").offset(0), Some(number));
        }
    });
}

#[test]
fn p6_a_waiting_publish_that_nobody_polls_stalls_no_other_and_keeps_its_place() {
    Simulation::new().run(async {
        let broker = EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid");
        let client = broker.client_builder().max_in_flight(1).connect().await.expect("connected");
        client.create_topic(TOPIC, TopicOptions::new().retain_forever()).await.expect("created");
        let first = client.publish(TOPIC, "0").enqueue().expect("room");
        let mut unpolled = client.publish(TOPIC, "1");
        assert!((&mut unpolled).now_or_never().is_none(), "it waits for room");
        let mut dropped = client.publish(TOPIC, "never");
        assert!((&mut dropped).now_or_never().is_none(), "it waits for room");
        drop(dropped);
        let third = client.publish(TOPIC, "2").await.expect("accepted");
        assert_eq!(
            third.offset(0),
            Some(2),
            "behind the one that is not polled; the dropped one is withdrawn"
        );
        assert_eq!(unpolled.await.expect("accepted").offset(0), Some(1));
        assert_eq!(first.await.expect("accepted").offset(0), Some(0));
    });
}
