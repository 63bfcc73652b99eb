//! The broker as a process: ports, signals, exit codes.
#![cfg(unix)]
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

use zaichik_tokio::Client;

/// A broker that runs, and what it said since it was ready.
struct Broker {
    process: Child,
    stderr: BufReader<ChildStderr>,
    /// What it said until it was ready.
    start: Vec<String>,
    port: u16,
}

fn command(port: u16) -> Command {
    piped(Command::new(env!("CARGO_BIN_EXE_zaichik")), port)
}

fn piped(mut command: Command, port: u16) -> Command {
    command
        .env("PORT", port.to_string())
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

impl Broker {
    fn start(port: u16) -> Self {
        Self::run(&mut command(port))
    }

    fn run(command: &mut Command) -> Self {
        let mut process = command.spawn().expect("the broker starts");
        let mut stderr = BufReader::new(process.stderr.take().expect("a pipe"));
        let start = until(&mut stderr, "ready in ");
        let address = start.iter().find_map(|line| line.trim().split_once("listening zaichik://127.0.0.1:"));
        let port = address.expect("its address").1.parse().expect("a port");
        Self { process, stderr, start, port }
    }

    /// Waits until it says something.
    fn says(&mut self, what: &str) {
        until(&mut self.stderr, what);
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success());
    }

    /// Its exit code, and what it said meanwhile.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("text");
        (self.process.wait().expect("it ends").code(), said)
    }
}

/// The lines up to the one that contains `what`.
fn until(stderr: &mut impl BufRead, what: &str) -> Vec<String> {
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains(what)) {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "it ended: {lines:?}");
        lines.push(line);
    }
    lines
}

#[test]
fn port_0_is_any_free_port_and_the_real_one_is_printed() {
    let broker = Broker::start(0);
    assert_ne!(broker.port, 0);
    let expected =
        ["zaichik ", "storage: memory only", "auth: none", "listening zaichik://127.0.0.1:", "ready in "];
    for (line, expected) in broker.start.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(broker.start.len(), expected.len());
    broker.signal("TERM");
    assert_eq!(broker.end().0, Some(0));
}

#[test]
fn a_port_that_is_taken_is_one_line_and_code_3() {
    let first = Broker::start(0);
    let second = command(first.port).output().expect("it runs");
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8(second.stderr).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{}", first.port)), "{said}");
    assert!(second.stdout.is_empty());
    first.signal("TERM");
    assert_eq!(first.end().0, Some(0));
}

#[test]
fn sigint_and_sigterm_drain_and_end_with_0() {
    for signal in ["INT", "TERM"] {
        let broker = Broker::start(0);
        broker.signal(signal);
        let (code, said) = broker.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("SIG{signal}: draining")), "{said}");
        assert!(said.contains("stopped"), "{said}");
    }
}

#[tokio::test]
async fn b17_a_second_signal_ends_a_drain_at_once() {
    let mut broker = Broker::start(0);
    let client = Client::connect(&format!("127.0.0.1:{}", broker.port)).await.expect("the broker listens");
    let mut subscription = client.subscribe("unfinished").await.expect("subscribed");
    client.publish("unfinished", "business").await.expect("accepted");
    // Taken and not committed: the drain waits for it.
    let message = subscription.next_message().await.expect("no gap").expect("a message");
    broker.signal("TERM");
    broker.says("draining");
    broker.signal("TERM");
    assert_eq!(broker.end().0, Some(143));
    drop(message);
}

#[tokio::test]
async fn w12_a_flood_of_connections_above_the_descriptors_ends_nobody() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 48; exec \"$0\"", env!("CARGO_BIN_EXE_zaichik")]);
    let mut broker = Broker::run(&mut piped(limited, 0));
    let address = format!("127.0.0.1:{}", broker.port);
    let honest = Client::connect(&address).await.expect("the broker listens");
    let mut flood = Vec::new();
    for _ in 0..150 {
        flood.push(tokio::net::TcpStream::connect(&address).await.expect("the kernel accepts"));
    }
    broker.says("accept failed");
    for _ in 0..20 {
        honest.publish("flood", "still served").await.expect("accepted");
    }
    drop(flood);
    let late =
        Client::builder(&address).retry_first_connect(true).connect().await.expect("there is room again");
    late.publish("flood", "served again").await.expect("accepted");
    broker.signal("TERM");
    let (code, said) = broker.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn wrong_usage_is_code_2() {
    let output = command(0).arg("--no-such-flag").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let output = command(0).env("PORT", "many").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
}
