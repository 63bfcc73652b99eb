//! Ports, signals, exit codes and bytes of a broker command.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zaichik_tokio::{BrokerConfig, Client, Server, TopicOptions};

use crate::messages::next_message;
use crate::process::{Broker, command, piped};
use crate::script;

/// The start lines name the version, the configuration and the address.
pub fn port_0_picks_a_free_port_and_prints_it(path: &str) {
    let broker = Broker::start(path);
    assert_ne!(broker.port, 0);
    let expected = [
        concat!("zaichik ", env!("CARGO_PKG_VERSION"), " ("),
        "config: env PORT",
        "storage: memory only; messages are lost when this process exits",
        "auth: none; listening on loopback only",
        "listening zaichik://127.0.0.1:",
        "ready in ",
    ];
    for (line, expected) in broker.start.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(broker.start.len(), expected.len());
    broker.stop();
}

/// The error names the address in one line.
pub fn a_port_in_use_is_reported_in_one_line_with_code_3(path: &str) {
    let first = Broker::start(path);
    let second = command(path, first.port).output().expect("the command runs");
    assert_eq!(second.status.code(), Some(3));
    let stderr = String::from_utf8(second.stderr).expect("text");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(&format!("cannot listen on 127.0.0.1:{}", first.port)), "{stderr}");
    assert!(second.stdout.is_empty());
    first.stop();
}

/// Both signals that ask a process to end drain the broker.
pub fn sigint_and_sigterm_drain_and_exit_with_0(path: &str) {
    for signal in ["INT", "TERM"] {
        let broker = Broker::start(path);
        broker.signal(signal);
        let (code, log) = broker.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(&format!("SIG{signal}: draining")), "{log}");
        assert!(log.contains("stopped"), "{log}");
    }
}

/// When the reader of the log is gone, the broker continues, and still handles signals.
pub fn a_broker_whose_log_reader_is_gone_still_drains(path: &str) {
    assert_eq!(Broker::start(path).end_without_log_reader("TERM"), Some(0));
}

/// When the reader of the log does not read, clients are served, and the lines that did not fit are counted.
pub fn a_log_that_nobody_reads_does_not_stop_the_broker(path: &str) {
    const MESSAGES: u32 = 2_000;
    let mut broker = Broker::run(command(path, 0).arg("-vv"));
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        for _ in 0..MESSAGES {
            client.publish("unread", "x").await.expect("accepted");
        }
        client.close().await.expect("the client has no unfinished work");
    });
    broker.wait_for_log("lines were dropped");
    broker.signal("TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("stopped"), "the end is logged");
}

/// A drain that waits for a subscriber does not wait after a second signal.
pub fn s5_a_second_signal_ends_a_drain_at_once(path: &str) {
    let mut broker = Broker::start(path);
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        let mut subscription = client.subscribe("unfinished").await.expect("subscribed");
        client.publish("unfinished", "business").await.expect("accepted");
        // Received and not committed: the drain waits for it.
        let message = next_message(&mut subscription).await;
        broker.signal("TERM");
        broker.wait_for_log("draining");
        broker.signal("TERM");
        assert_eq!(broker.end().0, Some(143));
        drop(message);
    });
}

/// With more connections than descriptors, connected clients are served, and new ones later.
pub fn s10_more_connections_than_descriptors_end_no_connection(path: &str) {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 48; exec \"$0\"", path]);
    let mut broker = Broker::run(&mut piped(limited, 0));
    let address = broker.address();
    script::block_on(async {
        let honest = Client::connect(&address).await.expect("the broker listens");
        let mut flood = Vec::new();
        for _ in 0..150 {
            flood.push(tokio::net::TcpStream::connect(&address).await.expect("the kernel accepts"));
        }
        broker.wait_for_log("accept failed");
        for _ in 0..20 {
            honest.publish("flood", "still served").await.expect("accepted");
        }
        drop(flood);
        let late = Client::builder(&address)
            .retry_first_connect(true)
            .connect()
            .await
            .expect("the broker has room again");
        late.publish("flood", "served again").await.expect("accepted");
    });
    broker.signal("TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
}

/// An empty or invalid filter is ignored.
pub fn an_empty_or_invalid_log_filter_hides_nothing(path: &str) {
    for (filter, warning) in [("", None), ("zaichik=loud", Some("RUST_LOG=\"zaichik=loud\" is ignored"))] {
        let broker = Broker::run(command(path, 0).env("RUST_LOG", filter));
        let warned = broker.start.iter().find(|line| line.contains("RUST_LOG"));
        assert_eq!(warned.is_some(), warning.is_some(), "{warned:?}");
        assert!(
            warned.is_none_or(|line| warning.is_some_and(|warning| line.contains(warning))),
            "{warned:?}"
        );
        broker.stop();
    }
}

/// A client with a refused request, and a connection that sends HTTP.
async fn converse(broker: &Broker) {
    let address = broker.address();
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
    assert!(answer.is_empty(), "an HTTP client gets no answer");
}

/// With `RUST_LOG=debug`.
pub fn the_debug_log_shows_what_each_connection_did(path: &str) {
    let broker = Broker::run(command(path, 0).env("RUST_LOG", "debug"));
    script::block_on(converse(&broker));
    broker.signal("INT");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0));
    for expected in [
        "connection opened connection=0 peer=\"127.0.0.1:",
        "handshake done, the client is \"tester\\n\" connection=0",
        "topic created connection=0 topic=\"talk\"",
        "refused: ",
        "connection closed connection=0 reason=the client closed the connection",
        "connection closed connection=1 reason=the peer broke the protocol: the peer does not speak Zaichik",
    ] {
        assert_eq!(log.lines().filter(|line| line.contains(expected)).count(), 1, "{expected}: {log}");
    }
    let refused = log.lines().find(|line| line.contains("refused: "));
    assert!(refused.is_some_and(|line| line.ends_with("connection=0 topic=\"talk\"")), "{log}");
}

/// Without `RUST_LOG`.
pub fn connections_are_not_logged_by_default(path: &str) {
    let broker = Broker::start(path);
    script::block_on(converse(&broker));
    broker.signal("INT");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0));
    assert_eq!(log.lines().count(), 2, "draining, stopped: {log}");
}

/// A wrong command line or variable is an error with code 2.
pub fn wrong_usage_is_code_2(path: &str) {
    let output = command(path, 0).arg("--no-such-flag").output().expect("the command runs");
    assert_eq!(output.status.code(), Some(2));
    for port in ["many", "65536", "-1", " ", "80 80", "80,81"] {
        let output = command(path, 0).env("PORT", port).output().expect("the command runs");
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).expect("text");
        let expected = format!(": env PORT: {port:?} is not a port; use a whole number from 0 to 65535");
        assert!(stderr.lines().count() == 1 && stderr.contains(&expected), "{stderr}");
    }
}

/// A recorded client receives the same bytes from the command as from a broker in this process on tokio, so all
/// commands send the same bytes.
pub fn s_01_the_same_script_gives_the_same_bytes(path: &str) {
    let broker = Broker::start(path);
    let received = script::block_on(script::play(&broker.address()));
    broker.stop();
    let expected = script::block_on(async {
        let config = BrokerConfig::default();
        let server = Server::bind("127.0.0.1:0", config).await.expect("a free port");
        let (address, handle) = (server.local_addr().to_string(), server.broker().handle());
        let playing = async {
            let received = script::play(&address).await;
            handle.shutdown(Duration::ZERO);
            received
        };
        let (ended, received) = futures::join!(server.serve(), playing);
        ended.expect("an orderly end");
        received
    });
    assert_eq!(received, expected);
}
