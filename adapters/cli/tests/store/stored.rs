//! A storage directory, and a broker that writes it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use zaichik_tokio::{Client, Outgoing, TopicOptions};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A storage directory in a temporary one, which is removed on drop.
pub(crate) struct Stored(PathBuf);

impl Stored {
    /// A name that nothing has yet.
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("zaichik-store-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("an unused name");
        Self(path)
    }

    /// Two topics that keep their messages. `orders` has seven of different kinds, of which the durable subscription
    /// `kitchen` has committed two, and `other` has one.
    pub(crate) fn with_messages() -> Self {
        let stored = Self::new();
        stored.serve(async |client| {
            for topic in ["orders", "other"] {
                client.create_topic(topic, TopicOptions::new().retain_forever()).await.expect("created");
            }
            for number in 0..4 {
                let message = Outgoing::new(format!("tea {number}")).key(format!("table {number}"));
                client.publish("orders", message).await.expect("accepted");
            }
            let bytes = Outgoing::new(vec![0xff, 0]).header("trace", "a1");
            client.publish("orders", bytes).await.expect("accepted");
            client.publish("orders", Outgoing::tombstone("table 1")).await.expect("accepted");
            client.publish("other", "cake").await.expect("accepted");
            client.publish("orders", "tea 6").await.expect("accepted");
            let mut messages = client.subscribe("orders").durable("kitchen").await.expect("subscribed");
            for _ in 0..2 {
                let message = messages.next_message().await.expect("no error").expect("a message");
                message.commit().await.expect("committed");
            }
        });
        stored
    }

    /// The temporary directory that the storage directory is in.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Runs a broker with the directory, and a client of it; then stops it.
    pub(crate) fn serve(&self, work: impl AsyncFnOnce(&Client)) {
        let broker = Broker::start(&self.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = Client::connect(&broker.address).await.expect("the broker listens");
            work(&client).await;
            client.close().await.expect("closed");
        });
        broker.stop();
    }

    /// Runs a broker with the directory while this lasts, which is given its address; then stops it.
    pub(crate) fn serve_at(&self, work: impl FnOnce(&str)) {
        let broker = Broker::start(&self.path());
        work(&broker.address);
        broker.stop();
    }

    /// `zaichik store COMMAND` on the directory; more arguments are separated by spaces.
    pub(crate) fn store(&self, arguments: &str) -> assert_cmd::Command {
        store(&self.path(), arguments)
    }

    /// The line of JSON that it prints, and its exit code.
    pub(crate) fn json(&self, arguments: &str) -> (Value, i32) {
        let output = self.store(arguments).arg("--json").output().expect("it runs");
        let text = str::from_utf8(&output.stdout).expect("text");
        let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}, {output:?}"));
        (value, output.status.code().expect("it exits"))
    }

    /// All files, and what is in them.
    pub(crate) fn listing(&self) -> Vec<(OsString, Vec<u8>)> {
        let entries = fs::read_dir(self.path()).expect("a directory").map(|entry| entry.expect("readable"));
        let files = entries.map(|entry| (entry.file_name(), fs::read(entry.path()).expect("readable")));
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    /// Changes the first byte of this text where it is stored last.
    pub(crate) fn damage(&self, text: &str) {
        let path = self.path().join("segment-0000000001");
        let mut bytes = fs::read(&path).expect("readable");
        let text = text.as_bytes();
        let at = bytes.windows(text.len()).rposition(|window| window == text).expect("it is stored");
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("writable");
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // A leftover directory is in the system's temporary directory.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// `zaichik store COMMAND DIR`, with more arguments behind the command.
pub(crate) fn store(dir: &Path, arguments: &str) -> assert_cmd::Command {
    let mut words = arguments.split_whitespace();
    let mut command = assert_cmd::Command::from_std(zaichik());
    command.args(["store", words.next().expect("a command")]).arg(dir).args(words);
    command
}

pub(crate) fn zaichik() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zaichik"));
    for variable in ["PORT", "RUST_LOG", "ZAICHIK_SERVER", "ZAICHIK_URL", "ZAICHIK_STORAGE_DIR"] {
        command.env_remove(variable);
    }
    command
}

/// A running broker; it is killed on drop.
pub(crate) struct Broker {
    process: Child,
    /// Kept open, since the broker continues to write to it.
    stderr: BufReader<ChildStderr>,
    pub(crate) address: String,
}

impl Broker {
    pub(crate) fn start(data: &Path) -> Self {
        Self::run(zaichik().arg("--data").arg(data))
    }

    /// Starts it with a prepared command.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut process = command.args(["-p", "0"]).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stderr = BufReader::new(process.stderr.take().expect("a pipe"));
        let mut address = None;
        let (mut log, mut line) = (String::new(), String::new());
        while !line.contains("ready in ") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "the broker exited: {log}");
            log.push_str(&line);
            if let Some((_, found)) = line.trim().split_once("listening zaichik://") {
                address = Some(found.to_owned());
            }
        }
        Self { process, stderr, address: address.expect("its address") }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Stops it as a service manager does.
    pub(crate) fn stop(mut self) {
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(id, Signal::TERM).expect("it runs");
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).expect("text");
        assert_eq!(self.process.wait().expect("it exits").code(), Some(0), "{log}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
