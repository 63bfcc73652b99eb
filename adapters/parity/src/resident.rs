//! The resident memory of a broker that stores much more than its budget (rules B8, I10).

use zaichik_driver::Start;
use zaichik_tokio::{Client, TopicOptions};

use crate::directory::Directory;
use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

/// The broker's memory, in bytes.
const BUDGET: u64 = 8 << 20;

/// Maximum memory of its process: a twentieth more, and its code, stacks, the runtime, and what the journal needs.
const ALLOWED: u64 = BUDGET + BUDGET / 20 + (32 << 20);

/// Publishes, the messages of each, and their length: twelve times the budget.
const PUBLISHES: u64 = 800;
const TOGETHER: u64 = 32;
const BODY: usize = 4_000;

/// While it is published, while it is read from the first message on, and after a restart.
pub fn b8_the_memory_of_the_process_does_not_grow_with_what_is_stored(path: &str) {
    let directory = Directory::new();
    let start = |port| {
        let mut command = command(path, port);
        command.arg("--data").arg(directory.path().join("data"));
        Broker::run(command.env("ZAICHIK_LIMITS_MEMORY", BUDGET.to_string()))
    };
    let mut broker = start(0);
    let port = broker.port;
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        let options = TopicOptions::new().retain_forever().max_bytes(u64::MAX);
        client.create_topic("t", options).await.expect("created");
        for _ in 0..PUBLISHES {
            let messages = (0..TOGETHER).map(|_| vec![b'x'; BODY]);
            client.publish_all("t", messages).await.expect("there is always memory for more");
            check(&broker, "publishing");
        }
        for _ in 0..2 {
            let mut messages =
                client.subscribe("t").window(0).from(Start::Earliest).await.expect("subscribed");
            for offset in 0..PUBLISHES.saturating_mul(TOGETHER) {
                assert_eq!(next_message(&mut messages).await.offset, offset);
                if offset.is_multiple_of(TOGETHER) {
                    check(&broker, "reading");
                }
            }
            messages.unsubscribe().await.expect("unsubscribed");
            broker.signal("KILL");
            let _ = broker.end();
            broker = start(port);
            check(&broker, "started again");
        }
    });
}

fn check(broker: &Broker, doing: &str) {
    let resident = broker.resident();
    assert!(resident <= ALLOWED, "{doing}: {resident} bytes are resident, {ALLOWED} are allowed");
}
