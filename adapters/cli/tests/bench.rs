//! `zaichik bench` as a process, against a broker as a process.

#![cfg(unix)]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use zaichik_tokio::{Client, Counter, Delivery, Outgoing, Overflow, Publisher, Server, Start, TopicOptions};

/// A process that a test which fails does not leave behind.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(id, signal).expect("it runs");
    }

    /// Its exit code, and what it wrote to the pipes that nobody has taken.
    fn end(mut self) -> (Option<i32>, String, String) {
        let read = |pipe: Option<&mut dyn Read>| {
            let mut text = String::new();
            pipe.map(|pipe| pipe.read_to_string(&mut text).expect("text"));
            text
        };
        let out = read(self.0.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
        let err = read(self.0.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
        (self.0.wait().expect("it ends").code(), out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A broker on a port of its own.
struct Broker {
    process: Running,
    /// Kept open, since the broker goes on talking.
    _stderr: BufReader<ChildStderr>,
    address: String,
}

impl Broker {
    fn start() -> Self {
        let mut process = Running(zaichik("serve").env("PORT", "0").spawn().expect("it starts"));
        let mut stderr = BufReader::new(process.0.stderr.take().expect("a pipe"));
        let start = until(&mut stderr, "ready in ");
        let address = start.iter().find_map(|line| line.trim().split_once("listening zaichik://"));
        let address = address.expect("its address").1.to_owned();
        Self { process, _stderr: stderr, address }
    }

    /// A benchmark of this broker.
    fn bench(&self, arguments: &str) -> Command {
        let mut command = zaichik("bench");
        command.args(arguments.split_whitespace()).args(["--server", &self.address]);
        command
    }

    /// The same, to the end.
    fn output(&self, arguments: &str) -> Output {
        self.bench(arguments).output().expect("it runs")
    }

    /// The same, which succeeds and says one object.
    fn json(&self, arguments: &str) -> Value {
        let output = self.bench(arguments).arg("--json").output().expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments}");
        serde_json::from_slice(&output.stdout).expect("one object")
    }
}

fn zaichik(command: &str) -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_zaichik"));
    process
        .arg(command)
        .env_remove("PORT")
        .env_remove("RUST_LOG")
        .env_remove("ZAICHIK_URL")
        .env_remove("ZAICHIK_TOKEN_FILE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process
}

/// The lines up to the one that contains `what`.
fn until(from: &mut impl BufRead, what: &str) -> Vec<String> {
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains(what)) {
        let mut line = String::new();
        assert_ne!(from.read_line(&mut line).expect("text"), 0, "it ended: {lines:?}");
        lines.push(line);
    }
    lines
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// A number in an object, by a path.
fn number(report: &Value, path: &str) -> u64 {
    let found = report.pointer(path).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no number {path} in {report:#}"))
}

/// Nothing is wrong, and so many different messages came.
fn assert_verified(report: &Value, verified: u64) {
    assert_eq!(number(report, "/verify/verified"), verified);
    for what in ["lost", "duplicated", "reordered", "corrupted", "gaps", "unfinished", "foreign"] {
        assert_eq!(number(report, &format!("/verify/{what}")), 0, "{what}");
    }
}

#[test]
fn every_subscriber_gets_every_message_of_every_publisher() {
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
fn a_report_says_how_to_get_it_again() {
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
    assert!(!report["environment"]["kernel"].as_str().expect("text").is_empty());
    assert_eq!(report["interrupted"], false);
}

#[test]
fn people_read_the_parameters_and_then_the_results() {
    let broker = Broker::start();
    let output = broker.output("pubsub --msgs 2000 --subs 2 --topic t");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "no progress without a terminal");
    let said = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = said.lines().collect();
    let server = &broker.address;
    assert_eq!(
        lines[0],
        format!(
            "bench pubsub server={server} topic=t msgs=2,000 size=128B pubs=1 subs=2 window=256 ack=accepted batch=256 in-flight=64 rate=max warmup=0 timeout=10s"
        )
    );
    assert!(lines[1].starts_with(" pub ") && lines[1].contains("2,000 acked "), "{said}");
    assert!(lines[2].starts_with(" sub ") && lines[2].contains("4,000 delivered "), "{said}");
    for line in &lines[1..3] {
        for part in [" msg/s ", " MiB/s ", " p50 ", " p90 ", " p99 ", " p99.9 ", " max ", " µs"] {
            assert!(line.contains(part), "{part}: {said}");
        }
    }
    assert_eq!(lines[3], " verify: order ok · 0 lost · 0 duplicated · 0 gaps");
    assert!(lines[4].starts_with(" server: ") && lines[4].contains("zaichik "), "{said}");
    assert!(lines[5].starts_with(concat!(" client: zaichik ", env!("CARGO_PKG_VERSION"))), "{said}");
    assert_eq!(lines.len(), 6, "{said}");
}

#[test]
fn a_table_has_a_line_for_each_part() {
    let broker = Broker::start();
    let output = broker.output("pubsub --msgs 2000 --topic a,b --csv");
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    let head: Vec<&str> = lines[0].split(',').collect();
    let cell = |line: usize, column: &str| {
        let line = lines[line].replace("\"a,b\"", "a;b");
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), head.len(), "{said}");
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
fn at_a_rate_there_are_as_many_messages_as_are_due() {
    let broker = Broker::start();
    let report = broker.json("latency --rate 10000 --duration 200ms --pubs 2 --subs 2 --warmup 10");
    assert_eq!(number(&report, "/published/messages"), 2_000);
    assert_eq!(number(&report, "/published/latency/count"), 2_000);
    assert_eq!(number(&report, "/delivered/latency/count"), 4_000);
    assert_eq!(number(&report, "/parameters/rate"), 10_000);
    assert_eq!(number(&report, "/parameters/batch"), 1, "each leaves when it is due");
    assert_verified(&report, 4_020);
    let report = broker.json("pubsub --rate 100000 --batch 50 --msgs 2000 --ack none");
    assert_eq!(number(&report, "/delivered/messages"), 2_000);
}

#[test]
fn a_duration_ends_a_run_as_well() {
    let broker = Broker::start();
    let report = broker.json("pubsub --duration 100ms --size 32");
    let published = number(&report, "/published/messages");
    assert!(published > 0);
    assert_eq!(number(&report, "/delivered/messages"), published);
    assert!(report["parameters"]["msgs"].is_null());
    assert_verified(&report, published);
}

#[test]
fn subscribers_verify_what_another_process_publishes() {
    let broker = Broker::start();
    let mut subscribers =
        Running(broker.bench("sub --topic shared --subs 2 --pubs 2 --json").spawn().expect("it starts"));
    let mut stderr = BufReader::new(subscribers.0.stderr.take().expect("a pipe"));
    until(&mut stderr, "waiting for `zaichik bench pub --topic shared`");
    for warmup in ["0", "500"] {
        let report = broker.json(&format!("pub --topic shared --msgs 2000 --warmup {warmup}"));
        assert_eq!(number(&report, "/published/messages"), 2_000);
    }
    let (code, said, _) = subscribers.end();
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(&said).expect("one object");
    assert_eq!(number(&report, "/delivered/messages"), 2 * 4_000);
    assert_verified(&report, 2 * 4_500);
}

#[test]
fn subscribers_that_hear_nothing_time_out() {
    let broker = Broker::start();
    let output = broker.output("sub --topic silent --timeout 50ms");
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8(output.stderr).expect("text");
    let last = said.lines().last().expect("a line");
    assert!(last.contains("no message of a benchmark came for 50ms"), "{said}");
}

/// What happens to messages between publisher and subscribers.
type Disorder = fn(number: usize, message: Delivery) -> Vec<Outgoing>;

/// Passes messages on from the topic `before` to the topic `after`, until `sub`s of the latter have ended.
async fn pass_on(address: &str, disorder: Disorder, messages: usize) {
    let client = Client::connect(address).await.expect("the broker listens");
    let mut before = client.subscribe("before").window(0).from(Start::Latest).await.expect("subscribed");
    let mut after: Publisher = client.publisher("after");
    let publishing = zaichik("bench")
        .args(["pub", "--topic", "before", "--server", address, "--msgs", &messages.to_string()])
        .spawn();
    let publishing = Running(publishing.expect("it starts"));
    // And one that says that nothing more comes.
    for number in 0..=messages {
        let message = before.next_message().await.expect("no gap").expect("a message");
        for message in disorder(number, message) {
            futures::SinkExt::feed(&mut after, message).await.expect("accepted");
        }
    }
    futures::SinkExt::flush(&mut after).await.expect("accepted");
    assert_eq!(publishing.end().0, Some(0));
}

/// What a subscriber finds when messages are passed on like this.
fn found(disorder: Disorder, more: &str) -> (Option<i32>, Value, String) {
    let broker = Broker::start();
    let subscriber = broker.bench(&format!("sub --topic after --json {more}")).spawn();
    let mut subscriber = Running(subscriber.expect("it starts"));
    let mut stderr = BufReader::new(subscriber.0.stderr.take().expect("a pipe"));
    until(&mut stderr, "subscribed");
    block_on(pass_on(&broker.address, disorder, 2_000));
    let mut told = String::new();
    stderr.read_to_string(&mut told).expect("text");
    let (code, said, _) = subscriber.end();
    (code, serde_json::from_str(&said).expect("one object"), told)
}

#[test]
fn messages_that_are_passed_on_as_they_are_are_fine() {
    let (code, report, told) = found(|_, message| vec![message.body.clone().into()], "");
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert_verified(&report, 2_000);
}

#[test]
fn a_planted_disorder_is_found() {
    let (code, report, told) = found(
        |number, message| {
            let body = message.body.clone();
            let mut changed = body.to_vec();
            *changed.last_mut().expect("a byte") ^= 1;
            match number {
                500 => Vec::new(),
                700 => vec![changed.into()],
                900 => vec![body.clone().into(), body.into()],
                _ => vec![body.into()],
            }
        },
        "",
    );
    assert_eq!(code, Some(7));
    assert_eq!(
        told,
        "zaichik: verification failed: order ok · 2 lost · 1 duplicated · 0 gaps · 1 corrupted\n"
    );
    assert_eq!(number(&report, "/verify/lost"), 2, "one was left out, and one can't be read");
    assert_eq!(number(&report, "/verify/duplicated"), 1);
    assert_eq!(number(&report, "/verify/corrupted"), 1);
    assert_eq!(number(&report, "/verify/verified"), 1_998);
}

#[test]
fn a_publisher_that_does_not_come_to_its_end_is_found() {
    let disorder: Disorder =
        |number, message| if number == 2_000 { Vec::new() } else { vec![message.body.clone().into()] };
    let (code, report, told) = found(disorder, "--timeout 3s");
    assert_eq!(code, Some(7));
    assert!(told.contains("0 lost · 0 duplicated · 0 gaps · 1 publishers without an end"), "{told}");
    assert_eq!(number(&report, "/delivered/messages"), 2_000);
}

#[test]
fn what_a_topic_drops_is_lost() {
    let broker = Broker::start();
    block_on(async {
        let client = Client::connect(&broker.address).await.expect("the broker listens");
        let options = TopicOptions::new().max_messages(10);
        client.create_topic("small", options).await.expect("created");
        client.close().await.expect("closed");
    });
    let output = broker.output("pubsub --topic small --msgs 2000 --batch 5 --window 1 --json");
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("topic \"small\" exists with settings of its own"), "{said}");
    assert!(said.contains("verification failed: "), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let (lost, verified) = (number(&report, "/verify/lost"), number(&report, "/verify/verified"));
    assert!(lost > 0 && number(&report, "/verify/gaps") > 0, "{report:#}");
    assert_eq!(lost + verified, 2_000);
}

#[test]
fn what_the_broker_refused_unasked_is_told() {
    let broker = Broker::start();
    block_on(async {
        let client = Client::connect(&broker.address).await.expect("the broker listens");
        let options = TopicOptions::new().retention_ttl(Duration::from_secs(1));
        let options = options.max_messages(300).overflow(Overflow::Reject);
        client.create_topic("full", options).await.expect("created");
        client.close().await.expect("closed");
    });
    let output = broker.output("pub --topic full --msgs 2560 --ack none --json");
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("verification failed: the broker refused "), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let refused = number(&report, "/published/refused_publishes");
    assert!((1..10).contains(&refused), "the first of 10 publishes fits: {report:#}");
}

/// Waits for a message of a run that does not end by itself.
fn watch(address: &str, topic: &str) {
    block_on(async {
        let client = Client::connect(address).await.expect("the broker listens");
        let mut watching = client.subscribe(topic).window(0).await.expect("subscribed");
        for _ in 0..100 {
            watching.next_message().await.expect("no gap").expect("a message");
        }
    });
}

#[test]
fn an_interrupt_ends_a_run_with_what_was_measured() {
    let broker = Broker::start();
    for (command, part) in [
        ("pubsub --rate 5000 --duration 1h", "/delivered"),
        ("pubsub --msgs 1000000000 --in-flight 1", "/delivered"),
        ("echo --duration 1h --warmup 1", "/round_trips"),
    ] {
        let mut command = broker.bench(command);
        let running = Running(command.args(["--topic", "endless", "--json"]).spawn().expect("it starts"));
        watch(&broker.address, "endless");
        running.signal(Signal::INT);
        let (code, said, err) = running.end();
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command:?}");
        let report: Value = serde_json::from_str(&said).expect("one object");
        assert_eq!(report["interrupted"], true);
        assert!(number(&report, &format!("{part}/messages")) > 0, "{report:#}");
        assert_eq!(number(&report, "/verify/lost"), 0);
    }
    let subscriber = broker.bench("sub --topic endless --json").spawn();
    let mut subscriber = Running(subscriber.expect("it starts"));
    until(&mut BufReader::new(subscriber.0.stderr.take().expect("a pipe")), "subscribed");
    subscriber.signal(Signal::INT);
    let (code, said, _) = subscriber.end();
    assert_eq!(code, Some(0));
    assert_eq!(number(&serde_json::from_str(&said).expect("one object"), "/delivered/messages"), 0);
}

#[test]
fn what_the_broker_tells_of_its_process_is_in_the_report() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let config = zaichik_tokio::default_config().expect("random numbers");
    let server = runtime.block_on(Server::bind("127.0.0.1:0", config)).expect("a free port");
    let (address, handle) = (server.local_addr().to_string(), server.handle());
    let serving = runtime.spawn(server.serve());
    handle.report(Counter::ProcessCpu, 1_000_000);
    let mut command = zaichik("bench");
    command.args(["pub", "--duration", "1h", "--topic", "cost", "--json", "--server", &address]);
    let running = Running(command.spawn().expect("it starts"));
    watch(&address, "cost");
    handle.report(Counter::ProcessCpu, 3_500_000);
    handle.report(Counter::ProcessMemoryPeak, 41 << 20);
    running.signal(Signal::INT);
    let (code, said, err) = running.end();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&said).expect("one object");
    assert_eq!(report["server"]["cpu_seconds"], 2.5);
    assert_eq!(report["server"]["memory_peak_bytes"], 41 << 20);
    handle.shutdown(Duration::ZERO);
    runtime.block_on(serving).expect("no panic").expect("an orderly end");
}

#[test]
fn a_second_interrupt_waits_for_nothing() {
    let broker = Broker::start();
    let running = broker.bench("pubsub --rate 5000 --duration 1h --topic stuck --json").spawn();
    let mut running = Running(running.expect("it starts"));
    watch(&broker.address, "stuck");
    // Nothing is answered any more, so that the first interrupt has to wait for what is under way.
    broker.process.signal(Signal::STOP);
    while running.0.try_wait().expect("a process").is_none() {
        running.signal(Signal::INT);
        std::thread::yield_now();
    }
    let (code, said, told) = running.end();
    assert_eq!((code, said.as_str()), (Some(1), ""), "{told}");
    assert_eq!(told, "zaichik: interrupted twice; nothing was measured to the end\n");
}

#[test]
fn a_broker_that_goes_away_is_one_line_and_code_3() {
    for command in [
        "pubsub --rate 5000 --duration 1h",
        "pubsub --duration 1h",
        "pub --duration 1h",
        "echo --duration 1h",
    ] {
        let broker = Broker::start();
        let running = broker.bench(command).args(["--topic", "endless", "--json"]).spawn();
        let running = Running(running.expect("it starts"));
        watch(&broker.address, "endless");
        broker.process.signal(Signal::KILL);
        let (code, said, told) = running.end();
        assert_eq!((code, said.as_str()), (Some(3), ""), "{command}: {told}");
        assert_eq!(told, "zaichik: the connection to the broker broke\n", "{command}");
    }
}

#[test]
fn without_a_broker_it_is_one_line_and_code_3() {
    for command in ["pub", "sub", "pubsub", "echo", "latency"] {
        let output = zaichik("bench").args([command, "--server", "127.0.0.1:1", "--json"]).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(3), "{command}");
        let told = String::from_utf8(output.stderr).expect("text");
        assert!(told.starts_with("zaichik: cannot connect to the broker: 127.0.0.1:1: "), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn wrong_usage_is_code_2_and_says_why() {
    for (arguments, why) in [
        ("pubsub --size 31", "which take 32 bytes; use at least that"),
        ("pubsub --msgs 10 --duration 1s", "cannot be used with"),
        ("pubsub --json --csv", "cannot be used with"),
        ("pub --msgs many", "expected a number"),
        ("pub --batch 0", "0 is not in 1..=256"),
        (
            "pub --in-flight 1024 --batch 256 --size 1KiB",
            "are 256 MiB for each publisher, and 64 are allowed",
        ),
        ("sub --subs 0", "0 is not in 1..="),
        ("latency --rate 0", "0 is not in 1..="),
        ("echo --timeout 0s", "must be more than 0"),
        ("measure", "unrecognized subcommand"),
        ("", "Usage:"),
    ] {
        let output = zaichik("bench").args(arguments.split_whitespace()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        let told = String::from_utf8(output.stderr).expect("text");
        assert!(told.contains(why), "{arguments}: {told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_the_broker_does_not_allow_is_code_5() {
    let broker = Broker::start();
    for arguments in ["pubsub --window 1000000 --msgs 10", "pubsub --size 2MiB --in-flight 1 --msgs 10"] {
        let output = broker.output(arguments);
        assert_eq!(output.status.code(), Some(5), "{arguments}");
        let told = String::from_utf8(output.stderr).expect("text");
        assert!(told.contains("limit of"), "{told}");
    }
}

#[test]
fn nobody_has_to_read_the_results() {
    let broker = Broker::start();
    let mut running = Running(broker.bench("pubsub --msgs 2000").spawn().expect("it starts"));
    drop(running.0.stdout.take());
    let (code, _, told) = running.end();
    assert_eq!((code, told.as_str()), (Some(0), ""));
}

#[test]
fn a_terminal_sees_the_progress_unless_it_is_told_not_to() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let broker = Broker::start();
    for (more, is_shown) in [("", true), ("--no-progress", false)] {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).expect("ours");
        unlockpt(&terminal).expect("ours");
        let path = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("text");
        let other_end = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("it is there");
        let mut command = broker.bench(&format!("pubsub --msgs 2000 {more}"));
        let running = Running(command.env("TERM", "xterm").stderr(other_end).spawn().expect("it starts"));
        // The command holds the other end too.
        drop(command);
        let mut shown = Vec::new();
        let mut chunk = [0; 4_096];
        // A terminal that nobody has open any more is an error, not an end.
        while let Ok(count @ 1..) = rustix::io::read(&terminal, &mut chunk) {
            shown.extend_from_slice(&chunk[..count]);
        }
        let shown = String::from_utf8(shown).expect("text");
        assert_eq!(running.end().0, Some(0));
        for part in ["Publish", "Deliver", "100%", "msg/s", "MiB/s"] {
            assert_eq!(shown.contains(part), is_shown, "{part}: {shown}");
        }
        assert!(shown.is_empty() || shown.ends_with('\n'), "what comes after it begins a line");
    }
}
