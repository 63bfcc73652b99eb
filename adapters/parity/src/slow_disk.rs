//! A broker whose disk takes a call and does not come back for as long as the test likes.

use zaichik_tokio::{Client, Start};

use crate::directory::Directory;
use crate::fault_layer::{Faults, Operation};
use crate::http::{assert_lines, request, run, scrape};
use crate::messages::next_message;
use crate::numbered::{TOPIC, body, create_topics};
use crate::process::command;
use crate::script;

/// Messages that are stored before.
const STORED: u64 = 5;

/// Answers wait for the call, and nothing else does.
pub fn b6_a_disk_that_takes_long_delays_what_depends_on_it_and_nothing_else(path: &str) {
    for operation in [Operation::Write, Operation::Sync] {
        let directory = Directory::new();
        let faults = Faults::new(directory.path());
        let (broker, http) = run(faults.below(&mut command(path, 0)));
        script::block_on(async {
            let client = Client::connect(&broker.address()).await.expect("the broker listens");
            create_topics(&client).await;
            for number in 0..STORED {
                client.publish(TOPIC, body(number, 8)).await.expect("acknowledged");
            }
            let reader = Client::connect(&broker.address()).await.expect("the broker listens");
            let mut messages = reader.subscribe(TOPIC).from(Start::Earliest).await.expect("subscribed");
            reader.ping().await.expect("the first message is on its way");
            let fault = faults.hold(operation, "segment-");
            let publisher = Client::connect(&broker.address()).await.expect("the broker listens");
            let publishing = publisher.publish(TOPIC, body(STORED, 8)).enqueue().expect("it has room");
            while fault.hits() == 0 {
                client.ping().await.expect("a Pong");
            }
            publisher.ping().await.expect("a Pong, although an answer waits");
            let first = next_message(&mut messages).await;
            assert_eq!(first.offset, 0, "what was given to the connection before is delivered");
            let committing = tokio::spawn(async move { first.commit().await });
            for (page, text) in [("/healthz", "healthy\n"), ("/readyz", "ready\n")] {
                let (status, _, body) = request(http, "GET", page).await;
                assert_eq!((status, body.as_str()), (200, text));
            }
            assert_lines(&scrape(http).await, &["zaichik_records_in_total 6", "zaichik_storage_full 0"]);
            assert_eq!(fault.hits(), 1);
            fault.lift();
            let receipt = publishing.await.expect("acknowledged");
            assert_eq!(receipt.offset(0), Some(STORED));
            committing.await.expect("no panic").expect("committed");
            for number in 1..=STORED {
                let message = next_message(&mut messages).await;
                assert_eq!(message.offset, number);
                message.commit().await.expect("committed");
            }
            broker.signal("TERM");
            let (code, log) = broker.ended().await;
            assert_eq!(code, Some(0), "{log}");
        });
    }
}
