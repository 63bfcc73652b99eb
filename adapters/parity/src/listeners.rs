//! The addresses that a broker command listens on.

use zaichik_tokio::Client;

use crate::directory::Directory;
use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

/// Each address is in the log, and served by the same broker.
pub fn a_broker_listens_on_several_addresses(path: &str) {
    let listen = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", "localhost:0"];
    let broker = Broker::run(command(path, 1).args(listen));
    let ports = broker.ports();
    assert_eq!(ports.len(), 3);
    script::block_on(async {
        let connect = async |port: &u16| {
            Client::connect(&format!("127.0.0.1:{port}")).await.expect("the broker listens")
        };
        let reader = connect(&ports[0]).await;
        let mut subscription = reader.subscribe("doors").window(0).await.expect("subscribed");
        for port in &ports {
            connect(port).await.publish("doors", port.to_string()).await.expect("accepted");
            let message = next_message(&mut subscription).await;
            assert_eq!(message.body, port.to_string());
        }
    });
    broker.stop();
}

/// More listeners than a task accepts connections at once.
pub fn a_hundred_listeners_are_all_served(path: &str) {
    let listen = vec!["127.0.0.1:0"; 100].join(",");
    let broker = Broker::run(command(path, 0).env("ZAICHIK_LISTEN", listen));
    let ports = broker.ports();
    assert_eq!(ports.len(), 100);
    script::block_on(async {
        for port in ports {
            let client = Client::connect(&format!("127.0.0.1:{port}")).await.expect("the broker listens");
            client.close().await.expect("the client has no unfinished work");
        }
    });
    broker.stop();
}

/// `--port` and `--listen` contradict each other.
pub fn a_port_together_with_addresses_is_a_usage_error(path: &str) {
    let output =
        command(path, 0).args(["-p", "0", "--listen", "127.0.0.1:0"]).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(2));
}

/// A Unix socket counts as loopback, is replaced after a crash, and is removed on exit.
pub fn a_broker_listens_on_a_unix_socket(path: &str) {
    let directory = Directory::new();
    let socket = directory.path().join("broker.sock");
    // A broker that was killed leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("the path is free"));
    let address = format!("unix:{}", socket.display());
    let listen = ["--listen", &address, "--listen", "127.0.0.1:0", "-v"];
    let broker = Broker::run(command(path, 0).args(listen));
    let url = format!("unix://{}", socket.display());
    assert!(broker.start.iter().any(|line| line.contains(&format!("listening {url}"))));
    let second = command(path, 0).args(["--listen", &address]).output().expect("the command runs");
    assert_eq!(second.status.code(), Some(3), "the address is in use");
    script::block_on(async {
        let near = Client::connect(&url).await.expect("the broker listens");
        let far = Client::connect(&broker.address()).await.expect("the broker listens");
        let mut subscription = far.subscribe("doors").window(0).await.expect("subscribed");
        near.publish("doors", "x").await.expect("accepted");
        assert_eq!(next_message(&mut subscription).await.body, "x");
        near.close().await.expect("the client has no unfinished work");
        Client::connect(&address)
            .await
            .expect("without slashes")
            .close()
            .await
            .expect("the client has no unfinished work");
    });
    broker.signal("TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0));
    assert!(log.contains(&format!("peer=\"{address}\"")), "{log}");
    assert!(!socket.exists());
}
