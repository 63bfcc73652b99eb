//! What `zaichik sub` commits.

use predicates::str::{contains, is_empty};

use super::broker::{Broker, broker_with};
use super::network::{Network, spawn_through};

#[test]
fn a_durable_subscription_continues_after_the_last_commit() {
    let broker = broker_with(&["one", "two", "three"]);
    broker.run("sub t --durable d -c 1").assert().success().stdout("one\n");
    broker.run("sub t --durable d -c 1 --commit never").assert().success().stdout("two\n");
    broker.run("sub t --durable d -e -o latest").assert().success().stdout("two\nthree\n");
    broker.run("sub t --durable d -e").assert().success().stdout(is_empty());
    for attempt in 1..=2 {
        let output = format!("one {attempt}\n");
        broker
            .run("sub t --durable again -c 1 --commit never -F")
            .arg("%s %a\\n")
            .assert()
            .success()
            .stdout(output);
    }
    broker
        .run("sub t --durable again --commit never --window 0")
        .assert()
        .code(2)
        .stderr(contains("--window 0"));
    broker.run("sub t --durable other -e --inactive-ttl 1h").assert().success().stdout("one\ntwo\nthree\n");
}

#[test]
fn written_messages_are_committed_on_a_signal() {
    let broker = broker_with(&["one", "two"]);
    for mode in ["auto", "each"] {
        let mut reading = broker.spawn(&format!("sub t --durable {mode} --commit {mode}"));
        assert_eq!(reading.line(), "one");
        assert_eq!(reading.line(), "two");
        reading.signal("INT");
        assert_eq!(reading.wait().0.code(), Some(0));
        broker.run(&format!("sub t --durable {mode} -e")).assert().success().stdout(is_empty());
    }
}

#[test]
fn standard_input_requests_commits() {
    let broker = broker_with(&["a", "b", "c", "d"]);
    let mut reading = broker.spawn("sub t --durable d --commit manual --window 2 -F %o\\n");
    assert_eq!((reading.line(), reading.line()), ("0".to_owned(), "1".to_owned()));
    reading.write("1\n");
    assert_eq!((reading.line(), reading.line()), ("2".to_owned(), "3".to_owned()));
    reading.write("t 2\n0\n");
    let (status, rest, stderr) = reading.end();
    assert_eq!((status.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    broker.run("sub t --durable d -e").assert().success().stdout("d\n");
    for (request, why) in [
        ("7\n", "that message was not printed yet"),
        ("u 1\n", "this command is not subscribed to that topic"),
        ("soon\n", "use an offset, or a topic and an offset"),
    ] {
        let mut reading = broker.spawn("sub t --commit manual");
        assert_eq!(reading.line(), "a");
        reading.write(request);
        let (status, _, stderr) = reading.wait();
        assert_eq!(status.code(), Some(2));
        assert!(stderr.ends_with(&format!("{why}\n")), "{stderr}");
    }
    broker.run("sub t --commit manual --window 0").assert().code(2).stderr(contains("--window 0"));
}

#[test]
fn requested_commits_are_read_to_the_end_of_the_input() {
    for arguments in ["-e", "--count 3", "-e --wait 1h"] {
        let broker = broker_with(&["a", "b", "c"]);
        let mut reading = broker.spawn(&format!("sub t --durable d --commit manual {arguments}"));
        assert_eq!([reading.line(), reading.line(), reading.line()], ["a", "b", "c"]);
        reading.write("0\n");
        reading.write("1\n");
        let (status, rest, stderr) = reading.end();
        assert_eq!((status.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""), "{arguments}");
        broker.run("sub t --durable d -e").assert().success().stdout("c\n");
        // When everything is committed there is nothing to wait for, although the input is open.
        let mut reading = broker.spawn(&format!("sub t --durable e --commit manual {arguments}"));
        assert_eq!([reading.line(), reading.line(), reading.line()], ["a", "b", "c"]);
        reading.write("2\n");
        assert_eq!(reading.wait().0.code(), Some(0), "{arguments}");
        broker.run("sub t --durable e -e").assert().success().stdout("");
    }
}

#[test]
fn a_commit_without_an_answer_is_no_success() {
    for (arguments, request) in [
        ("--commit each --count 1", ""),
        ("--commit each -e", ""),
        ("--count 1", ""),
        ("-e", ""),
        ("--commit manual -e", "0\n"),
        ("--commit manual --count 1", "t 0\n"),
    ] {
        let broker = broker_with(&["hello"]);
        let network = Network::to(broker.address());
        network.end_at_commit();
        let mut reading =
            spawn_through(&network, &format!("sub t --durable d --connect-timeout 1s {arguments}"));
        assert_eq!(reading.line(), "hello");
        reading.write(request);
        let (status, rest, stderr) = reading.wait();
        assert_eq!((status.code(), rest.as_str()), (Some(4), ""), "{arguments}: {stderr}");
        assert!(
            stderr.contains("commit") && stderr.contains("may be redelivered\n"),
            "{arguments}: {stderr}"
        );
        broker.run("sub t --durable d -e").assert().success().stdout("hello\n");
    }
}

#[test]
fn topics_written_together_are_all_committed() {
    let broker = Broker::start();
    let bodies: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    for topic in ["t", "u", "v"] {
        broker.create_kept(topic);
        broker.publish(topic, &bodies);
    }
    for mode in ["auto", "each", "never"] {
        let lags = || -> Vec<u64> {
            let lines = broker.json("subscription ls -J");
            let own = lines.iter().filter(|line| line["name"] == mode);
            own.map(|line| line["lag"].as_u64().expect("a number")).collect()
        };
        let read = broker.run(&format!("sub t u v --durable {mode} --commit {mode} -e")).assert().success();
        let text = String::from_utf8(read.get_output().stdout.clone()).expect("text");
        assert_eq!(text.lines().count(), 150, "{mode}");
        assert_eq!(lags(), if mode == "never" { [50; 3] } else { [0; 3] }, "{mode}");
    }
    let mut manual = broker.spawn("sub t u v --durable manual --commit manual -e -v -F %t%o\\n");
    let lines: Vec<_> = (0..150).map(|_| manual.line()).collect();
    assert!(["t49", "u49", "v49"].iter().all(|last| lines.iter().any(|line| line == last)), "{lines:?}");
    manual.write("t 49\nv 48\n");
    let (status, ..) = manual.end();
    assert_eq!(status.code(), Some(0));
    let mut lags: Vec<_> = broker
        .json("subscription ls -J")
        .iter()
        .filter(|line| line["name"] == "manual")
        .map(|line| (line["topic"].as_str().expect("a name").to_owned(), line["lag"].as_u64()))
        .collect();
    lags.sort();
    assert_eq!(lags, [("t".to_owned(), Some(0)), ("u".to_owned(), Some(50)), ("v".to_owned(), Some(1))]);
}
