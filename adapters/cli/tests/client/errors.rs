//! Every error is one line on stderr and an exit code.

use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};

use super::broker::{Broker, run, zaichik};
use super::network::{Network, spawn_through};

fn one_line(what: &'static str) -> impl Predicate<str> {
    starts_with("zaichik: ").and(contains(what)).and(contains("\n").count(1))
}

#[test]
fn no_broker_is_code_3() {
    // A privileged port on which nothing listens.
    let address = "127.0.0.1:1";
    for command in ["ping", "info", "pub t x", "sub t", "topic ls", "subscription ls"] {
        run(zaichik(), &format!("{command} -s {address}"))
            .assert()
            .code(3)
            .stdout(is_empty())
            .stderr(one_line("cannot connect to the broker").and(contains(address)));
    }
    run(zaichik(), "pub t x -s zaichik://no.such.host.invalid:1")
        .assert()
        .code(3)
        .stderr(one_line("no.such.host.invalid:1"));
}

#[test]
fn a_broker_that_goes_away_is_code_4() {
    let broker = Broker::start();
    let mut publishing = broker.spawn("pub t -l -J --timeout 1s");
    publishing.write("first\n");
    assert!(publishing.line().contains("\"offset\":0"));
    broker.kill();
    publishing.write("second\n");
    let (status, rest, stderr) = publishing.wait();
    assert_eq!((status.code(), rest.as_str()), (Some(4), ""));
    assert!(one_line("line 2: ").eval(&stderr), "{stderr}");
    assert!(stderr.contains("; stored: 1 of 2 messages read"), "{stderr}");
}

#[test]
fn without_an_answer_a_named_producer_is_advised_to_retry() {
    let broker = Broker::start();
    let mut publishing = broker.spawn("pub t -l -J --producer p --timeout 1s");
    publishing.write("first\n");
    assert!(publishing.line().contains("\"offset\":0"));
    broker.kill();
    publishing.write("second\n");
    let (status, _, stderr) = publishing.end();
    assert_eq!(status.code(), Some(4));
    assert!(one_line("run the same command again").eval(&stderr), "{stderr}");
}

#[test]
fn a_second_signal_ends_the_wait_for_answers() {
    let broker = Broker::start();
    let network = Network::to(broker.address());
    let mut publishing = spawn_through(&network, "pub t -l -J --timeout 1h");
    publishing.write("first\n");
    assert!(publishing.line().contains("\"offset\":0"));
    network.swallow();
    publishing.write("second\n");
    network.wait_until_swallowed();
    while !publishing.has_ended() {
        publishing.signal("INT");
    }
    let (status, _, stderr) = publishing.wait();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(one_line("the command was stopped; messages known to be stored: 1;").eval(&stderr), "{stderr}");
}

#[test]
fn an_invalid_topic_is_code_5() {
    let broker = Broker::start();
    broker.run("pub $sys x").assert().code(5).stderr(one_line("names that start with $ are reserved"));
    broker.run("pub").args(["", "x"]).assert().code(5).stderr(one_line("at least one byte"));
}

#[test]
fn wrong_flags_are_one_line_and_code_2() {
    for arguments in [
        "pub",
        "pub t body --lines",
        "pub t -n",
        "pub t x --ttl 0s",
        "pub t x --ttl soon",
        "pub t x -H nothing",
        "pub t x --ack perhaps",
        "topic view t -n 1",
        "serve -l 127.0.0.1:0",
        "-c zaichik.toml",
        "pub t x --count many",
        "pub t -q -v x",
        "pub t x --no-such-flag",
    ] {
        let outcome = run(zaichik(), arguments).assert().code(2).stdout(is_empty());
        let error = String::from_utf8_lossy(&outcome.get_output().stderr).into_owned();
        assert!(error.starts_with("zaichik: ") && error.ends_with("; see --help\n"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_token_on_the_command_line_is_refused_and_one_in_the_environment_is_not() {
    let broker = Broker::start();
    let url = format!("zaichik://secret@{}", broker.address());
    run(zaichik(), &format!("ping -s {url}"))
        .assert()
        .code(2)
        .stderr(one_line("--token-file").and(contains("$ZAICHIK_SERVER")).and(contains("secret").not()));
    let mut command = zaichik();
    command.env("ZAICHIK_SERVER", &url);
    run(command, "ping -c 1").assert().success().stdout(starts_with("pong from 127.0.0.1:"));
    run(zaichik(), "ping --token-file /no/such/file").assert().code(2).stderr(one_line("/no/such/file"));
}

#[test]
fn the_environment_names_the_broker_and_empty_variables_count_as_not_set() {
    let broker = Broker::start();
    let (_, port) = broker.address().rsplit_once(':').expect("a port");
    let (here, nowhere) = (broker.address(), "127.0.0.1:1");
    for variables in [
        &[("ZAICHIK_SERVER", here)][..],
        &[("ZAICHIK_URL", here)],
        &[("ZAICHIK_SERVER", here), ("ZAICHIK_URL", nowhere), ("PORT", "1")],
        &[("ZAICHIK_SERVER", ""), ("ZAICHIK_URL", here), ("PORT", "")],
        &[("ZAICHIK_SERVER", ""), ("ZAICHIK_URL", ""), ("PORT", port), ("ZAICHIK_TOKEN_FILE", "")],
    ] {
        let mut command = zaichik();
        command.envs(variables.iter().copied());
        run(command, "ping -c 1").assert().success();
        let mut command = zaichik();
        command.envs(variables.iter().copied());
        run(command, &format!("ping -c 1 -s {nowhere}")).assert().code(3);
    }
    let mut command = zaichik();
    command.env("PORT", "");
    run(command, "ping -c 1 --connect-timeout 1s")
        .assert()
        .stderr(contains("$PORT").not().and(contains("is not a port").not()));
}

#[test]
fn a_token_file_that_others_can_read_is_reported_once() {
    use std::os::unix::fs::PermissionsExt;
    let broker = Broker::start();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("readable-token");
    std::fs::write(&path, "0123456789abcdef0123456789abcdef").expect("written");
    let path = path.to_str().expect("text");
    for (mode, warnings) in [(0o644, 1), (0o600, 0)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("ours");
        for arguments in ["ping -c 1", "bench pub --msgs 10 --pubs 3"] {
            let warned = contains("zaichik: other users can read").count(warnings);
            broker.run(&format!("{arguments} --token-file {path}")).assert().success().stderr(warned);
        }
    }
}

#[test]
fn a_wrong_port_in_the_environment_is_code_2() {
    let mut command = zaichik();
    command.env("PORT", "many");
    run(command, "ping").assert().code(2);
}
