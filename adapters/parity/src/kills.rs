//! A broker that is killed under load, again and again (rules B1, I4, I6, I7).
//!
//! Four producers publish with many messages in flight and in transactions, three durable subscriptions consume, one of
//! them in transactions, and a topic drops what exceeds its limit, so that the storage directory is cleaned. In the end the
//! topics are compared with what clients were answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking, yield_now};
use zaichik_driver::{ClientError, RequestError, Start};
use zaichik_tokio::{Client, Delivery, PublishReceipt, Subscription, TopicOptions};

use crate::directory::Directory;
use crate::messages::{connect, next_message};
use crate::process::{Broker, command};
use crate::random::Random;
use crate::script;

/// How often the broker is killed, unless `KILL_ROUNDS` says otherwise.
const ROUNDS: u32 = 4;

/// A round may take this long.
const PATIENCE: Duration = Duration::from_secs(30);

const PRODUCERS: usize = 4;

/// Messages of a producer in flight.
const IN_FLIGHT: usize = 32;

/// Every so many messages of a producer, one is published in a transaction, also to `ledger` and `scratch`.
const TRANSACTION_EVERY: u64 = 8;

/// Messages that are acknowledged at most until the broker is killed.
const PER_ROUND: u64 = 400;

/// The longest message in bytes.
const LONGEST: u64 = 12_000;

/// Small files, so that many are filled and freed, and little memory, so that records leave it.
const SETTINGS: [(&str, &str); 2] =
    [("ZAICHIK_STORAGE_SEGMENT_SIZE", "512KiB"), ("ZAICHIK_LIMITS_MEMORY", "10MiB")];

/// The durable subscriptions to `orders`.
const AUDIT: (&str, usize) = ("audit", 0);
const SLOW: (&str, usize) = ("slow", 1);
const BILLING: (&str, usize) = ("billing", 2);

/// What clients were answered.
#[derive(Debug, Default)]
struct Answered {
    messages: AtomicU64,
    producers: [Mutex<Told>; PRODUCERS],
    /// For each subscription, the offset after the last one of which a commit was answered.
    cursors: [AtomicU64; 3],
}

/// Every acknowledged message is there exactly once, in order; transactions are whole; cursors are never before what was
/// committed. To clients, each kill is a broken connection.
pub fn b1_a_broker_killed_under_load_loses_and_repeats_nothing(path: &str) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let rounds = number("KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("KILL_SEED").unwrap_or(1);
    eprintln!("KILL_SEED={seed}");
    let patience = PATIENCE.saturating_mul(rounds.saturating_add(1));
    script::block_on_for(patience, async {
        let mut killed = Killed::start(path, Random::new(seed.into())).await;
        let answered = Arc::new(Answered::default());
        let mut clients: Vec<_> = (0..PRODUCERS).map(|name| killed.produce(name, &answered)).collect();
        clients.extend(killed.consume(&answered).await);
        for _ in 0..rounds {
            let more = killed.random.below(PER_ROUND);
            let target = answered.messages.load(Ordering::Relaxed).saturating_add(more);
            while answered.messages.load(Ordering::Relaxed) < target {
                yield_now().await;
                assert!(!clients.iter().any(JoinHandle::is_finished), "a client failed");
            }
            killed.kill().await;
            killed.restart(&answered).await;
        }
        // What is in flight now is not sent again.
        killed.kill().await;
        for client in clients {
            client.abort();
            assert!(client.await.is_err_and(|error| error.is_cancelled()), "a client failed");
        }
        killed.restart(&answered).await;
        killed.check(&answered).await;
        killed.stop().await;
    });
}

/// A broker that is killed and started again.
struct Killed {
    path: String,
    directory: Directory,
    random: Random,
    /// `None` between a kill and the next start.
    broker: Option<Broker>,
    port: u16,
    client: Client,
    instance: Option<u128>,
}

impl Killed {
    async fn start(path: &str, random: Random) -> Self {
        let directory = Directory::new();
        let data = directory.path().join("data");
        let broker = Broker::run(command(path, 0).envs(SETTINGS).arg("--data").arg(&data));
        let client = connect(broker.port).await;
        for topic in ["orders", "ledger", "invoices", "scratch"] {
            let options = TopicOptions::new().retain_forever().max_bytes(u64::MAX);
            let options = if topic == "scratch" { options.max_bytes(1 << 20) } else { options };
            client.create_topic(topic, options).await.expect("created");
        }
        let (port, instance) = (broker.port, client.instance());
        Self { path: path.to_owned(), directory, random, broker: Some(broker), port, client, instance }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The command, with one of the ways to sync.
    fn command(&mut self) -> Command {
        let sync = if self.random.below(2) == 0 { "always" } else { "interval 50ms" };
        let mut command = command(&self.path, self.port);
        command.envs(SETTINGS).arg("--data").arg(self.data()).args(["--sync", sync]);
        command
    }

    async fn kill(&mut self) {
        let broker = self.broker.take().expect("it runs");
        broker.signal("KILL");
        let (code, log) = broker.ended().await;
        assert_eq!(code, None, "{log}");
    }

    /// Starts the broker, now and then after attempts that are killed on their way; compares it with what was answered
    /// before.
    async fn restart(&mut self, answered: &Answered) {
        let messages = answered.messages.load(Ordering::Relaxed);
        let cursors: Vec<_> = answered.cursors.iter().map(|cursor| cursor.load(Ordering::Relaxed)).collect();
        while self.random.below(3) == 0 {
            let mut attempt = self.command().spawn().expect("it starts");
            tokio::time::sleep(Duration::from_micros(self.random.below(30_000))).await;
            attempt.kill().expect("it is killed");
            attempt.wait().expect("it ends");
        }
        let mut command = self.command();
        let broker = spawn_blocking(move || Broker::run(&mut command)).await.expect("no panic");
        self.broker = Some(broker);
        let end = self.client.topic("orders").await.expect("it is there").end;
        assert!(end >= messages, "{end} messages, but {messages} were acknowledged");
        for (name, index) in [AUDIT, SLOW, BILLING] {
            let Ok(found) = self.client.subscription("orders", name).await else {
                panic!("{name} is gone");
            };
            assert!(found.cursor >= cursors[index], "{name}: {} of {}", found.cursor, cursors[index]);
        }
    }

    /// Publishes for ever.
    fn produce(&mut self, name: usize, answered: &Arc<Answered>) -> JoinHandle<()> {
        let (port, answered) = (self.port, Arc::clone(answered));
        let mut random = Random::new(self.random.below(u64::MAX));
        tokio::spawn(async move {
            let client = connect(port).await;
            let mut in_flight = VecDeque::new();
            for number in 0.. {
                let body = body(name, number, random.below(LONGEST));
                let is_alone = !is_in_transaction(number);
                if is_alone {
                    let receipt = client.publish("orders", body.clone()).enqueue();
                    in_flight.push_back(receipt.expect("there is room"));
                }
                while in_flight.len() >= IN_FLIGHT || !is_alone {
                    let Some(receipt) = in_flight.pop_front() else { break };
                    let receipt: PublishReceipt = receipt.await.expect("accepted in the end");
                    answered.published(name, receipt.offset(0), None);
                }
                if !is_alone {
                    let transaction = client.transaction().publish("orders", body.clone());
                    let transaction = transaction.publish("ledger", body.clone()).publish("scratch", body);
                    let receipt = transaction.send().await.expect("applied in the end");
                    let [order, entry, _] = &receipt.publishes[..] else { panic!("three publishes") };
                    answered.published(name, order.offset(0), entry.offset(0));
                }
            }
        })
    }

    /// Starts the three subscriptions.
    async fn consume(&self, answered: &Arc<Answered>) -> Vec<JoinHandle<()>> {
        let mut consumers = Vec::new();
        for ((name, index), window, commit_every) in [(AUDIT, 64, 8), (SLOW, 1, 1), (BILLING, 16, 1)] {
            let (client, answered) = (connect(self.port).await, Arc::clone(answered));
            let messages = client.subscribe("orders").from(Start::Earliest).durable(name).window(window);
            let messages = messages.await.expect("subscribed");
            let consumer = Consumer { client, messages, answered, index };
            consumers.push(tokio::spawn(consumer.run(name == BILLING.0, commit_every)));
        }
        consumers
    }

    /// Compares everything that is stored with what clients were answered. Nobody else is connected.
    async fn check(&self, answered: &Answered) {
        assert_eq!(self.client.instance(), self.instance, "to clients, a kill is a broken connection");
        let mut orders = everything(&self.client, "orders").await;
        let ledger = loop {
            let ledger = everything(&self.client, "ledger").await;
            // What a client sent last may have been applied meanwhile.
            let now = everything(&self.client, "orders").await;
            if now == orders {
                break ledger;
            }
            orders = now;
        };
        let mut stored = [0; PRODUCERS];
        for (offset, (name, number)) in &orders {
            assert_eq!(number, &stored[*name], "offset {offset}: each message of a producer once, in order");
            stored[*name] = number.saturating_add(1);
        }
        for (name, told) in answered.producers.iter().enumerate() {
            let told = told.lock().expect("no panic");
            for (number, offset) in (0..).zip(&told.orders) {
                assert_eq!(orders.get(offset), Some(&(name, number)), "an acknowledged message is there");
            }
            for (number, offset) in (0..).filter(|number| is_in_transaction(*number)).zip(&told.ledger) {
                assert_eq!(ledger.get(offset), Some(&(name, number)), "an acknowledged transaction is there");
            }
        }
        let halves: BTreeSet<_> = orders.values().filter(|(_, number)| is_in_transaction(*number)).collect();
        assert!(ledger.values().collect::<BTreeSet<_>>() == halves, "both halves of a transaction, or none");
        assert_eq!(ledger.len(), halves.len(), "and each once");
        let billed = self.client.subscription("orders", BILLING.0).await.expect("it is there").cursor;
        let invoices = everything(&self.client, "invoices").await;
        let invoices: Vec<_> = invoices.into_values().map(|(_, offset)| offset).collect();
        assert!(invoices.into_iter().eq(0..billed), "an invoice for each order that was committed");
        eprintln!("orders: {}, transactions: {}, invoices: {billed}", orders.len(), ledger.len());
    }

    async fn stop(self) {
        let broker = self.broker.expect("it runs");
        drop(self.client);
        broker.stopped().await;
    }
}

/// What a producer was answered.
#[derive(Debug, Default)]
struct Told {
    /// The offsets of its messages.
    orders: Vec<u64>,
    /// The offsets in `ledger` of those in transactions.
    ledger: Vec<u64>,
}

impl Answered {
    fn published(&self, name: usize, order: Option<u64>, entry: Option<u64>) {
        let mut told = self.producers[name].lock().expect("no panic");
        told.orders.push(order.expect("it has an offset"));
        told.ledger.extend(entry);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}

/// A durable subscription.
struct Consumer {
    client: Client,
    messages: Subscription,
    answered: Arc<Answered>,
    index: usize,
}

impl Consumer {
    async fn run(mut self, is_billing: bool, commit_every: u64) {
        let mut next = None;
        loop {
            let message = next_message(&mut self.messages).await;
            let committed = self.answered.cursors[self.index].load(Ordering::Relaxed);
            assert!(message.offset >= committed, "{} again, but {committed} is the cursor", message.offset);
            assert!(next.is_none_or(|next| message.offset <= next), "nothing is left out");
            next = message.offset.checked_add(1);
            if is_billing {
                self.bill(&message).await;
            } else if message.offset.is_multiple_of(commit_every) {
                message.commit().await.expect("committed in the end");
                self.committed(message.offset);
            }
        }
    }

    /// One output for each input.
    async fn bill(&self, message: &Delivery) {
        let invoice = body(0, message.offset, 0);
        let transaction = self.client.transaction().publish("invoices", invoice).commit(message);
        match transaction.send().await {
            Ok(_) => self.committed(message.offset),
            // It comes again.
            Err(ClientError::Request(RequestError::NotApplied { .. })) => {}
            Err(error) => panic!("{}: {error}", message.offset),
        }
    }

    fn committed(&self, offset: u64) {
        self.answered.cursors[self.index].store(offset.saturating_add(1), Ordering::Relaxed);
    }
}

const fn is_in_transaction(number: u64) -> bool {
    number.is_multiple_of(TRANSACTION_EVERY)
}

fn body(name: usize, number: u64, len: u64) -> Vec<u8> {
    let mut body = format!("{name} {number} ").into_bytes();
    body.resize(body.len().saturating_add(usize::try_from(len).expect("short")), b'.');
    body
}

/// The producers of all messages of a topic, and their numbers, by the offsets, which have no gaps.
async fn everything(client: &Client, topic: &str) -> BTreeMap<u64, (usize, u64)> {
    let mut messages = client.subscribe(topic).window(0).from(Start::Earliest).await.expect("subscribed");
    let mut all = BTreeMap::new();
    for offset in 0..messages.end() {
        let message = next_message(&mut messages).await;
        assert_eq!(message.offset, offset);
        let text = String::from_utf8_lossy(&message.body);
        let mut words = text.split(' ');
        let name = words.next().and_then(|word| word.parse().ok()).expect("a name");
        let number = words.next().and_then(|word| word.parse().ok()).expect("a number");
        all.insert(offset, (name, number));
    }
    all
}
