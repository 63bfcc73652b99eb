//! How a benchmark ends early.

use std::io::BufReader;

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Broker, Running, number, until, watch, zaichik};

#[test]
fn subscribers_without_messages_time_out() {
    let broker = Broker::start();
    let output = broker.output("sub --topic silent --timeout 50ms");
    assert_eq!(output.status.code(), Some(4));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let last = stderr.lines().last().expect("a line");
    assert!(last.contains("no message of a benchmark within 50ms"), "{stderr}");
}

#[test]
fn an_interrupt_ends_a_run_with_partial_results() {
    let broker = Broker::start();
    for (command, part) in [
        ("pubsub --rate 5000 --duration 1h", "/delivered"),
        ("pubsub --msgs 1000000000 --in-flight 1", "/delivered"),
        ("echo --duration 1h --warmup 1", "/round_trips"),
    ] {
        let mut command = broker.bench(command);
        let running =
            Running(command.args(["--topic", "endless", "--json"]).spawn().expect("the command starts"));
        watch(&broker.address, "endless");
        running.signal(Signal::INT);
        let (code, stdout, err) = running.end();
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command:?}");
        let report: Value = serde_json::from_str(&stdout).expect("a JSON object");
        assert_eq!(report["interrupted"], true);
        assert!(number(&report, &format!("{part}/messages")) > 0, "{report:#}");
        assert_eq!(number(&report, "/verify/lost"), 0);
    }
    let subscriber = broker.bench("sub --topic endless --json").spawn();
    let mut subscriber = Running(subscriber.expect("the command starts"));
    until(&mut BufReader::new(subscriber.0.stderr.take().expect("a pipe")), "subscribed");
    subscriber.signal(Signal::INT);
    let (code, stdout, _) = subscriber.end();
    assert_eq!(code, Some(0));
    assert_eq!(number(&serde_json::from_str(&stdout).expect("a JSON object"), "/delivered/messages"), 0);
}

#[test]
fn a_second_interrupt_waits_for_nothing() {
    let broker = Broker::start();
    let running = broker.bench("pubsub --rate 5000 --duration 1h --topic stuck --json").spawn();
    let mut running = Running(running.expect("the command starts"));
    watch(&broker.address, "stuck");
    // The broker stops answering, so that the first interrupt has to wait for outstanding requests.
    broker.process.signal(Signal::STOP);
    while running.0.try_wait().expect("a process").is_none() {
        running.signal(Signal::INT);
        std::thread::yield_now();
    }
    let (code, stdout, stderr) = running.end();
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert_eq!(stderr, "zaichik: interrupted twice; there are no results\n");
}

#[test]
fn a_broker_that_dies_is_one_line_and_code_3() {
    for command in [
        "pubsub --rate 5000 --duration 1h",
        "pubsub --duration 1h",
        "pub --duration 1h",
        "echo --duration 1h",
    ] {
        let broker = Broker::start();
        let running = broker.bench(command).args(["--topic", "endless", "--json"]).spawn();
        let running = Running(running.expect("the command starts"));
        watch(&broker.address, "endless");
        broker.process.signal(Signal::KILL);
        let (code, stdout, stderr) = running.end();
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{command}: {stderr}");
        assert_eq!(
            stderr,
            "zaichik: the connection to the broker broke; check that the broker is still running, and connect again\n",
            "{command}"
        );
    }
}

#[test]
fn without_a_broker_it_is_one_line_and_code_3() {
    for command in ["pub", "sub", "pubsub", "echo", "latency"] {
        let output = zaichik("bench").args([command, "--server", "127.0.0.1:1", "--json"]).output();
        let output = output.expect("the command runs");
        assert_eq!(output.status.code(), Some(3), "{command}");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(stderr.starts_with("zaichik: cannot connect to the broker: 127.0.0.1:1: "), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn wrong_usage_is_code_2_with_the_reason() {
    for (arguments, why) in [
        ("pubsub --size 31", "a payload needs 32 bytes"),
        ("pubsub --msgs 10 --duration 1s", "cannot be used with"),
        ("pubsub --json --csv", "cannot be used with"),
        ("pub --msgs many", "expected a number"),
        ("pub --batch 0", "0 is not in 1..=256"),
        (
            "pub --in-flight 1024 --batch 256 --size 1KiB",
            "are 256 MiB for each publisher, and 64 MiB are allowed",
        ),
        ("sub --subs 0", "0 is not in 1..="),
        ("latency --rate 0", "0 is not in 1..="),
        ("echo --timeout 0s", "must be more than 0"),
        ("measure", "unrecognized subcommand"),
        ("", "Usage:"),
    ] {
        let output = zaichik("bench").args(arguments.split_whitespace()).output().expect("the command runs");
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(stderr.contains(why), "{arguments}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn exceeding_a_limit_of_the_broker_is_code_5() {
    let broker = Broker::start();
    for arguments in ["pubsub --window 1000000 --msgs 10", "pubsub --size 2MiB --in-flight 1 --msgs 10"] {
        let output = broker.output(arguments);
        assert_eq!(output.status.code(), Some(5), "{arguments}");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(stderr.contains("limit of"), "{stderr}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let broker = Broker::start();
    let mut running = Running(broker.bench("pubsub --msgs 2000").spawn().expect("the command starts"));
    drop(running.0.stdout.take());
    let (code, _, stderr) = running.end();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}
