//! A broker that syncs what it stores at an interval (rule B7), and one whose clock is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use zaichik_driver::{Event, Timestamp};
use zaichik_engine::{Broker as Engine, BrokerConfig, Effects, Seed};
use zaichik_store_journal::{Journal, Options};
use zaichik_tokio::{Client, Subscription, TopicOptions};

use crate::directory::Directory;
use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

/// The file that says that not everything may be synced.
const MARK: &str = "UNSYNCED";

/// Whether a broker can tell the end of the machine from that of its process. Elsewhere each unclean end counts as one of
/// the machine.
const KNOWS_BOOT: bool = cfg!(target_os = "linux");

/// A broker that never syncs by itself while a test runs.
fn lazy(path: &str, port: u16, data: &Path) -> Command {
    let mut command = command(path, port);
    command.arg("--data").arg(data).args(["--sync", "interval 1h"]);
    command
}

fn kill(broker: Broker) {
    broker.signal("KILL");
    let (code, log) = broker.end();
    assert_eq!(code, None, "{log}");
}

/// A client with a durable subscription to "t", which has these messages.
async fn subscriber(address: &str, bodies: &[&str]) -> (Client, Subscription) {
    let client = Client::connect(address).await.expect("the broker listens");
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for body in bodies {
        client.publish("t", (*body).to_owned()).await.expect("published");
    }
    let messages = client.subscribe("t").durable("d").window(9).await.expect("subscribed");
    (client, messages)
}

/// As long as the machine goes on, a broker that was killed is only a broken connection.
pub fn b7_a_killed_broker_that_syncs_at_an_interval_loses_nothing(path: &str) {
    if !KNOWS_BOOT {
        return;
    }
    let directory = Directory::new();
    let data = directory.path().join("data");
    let broker = Broker::run(&mut lazy(path, 0, &data));
    assert!(broker.start.iter().any(|line| line.contains("sync interval 1h")), "{:?}", broker.start);
    let port = broker.port;
    script::block_on(async {
        let (client, mut messages) = subscriber(&broker.address(), &["a", "b"]).await;
        let instance = client.instance();
        assert!(data.join(MARK).exists());
        next_message(&mut messages).await.commit().await.expect("committed");
        kill(broker);
        let broker = Broker::run(&mut lazy(path, port, &data));
        client.publish("t", "c").await.expect("published");
        for body in ["b", "c"] {
            // Neither a loss nor another instance.
            assert_eq!(next_message(&mut messages).await.body, body);
        }
        assert_eq!(client.instance(), instance);
        client.publish("t", "d").durable().await.expect("published");
        client.close().await.expect("closed");
        let log = broker.stopped().await;
        assert!(!data.join(MARK).exists(), "it has synced everything: {log}");
    });
}

/// After the machine has ended, clients hear that what they know is void.
pub fn b_43_when_the_machine_ended_clients_hear_of_another_instance(path: &str) {
    if !KNOWS_BOOT {
        return;
    }
    let directory = Directory::new();
    let data = directory.path().join("data");
    let broker = Broker::run(&mut lazy(path, 0, &data));
    let port = broker.port;
    script::block_on(async {
        let (client, mut messages) = subscriber(&broker.address(), &["a", "b", "c"]).await;
        let instance = client.instance();
        next_message(&mut messages).await.commit().await.expect("committed");
        for body in ["b", "c"] {
            assert_eq!(next_message(&mut messages).await.body, body);
        }
        client.publish("t", "lost").await.expect("published");
        assert_eq!(next_message(&mut messages).await.body, "lost");
        kill(broker);
        start_machine_again(&data);
        let broker = Broker::run(&mut lazy(path, port, &data));
        assert!(broker.start.iter().any(|line| line.contains("another instance")), "{:?}", broker.start);
        loop {
            match messages.next_event().await.expect("the client is open") {
                Some(Event::Restarted { start }) => break assert_eq!(start, 1, "the stored cursor"),
                Some(Event::Message(message)) => panic!("{message:?} before the restart is told"),
                Some(_) => {}
                None => panic!("the subscription ended"),
            }
        }
        for body in ["b", "c"] {
            assert_eq!(next_message(&mut messages).await.body, body);
        }
        let receipt = client.publish("t", "new").await.expect("published");
        assert_eq!(receipt.offset(0), Some(3), "the offset of the lost message is given again");
        assert_eq!(next_message(&mut messages).await.body, "new");
        assert_ne!(client.instance(), instance);
        // The next end is only one of the process.
        let instance = client.instance();
        kill(broker);
        let broker = Broker::run(&mut lazy(path, port, &data));
        client.publish("t", "more").await.expect("published");
        assert_eq!(client.instance(), instance);
        client.close().await.expect("closed");
        broker.stopped().await;
    });
}

/// What a loss of power leaves: the last commit is torn, and the machine has started again since.
fn start_machine_again(data: &Path) {
    let mut segments: Vec<PathBuf> = std::fs::read_dir(data)
        .expect("a directory")
        .map(|entry| entry.expect("listed").path())
        .filter(|path| path.to_string_lossy().contains("segment-"))
        .collect();
    segments.sort();
    let last = segments.last().expect("a segment");
    let mut bytes = std::fs::read(last).expect("read");
    bytes.truncate(bytes.len().saturating_sub(8));
    std::fs::write(last, bytes).expect("written");
    let mark = data.join(MARK);
    let text = std::fs::read_to_string(&mark).expect("a broker that was killed leaves it");
    let (front, _) = text.split_once("boot ").expect("it says when the machine started");
    std::fs::write(&mark, format!("{front}boot {:032x}\n", 7)).expect("written");
}

/// A directory whose last commit was made that long after now.
fn committed_after(data: &Path, ahead: Duration) {
    let unix = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").saturating_add(ahead);
    let now = Timestamp::ZERO.plus_micros(u64::try_from(unix.as_micros()).expect("it fits"));
    let mut engine = Engine::new(BrokerConfig::default(), Seed::new(7, 8)).expect("valid");
    engine.begin_storing();
    let commit = engine.poll_commit(now, &mut Effects::new()).expect("the instance is to be stored");
    let mut journal =
        Journal::open(data, Options { reserve_bytes: 0, ..Options::new(7) }).expect("a new directory");
    journal.commit_rows(&commit).expect("room on the disk");
}

/// A clock that is far before the last commit is probably wrong, and messages would live for too long.
pub fn b3_a_clock_far_before_the_last_commit_is_refused_unless_it_is_accepted(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    committed_after(&data, Duration::from_mins(185));
    let with_data = |flags: &[&str]| {
        let mut command = command(path, 0);
        command.arg("--data").arg(&data).args(flags);
        command
    };
    let refused = with_data(&[]).output().expect("the command runs");
    let log = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{log}");
    let line = log.lines().last().unwrap_or_default();
    assert!(line.contains("the clock of this machine is 3h ") && line.contains("--accept-clock"), "{log}");
    let broker = Broker::run(&mut with_data(&["--accept-clock"]));
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        client.publish("t", "x").await.expect("published");
        client.close().await.expect("closed");
    });
    broker.stop();
    // It is the time of the broker's last commit that counts.
    assert_eq!(with_data(&[]).output().expect("the command runs").status.code(), Some(1));
}

/// A clock that is a little behind, as after a restart on another machine, is used.
pub fn b3_a_clock_a_little_before_the_last_commit_is_used(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    committed_after(&data, Duration::from_mins(55));
    let mut command = command(path, 0);
    command.arg("--data").arg(&data);
    Broker::run(&mut command).stop();
}
