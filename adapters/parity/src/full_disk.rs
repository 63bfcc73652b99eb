//! A broker whose disk is full: what it writes next goes to a device that has no space.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;
use zaichik_tokio::{Client, Counter, Start, TopicOptions};

use crate::directory::Directory;
use crate::http::{assert_lines, request, scrape, start};
use crate::messages::next_message;
use crate::process::Broker;
use crate::script;

/// The length of a message; the segment after the first one begins after about 64 MiB.
const BODY: usize = 1_000_000;

/// Messages that do not fit into the first segment.
const MESSAGES: u64 = 80;

/// The file that the broker creates when the first segment is full.
const NEXT_SEGMENT: &str = "segment-0000000002";

/// A broker that will find no space, and who publishes to it.
struct Filling {
    broker: Broker,
    http: u16,
    device: PathBuf,
    client: Client,
    publishing: JoinHandle<()>,
    /// Messages that were acknowledged, one after the other.
    acknowledged: Arc<AtomicU64>,
}

/// Publishes until the disk of the broker is full.
async fn fill(path: &str, directory: &Directory, arguments: &[&str]) -> Filling {
    let data = directory.path().join("data");
    let data_argument = data.to_str().expect("text").to_owned();
    let arguments = [&["--data", &data_argument, "--memory", "256MiB"], arguments].concat();
    let (mut broker, http) = start(path, &arguments);
    let device = data.join(NEXT_SEGMENT);
    symlink("/dev/full", &device).expect("a link");
    let client = Client::connect(&broker.address()).await.expect("the broker listens");
    let options = TopicOptions::new().retain_forever().max_bytes(1 << 30);
    client.create_topic("t", options).await.expect("created");
    drop(client.subscribe("t").durable("d").await.expect("subscribed"));
    let publisher = Client::connect(&broker.address()).await.expect("the broker listens");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&acknowledged);
    let publishing = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let mut body = vec![b'x'; BODY];
            body[..8].copy_from_slice(&number.to_be_bytes());
            let receipt = publisher.publish("t", body).await.expect("acknowledged in the end");
            assert_eq!(receipt.offset(0), Some(number));
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let broker = tokio::task::spawn_blocking(move || {
        broker.wait_for_log("data has no space at all: publishes are refused with StorageFull");
        broker
    });
    Filling { broker: broker.await.expect("no panic"), http, device, client, publishing, acknowledged }
}

/// Receives and checks this many messages, from the first one on.
async fn read(client: &Client, count: u64) {
    let mut messages = client.subscribe("t").window(0).from(Start::Earliest).await.expect("subscribed");
    for number in 0..count {
        let message = next_message(&mut messages).await;
        assert_eq!((message.offset, &message.body[..8]), (number, &number.to_be_bytes()[..]));
    }
}

async fn end(broker: Broker) -> (Option<i32>, String) {
    tokio::task::spawn_blocking(|| broker.end()).await.expect("no panic")
}

/// Nothing is lost, the counters are told at once, and the metrics say what is the matter.
pub fn a_full_disk_holds_answers_until_there_is_space(path: &str) {
    let directory = Directory::new();
    script::block_on(async {
        let Filling { broker, http, device, client, publishing, acknowledged } =
            fill(path, &directory, &[]).await;
        let metrics = scrape(http).await;
        let expected =
            ["zaichik_storage_full 1", "zaichik_storage_segments 1", "zaichik_subscriptions_left_out 1"];
        assert_lines(&metrics, &expected);
        for above_0 in ["zaichik_storage_no_space_total ", "zaichik_storage_last_error_time_seconds "] {
            let value = metrics.lines().find_map(|line| line.strip_prefix(above_0)).expect(above_0);
            assert!(value.parse::<f64>().expect("a number") > 0.0, "{value}");
        }
        assert!(!publishing.is_finished(), "an answer waits");
        assert_eq!(request(http, "GET", "/healthz").await.0, 200);
        let ready = request(http, "GET", "/readyz").await;
        assert!(ready.0 == 200 && ready.2.contains("publishes are refused"), "{ready:?}");
        let asking = Client::connect(&broker.address()).await.expect("the broker listens");
        let info = asking.broker_info().await.expect("it does not wait");
        assert_eq!(info.counter(Counter::StorageFull), Some(1));
        let refused = asking.create_topic("new", TopicOptions::new()).await.expect_err("there is no space");
        assert!(refused.to_string().contains("storage has no space"), "{refused}");
        asking.close().await.expect("nothing waits");
        std::fs::remove_file(&device).expect("the link");
        publishing.await.expect("every publish is answered");
        assert_eq!(acknowledged.load(Ordering::Relaxed), MESSAGES);
        read(&client, MESSAGES).await;
        // The reserve is written again first.
        while !scrape(http).await.contains("\nzaichik_storage_full 0\n") {}
        assert_lines(
            &scrape(http).await,
            &["zaichik_storage_segments 2", "zaichik_subscriptions_left_out 0"],
        );
        broker.signal("TERM");
        let (code, log) = end(broker).await;
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("data has space again: publishes are accepted"), "{log}");
    });
}

/// What was acknowledged is there at the next start.
pub fn a_stop_with_a_full_disk_ends_with_its_grace_and_code_74(path: &str) {
    let directory = Directory::new();
    script::block_on(async {
        let Filling { broker, device, client, publishing, acknowledged, .. } =
            fill(path, &directory, &["--drain", "0s"]).await;
        broker.signal("TERM");
        let (code, log) = end(broker).await;
        assert_eq!(code, Some(74), "{log}");
        assert!(
            log.contains("no space left for the storage directory") && log.contains("next start"),
            "{log}"
        );
        publishing.abort();
        drop(client);
        std::fs::remove_file(&device).expect("the link");
        let (broker, http) =
            start(path, &["--data", device.parent().and_then(|data| data.to_str()).expect("text")]);
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        let end_of_topic = client.topic("t").await.expect("it exists").end;
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        assert!(acknowledged > 50, "{acknowledged} messages fit into the first segment");
        assert!(end_of_topic >= acknowledged, "{end_of_topic} of {acknowledged}");
        read(&client, end_of_topic).await;
        assert_lines(&scrape(http).await, &["zaichik_storage_full 0"]);
        broker.signal("TERM");
        assert_eq!(end(broker).await.0, Some(0));
    });
}
