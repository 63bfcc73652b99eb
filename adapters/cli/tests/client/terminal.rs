//! The output on a terminal, with a pseudo-terminal.

use std::process::Command;

use predicates::str::starts_with;
use zaichik_tokio::Outgoing;

use super::broker::Broker;
use super::pty::on_a_terminal;

fn with(broker: &Broker, arguments: &str) -> Command {
    let mut command = broker.command();
    command.args(arguments.split_whitespace());
    command
}

#[test]
fn publishing_prints_a_summary() {
    let broker = Broker::start();
    let (code, screen) = on_a_terminal(with(&broker, "pub t hello"), "");
    assert_eq!(code, Some(0));
    assert_eq!(
        screen,
        "published 1 message to t, offset 0; created the topic with the broker's defaults\n\
         zaichik: topic \"t\" kept the message for nobody: it has no subscription, and its retention is 0; to keep \
         messages for an hour: zaichik topic alter t --retention-ttl 1h\n"
    );
    assert_eq!(on_a_terminal(with(&broker, "pub t hello -q"), ""), (Some(0), String::new()));
}

#[test]
fn messages_may_be_typed() {
    let broker = Broker::start();
    broker.create_kept("t");
    let (code, screen) = on_a_terminal(with(&broker, "pub t -l"), "one\ntwo\n\x04");
    assert_eq!(code, Some(0));
    assert!(
        screen.contains("reading one message per line from the terminal; press Ctrl-D to finish\n"),
        "{screen}"
    );
    assert!(screen.ends_with("published 2 messages to t, offsets 0 to 1\n"), "{screen}");
    assert_eq!(broker.bodies("t"), ["one", "two"]);
}

#[test]
fn output_on_a_terminal_is_for_people() {
    let broker = Broker::start();
    broker.create_kept("orders");
    broker.send(
        "orders",
        &[Outgoing::new("\x1b[2Jone coffee").key("u7").header("trace", "a1"), Outgoing::tombstone("u7")],
    );
    let (code, screen) = on_a_terminal(with(&broker, "sub orders -e"), "");
    assert_eq!(code, Some(0));
    let lines: Vec<_> = screen.lines().collect();
    let [begin, first, header, body, second] = lines[..] else { panic!("{screen}") };
    assert_eq!(begin, "zaichik: subscribed to orders from offset 0; the topic ends at offset 2");
    assert!(first.starts_with("[#1] orders offset=0 key=u7 age="), "{first}");
    assert_eq!((header, body), ("trace: a1", "\\u{1b}[2Jone coffee"));
    assert!(
        second.starts_with("[#2] orders offset=1 key=u7 age=") && second.ends_with("s tombstone"),
        "{second}"
    );
    let (_, screen) = on_a_terminal(with(&broker, "sub orders -e -q --raw"), "");
    assert_eq!(screen, "\x1b[2Jone coffee\n\n", "raw output is not escaped");
    broker.run("sub orders -e --no-raw").assert().success().stdout(starts_with("[#1] orders offset=0"));
}

#[test]
fn the_log_has_colors_unless_the_environment_forbids_them() {
    let broker = Broker::start();
    for (no_color, is_colored) in [(None, true), (Some(""), true), (Some("1"), false)] {
        // It logs that the filter is wrong, then exits because the address is in use.
        let mut command = super::broker::zaichik();
        command.args(["serve", "--listen", broker.address()]).env("RUST_LOG", "zaichik=loud");
        command.env_remove("NO_COLOR").envs(no_color.map(|value| ("NO_COLOR", value)));
        let (code, screen) = on_a_terminal(command, "");
        assert_eq!(code, Some(3), "{screen}");
        assert!(screen.contains("is ignored"), "{screen}");
        assert_eq!(screen.contains('\x1b'), is_colored, "{no_color:?}: {screen:?}");
    }
}

#[test]
fn confirmations_are_printed_on_a_terminal() {
    let broker = Broker::start();
    for (arguments, expected) in [
        ("topic ls", "no topics\n"),
        ("subscription ls", "no subscriptions\n"),
        ("topic create t --retention-ttl 1h", "topic t: created\n"),
        ("topic create t --retention-ttl 1h", "topic t: already exists with these settings\n"),
        ("topic alter t --max-messages 5", "topic t: changed\n"),
        ("topic view t", ""),
        ("sub t -e -q --durable \x1b[31mred", ""),
        ("subscription seek t \x1b[31mred latest", "subscription \\u{1b}[31mred of t: moved\n"),
    ] {
        assert_eq!(
            on_a_terminal(with(&broker, arguments), ""),
            (Some(0), expected.to_owned()),
            "{arguments}"
        );
    }
    let (_, screen) = on_a_terminal(with(&broker, "subscription ls"), "");
    assert!(screen.contains("\nt      \\u{1b}[31mred  detached"), "{screen}");
    let rm = "subscription rm t \x1b[31mred";
    let removed = "subscription \\u{1b}[31mred of t: removed\n";
    assert_eq!(on_a_terminal(with(&broker, rm), ""), (Some(0), removed.to_owned()));
}
