//! The HTTP server of a broker command.

use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use zaichik_tokio::{Client, TopicOptions};

use crate::directory::Directory;
use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

/// More connections than the HTTP server keeps at once.
const TOO_MANY: usize = 40;

/// A broker with HTTP, and its HTTP port.
pub(crate) fn start(path: &str, arguments: &[&str]) -> (Broker, u16) {
    run(command(path, 0).args(arguments))
}

/// The same with a prepared command.
pub(crate) fn run(command: &mut Command) -> (Broker, u16) {
    let broker = Broker::run(command.args(["--http", "127.0.0.1:0"]));
    let mut ports = broker.start.iter().filter_map(|line| line.split_once("listening http://127.0.0.1:"));
    let (_, port) = ports.next().expect("the log has the HTTP address");
    let port = port.strip_suffix(" (/healthz /readyz /metrics)\n").expect("the log lists the pages");
    let port = port.parse().expect("a port");
    (broker, port)
}

/// Sends bytes and reads until the end of the connection.
async fn exchange(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an orderly end");
    answer
}

/// Sends a request; returns the status, the head and the body.
pub(crate) async fn request(port: u16, method: &str, page: &str) -> (u16, String, String) {
    let sent = format!("{method} {page} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = exchange(port, sent.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|head| head.get(..3)).expect("a status");
    (status.parse().expect("a number"), head.to_owned(), body.to_owned())
}

/// Reads the metrics.
pub(crate) async fn scrape(port: u16) -> String {
    let (status, head, body) = request(port, "GET", "/metrics").await;
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    body
}

pub(crate) fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|known| known == *line), "{line}: {text}");
    }
}

/// GET and HEAD, on three pages.
pub fn only_probes_and_metrics_are_served(path: &str) {
    let (broker, port) = start(path, &[]);
    script::block_on(async {
        for (method, page, status, body) in [
            ("GET", "/healthz", 200, "healthy\n"),
            ("GET", "/readyz", 200, "ready\n"),
            ("GET", "/readyz?verbose", 200, "ready\n"),
            ("HEAD", "/healthz", 200, ""),
            ("POST", "/readyz", 405, "use GET or HEAD\n"),
            ("GET", "/", 404, "not found; use /healthz, /readyz or /metrics\n"),
            ("GET", "/metrics/", 404, "not found; use /healthz, /readyz or /metrics\n"),
        ] {
            let (actual, head, text) = request(port, method, page).await;
            assert_eq!((actual, text.as_str()), (status, body), "{method} {page}");
            assert_eq!(head.contains("allow: GET, HEAD"), status == 405, "{head}");
            assert!(head.contains("connection: close"), "{head}");
        }
    });
    broker.stop();
}

/// Records, refusals, memory and lags are counted.
pub fn metrics_count_what_happened(path: &str) {
    let (broker, port) = start(path, &[]);
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        assert_lines(
            &scrape(port).await,
            &[
                "zaichik_connections 1",
                "zaichik_records_in_total 0",
                "zaichik_write_stalls_total 0",
                "zaichik_subscriptions_left_out 0",
            ],
        );
        let mut billing = client.subscribe("orders").durable("billing \"eu\"").await.expect("subscribed");
        for body in ["one", "two", "three"] {
            client.publish("orders", body).await.expect("accepted");
        }
        let first = next_message(&mut billing).await;
        first.commit().await.expect("committed");
        client.create_topic("invoices", TopicOptions::new().max_messages(1)).await.expect("created");
        client
            .create_topic("invoices", TopicOptions::new().max_messages(2))
            .await
            .expect_err("other settings");
        let metrics = scrape(port).await;
        assert_lines(
            &metrics,
            &[
                "# TYPE zaichik_records_in_total counter",
                "zaichik_records_in_total 3",
                "zaichik_connections 1",
                "zaichik_topics 2",
                "zaichik_subscriptions 1",
                "zaichik_durable_subscriptions 1",
                "zaichik_gaps_total 0",
                "zaichik_refused_total{code=\"SettingsDiffer\"} 1",
                r#"zaichik_subscription_lag{topic="orders",name="billing \"eu\""} 2"#,
                "zaichik_subscriptions_left_out 0",
            ],
        );
        let build = format!("zaichik_build_info{{version=\"{}\",", env!("CARGO_PKG_VERSION"));
        assert!(metrics.contains(&build), "{metrics}");
        for held in ["zaichik_memory_bytes{part=\"topics\"} ", "zaichik_memory_budget_bytes "] {
            let value =
                metrics.lines().find_map(|line| line.strip_prefix(held)).expect("the metric is present");
            assert_ne!(value, "0", "{held}");
        }
        if cfg!(target_os = "linux") {
            let used = "zaichik_process_memory_bytes ";
            let used =
                metrics.lines().find_map(|line| line.strip_prefix(used)).expect("the metric is present");
            assert!(used.parse::<u64>().expect("a number") > 1 << 20, "{used}");
        }
    });
    broker.stop();
}

/// Commits and their time, and what the storage directory holds; without one, there are none.
pub fn metrics_describe_the_storage(path: &str) {
    let of_storage = |metrics: &str, name: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("zaichik_storage_{name} ")));
        value.map(|value| value.parse::<f64>().expect("a number"))
    };
    let (broker, port) = start(path, &[]);
    let metrics = script::block_on(scrape(port));
    assert_eq!(of_storage(&metrics, "commits_total"), Some(0.0));
    for name in ["segments", "full", "changed_rows", "commit_seconds_count", "last_commit_seconds"] {
        assert_eq!(of_storage(&metrics, name), None, "{name}");
    }
    broker.stop();
    let directory = Directory::new();
    let (broker, port) = start(path, &["--data", directory.path().to_str().expect("text")]);
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        let before = scrape(port).await;
        client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
        for _ in 0..10 {
            client.publish("t", "x".repeat(1_000)).await.expect("stored");
        }
        let after = scrape(port).await;
        let of = |metrics: &str, name: &str| {
            of_storage(metrics, name).unwrap_or_else(|| panic!("{name}: {metrics}"))
        };
        for (name, least) in [
            ("commits_total", 11.0),
            ("commit_seconds_count", 11.0),
            ("rows_committed_total", 11.0),
            ("bytes_written_total", 10_000.0),
            ("bytes", 10_000.0),
            ("live_bytes", 10_000.0),
        ] {
            let (before, after) = (of(&before, name), of(&after, name));
            assert!(after >= before + least, "{name}: {before} {after}");
        }
        for (name, value) in
            [("segments", 1.0), ("full", 0.0), ("changed_rows", 0.0), ("no_space_total", 0.0)]
        {
            assert!((of(&after, name) - value).abs() < f64::EPSILON, "{name}");
        }
        assert!(of(&after, "last_commit_seconds") > 0.0);
        assert_eq!(of_storage(&after, "last_error_time_seconds"), None);
        let bounds =
            after.lines().filter(|line| line.starts_with("zaichik_storage_commit_seconds_bucket{le="));
        assert!(bounds.count() > 10, "{after}");
        assert_lines(&after, &["# TYPE zaichik_storage_commit_seconds histogram"]);
    });
    broker.stop();
}

/// The number of series is bounded.
pub fn metrics_name_a_thousand_durable_subscriptions_and_count_the_rest(path: &str) {
    let (broker, port) = start(path, &[]);
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        for number in 0..1_003 {
            // The durable subscription remains after it is dropped.
            drop(client.subscribe("orders").durable(format!("{number}")).await.expect("subscribed"));
        }
        drop(client.subscribe("orders").await.expect("subscribed, and not durable"));
        let metrics = scrape(port).await;
        let named = metrics.lines().filter(|line| line.starts_with("zaichik_subscription_lag{")).count();
        assert_eq!(named, 1_000);
        assert_lines(&metrics, &["zaichik_durable_subscriptions 1003", "zaichik_subscriptions_left_out 3"]);
    });
    broker.stop();
}

/// Metrics do not count as a connection and need no token.
pub fn metrics_work_with_all_connections_in_use_and_without_a_token(path: &str) {
    let token = "0123456789abcdef0123456789abcdef";
    let directory = Directory::new();
    let file = directory.write("token", token);
    let (broker, port) = start(path, &["--max-connections", "1", "--token-file", &file]);
    script::block_on(async {
        let builder = || Client::builder(&broker.address()).token(token).reconnect(false);
        let only = builder().connect().await.expect("one connection is allowed");
        builder().connect().await.expect_err("a second one is not allowed");
        assert_lines(&scrape(port).await, &["zaichik_connections 1"]);
        only.close().await.expect("the client has no unfinished work");
    });
    broker.stop();
}

/// New connections replace the oldest ones.
pub fn silent_scrapers_do_not_keep_others_out(path: &str) {
    let (broker, port) = start(path, &[]);
    script::block_on(async {
        let mut silent = Vec::new();
        for number in 0..TOO_MANY {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
            if number % 2 == 0 {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: loc").await.expect("sent");
            }
            silent.push(stream);
        }
        assert_eq!(request(port, "GET", "/healthz").await.0, 200);
        assert_lines(&scrape(port).await, &["zaichik_connections 0"]);
        // The newest are slow, but still open.
        let slow = &mut silent[TOO_MANY - 2];
        slow.write_all(b"alhost\r\n\r\n").await.expect("the connection is open");
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await.expect("an orderly end");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let mut rest = Vec::new();
        // The close may be a reset, if bytes were unread.
        let _ = silent[0].read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "an incomplete request got an answer: {rest:?}");
    });
    broker.stop();
}

/// Requests that are too large or not HTTP are refused.
pub fn a_malformed_request_is_refused(path: &str) {
    let (broker, port) = start(path, &[]);
    script::block_on(async {
        let answer = exchange(port, b"zaichik?\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat((8 << 10) - 15));
        let answer = exchange(port, long.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert_eq!(request(port, "GET", "/healthz").await.0, 200);
    });
    broker.stop();
}

/// While it drains, the broker is healthy but not ready.
pub fn readiness_ends_with_the_first_signal(path: &str) {
    let (mut broker, port) = start(path, &["--drain", "1h"]);
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        let mut subscription = client.subscribe("unfinished").await.expect("subscribed");
        client.publish("unfinished", "business").await.expect("accepted");
        // Received and not committed: the drain waits for it.
        let message = next_message(&mut subscription).await;
        assert_eq!(request(port, "GET", "/readyz").await.0, 200);
        broker.signal("TERM");
        broker.wait_for_log("draining");
        // The log line is written shortly before the change.
        while request(port, "GET", "/readyz").await.0 == 200 {}
        for (page, status, body) in
            [("/readyz", 503, "draining\n"), ("/metrics", 503, "draining\n"), ("/healthz", 200, "healthy\n")]
        {
            let (actual, _, text) = request(port, "GET", page).await;
            assert_eq!((actual, text.as_str()), (status, body), "{page}");
        }
        message.commit().await.expect("committed");
        let (code, log) = broker.end();
        assert_eq!(code, Some(0), "the metrics client does not delay the drain: {log}");
    });
}

/// HTTP works on a Unix socket, which is removed on exit.
pub fn probes_are_answered_on_a_unix_socket(path: &str) {
    let directory = Directory::new();
    let socket = directory.path().join("http.sock");
    let address = format!("unix:{}", socket.display());
    let broker = Broker::run(command(path, 0).args(["--http", &address]));
    let line = format!("listening http on {address} (/healthz /readyz /metrics)");
    assert!(broker.start.iter().any(|logged| logged.contains(&line)), "{:?}", broker.start);
    script::block_on(async {
        let mut stream = UnixStream::connect(&socket).await.expect("it listens");
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an orderly end");
        assert!(
            answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nhealthy\n"),
            "{answer}"
        );
    });
    broker.stop();
    assert!(!socket.exists(), "the socket is removed on exit");
}

/// The token does not protect HTTP, so an open address needs `--insecure`.
pub fn an_open_http_address_is_refused(path: &str) {
    let directory = Directory::new();
    let file = directory.write("token", "0123456789abcdef0123456789abcdef");
    let open = ["--http", "0.0.0.0:0", "--token-file", &file];
    let output = command(path, 0).args(open).output().expect("the command runs");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.lines().count() == 1
            && stderr.contains("--http: http = \"0.0.0.0:0\" lets other machines see the names of topics")
            && stderr.contains("--insecure"),
        "{stderr}"
    );
    let broker = Broker::run(command(path, 0).args(open).arg("--insecure"));
    assert!(broker.start.iter().any(|line| line.contains("http: anyone who can connect can see")));
    broker.stop();
}

/// The same error as for the broker's own port.
pub fn an_http_port_in_use_is_reported_in_one_line_with_code_3(path: &str) {
    let (broker, port) = start(path, &[]);
    let address = format!("127.0.0.1:{port}");
    let output = command(path, 0).args(["--http", &address]).output().expect("the command runs");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.lines().count() == 1 && stderr.contains(&format!("cannot listen on {address}")),
        "{stderr}"
    );
    broker.stop();
}
