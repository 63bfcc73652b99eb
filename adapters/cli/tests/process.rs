//! The broker as a process: ports, signals, exit codes.
#![cfg(unix)]
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zaichik_tokio::{Client, TopicOptions};

/// A broker that runs, and what it said since it was ready.
struct Broker {
    process: Child,
    /// Until the test closes it.
    stderr: Option<BufReader<ChildStderr>>,
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
        Self { process, stderr: Some(stderr), start, port }
    }

    /// Waits until it says something.
    fn says(&mut self, what: &str) {
        until(self.stderr.as_mut().expect("not closed"), what);
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success());
    }

    /// Its exit code, and what it said meanwhile.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        if let Some(stderr) = &mut self.stderr {
            stderr.read_to_string(&mut said).expect("text");
        }
        (self.process.wait().expect("it ends").code(), said)
    }
}

impl Drop for Broker {
    /// A test that fails leaves no broker behind.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
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
fn a_filter_that_is_empty_or_wrong_hides_nothing() {
    for (filter, warning) in [("", None), ("zaichik=loud", Some("RUST_LOG=\"zaichik=loud\" is ignored"))] {
        let broker = Broker::run(command(0).env("RUST_LOG", filter));
        let warned = broker.start.iter().find(|line| line.contains("RUST_LOG"));
        assert_eq!(warned.is_some(), warning.is_some(), "{warned:?}");
        assert!(
            warned.is_none_or(|line| warning.is_some_and(|warning| line.contains(warning))),
            "{warned:?}"
        );
        broker.signal("TERM");
        assert_eq!(broker.end().0, Some(0));
    }
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

#[test]
fn a_closed_stderr_ends_nothing_and_holds_up_nothing() {
    let mut broker = Broker::start(0);
    broker.stderr = None;
    broker.signal("TERM");
    assert_eq!(broker.end().0, Some(0));
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

/// A conversation with a refusal, and a peer that speaks HTTP.
async fn talk(broker: &Broker) {
    let address = format!("127.0.0.1:{}", broker.port);
    let client = Client::builder(&address).name("tester\n").connect().await.expect("the broker listens");
    let settings = |seconds| TopicOptions::new().retention_ttl(Duration::from_secs(seconds));
    client.create_topic("talk", settings(8)).await.expect("created");
    client.create_topic("talk", settings(9)).await.expect_err("other settings");
    client.publish("talk", "x").await.expect("accepted");
    client.close().await.expect("closed");
    let mut browser = tokio::net::TcpStream::connect(&address).await.expect("the broker listens");
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    browser.read_to_end(&mut answer).await.expect("closed in an orderly way");
    assert!(answer.is_empty(), "a stranger gets no answer");
}

#[tokio::test]
async fn the_debug_log_tells_what_each_connection_did() {
    let broker = Broker::run(command(0).env("RUST_LOG", "debug"));
    talk(&broker).await;
    broker.signal("INT");
    let (code, said) = broker.end();
    assert_eq!(code, Some(0));
    for expected in [
        "connection opened connection=0 peer=\"127.0.0.1:",
        "handshake done, the client is \"tester\\n\" connection=0",
        "topic created connection=0 topic=\"talk\"",
        "refused: ",
        "connection closed connection=0 reason=the client closed the connection",
        "connection closed connection=1 reason=the peer broke the protocol: the peer does not speak Zaichik",
    ] {
        assert_eq!(said.lines().filter(|line| line.contains(expected)).count(), 1, "{expected}: {said}");
    }
    let refused = said.lines().find(|line| line.contains("refused: "));
    assert!(refused.is_some_and(|line| line.ends_with("connection=0 topic=\"talk\"")), "{said}");
}

#[tokio::test]
async fn the_log_says_nothing_about_connections_by_default() {
    let broker = Broker::start(0);
    talk(&broker).await;
    broker.signal("INT");
    let (code, said) = broker.end();
    assert_eq!(code, Some(0));
    assert_eq!(said.lines().count(), 2, "draining, stopped: {said}");
}

#[test]
fn wrong_usage_is_code_2() {
    let output = command(0).arg("--no-such-flag").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    for port in ["many", "65536", "-1", ""] {
        let output = command(0).env("PORT", port).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(said.contains(&format!("invalid value '{port}' for '--port <PORT>'")), "{said}");
    }
}
