//! Topics that the configuration file declares (rule T8).

use std::process::Command;

use zaichik_tokio::{Client, TopicOptions};

use crate::directory::Directory;
use crate::outcome::{printed, refused, run};
use crate::process::{Broker, command};
use crate::script;

const HOUR: u64 = 3_600 * 1_000_000;

/// A file with a declared topic whose time to live is `ttl`, and another one.
fn file(ttl: &str, alter: &str) -> String {
    format!(
        "[topic_defaults]\nmax_messages = 7\n\n[[topic]]\nname = \"orders\"\nretention_ttl = \"{ttl}\"\n{alter}\n\
         [[topic]]\nname = \"prices/eu\"\nretention_ttl = \"forever\"\ncompaction = \"latest\"\nmax_messages = 3\n"
    )
}

fn configured(path: &str, config: &str) -> Command {
    let mut command = command(path, 0);
    command.args(["--config", config]);
    command
}

/// The settings of the topics, by their names.
fn topics(broker: &Broker) -> Vec<(String, bool, TopicOptions)> {
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        let topics = client.topics().await.expect("listed");
        client.close().await.expect("the client has no unfinished work");
        topics.into_iter().map(|topic| (topic.name, topic.explicit, topic.settings)).collect()
    })
}

/// The first client finds the topics, with the settings of the file and the defaults of the file.
pub fn t_08_declared_topics_exist_when_the_broker_is_ready(path: &str) {
    let directory = Directory::new();
    let config = directory.write("topics.toml", &file("1h", ""));
    let broker = Broker::run(&mut configured(path, &config));
    let topics = topics(&broker);
    let names: Vec<_> = topics.iter().map(|(name, explicit, _)| (name.as_str(), *explicit)).collect();
    assert_eq!(names, [("orders", true), ("prices/eu", true)]);
    let [(_, _, orders), (_, _, prices)] = &topics[..] else { panic!("two topics: {topics:?}") };
    assert_eq!((orders.retention_ttl_micros, orders.max_messages), (Some(HOUR), Some(7)));
    assert_eq!((prices.retention_ttl_micros, prices.max_messages), (Some(u64::MAX), Some(3)));
    let declared = broker.start.iter().position(|line| line.contains("topics: 2 declared, 2 of them new"));
    let listens = broker.start.iter().position(|line| line.contains("listening "));
    assert!(declared.is_some() && declared < listens, "{:?}", broker.start);
    broker.stop();
}

/// The log says which settings differ and how to apply them; with `alter` they are applied.
pub fn t_09_other_settings_are_reported_and_applied_with_alter(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let run = |text: &str| {
        let config = directory.write("topics.toml", text);
        Broker::run(configured(path, &config).arg("--data").arg(&data))
    };
    let ttl = |broker: &Broker| topics(broker)[0].2.retention_ttl_micros;
    let warned = |broker: &Broker| -> Vec<String> {
        broker.start.iter().filter(|line| line.contains("topics.toml:5: topic")).cloned().collect()
    };
    run(&file("1h", "")).stop();
    let broker = run(&file("2h", ""));
    assert_eq!(ttl(&broker), Some(HOUR), "it stays");
    let warnings = warned(&broker);
    assert!(
        warnings.len() == 1
            && warnings[0].contains("WARN")
            && warnings[0].contains("topic \"orders\" exists with other settings")
            && warnings[0].contains("these differ: retention_ttl; alter = true applies"),
        "{warnings:?}"
    );
    broker.stop();
    let broker = run(&file("2h", "alter = true"));
    assert_eq!(ttl(&broker), Some(2 * HOUR));
    assert!(broker.start.iter().any(|line| line.contains("topic \"orders\" is altered as in")));
    broker.stop();
    // It was stored; a topic that is not declared stays.
    let broker = run("");
    assert_eq!(ttl(&broker), Some(2 * HOUR));
    assert_eq!(topics(&broker).len(), 2);
    broker.stop();
}

/// A mode that can't change now is no reason not to start.
pub fn t_10_a_topic_that_cannot_be_altered_now_keeps_its_settings(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let run = |text: &str| {
        let config = directory.write("topics.toml", text);
        Broker::run(configured(path, &config).arg("--data").arg(&data))
    };
    let broker = run(&file("1h", ""));
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        client.publish("orders", "one").await.expect("accepted");
        client.close().await.expect("the client has no unfinished work");
    });
    broker.stop();
    let broker = run(&file("1h", "compaction = \"latest\"\nalter = true"));
    let warning = broker.start.iter().find(|line| line.contains("topics.toml:5: topic \"orders\" keeps"));
    assert!(warning.is_some_and(|line| line.contains("while it holds messages: compaction")));
    broker.stop();
}

/// Mistakes are reported with their lines by every command that reads the configuration.
pub fn t8_mistakes_in_declared_topics_are_refused_with_their_line(path: &str) {
    let directory = Directory::new();
    for (text, expected) in [
        (
            "[[topic]]\nname = \"$x\"\n",
            "z.toml:2: topic \"$x\" can't be created: the topic's name is invalid",
        ),
        (
            "[[topic]]\nname = \"a\"\nmax_byte = 1\n",
            "z.toml:3: unknown setting topic.max_byte; did you mean max_bytes?",
        ),
        ("[[topic]]\nname = \"a\"\nmax_bytes = 0\n", "z.toml:3: topic.max_bytes = 0 is invalid; use a size"),
        (
            "[[topic]]\nname = \"a\"\n[[topic]]\nname = \"a\"\n",
            "z.toml:4: topic \"a\" is declared twice; z.toml:2",
        ),
        ("[[topic]]\nalter = true\n", "z.toml:1: a topic has no name"),
        (
            "limits.max_topics = 1\n[[topic]]\nname = \"a\"\n[[topic]]\nname = \"b\"\n",
            "z.toml:5: topic \"b\" can't be created: the broker has reached its limit of 1 topics",
        ),
    ] {
        directory.write("z.toml", text);
        for command in [&[][..], &["serve"], &["--check"], &["config", "check"], &["config", "print"]] {
            let errors = refused(run(path, &directory, &[command, &["--config", "z.toml"]].concat(), &[]));
            assert!(errors.len() == 1 && errors[0].contains(expected), "{text}: {errors:?}");
        }
    }
    // More topics than the memory has room for.
    let tables: Vec<_> = (0..20_000).map(|number| format!("[[topic]]\nname = \"{number}\"\n")).collect();
    let config = directory.write("many.toml", &format!("limits.memory = \"8MiB\"\n{}", tables.concat()));
    let errors = refused(run(path, &directory, &["config", "check", "--config", &config], &[]));
    assert!(errors.len() == 1 && errors[0].contains("has no room in limits.memory"), "{errors:?}");
}

/// A topic of the store takes the place of a declared one: the broker says so and does not start.
pub fn t_10_a_declared_topic_without_room_is_reported_with_its_line(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let run = |name: &str| {
        let text = format!("limits.max_topics = 1\n[[topic]]\nname = \"{name}\"\n");
        let mut command = configured(path, &directory.write("topics.toml", &text));
        command.arg("--data").arg(&data);
        command
    };
    Broker::run(&mut run("first")).stop();
    let second = run("second").output().expect("the command runs");
    let log = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{log}");
    assert!(log.contains("topics.toml:3: topic \"second\" can't be created"), "{log}");
}

/// The printed configuration declares the same topics.
pub fn t8_declared_topics_are_printed_with_their_lines(path: &str) {
    let directory = Directory::new();
    let config = directory.write("z.toml", &file("90m", "alter = true"));
    let print = |config: &str, more: &[&str]| {
        let arguments = [&["config", "print", "--config", config], more].concat();
        printed(run(path, &directory, &arguments, &[]))
    };
    let file = print(&config, &[]);
    let tables: Vec<_> = file.split("\n[[topic]]\n").skip(1).collect();
    let origin = |line: u32| format!("  # {config}:{line}");
    assert_eq!(
        tables[0],
        format!(
            "name = \"orders\"{}\nretention_ttl = \"1h30m\"{}\nalter = true{}\n",
            origin(5),
            origin(6),
            origin(7)
        )
    );
    let end = format!("max_messages = 3{}\nalter = false  # default\n", origin(12));
    assert!(tables[1].ends_with(&end), "{file}");
    let effective = directory.write("effective.toml", &file);
    let values = |file: &str| -> Vec<String> {
        file.lines().map(|line| line.split("  # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(values(&print(&effective, &[])), values(&file));
    let json: serde_json::Value = serde_json::from_str(&print(&config, &["--json"])).expect("JSON");
    assert_eq!(json["topic"][1]["name"]["value"], "prices/eu");
    assert_eq!(
        json["topic"][0]["alter"],
        serde_json::json!({"value": true, "origin": format!("{config}:7")})
    );
}
