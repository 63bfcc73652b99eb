//! What client commands show of a broker whose disk is full (rule B9).

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::Value;
use zaichik_parity::fault_layer::{Errno, Fault, Faults, Operation};

use super::stored::{Broker, Stored, zaichik};

/// A client command for this broker.
fn client(broker: &Broker, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::from_std(zaichik());
    command.args(arguments).args(["--server", &broker.address]);
    command
}

fn info(broker: &Broker) -> Value {
    let output = client(broker, &["info", "--json"]).assert().success();
    serde_json::from_slice(&output.get_output().stdout).expect("JSON")
}

#[test]
fn info_shows_a_full_disk_and_pub_says_why_it_fails() {
    let stored = Stored::new();
    let faults = Faults::new(stored.folder());
    let broker = Broker::run(faults.below(&mut zaichik()));
    client(&broker, &["topic", "create", "orders", "--retention-ttl", "1h"]).assert().success();
    client(&broker, &["pub", "orders", "one tea"]).assert().success();
    assert_eq!(info(&broker)["counters"]["storage_full"], 0);
    // What is refused is refused from then on; without space at all, the first one waits for some.
    let full = faults.fail(Operation::Write, "RESERVE", Errno::NOSPC, None);
    let once = faults.fail(Operation::Write, "segment-", Errno::NOSPC, Some(1));
    client(&broker, &["pub", "orders", "two teas"]).assert().success();
    assert_eq!(once.hits(), 1);
    // The counters are at most a second old.
    while info(&broker)["counters"]["storage_full"] == 0 {}
    let shown = contains("storage").and(contains(", without space: publishes are refused\n"));
    let shown = shown.and(contains("storage full").or(contains("storage_full"))).and(contains(" yes\n"));
    client(&broker, &["info"]).assert().success().stdout(shown);
    let counters = &info(&broker)["counters"];
    assert_eq!((&counters["storage_full"], &counters["storage_no_space"]), (&1.into(), &0.into()));
    let refused = contains("storage has no space").and(contains("\n").count(1));
    let publish = ["pub", "orders", "three teas", "--timeout", "1s"];
    client(&broker, &publish).assert().failure().stdout(is_empty()).stderr(refused);
    // Consumers are served.
    client(&broker, &["sub", "orders", "--from", "earliest", "--count", "2"])
        .assert()
        .success()
        .stdout("one tea\ntwo teas\n");
    Fault::lift(&full);
    while info(&broker)["counters"]["storage_full"] != 0 {}
    client(&broker, &["pub", "orders", "three teas"]).assert().success();
    client(&broker, &["info"]).assert().success().stdout(contains("without space").not());
    broker.stop();
}
