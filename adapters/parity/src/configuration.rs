//! The configuration of a broker command.

use std::process::Command;

use zaichik_tokio::{Client, ErrorClass, TopicOptions};

use crate::directory::Directory;
use crate::messages::next_message;
use crate::outcome::{printed, refused, run};
use crate::process::{Broker, command, piped};
use crate::script;

/// Flags override the environment, which overrides `PORT`, the file and the defaults.
pub fn config_print_shows_the_origin_of_each_value(path: &str) {
    let directory = Directory::new();
    directory.write(
        "zaichik.toml",
        "listen = [\"127.0.0.1:1\"]\ndrain = \"1s\"\n\n[limits]\nmax_topics = 11\nmax_window = 12\nmemory = \"50%\"\n",
    );
    let variables = [("PORT", "2"), ("ZAICHIK_DRAIN", "2s"), ("ZAICHIK_LIMITS_MAX_WINDOW", "22")];
    let arguments = ["config", "print", "--max-window", "32", "--max-message-size=4MiB"];
    let file = printed(run(path, &directory, &arguments, &variables));
    for line in [
        "listen = [\"127.0.0.1:2\"]  # env PORT",
        "drain = \"2s\"  # env ZAICHIK_DRAIN",
        "max_message_size = \"4MiB\"  # --max-message-size",
        "max_window = 32  # --max-window",
        "max_topics = 11  # zaichik.toml:5",
        "memory = \"50%\"  # zaichik.toml:7",
        "max_connections = 65_536  # default",
    ] {
        assert!(file.lines().any(|printed| printed == line), "{line}: {file}");
    }
    // The output is a file with the same effect.
    let effective = directory.write("effective.toml", &file);
    let again = printed(run(path, &directory, &["config", "print", "--config", &effective], &[]));
    let values = |file: &str| -> Vec<String> {
        file.lines().map(|line| line.split("  # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(values(&again), values(&file));
}

/// `--config` comes before `ZAICHIK_CONFIG`, the working directory and the user's directory.
pub fn the_first_file_that_exists_is_read(path: &str) {
    let directory = Directory::new();
    let with = |name: &str, topics: u32| directory.write(name, &format!("limits.max_topics = {topics}\n"));
    std::fs::create_dir(directory.path().join("zaichik")).expect("the directory is new");
    with("zaichik/config.toml", 1);
    let home = directory.path().to_str().expect("text");
    let print = |arguments: &[&str], variables: &[(&str, &str)]| {
        let variables = [&[("XDG_CONFIG_HOME", home)], variables].concat();
        printed(run(path, &directory, &[&["config", "print"], arguments].concat(), &variables))
    };
    assert!(print(&[], &[]).contains("max_topics = 1  # "));
    with("zaichik.toml", 2);
    assert!(print(&[], &[]).contains("max_topics = 2  # zaichik.toml:1"));
    let named = with("named.toml", 3);
    assert!(print(&[], &[("ZAICHIK_CONFIG", &named)]).contains("max_topics = 3  # "));
    let flag = with("flag.toml", 4);
    assert!(print(&["--config", &flag], &[("ZAICHIK_CONFIG", &named)]).contains("max_topics = 4  # "));
    let errors = refused(run(path, &directory, &["config", "check", "--config", "none.toml"], &[]));
    assert!(
        errors.len() == 1 && errors[0].contains("cannot read the configuration file none.toml"),
        "{errors:?}"
    );
}

/// A misspelled setting is an error with a suggestion, for every command that reads the configuration.
pub fn unknown_settings_are_refused_with_a_suggestion(path: &str) {
    let directory = Directory::new();
    directory.write("zaichik.toml", "[limits]\nmax_conections = 5\n");
    let variables = [("ZAICHIK_MAX_TOPICS", "5"), ("ZAICHIK_URL", "localhost:1")];
    for arguments in [&[][..], &["serve"], &["--check"], &["config", "check"], &["config", "print"]] {
        let errors = refused(run(path, &directory, arguments, &variables));
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(
            errors[0].ends_with(
                "zaichik.toml:2: unknown setting limits.max_conections; did you mean limits.max_connections?"
            ),
            "{errors:?}"
        );
        assert!(
            errors[1].contains("env ZAICHIK_MAX_TOPICS: ")
                && errors[1].contains("ZAICHIK_LIMITS_MAX_TOPICS?")
        );
    }
}

/// The line names the origin, the value and the expected form.
pub fn an_invalid_value_is_reported_in_one_line(path: &str) {
    let directory = Directory::new();
    let wrong = directory.write("wrong.toml", "# too much\nlimits.max_message_size = \"9GiB\"\n");
    let errors = refused(run(
        path,
        &directory,
        &["--config", &wrong, "--log-format", "loud"],
        &[("ZAICHIK_DRAIN", "1")],
    ));
    let expected = [
        "wrong.toml:2: limits.max_message_size = \"9GiB\" is invalid; use a size such as \"64KiB\", at most 1GiB",
        ": env ZAICHIK_DRAIN: drain = \"1\" is invalid; use a duration such as \"30s\", \"5m\" or \"24h\"",
        ": --log-format: log_format = \"loud\" is invalid; use \"pretty\" or \"compact\" or \"json\"",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (line, expected) in errors.iter().zip(expected) {
        assert!(line.ends_with(expected), "{line}");
    }
}

/// A budget in which no message fits is refused, with the minimum.
pub fn a_memory_budget_below_the_minimum_is_refused(path: &str) {
    let directory = Directory::new();
    for memory in ["1", "0", "1MiB", "8388607"] {
        let errors = refused(run(path, &directory, &["config", "check", "--memory", memory], &[]));
        assert!(errors.len() == 1 && errors[0].contains("at least 8MiB"), "{errors:?}");
    }
    let broker = Broker::run(command(path, 0).args(["--memory", "8MiB"]));
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        let mut subscription = client.subscribe("large").await.expect("subscribed");
        client.publish("large", vec![b'x'; 1_000_000]).await.expect("the budget has room for it");
        assert_eq!(next_message(&mut subscription).await.body.len(), 1_000_000);
    });
    broker.stop();
}

/// Settings that do not fit each other are refused before the broker starts, by every command that checks them.
pub fn settings_that_do_not_fit_each_other_are_refused(path: &str) {
    let directory = Directory::new();
    for (settings, expected) in [
        (
            &["--max-connection-bytes", "1MiB"][..],
            "max_connection_bytes is 1048576; with this max_frame at least ",
        ),
        (&["--memory", "8MiB", "--max-message-size", "8MiB"], "memory is 8388608"),
    ] {
        for command in [&[][..], &["serve"], &["--check"], &["config", "check"], &["config", "print"]] {
            let errors = refused(run(path, &directory, &[command, settings].concat(), &[]));
            assert!(errors.len() == 1 && errors[0].contains(expected), "{errors:?}");
        }
    }
    let fitting = ["config", "print", "--max-connection-bytes", "4MiB"];
    let printed = printed(run(path, &directory, &fitting, &[]));
    assert!(printed.contains("max_connection_bytes = \"4MiB\"  # --max-connection-bytes\n"), "{printed}");
}

/// Empty variables change nothing, and are no mistakes.
pub fn empty_variables_count_as_not_set(path: &str) {
    let directory = Directory::new();
    let defaults = printed(run(path, &directory, &["config", "print"], &[]));
    for name in [
        "PORT",
        "ZAICHIK_LISTEN",
        "ZAICHIK_DRAIN",
        "ZAICHIK_LIMITS_MEMORY",
        "ZAICHIK_TOKEN_FILE",
        "ZAICHIK_CONFIG",
        "ZAICHIK_HTTP",
        "ZAICHIK_LOG_FORMAT",
        "ZAICHIK_TOPIC_DEFAULTS_OVERFLOW",
    ] {
        assert_eq!(printed(run(path, &directory, &["config", "print"], &[(name, "")])), defaults, "{name}");
    }
}

/// With `--json`, each value is one of JSON, with its origin.
pub fn configurations_are_printed_as_json(path: &str) {
    let directory = Directory::new();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let arguments = [&["config"], arguments].concat();
        let line = printed(run(path, &directory, &arguments, &[("ZAICHIK_LIMITS_MAX_TOPICS", "7")]));
        serde_json::from_str(&line).expect("JSON")
    };
    let effective = json(&["print", "--json", "--drain", "1s"]);
    assert_eq!(
        effective["limits.max_topics"],
        serde_json::json!({"value": 7, "origin": "env ZAICHIK_LIMITS_MAX_TOPICS"})
    );
    assert_eq!(effective["drain"], serde_json::json!({"value": "1s", "origin": "--drain"}));
    assert_eq!(json(&["default", "-J"])["limits.max_topics"], 100_000);
    let valid = serde_json::json!({"valid": true, "sources": "env ZAICHIK_LIMITS_MAX_TOPICS"});
    assert_eq!(json(&["check", "--json"]), valid);
}

/// The file of defaults is valid and has the default values.
pub fn config_default_prints_a_file_that_changes_nothing(path: &str) {
    let directory = Directory::new();
    let file = printed(run(path, &directory, &["config", "default"], &[]));
    let name = directory.write("default.toml", &file);
    let checked = printed(run(path, &directory, &["config", "check", "--config", &name], &[]));
    assert!(checked.contains("the configuration is valid") && checked.contains("default.toml"), "{checked}");
    let value = |line: &str| line.split("  # ").next().unwrap_or_default().to_owned();
    let values = |file: String| -> Vec<String> {
        file.lines().map(value).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    };
    assert_eq!(values(printed(run(path, &directory, &["config", "print"], &[]))), values(file));
}

/// Limits and topic defaults take effect in the broker.
pub fn the_configuration_reaches_the_broker(path: &str) {
    let directory = Directory::new();
    let file = "[topic_defaults]\nretention_ttl = \"forever\"\n[limits]\nmax_topics = 1\n";
    let file = directory.write("own.toml", file);
    let broker = Broker::run(
        command(path, 0)
            .args(["--max-message-size=1KiB", "--config", &file])
            .env("ZAICHIK_LIMITS_MAX_WINDOW", "3"),
    );
    assert!(
        broker.start[1].contains("own.toml + env PORT + env ZAICHIK_LIMITS_MAX_WINDOW + --max-message-size")
    );
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        client.publish("only", "kept").await.expect("accepted");
        let large = client.publish("only", vec![0; 2_000]).await.expect_err("above the limit");
        assert_eq!(large.class(), ErrorClass::Refused, "{large}");
        let second = client.create_topic("second", TopicOptions::new()).await.expect_err("one is the limit");
        assert!(second.to_string().contains("topic"), "{second}");
        // Published before the first subscription: with the default settings it would not have been kept.
        let mut subscription = client.subscribe("only").await.expect("subscribed");
        let message = next_message(&mut subscription).await;
        assert_eq!(message.body, "kept");
        client.subscribe("only").window(4).await.expect_err("above the limit");
    });
    broker.stop();
}

/// The default, one without timestamps, and JSON.
pub fn the_log_has_three_formats(path: &str) {
    for format in ["pretty", "compact", "json"] {
        let broker = Broker::run(command(path, 0).args(["--log-format", format]));
        for line in &broker.start {
            let object: Option<serde_json::Value> = serde_json::from_str(line).ok();
            assert_eq!(object.is_some(), format == "json", "{line}");
            let text = line.trim_start();
            assert_eq!(text.starts_with("INFO") || text.starts_with("WARN"), format == "compact", "{line}");
            if let Some(object) = object {
                assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
            }
        }
        broker.stop();
    }
}

/// `-v` logs connections, `-vv` their turns; `RUST_LOG` overrides both.
pub fn verbose_flags_set_the_log_level(path: &str) {
    let debug = ("connection opened", "turn connection=");
    for (flag, filter, expected) in [
        ("-v", None, [true, false]),
        ("-vv", None, [true, true]),
        ("-vv", Some("zaichik=info"), [false, false]),
    ] {
        let mut command = command(path, 0);
        let broker = Broker::run(command.arg(flag).envs(filter.map(|filter| ("RUST_LOG", filter))));
        script::block_on(async {
            let client = Client::connect(&broker.address()).await.expect("the broker listens");
            client.close().await.expect("the client has no unfinished work");
        });
        broker.signal("TERM");
        let (code, log) = broker.end();
        assert_eq!(code, Some(0));
        assert_eq!([log.contains(debug.0), log.contains(debug.1)], expected, "{flag} {filter:?}");
    }
}

/// The broker does not wait longer than `--drain` for a client's unfinished work.
pub fn a_drain_ends_at_its_deadline(path: &str) {
    let broker = Broker::run(command(path, 0).args(["--drain", "50ms"]));
    script::block_on(async {
        let client = Client::builder(&broker.address()).reconnect(false).connect().await.expect("it listens");
        let mut subscription = client.subscribe("unfinished").await.expect("subscribed");
        client.publish("unfinished", "business").await.expect("accepted");
        let message = next_message(&mut subscription).await;
        broker.signal("TERM");
        let end = subscription.next_message().await;
        assert!(end.is_err(), "the connection is over: {end:?}");
        drop(message);
        client.close().await.expect_err("the connection has ended");
    });
    let (code, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("draining for up to 50ms"), "{log}");
}

/// A client of a broker that drains reconnects to the next broker at that address.
pub fn a_client_reconnects_after_a_drain(path: &str) {
    let first = Broker::start(path);
    script::block_on(async {
        let client = Client::connect(&first.address()).await.expect("the broker listens");
        client.publish("before", "x").await.expect("accepted");
        let (port, instance) = (first.port, client.instance());
        first.signal("TERM");
        // The client must run during the drain, because the broker waits for it to close.
        let (code, log) = first.ended().await;
        assert_eq!(code, Some(0), "{log}");
        let second = Broker::run(&mut command(path, port));
        client.publish("after", "x").await.expect("accepted by the next one");
        assert_ne!(client.instance(), instance);
        second.stop();
    });
}

/// The descriptor gets one line of JSON and is closed, while the broker runs.
pub fn ready_fd_reports_that_the_broker_is_ready(path: &str) {
    let directory = Directory::new();
    let pipe = directory.path().join("ready");
    let mut shell = Command::new("sh");
    // The reader sees the end of the pipe while the broker still runs.
    let script = "mkfifo \"$1\"; (cat \"$1\" >\"$1.part\"; mv \"$1.part\" \"$1.json\") & \
                  exec \"$0\" --ready-fd 3 3>\"$1\"";
    shell.args(["-c", script, path]).arg(&pipe);
    let broker = Broker::run(&mut piped(shell, 0));
    let line = loop {
        match std::fs::read_to_string(directory.path().join("ready.json")) {
            Ok(line) => break line,
            Err(_) => std::thread::yield_now(),
        }
    };
    let ready: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(ready["addresses"], serde_json::json!([broker.address()]));
    assert_eq!(ready["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(ready["pid"], broker.id());
    broker.stop();
    let errors = refused(run(path, &directory, &["--port=0", "--ready-fd", "99"], &[]));
    assert!(
        errors.len() == 1 && errors[0].contains("--ready-fd 99: cannot write to this descriptor"),
        "{errors:?}"
    );
}
