//! What people at a terminal see: a pseudo-terminal stands in for it.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use predicates::str::starts_with;
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;

use zaichik_tokio::Outgoing;

use super::broker::Broker;

/// A terminal's two ends: the one that people have, and the one that commands are given.
fn terminal() -> (OwnedFd, OwnedFd) {
    let people = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    rustix::pty::grantpt(&people).expect("granted");
    rustix::pty::unlockpt(&people).expect("unlocked");
    let name = rustix::pty::ptsname(&people, Vec::new()).expect("its name");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let command = rustix::fs::open(name, flags, Mode::empty()).expect("its other end");
    (people, command)
}

/// Runs a command with all three streams on a terminal: its code, and the screen.
pub(crate) fn on_a_terminal(mut command: Command, typed: &str) -> (Option<i32>, String) {
    let (people, end) = terminal();
    let stream = || Stdio::from(end.try_clone().expect("a copy"));
    command.stdin(stream()).stdout(stream()).stderr(stream());
    let mut process = command.spawn().expect("it starts");
    // Only the command holds its end: when it ends, so does the screen.
    drop((command, end));
    assert_eq!(rustix::io::write(&people, typed.as_bytes()), Ok(typed.len()));
    let mut screen = Vec::new();
    let mut part = [0; 4_096];
    // Linux says EIO when nobody holds the other end any more.
    while let Ok(count @ 1..) = rustix::io::read(&people, &mut part) {
        screen.extend_from_slice(&part[..count]);
    }
    let code = process.wait().expect("it ends").code();
    (code, String::from_utf8(screen).expect("text").replace('\r', ""))
}

fn with(broker: &Broker, arguments: &str) -> Command {
    let mut command = broker.command();
    command.args(arguments.split_whitespace());
    command
}

#[test]
fn publishing_says_what_was_stored() {
    let broker = Broker::start();
    let (code, screen) = on_a_terminal(with(&broker, "pub t hello"), "");
    assert_eq!(code, Some(0));
    assert_eq!(screen, "published 1 message to t, offset 0; the topic is new, with the broker's defaults\n");
    assert_eq!(on_a_terminal(with(&broker, "pub t hello -q"), ""), (Some(0), String::new()));
}

#[test]
fn messages_may_be_typed() {
    let broker = Broker::start();
    broker.create_kept("t");
    let (code, screen) = on_a_terminal(with(&broker, "pub t -l"), "one\ntwo\n\x04");
    assert_eq!(code, Some(0));
    assert!(screen.contains("reading one message a line from the terminal; Ctrl-D ends it\n"), "{screen}");
    assert!(screen.ends_with("published 2 messages to t, offsets 0 to 1\n"), "{screen}");
    assert_eq!(broker.bodies("t"), ["one", "two"]);
}

#[test]
fn reading_is_for_people() {
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
    assert_eq!(begin, "zaichik: subscribed to orders from offset 0; its end is 2");
    assert!(first.starts_with("[#1] orders offset=0 key=u7 age="), "{first}");
    assert_eq!((header, body), ("trace: a1", "\\u{1b}[2Jone coffee"));
    assert!(
        second.starts_with("[#2] orders offset=1 key=u7 age=") && second.ends_with("s tombstone"),
        "{second}"
    );
    let (_, screen) = on_a_terminal(with(&broker, "sub orders -e -q --raw"), "");
    assert_eq!(screen, "\x1b[2Jone coffee\n\n", "as it is");
    broker.run("sub orders -e --no-raw").assert().success().stdout(starts_with("[#1] orders offset=0"));
}

#[test]
fn what_was_done_is_said_to_people() {
    let broker = Broker::start();
    for (arguments, expected) in [
        ("topic ls", "no topics\n"),
        ("subscription ls", "no subscriptions\n"),
        ("topic create t --retention-ttl 1h", "topic t: created\n"),
        ("topic create t --retention-ttl 1h", "topic t: existed with these settings\n"),
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
    let forgotten = "subscription \\u{1b}[31mred of t: forgotten\n";
    assert_eq!(on_a_terminal(with(&broker, rm), ""), (Some(0), forgotten.to_owned()));
}
