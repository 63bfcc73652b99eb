//! Runs a broker command as a process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

/// What a broker may take to end, or to log a line that a test waits for.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running broker, with its log.
pub(crate) struct Broker {
    process: Running,
    stderr: BufReader<ChildStderr>,
    /// The lines of its log up to "ready".
    pub(crate) start: Vec<String>,
    pub(crate) port: u16,
}

/// The command with pipes, and without the broker's variables from the test's environment.
pub(crate) fn command(path: &str, port: u16) -> Command {
    piped(Command::new(path), port)
}

/// The same for another command that starts the broker.
pub(crate) fn piped(mut command: Command, port: u16) -> Command {
    command
        .env("PORT", port.to_string())
        .env("XDG_CONFIG_HOME", "/no/such/directory")
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

impl Broker {
    /// Starts it on any free port.
    pub(crate) fn start(path: &str) -> Self {
        Self::run(&mut command(path, 0))
    }

    /// Starts it with a prepared command.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut process = Running(command.spawn().expect("the broker starts"));
        let mut stderr = BufReader::new(process.0.stderr.take().expect("a pipe"));
        let start = until(&mut stderr, "ready in ");
        let port = start.iter().find_map(|line| ports(line).next()).expect("its address");
        Self { process, stderr, start, port }
    }

    /// All ports in the log that it listens on.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.start.iter().flat_map(|line| ports(line)).collect()
    }

    /// The address of its first port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits for a line of the log that contains `what`.
    pub(crate) fn wait_for_log(&mut self, what: &str) {
        until(&mut self.stderr, what);
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// The resident memory of its process, in bytes; 0 on systems other than Linux.
    pub(crate) fn resident(&self) -> u64 {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", self.id())) else { return 0 };
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib << 10
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits until it exits; returns its exit code and the rest of its log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).expect("text");
        (self.process.wait(), log)
    }

    /// Stops it: it drains and exits with 0. Returns the rest of its log.
    pub(crate) fn stop(self) -> String {
        self.signal("TERM");
        let (code, log) = self.end();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// The same beside other tasks.
    pub(crate) async fn stopped(self) -> String {
        self.signal("TERM");
        let (code, log) = self.ended().await;
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// Waits until it exits, beside other tasks. A broker that does not end in time is killed.
    pub(crate) async fn ended(self) -> (Option<i32>, String) {
        self.beside(Self::end).await
    }

    /// Waits for a line of the log beside other tasks.
    pub(crate) async fn logged(self, what: &'static str) -> Self {
        self.beside(|mut broker| {
            broker.wait_for_log(what);
            broker
        })
        .await
    }

    /// Waits for something on another thread, which is free again when the broker is killed.
    async fn beside<T: Send + 'static>(self, wait: impl FnOnce(Self) -> T + Send + 'static) -> T {
        let id = self.id();
        let mut waiting = tokio::task::spawn_blocking(|| wait(self));
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut waiting).await {
            return done.expect("no panic");
        }
        kill("KILL", id);
        drop(waiting.await);
        panic!("the broker does not do what the test waits for")
    }

    /// Closes the pipe of its log, sends the signal, and returns its exit code.
    pub(crate) fn end_without_log_reader(self, signal: &str) -> Option<i32> {
        let Self { process, stderr, .. } = self;
        drop(stderr);
        process.signal(signal);
        process.wait()
    }
}

/// A process that is killed on drop, so that a failed test leaves none behind.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        kill(name, self.0.id());
    }

    fn wait(mut self) -> Option<i32> {
        self.0.wait().expect("it exits").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has exited already, unless the test failed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn kill(signal: &str, id: u32) {
    let kill = format!("kill -{signal} {id}");
    let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
    assert!(status.success());
}

/// Runs a broker command that does not start; returns its exit code and its log.
pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let mut process = Running(command.spawn().expect("the command runs"));
    let stderr = BufReader::new(process.0.stderr.take().expect("a pipe"));
    let mut log = String::new();
    for line in stderr.lines() {
        let line = line.expect("text");
        assert!(!line.contains("ready in "), "it starts: {log}");
        log.push_str(&line);
        log.push('\n');
    }
    (process.wait(), log)
}

/// The port in a log line with an address of the broker, if it is one.
fn ports(line: &str) -> impl Iterator<Item = u16> {
    let address = line.split_once("listening zaichik://127.0.0.1:");
    address.into_iter().map(|(_, rest)| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a port")
    })
}

/// Reads lines up to the one that contains `what`.
fn until(stderr: &mut impl BufRead, what: &str) -> Vec<String> {
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains(what)) {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "the broker exited: {lines:?}");
        lines.push(line);
    }
    lines
}
