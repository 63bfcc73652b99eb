//! Ports, signals, exit codes and bytes of a broker command.

use std::process::Command;

use zaichik_tokio::{Client, Server, default_config};

use crate::process::{Broker, command, piped};
use crate::script;

/// It says where it listens, and what it is.
pub fn port_0_is_any_free_port_and_the_real_one_is_printed(path: &str) {
    let broker = Broker::start(path);
    assert_ne!(broker.port, 0);
    let expected = [
        concat!("zaichik ", env!("CARGO_PKG_VERSION"), " ("),
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

/// What it can't understand.
pub fn wrong_usage_is_code_2(path: &str) {
    let output = command(path, 0).arg("--no-such-flag").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let output = command(path, 0).env("PORT", "many").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
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
            handle.shutdown(std::time::Duration::ZERO);
            got
        };
        let (ended, got) = futures::join!(server.serve(), playing);
        ended.expect("an orderly end");
        got
    });
    assert_eq!(got, expected);
}
