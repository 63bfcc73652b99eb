//! The command and the broker as processes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use zaichik_tokio::Client;

/// A process that is killed if the test fails.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(id, signal).expect("the command runs");
    }

    /// Its exit code, and the output of the pipes that the test has not taken.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let read = |pipe: Option<&mut dyn Read>| {
            let mut text = String::new();
            pipe.map(|pipe| pipe.read_to_string(&mut text).expect("UTF-8"));
            text
        };
        let out = read(self.0.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
        let err = read(self.0.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
        (self.0.wait().expect("the process ends").code(), out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A broker on a free port.
pub(crate) struct Broker {
    pub(crate) process: Running,
    /// Kept open, since the broker continues to write to it.
    _stderr: BufReader<ChildStderr>,
    pub(crate) address: String,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let mut process = Running(zaichik("serve").env("PORT", "0").spawn().expect("the command starts"));
        let mut stderr = BufReader::new(process.0.stderr.take().expect("a pipe"));
        let start = until(&mut stderr, "ready in ");
        let address = start.iter().find_map(|line| line.trim().split_once("listening zaichik://"));
        let address = address.expect("its address").1.to_owned();
        Self { process, _stderr: stderr, address }
    }

    /// A benchmark of this broker.
    pub(crate) fn bench(&self, arguments: &str) -> Command {
        let mut command = zaichik("bench");
        command.args(arguments.split_whitespace()).args(["--server", &self.address]);
        command
    }

    /// Runs a benchmark to its end.
    pub(crate) fn output(&self, arguments: &str) -> Output {
        self.bench(arguments).output().expect("the command runs")
    }

    /// Runs a benchmark that must succeed, and returns its report.
    pub(crate) fn json(&self, arguments: &str) -> Value {
        let output = self.bench(arguments).arg("--json").output().expect("the command runs");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments}");
        serde_json::from_slice(&output.stdout).expect("a JSON object")
    }
}

pub(crate) fn zaichik(command: &str) -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_zaichik"));
    process
        .arg(command)
        .env_remove("PORT")
        .env_remove("RUST_LOG")
        .env_remove("ZAICHIK_SERVER")
        .env_remove("ZAICHIK_URL")
        .env_remove("ZAICHIK_TOKEN_FILE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process
}

/// Reads lines up to the one that contains `what`.
pub(crate) fn until(from: &mut impl BufRead, what: &str) -> Vec<String> {
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains(what)) {
        let mut line = String::new();
        assert_ne!(from.read_line(&mut line).expect("UTF-8"), 0, "the output ended: {lines:?}");
        lines.push(line);
    }
    lines
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// The number at a path of a report.
pub(crate) fn number(report: &Value, path: &str) -> u64 {
    let found = report.pointer(path).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no number {path} in {report:#}"))
}

/// Asserts that `verified` messages were verified, without a fault.
pub(crate) fn assert_verified(report: &Value, verified: u64) {
    assert_eq!(number(report, "/verify/verified"), verified);
    for what in ["lost", "duplicated", "reordered", "corrupted", "gaps", "unfinished", "foreign"] {
        assert_eq!(number(report, &format!("/verify/{what}")), 0, "{what}");
    }
}

/// Waits until messages of an endless run arrive.
pub(crate) fn watch(address: &str, topic: &str) {
    block_on(async {
        let client = Client::connect(address).await.expect("the broker listens");
        let mut watching = client.subscribe(topic).window(0).await.expect("subscribed");
        for _ in 0..100 {
            watching.next_message().await.expect("no error").expect("a message");
        }
    });
}
