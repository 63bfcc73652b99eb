//! Ports, signals, exit codes and bytes of a broker command.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zaichik_tokio::{Client, Server, TopicOptions, default_config};

use crate::process::{Broker, command, piped};
use crate::script;

/// It says where it listens, and what it is.
pub fn port_0_is_any_free_port_and_the_real_one_is_printed(path: &str) {
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
    broker.signal("TERM");
    assert_eq!(broker.end().0, Some(0));
}

/// Another broker's port is not an accident to be puzzled over.
pub fn a_port_that_is_taken_is_one_line_and_code_3(path: &str) {
    let first = Broker::start(path);
    let second = command(path, first.port).output().expect("it runs");
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8(second.stderr).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{}", first.port)), "{said}");
    assert!(second.stdout.is_empty());
    first.signal("TERM");
    assert_eq!(first.end().0, Some(0));
}

/// Both signals that ask a process to end.
pub fn sigint_and_sigterm_drain_and_end_with_0(path: &str) {
    for signal in ["INT", "TERM"] {
        let broker = Broker::start(path);
        broker.signal(signal);
        let (code, said) = broker.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("SIG{signal}: draining")), "{said}");
        assert!(said.contains("stopped"), "{said}");
    }
}

/// Who reads the log may go, the broker stays, and still obeys.
pub fn a_broker_that_nobody_listens_to_drains_all_the_same(path: &str) {
    assert_eq!(Broker::start(path).end_unheard("TERM"), Some(0));
}

/// A drain that waits for a subscriber does not wait after a second signal.
pub fn b17_a_second_signal_ends_a_drain_at_once(path: &str) {
    let mut broker = Broker::start(path);
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        let mut subscription = client.subscribe("unfinished").await.expect("subscribed");
        client.publish("unfinished", "business").await.expect("accepted");
        // Taken and not committed: the drain waits for it.
        let message = subscription.next_message().await.expect("no gap").expect("a message");
        broker.signal("TERM");
        broker.says("draining");
        broker.signal("TERM");
        assert_eq!(broker.end().0, Some(143));
        drop(message);
    });
}

/// More connections than descriptors: who is connected is served, and later there is room again.
pub fn w12_a_flood_of_connections_above_the_descriptors_ends_nobody(path: &str) {
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
        broker.says("accept failed");
        for _ in 0..20 {
            honest.publish("flood", "still served").await.expect("accepted");
        }
        drop(flood);
        let late =
            Client::builder(&address).retry_first_connect(true).connect().await.expect("there is room again");
        late.publish("flood", "served again").await.expect("accepted");
    });
    broker.signal("TERM");
    let (code, said) = broker.end();
    assert_eq!(code, Some(0), "{said}");
}

/// An empty or wrong filter is no filter.
pub fn a_filter_that_is_empty_or_wrong_hides_nothing(path: &str) {
    for (filter, warning) in [("", None), ("zaichik=loud", Some("RUST_LOG=\"zaichik=loud\" is ignored"))] {
        let broker = Broker::run(command(path, 0).env("RUST_LOG", filter));
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

/// A conversation with a refusal, and a peer that speaks HTTP.
async fn talk(broker: &Broker) {
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
    assert!(answer.is_empty(), "a stranger gets no answer");
}

/// With `RUST_LOG=debug`.
pub fn the_debug_log_tells_what_each_connection_did(path: &str) {
    let broker = Broker::run(command(path, 0).env("RUST_LOG", "debug"));
    script::block_on(talk(&broker));
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

/// Without `RUST_LOG`.
pub fn the_log_says_nothing_about_connections_by_default(path: &str) {
    let broker = Broker::start(path);
    script::block_on(talk(&broker));
    broker.signal("INT");
    let (code, said) = broker.end();
    assert_eq!(code, Some(0));
    assert_eq!(said.lines().count(), 2, "draining, stopped: {said}");
}

/// What it can't understand.
pub fn wrong_usage_is_code_2(path: &str) {
    let output = command(path, 0).arg("--no-such-flag").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    for port in ["many", "65536", "-1", ""] {
        let output = command(path, 0).env("PORT", port).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).expect("text");
        let expected = format!(": env PORT: {port:?} is no port; use a whole number from 0 to 65535");
        assert!(said.lines().count() == 1 && said.contains(&expected), "{said}");
    }
}

/// What a recorded client gets from the command is what it gets from a broker in this process, on tokio; so all
/// commands send the same bytes.
pub fn the_same_script_gives_the_same_bytes(path: &str) {
    let broker = Broker::start(path);
    let got = script::block_on(script::play(&broker.address()));
    broker.signal("TERM");
    assert_eq!(broker.end().0, Some(0));
    let expected = script::block_on(async {
        let config = default_config().expect("random numbers");
        let server = Server::bind("127.0.0.1:0", config).await.expect("a free port");
        let (address, handle) = (server.local_addr().to_string(), server.handle());
        let playing = async {
            let got = script::play(&address).await;
            handle.shutdown(Duration::ZERO);
            got
        };
        let (ended, got) = futures::join!(server.serve(), playing);
        ended.expect("an orderly end");
        got
    });
    assert_eq!(got, expected);
}
