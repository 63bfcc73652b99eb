//! Tests of `zaichik bench`, with the command and the broker as processes.

#![cfg(unix)]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod disorder;
mod endings;
mod process;
mod workers;

use std::io::BufReader;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use zaichik_tokio::{Counter, Server};

use process::{Broker, Running, assert_verified, number, until, watch, zaichik};

#[test]
fn every_subscriber_receives_every_message_of_every_publisher() {
    let broker = Broker::start();
    for more in
        ["", "--window 1", "--window 0", "--batch 1 --in-flight 1", "--ack none", "--ack none --window 0"]
    {
        let report = broker.json(&format!("pubsub --msgs 2001 --pubs 2 --subs 2 --warmup 100 {more}"));
        assert_eq!(number(&report, "/published/messages"), 2_001, "{more}");
        assert_eq!(number(&report, "/published/bytes"), 2_001 * 128);
        assert_eq!(number(&report, "/published/refused_publishes"), 0);
        assert_eq!(number(&report, "/delivered/messages"), 4_002);
        assert_eq!(number(&report, "/delivered/bytes"), 4_002 * 128);
        assert_eq!(number(&report, "/delivered/latency/count"), 4_002);
        assert_verified(&report, 4_202);
        let acks = report.pointer("/published/latency/count").and_then(Value::as_u64);
        assert_eq!(acks, (!more.contains("none")).then_some(2_001), "{more}");
    }
}

#[test]
fn messages_that_fill_the_window_in_bytes_get_through() {
    let broker = Broker::start();
    let report = broker.json("pubsub --msgs 200 --size 64KiB");
    assert_eq!(number(&report, "/delivered/bytes"), 200 << 16);
    assert_verified(&report, 200);
    let report = broker.json("echo --msgs 20 --warmup 20 --size 1MiB");
    assert_verified(&report, 40);
}

#[test]
fn a_report_has_the_parameters_to_repeat_it() {
    let broker = Broker::start();
    let report =
        broker.json("pubsub --msgs 2000 --size 1KiB --topic again --batch 10 --in-flight 7 --window 33");
    let parameters = &report["parameters"];
    for (name, value) in [("msgs", 2_000), ("size", 1_024), ("pubs", 1), ("subs", 1), ("batch", 10)] {
        assert_eq!(parameters[name], value, "{name}");
    }
    for (name, value) in [("in_flight", 7), ("window", 33), ("warmup", 0)] {
        assert_eq!(parameters[name], value, "{name}");
    }
    for (name, value) in [("command", "pubsub"), ("topic", "again"), ("ack", "accepted")] {
        assert_eq!(parameters[name], value, "{name}");
    }
    assert_eq!(parameters["server"], broker.address);
    assert_eq!(report["environment"]["client_version"], env!("CARGO_PKG_VERSION"));
    assert!(number(&report, "/environment/cores") > 0);
    assert_eq!(report["server"]["version"], concat!("zaichik ", env!("CARGO_PKG_VERSION")));
    assert!(!report["environment"]["kernel"].as_str().expect("UTF-8").is_empty());
    assert_eq!(report["interrupted"], false);
}

#[test]
fn the_text_output_has_parameters_and_results() {
    let broker = Broker::start();
    let output = broker.output("pubsub --msgs 2000 --subs 2 --topic t");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "no progress without a terminal");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = stdout.lines().collect();
    let server = &broker.address;
    assert_eq!(
        lines[0],
        format!(
            "bench pubsub server={server} topic=t msgs=2,000 size=128B pubs=1 subs=2 window=256 ack=accepted batch=256 in-flight=64 rate=max warmup=0 timeout=10s"
        )
    );
    assert!(lines[1].starts_with(" pub ") && lines[1].contains("2,000 acked "), "{stdout}");
    assert!(lines[2].starts_with(" sub ") && lines[2].contains("4,000 delivered "), "{stdout}");
    for line in &lines[1..3] {
        for part in [" msg/s ", " MiB/s ", " p50 ", " p90 ", " p99 ", " p99.9 ", " max ", " µs"] {
            assert!(line.contains(part), "{part}: {stdout}");
        }
    }
    assert_eq!(lines[3], " verify: order ok · 0 lost · 0 duplicated · 0 gaps");
    assert!(lines[4].starts_with(" server: ") && lines[4].contains("zaichik "), "{stdout}");
    assert!(lines[5].starts_with(concat!(" client: zaichik ", env!("CARGO_PKG_VERSION"))), "{stdout}");
    assert_eq!(lines.len(), 6, "{stdout}");
}

#[test]
fn the_csv_output_has_a_line_for_each_part() {
    let broker = Broker::start();
    let output = broker.output("pubsub --msgs 2000 --topic a,b --csv");
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    let head: Vec<&str> = lines[0].split(',').collect();
    let cell = |line: usize, column: &str| {
        let line = lines[line].replace("\"a,b\"", "a;b");
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), head.len(), "{stdout}");
        cells[head.iter().position(|name| *name == column).expect(column)].to_owned()
    };
    for (line, part) in [(1, "published"), (2, "delivered")] {
        assert_eq!(cell(line, "command"), "pubsub");
        assert_eq!(cell(line, "part"), part);
        assert_eq!(cell(line, "messages"), "2000");
        assert_eq!(cell(line, "size"), "128");
        assert_eq!(cell(line, "topic"), "a;b");
        assert!(cell(line, "p99_us").parse::<u64>().is_ok());
    }
    assert_eq!([cell(1, "lost"), cell(2, "lost")], ["", "0"]);
}

#[test]
fn publishing_needs_no_subscriber() {
    let broker = Broker::start();
    for (ack, latencies) in [("accepted", Some(2_000)), ("none", None)] {
        let report = broker.json(&format!("pub --msgs 2000 --pubs 3 --ack {ack}"));
        assert_eq!(number(&report, "/published/messages"), 2_000);
        assert_eq!(report.pointer("/published/latency/count").and_then(Value::as_u64), latencies);
        assert!(report["delivered"].is_null() && report["verify"].is_null(), "{report:#}");
    }
}

#[test]
fn round_trips_are_verified_too() {
    let broker = Broker::start();
    for more in ["", "--ack none", "--window 1", "--window 0"] {
        let report = broker.json(&format!("echo --msgs 200 --warmup 50 {more}"));
        assert_eq!(number(&report, "/round_trips/messages"), 200, "{more}");
        assert_eq!(number(&report, "/round_trips/latency/count"), 200);
        assert_verified(&report, 250);
    }
    let report = broker.json("echo --duration 50ms");
    let counted = number(&report, "/round_trips/messages");
    assert!(counted > 0);
    assert_verified(&report, counted + 1_000);
}

#[test]
fn a_rate_publishes_every_message_that_is_due() {
    let broker = Broker::start();
    let report = broker.json("latency --rate 10000 --duration 200ms --pubs 2 --subs 2 --warmup 10");
    assert_eq!(number(&report, "/published/messages"), 2_000);
    assert_eq!(number(&report, "/published/latency/count"), 2_000);
    assert_eq!(number(&report, "/delivered/latency/count"), 4_000);
    assert_eq!(number(&report, "/parameters/rate"), 10_000);
    assert_eq!(number(&report, "/parameters/batch"), 1, "each is published when it is due");
    assert_verified(&report, 4_020);
    let report = broker.json("pubsub --rate 100000 --batch 50 --msgs 2000 --ack none");
    assert_eq!(number(&report, "/delivered/messages"), 2_000);
}

#[test]
fn a_duration_ends_a_run() {
    let broker = Broker::start();
    let report = broker.json("pubsub --duration 100ms --size 32");
    let published = number(&report, "/published/messages");
    assert!(published > 0);
    assert_eq!(number(&report, "/delivered/messages"), published);
    assert!(report["parameters"]["msgs"].is_null());
    assert_verified(&report, published);
}

#[test]
fn subscribers_verify_messages_of_another_process() {
    let broker = Broker::start();
    let mut subscribers = Running(
        broker.bench("sub --topic shared --subs 2 --pubs 2 --json").spawn().expect("the command starts"),
    );
    let mut stderr = BufReader::new(subscribers.0.stderr.take().expect("a pipe"));
    until(&mut stderr, "waiting for `zaichik bench pub --topic shared`");
    for warmup in ["0", "500"] {
        let report = broker.json(&format!("pub --topic shared --msgs 2000 --warmup {warmup}"));
        assert_eq!(number(&report, "/published/messages"), 2_000);
    }
    let (code, stdout, _) = subscribers.end();
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(&stdout).expect("a JSON object");
    assert_eq!(number(&report, "/delivered/messages"), 2 * 4_000);
    assert_verified(&report, 2 * 4_500);
}

#[test]
fn the_report_has_the_resource_usage_of_the_broker() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let config = zaichik_tokio::BrokerConfig::default();
    let server = runtime.block_on(Server::bind("127.0.0.1:0", config)).expect("a free port");
    let (address, handle) = (server.local_addr().to_string(), server.broker().handle());
    let serving = runtime.spawn(server.serve());
    handle.report(Counter::ProcessCpu, 1_000_000);
    let mut command = zaichik("bench");
    command.args(["pub", "--duration", "1h", "--topic", "cost", "--json", "--server", &address]);
    let running = Running(command.spawn().expect("the command starts"));
    watch(&address, "cost");
    handle.report(Counter::ProcessCpu, 3_500_000);
    handle.report(Counter::ProcessMemoryPeak, 41 << 20);
    running.signal(Signal::INT);
    let (code, stdout, err) = running.end();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&stdout).expect("a JSON object");
    assert_eq!(report["server"]["cpu_seconds"], 2.5);
    assert_eq!(report["server"]["memory_peak_bytes"], 41 << 20);
    handle.shutdown(Duration::ZERO);
    runtime.block_on(serving).expect("no panic").expect("a clean shutdown");
}

#[test]
fn a_terminal_shows_progress_unless_disabled() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let broker = Broker::start();
    for (more, is_shown) in [("", true), ("--no-progress", false)] {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).expect("our terminal");
        unlockpt(&terminal).expect("our terminal");
        let path = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("UTF-8");
        let other_end =
            std::fs::OpenOptions::new().read(true).write(true).open(path).expect("the terminal exists");
        let mut command = broker.bench(&format!("pubsub --msgs 2000 {more}"));
        let running =
            Running(command.env("TERM", "xterm").stderr(other_end).spawn().expect("the command starts"));
        // The command value holds another handle of the terminal.
        drop(command);
        let mut shown = Vec::new();
        let mut chunk = [0; 4_096];
        // Reading a terminal that no process has open is an error, not the end of a file.
        while let Ok(count @ 1..) = rustix::io::read(&terminal, &mut chunk) {
            shown.extend_from_slice(&chunk[..count]);
        }
        let shown = String::from_utf8(shown).expect("UTF-8");
        assert_eq!(running.end().0, Some(0));
        for part in ["Publish", "Deliver", "100%", "msg/s", "MiB/s"] {
            assert_eq!(shown.contains(part), is_shown, "{part}: {shown}");
        }
        assert!(shown.is_empty() || shown.ends_with('\n'), "later output starts a new line");
    }
}

#[test]
fn runs_leave_one_topic_that_keeps_nothing() {
    let broker = Broker::start();
    for command in ["pub", "pubsub", "echo", "pub"] {
        broker.json(&format!("{command} --msgs 200"));
    }
    let mut list = zaichik("topic");
    let output = list.args(["ls", "-J", "--server", &broker.address]).output().expect("the command runs");
    let topic: Value = serde_json::from_slice(&output.stdout).expect("one topic");
    assert_eq!((&topic["topic"], number(&topic, "/messages")), (&Value::from("bench"), 0));
    assert_eq!(number(&topic, "/settings/retention_ttl_us"), 0);
}
