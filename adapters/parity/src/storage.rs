//! A broker that keeps its state in a directory, and is killed (chapter B of the rules).

use std::path::{Path, PathBuf};
use std::process::Command;

use zaichik_driver::Start;
use zaichik_tokio::{Client, TopicOptions};

use crate::directory::Directory;
use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

fn stored(path: &str, port: u16, data: &Path) -> Command {
    let mut command = command(path, port);
    command.arg("--data").arg(data);
    command
}

/// A broker with 16 MiB of memory has 40 MiB of records, before and after it is killed.
pub fn b8_records_beyond_the_memory_are_read_back(path: &str) {
    const MESSAGES: u64 = 640;
    let directory = Directory::new();
    let data = directory.path().join("data");
    let run = |port| Broker::run(stored(path, port, &data).args(["--memory", "16MiB"]));
    let body = |number: u64| format!("{number:08}").repeat(8_192);
    let mut broker = run(0);
    let (port, address) = (broker.port, broker.address());
    script::block_on(async {
        let client = Client::connect(&address).await.expect("the broker listens");
        client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
        for number in 0..MESSAGES {
            client.publish("t", body(number)).await.expect("there is always memory for more");
        }
        for _ in 0..2 {
            let mut messages = client.subscribe("t").from(Start::Earliest).await.expect("subscribed");
            for number in 0..MESSAGES {
                let message = next_message(&mut messages).await;
                assert_eq!((message.offset, &message.body[..]), (number, body(number).as_bytes()));
                message.commit().await.expect("committed");
            }
            messages.unsubscribe().await.expect("unsubscribed");
            broker.signal("KILL");
            let (code, log) = broker.ended().await;
            assert_eq!(code, None, "{log}");
            broker = run(port);
        }
    });
}

/// Starts a broker with a directory that it cannot use: the exit code and the last line on stderr say why, after the lines
/// of a start.
fn assert_refused(path: &str, data: &Path, code: i32, says: &[&str]) {
    let output = stored(path, 0, data).output().expect("the command runs");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    let (error, start) = lines.split_last().expect("an error");
    assert!(error.starts_with("zaichik") && start.iter().all(|line| line.contains(" INFO ")), "{stderr}");
    for what in says {
        assert!(error.contains(what), "{what}: {stderr}");
    }
}

/// A directory with a topic in it, that no broker uses any more.
fn used(path: &str, directory: &Directory) -> PathBuf {
    let data = directory.path().join("data");
    let broker = Broker::run(&mut stored(path, 0, &data));
    script::block_on(async {
        let client = Client::connect(&broker.address()).await.expect("the broker listens");
        client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
        for _ in 0..20 {
            client.publish("t", "x".repeat(100)).await.expect("accepted");
        }
        client.close().await.expect("nothing is unanswered");
    });
    broker.stop();
    data
}

/// What was recovered, and in how long. Probes are answered before, clients are served afterwards.
pub fn the_start_lines_say_what_was_recovered(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let place = |lines: &[String], what: &str| {
        let place = lines.iter().position(|line| line.contains(what));
        place.unwrap_or_else(|| panic!("no line says {what}: {lines:?}"))
    };
    let new = Broker::run(&mut stored(path, 0, &data));
    place(&new.start, &format!("storage: {} is new; sync always", data.display()));
    new.stop();
    used(path, &directory);
    let broker = Broker::run(stored(path, 0, &data).args(["--http", "127.0.0.1:0"]));
    let recovered = place(&broker.start, &format!("storage: {}: recovered 1 topics from ", data.display()));
    let line = &broker.start[recovered];
    let words: Vec<_> = line.split(" topics from ").nth(1).expect("it has").split_whitespace().collect();
    let [rows, "rows", "and", bytes, "KiB", "in", _, "ms;", "sync", "always"] = words[..] else {
        panic!("{line}")
    };
    assert!(rows.parse::<u32>().expect("a number") > 20, "{line}");
    assert!(bytes.parse::<f64>().expect("a number") > 2.0, "{line}");
    let order = ["listening http://", ": recovered ", "listening zaichik://", "ready in "];
    assert!(order.map(|what| place(&broker.start, what)).is_sorted(), "{:?}", broker.start);
    broker.stop();
}

/// A directory has one broker at a time; the next start may find it free.
pub fn a_directory_in_use_is_code_75(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let broker = Broker::run(&mut stored(path, 0, &data));
    let owner = format!("is used by another broker, process {};", broker.id());
    assert_refused(path, &data, 75, &[&owner, "--data"]);
    broker.stop();
    let next = Broker::run(&mut stored(path, 0, &data));
    next.stop();
}

/// A restart does not repair that.
pub fn a_directory_of_another_program_or_version_is_code_9(path: &str) {
    let directory = Directory::new();
    directory.write("letter.txt", "not a store");
    let data = used(path, &directory);
    assert_refused(path, directory.path(), 9, &["is no storage directory: it contains", "a new directory"]);
    std::fs::write(data.join("FORMAT"), "zaichik journal\nformat 3\n").expect("room on the disk");
    let data = data.to_str().expect("text").to_owned();
    let says = [&data, "has format 3, but this version reads format 2", "use the version that wrote it"];
    assert_refused(path, data.as_ref(), 9, &says);
    assert!(!directory.path().join("LOCK").exists(), "nothing is created among another program's files");
}

/// Nothing is guessed, and a restart does not repair that.
pub fn b4_a_damaged_directory_is_code_8(path: &str) {
    let directory = Directory::new();
    let data = used(path, &directory);
    let segment = data.join("segment-0000000001");
    let sound = std::fs::read(&segment).expect("the first segment");
    let mut damaged = sound.clone();
    // Behind the last commit there may be zeros.
    let middle = sound.iter().rposition(|byte| *byte != 0).expect("commits") / 2;
    damaged[middle] ^= 1;
    std::fs::write(&segment, &damaged).expect("room on the disk");
    let repair = format!("zaichik store repair {} --truncate", data.display());
    for _ in 0..2 {
        assert_refused(path, &data, 8, &["segment-0000000001 is damaged at byte ", "backup", &repair]);
    }
    assert_eq!(std::fs::read(&segment).expect("it is there"), damaged, "nothing is changed");
    std::fs::write(&segment, &sound).expect("room on the disk");
    let broker = Broker::run(&mut stored(path, 0, &data));
    broker.stop();
}

/// A start reads the last segment only; what a reader needs of the others is checked then.
pub fn b8_damage_that_a_start_does_not_read_is_found_by_the_first_reader(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let run = || Broker::run(stored(path, 0, &data).env("ZAICHIK_STORAGE_SEGMENT_SIZE", "1MiB"));
    let broker = run();
    let address = broker.address();
    script::block_on(async {
        let client = Client::connect(&address).await.expect("the broker listens");
        client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
        for _ in 0..40 {
            client.publish("t", vec![b'x'; 60_000]).await.expect("stored");
        }
    });
    broker.stop();
    let segment = data.join("segment-0000000001");
    let mut bytes = std::fs::read(&segment).expect("the first segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).expect("room on the disk");
    let broker = run();
    let address = broker.address();
    let (code, log) = script::block_on(async {
        let client = Client::connect(&address).await.expect("the broker has started");
        // The broker may end before it has answered the subscription.
        let reader = tokio::spawn(async move {
            let mut messages = client.subscribe("t").from(Start::Earliest).await.expect("subscribed");
            for offset in 0.. {
                // Records in front of the damage may be delivered.
                let message = next_message(&mut messages).await;
                assert_eq!((message.offset, message.body.len()), (offset, 60_000));
                assert!(offset < 10, "there is damage in front of that");
                message.commit().await.expect("the broker lives");
            }
        });
        let ended = broker.ended().await;
        reader.abort();
        ended
    });
    assert!(log.contains("segment-0000000001 is damaged at byte"), "{log}");
    assert_eq!(code, Some(74), "{log}");
}

/// What the operating system refuses may succeed at the next start.
pub fn a_directory_that_the_system_refuses_is_code_74(path: &str) {
    let directory = Directory::new();
    let file = directory.write("file", "not a directory");
    assert_refused(path, file.as_ref(), 74, &[&file, "; name a directory with --data"]);
    if cfg!(target_os = "linux") {
        // Nobody can create a directory there, not even root.
        assert_refused(path, "/sys/zaichik".as_ref(), 74, &["cannot create /sys/zaichik: ", "--data"]);
    }
    let full = directory.path().join("full");
    if cfg!(target_os = "linux") {
        // Whatever is written to this device finds no space.
        std::fs::create_dir(&full).expect("room on the disk");
        std::os::unix::fs::symlink("/dev/full", full.join("FORMAT")).expect("a link");
        assert_refused(path, &full, 74, &["/full: no space left to start with; free some"]);
    }
    let data = used(path, &directory);
    let lock = data.join("LOCK");
    let set_mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&lock, PermissionsExt::from_mode(mode)).expect("the test owns it");
    };
    set_mode(0o400);
    // Root may write it anyway.
    if std::fs::OpenOptions::new().append(true).open(&lock).is_err() {
        assert_refused(path, &data, 74, &["cannot open ", "let the broker's user write there"]);
    }
}
