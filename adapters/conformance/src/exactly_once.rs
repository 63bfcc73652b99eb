//! Rules P-06 and X-03: each request has one effect, wherever a connection breaks.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::future::join_all;
use futures::poll;
use zaichik_driver::{
    BatchReceipt, Client, ClientBuilder, ClientError, Delivery, RefusalCode, RequestError, Runtime,
    Subscription,
};
use zaichik_testkit::Sub;

use crate::broker::{Broker, ClientOf, next_message, put};
use crate::faults::{Direction, Fault};
use crate::form::Form;
use crate::proxy::Proxy;

/// Maximum concurrent runs.
const AT_ONCE: usize = 12;

/// A broker whose implicit topics retain forever.
async fn keeping<F: Form>() -> Broker<F> {
    Broker::with(|config| config.topic_defaults.retention_ttl_micros = u64::MAX).await
}

/// What each topic must hold at the end. One connection checks all of them, because each TCP connection makes a port
/// unusable for a minute and ports are limited.
#[derive(Default)]
struct Expected(RefCell<Vec<(String, Vec<String>)>>);

impl Expected {
    fn in_topic(&self, topic: &str, bodies: impl IntoIterator<Item = impl ToString>) {
        let bodies = bodies.into_iter().map(|body| body.to_string()).collect();
        self.0.borrow_mut().push((topic.to_owned(), bodies));
    }

    /// Checks that each topic holds exactly these bodies, in order.
    async fn check<F: Form>(self, broker: &Broker<F>) {
        let peer = broker.peer().await;
        for (topic, expected) in self.0.into_inner() {
            peer.answer(peer.subscribe_to(Sub::new(1, &topic).window(0))).await;
            let expected: Vec<_> =
                (0..).zip(expected).map(|(offset, body): (u64, _)| format!("1/{offset}={body}")).collect();
            assert_eq!(peer.stream().await, expected, "{topic}");
            peer.answer(peer.unsubscribe(1)).await;
        }
    }
}

/// A client at a proxy that reconnects quickly.
fn behind<R: Runtime>(proxy: &Proxy) -> ClientBuilder<R> {
    Client::builder(proxy.address()).retry_first_connect(true).configure(|config| {
        config.reconnect_min = Duration::from_millis(1);
        config.reconnect_max = Duration::from_millis(20);
    })
}

/// Runs `program` for each byte at which its first connection can break, in each direction, up to the first byte that
/// it does not need. It receives the proxy to connect to and a unique name, and returns whether the connection broke.
async fn at_each_byte<F: Form>(broker: &Broker<F>, program: impl AsyncFn(&Proxy, &str) -> bool) {
    at_bytes(broker, 1, program).await;
}

/// The same for as many bytes as the form can afford.
async fn at_many_bytes<F: Form>(broker: &Broker<F>, program: impl AsyncFn(&Proxy, &str) -> bool) {
    at_bytes(broker, F::STRIDE, program).await;
}

async fn at_bytes<F: Form>(broker: &Broker<F>, stride: usize, program: impl AsyncFn(&Proxy, &str) -> bool) {
    for direction in [Direction::ToBroker, Direction::FromBroker] {
        for first in (0..).step_by(AT_ONCE * stride) {
            let runs = (first..).step_by(stride).take(AT_ONCE).map(|cut| {
                let program = &program;
                async move {
                    let plan =
                        move |number| if number == 0 { vec![Fault::Cut(direction, cut)] } else { Vec::new() };
                    let proxy = Proxy::start::<F::Runtime>(&broker.address(), plan).await;
                    program(&proxy, &format!("{direction:?}/{cut}")).await
                }
            });
            let broke = join_all(runs).await;
            assert!(first > 0 || broke.contains(&true), "no connection broke");
            if broke.contains(&false) {
                break;
            }
        }
    }
}

pub(crate) async fn p_06_a_publish_cut_at_each_byte_is_stored_once<F: Form>() {
    let broker = keeping::<F>().await;
    let expected = Expected::default();
    let program = async |proxy: &Proxy, topic: &str| {
        let client = behind::<F::Runtime>(proxy).start();
        let receipt = client.publish(topic, "x").await.expect("accepted eventually");
        assert_eq!(receipt.offset(0), Some(0), "{topic}");
        expected.in_topic(topic, ["x"]);
        proxy.connections() > 1
    };
    at_each_byte(&broker, program).await;
    expected.check(&broker).await;
    broker.stop().await;
}

pub(crate) async fn p_06_several_publishes_in_flight_cut_at_many_bytes_keep_their_order<F: Form>() {
    let broker = keeping::<F>().await;
    let expected = Expected::default();
    let program = async |proxy: &Proxy, topic: &str| {
        let client = behind::<F::Runtime>(proxy).start();
        let handles = ["a", "b", "c"].map(|body| client.publish(topic, body).enqueue().expect("room"));
        for (offset, handle) in (0..).zip(handles) {
            assert_eq!(handle.await.expect("accepted eventually").offset(0), Some(offset), "{topic}");
        }
        expected.in_topic(topic, ["a", "b", "c"]);
        proxy.connections() > 1
    };
    at_many_bytes(&broker, program).await;
    expected.check(&broker).await;
    broker.stop().await;
}

pub(crate) async fn x_03_a_transaction_cut_at_many_bytes_has_one_effect<F: Form>() {
    let broker = keeping::<F>().await;
    let expected = Expected::default();
    let program = async |proxy: &Proxy, topic: &str| {
        let client = behind::<F::Runtime>(proxy).start();
        let other = format!("{topic}/other");
        let before = client.publish(topic, "before").enqueue().expect("room");
        let transaction = client.transaction().publish(topic, "a").publish(&other, "b").publish(topic, "c");
        let sending = transaction.send();
        let (before, receipt) = futures::join!(before, sending);
        assert_eq!(before.expect("accepted eventually").offset(0), Some(0), "{topic}");
        let receipt = receipt.expect("applied eventually");
        let offsets: Vec<_> = receipt.publishes.iter().map(|one| one.offset(0)).collect();
        assert_eq!(offsets, [Some(1), Some(0), Some(2)], "{topic}");
        expected.in_topic(topic, ["before", "a", "c"]);
        expected.in_topic(&other, ["b"]);
        proxy.connections() > 1
    };
    at_many_bytes(&broker, program).await;
    expected.check(&broker).await;
    broker.stop().await;
}

/// A worker's task: for each message of `name/in`, publish an output to `name/out` in one transaction with the commit
/// of the message.
struct Work<'a> {
    name: &'a str,
    inputs: u64,
}

impl Work<'_> {
    async fn prepare<R: Runtime>(&self, client: &Client<R>) {
        for number in 0..self.inputs {
            put(client, &format!("{}/in", self.name), number.to_string()).await;
        }
    }

    async fn subscribe<R: Runtime>(&self, client: &Client<R>) -> Result<Subscription, ClientError> {
        client.subscribe(&format!("{}/in", self.name)).durable("worker").await
    }

    async fn process<R: Runtime>(
        &self,
        client: &Client<R>,
        message: &Delivery,
    ) -> Result<BatchReceipt, ClientError> {
        let body = String::from_utf8_lossy(&message.body);
        let output = client.transaction().publish(&format!("{}/out", self.name), format!("f({body})"));
        output.commit(message).send().await
    }

    /// Processes every input.
    async fn finish<R: Runtime>(&self, client: &Client<R>) -> Result<(), ClientError> {
        let mut subscription = self.subscribe(client).await?;
        let mut done = subscription.start();
        while done < self.inputs {
            let message = subscription.next_message().await?.expect("more to do");
            match self.process(client, &message).await {
                Ok(_) => done = message.offset + 1,
                // It had no effect, and the message is redelivered.
                Err(ClientError::Request(RequestError::NotApplied { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Processes the rest with new workers, on connections that do not break.
    ///
    /// Frames of a dead worker may arrive late and take over from its successor; then another worker is needed.
    async fn take_over<F: Form>(&self, broker: &Broker<F>) {
        while let Err(error) = self.finish(&broker.client().await).await {
            let is_fenced = if let ClientError::Request(RequestError::Refused { refusal, .. }) = &error {
                refusal.code == RefusalCode::SubscriptionFenced
            } else {
                matches!(error, ClientError::Fenced { .. })
            };
            assert!(is_fenced, "{}: {error}", self.name);
        }
    }

    /// Expects exactly one output for each input, in order.
    fn expect_done(&self, expected: &Expected) {
        expected
            .in_topic(&format!("{}/out", self.name), (0..self.inputs).map(|number| format!("f({number})")));
    }
}

/// One worker, whose client reconnects automatically.
pub(crate) async fn x_03_consume_transform_produce_cut_at_many_bytes<F: Form>() {
    let broker = keeping::<F>().await;
    let steady = broker.client().await;
    let expected = Expected::default();
    let program = async |proxy: &Proxy, name: &str| {
        let work = Work { name, inputs: 2 };
        work.prepare(&steady).await;
        let client = behind::<F::Runtime>(proxy).start();
        work.finish(&client).await.expect("the client reconnects");
        work.expect_done(&expected);
        proxy.connections() > 1
    };
    at_many_bytes(&broker, program).await;
    expected.check(&broker).await;
    broker.stop().await;
}

/// A worker ends with its connection, and another replaces it.
pub(crate) async fn x_03_consume_transform_produce_by_workers_that_die_at_many_bytes<F: Form>() {
    let broker = keeping::<F>().await;
    let steady = broker.client().await;
    let expected = Expected::default();
    let program = async |proxy: &Proxy, name: &str| {
        let work = Work { name, inputs: 2 };
        work.prepare(&steady).await;
        let client = behind::<F::Runtime>(proxy).reconnect(false).start();
        let died = work.finish(&client).await.is_err();
        drop(client);
        work.take_over(&broker).await;
        work.expect_done(&expected);
        died
    };
    at_many_bytes(&broker, program).await;
    expected.check(&broker).await;
    broker.stop().await;
}

/// How a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its connection breaks.
    Cut,
    /// It is dropped, and its client still sends queued requests.
    Dropped,
    /// It does not end: it is slow, and continues after another worker has replaced it.
    Late,
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<BatchReceipt, ClientError>> + 'a>>;

/// The state of a worker that has stopped.
#[derive(Default)]
struct Stopped<'a> {
    subscription: Option<Subscription>,
    sending: Option<Sending<'a>>,
}

/// Performs `steps` steps of the work: subscribe, then for each message take it, send the transaction, await the
/// answer.
async fn stop_after<'a, R: Runtime>(work: &'a Work<'_>, client: &'a Client<R>, steps: usize) -> Stopped<'a> {
    let mut stopped = Stopped::default();
    let mut done = 0..steps;
    if done.next().is_none() {
        return stopped;
    }
    let subscription = stopped.subscription.insert(work.subscribe(client).await.expect("subscribed"));
    for _ in 0..work.inputs {
        if done.next().is_none() {
            return stopped;
        }
        let message = next_message(subscription).await;
        if done.next().is_none() {
            return stopped;
        }
        let mut sending = Box::pin(async move { work.process(client, &message).await });
        assert!(poll!(&mut sending).is_pending());
        if done.next().is_none() {
            stopped.sending = Some(sending);
            return stopped;
        }
        sending.await.expect("the connection works");
    }
    stopped
}

async fn die<F: Form>(broker: &Broker<F>, steady: &ClientOf<F>, expected: &Expected, steps: usize, end: End) {
    let name = format!("{steps}/{end:?}");
    let work = Work { name: &name, inputs: 3 };
    work.prepare(steady).await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let client = behind::<F::Runtime>(&proxy).reconnect(false).start();
    let stopped = stop_after(&work, &client, steps).await;
    match end {
        End::Cut => {
            proxy.cut();
            drop(stopped);
            work.take_over(broker).await;
        }
        End::Dropped => {
            drop(stopped);
            drop(client);
            work.take_over(broker).await;
        }
        End::Late => {
            work.take_over(broker).await;
            if let Some(sending) = stopped.sending {
                // Whether it was in time or not, there is one output.
                drop(sending.await);
            }
            if let Some(mut subscription) = stopped.subscription {
                while let Ok(Some(message)) = subscription.next_message().await {
                    work.process(&client, &message).await.expect_err("another worker has done it");
                }
            }
        }
    }
    work.expect_done(expected);
}

pub(crate) async fn x_03_consume_transform_produce_by_workers_that_die_between_any_steps<F: Form>() {
    let broker = keeping::<F>().await;
    let steady = broker.client().await;
    let expected = Expected::default();
    for steps in 0..=10 {
        let ends = [End::Cut, End::Dropped, End::Late];
        join_all(ends.map(|end| die(&broker, &steady, &expected, steps, end))).await;
    }
    expected.check(&broker).await;
    broker.stop().await;
}
