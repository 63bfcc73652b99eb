//! A broker whose disk is full (rules B6 and B9).

use zaichik_proto::RefusalCode;
use zaichik_tokio::{Client, Counter, TopicOptions};

use crate::directory::Directory;
use crate::fault_layer::{Errno, Fault, Faults, Operation};
use crate::http::{assert_lines, request, run, scrape};
use crate::messages::{connect, next_message};
use crate::numbered::{Publishing, TOPIC, check, create_topics};
use crate::process::command;
use crate::script;

/// The length of a message.
const BODY: usize = 100;

/// No file can grow any more.
fn fill(faults: &Faults) -> [Fault<'_>; 2] {
    [Operation::Write, Operation::Create].map(|operation| faults.fail(operation, "", Errno::NOSPC, None))
}

async fn counter(client: &Client, counter: Counter) -> u64 {
    let info = client.broker_info().await.expect("it does not wait");
    info.counter(counter).unwrap_or_default()
}

/// Nothing is lost, the counters show it at once, and so do the metrics. A commit of which a part was
/// written is repeated whole.
pub fn a_full_disk_holds_answers_until_there_is_space(path: &str) {
    let directory = Directory::new();
    let faults = Faults::new(directory.path());
    let (broker, http) = run(faults.below(&mut command(path, 0)));
    script::block_on(async {
        let client = connect(broker.port).await;
        create_topics(&client).await;
        drop(client.subscribe(TOPIC).durable("d").await.expect("subscribed"));
        let publishing = Publishing::start(connect(broker.port).await, BODY);
        publishing.continue_for(20).await;
        let full = fill(&faults);
        let line = "data has no space at all: publishes are refused with StorageFull";
        let broker = broker.logged(line).await;
        let acknowledged = publishing.acknowledged();
        let metrics = scrape(http).await;
        assert_lines(&metrics, &["zaichik_storage_full 1", "zaichik_subscriptions_left_out 1"]);
        for above_0 in ["zaichik_storage_no_space_total ", "zaichik_storage_last_error_time_seconds "] {
            let value = metrics.lines().find_map(|line| line.strip_prefix(above_0)).expect(above_0);
            assert!(value.parse::<f64>().expect("a number") > 0.0, "{value}");
        }
        assert_eq!(request(http, "GET", "/healthz").await.0, 200);
        let ready = request(http, "GET", "/readyz").await;
        assert!(ready.0 == 200 && ready.2.contains("publishes are refused"), "{ready:?}");
        let asking = Client::connect(&broker.address()).await.expect("the broker listens");
        assert_eq!(counter(&asking, Counter::StorageFull).await, 1);
        let refused = asking.create_topic("new", TopicOptions::new()).await.expect_err("there is no space");
        assert!(refused.to_string().contains("storage has no space"), "{refused}");
        asking.close().await.expect("nothing waits");
        // Repeated attempts find none either.
        let before = full[0].hits();
        while full[0].hits() == before {
            client.ping().await.expect("a Pong");
        }
        assert_eq!(publishing.acknowledged(), acknowledged, "an answer waits");
        full.iter().for_each(Fault::lift);
        publishing.continue_for(20).await;
        // The reserve was written again before.
        assert_lines(&scrape(http).await, &["zaichik_storage_full 0", "zaichik_subscriptions_left_out 0"]);
        let acknowledged = publishing.finish().await;
        check(&client, acknowledged).await;
        broker.signal("TERM");
        let (code, log) = broker.ended().await;
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("data has space again: publishes are accepted"), "{log}");
    });
}

/// The space that is left serves what makes room: consumers go on, publishes are refused, and a kill loses nothing.
pub fn b9_from_the_reserve_consumers_commit_while_publishes_are_refused(path: &str) {
    let directory = Directory::new();
    let faults = Faults::new(directory.path());
    let start = |port| run(faults.below(&mut command(path, port)));
    let (broker, http) = start(0);
    let port = broker.port;
    script::block_on(async {
        let client = connect(port).await;
        create_topics(&client).await;
        let mut messages = client.subscribe(TOPIC).durable("d").await.expect("subscribed");
        let publishing = Publishing::start(connect(port).await, BODY);
        publishing.continue_for(40).await;
        // Somebody else needs the same space, so the reserve cannot be had again once it is used.
        let full = faults.fail(Operation::Write, "RESERVE", Errno::NOSPC, None);
        let commit = faults.fail(Operation::Write, "segment-", Errno::NOSPC, Some(1));
        let broker = broker.logged("publishes are refused with StorageFull").await;
        assert_eq!(commit.hits(), 1);
        let refusals = Counter::refusals(RefusalCode::StorageFull);
        while counter(&client, refusals).await == 0 {}
        let acknowledged = publishing.acknowledged();
        for number in 0..40 {
            let message = next_message(&mut messages).await;
            assert_eq!(message.offset, number);
            message.commit().await.expect("committed from the reserve");
        }
        assert_lines(&scrape(http).await, &["zaichik_storage_full 1"]);
        assert_eq!(publishing.acknowledged(), acknowledged, "they are refused");
        broker.signal("KILL");
        assert_eq!(broker.ended().await.0, None);
        // Still without the reserve.
        let (broker, http) = start(port);
        assert_lines(&scrape(http).await, &["zaichik_storage_full 1"]);
        assert_eq!(client.subscription(TOPIC, "d").await.expect("it is there").cursor, 40);
        assert_eq!(publishing.acknowledged(), acknowledged);
        full.lift();
        publishing.continue_for(20).await;
        let acknowledged = publishing.finish().await;
        check(&client, acknowledged).await;
        client.close().await.expect("nothing is unanswered");
        broker.stopped().await;
    });
}

/// What was acknowledged is there at the next start.
pub fn a_stop_with_a_full_disk_ends_with_its_grace_and_code_74(path: &str) {
    let directory = Directory::new();
    let faults = Faults::new(directory.path());
    let start = |port| run(faults.below(command(path, port).args(["--drain", "0s"])));
    let (broker, _) = start(0);
    let port = broker.port;
    script::block_on(async {
        let client = connect(port).await;
        create_topics(&client).await;
        let publishing = Publishing::start(client, BODY);
        publishing.continue_for(20).await;
        let full = fill(&faults);
        let broker = broker.logged("data has no space at all").await;
        broker.signal("TERM");
        let (code, log) = broker.ended().await;
        assert_eq!(code, Some(74), "{log}");
        assert!(
            log.contains("no space left for the storage directory") && log.contains("next start"),
            "{log}"
        );
        full.iter().for_each(Fault::lift);
        let (broker, http) = start(port);
        publishing.continue_for(20).await;
        let acknowledged = publishing.finish().await;
        check(&connect(port).await, acknowledged).await;
        assert_lines(&scrape(http).await, &["zaichik_storage_full 0"]);
        broker.stopped().await;
    });
}
