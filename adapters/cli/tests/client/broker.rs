//! A broker process, and client commands that talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use zaichik_tokio::{Client, Message, Outgoing, Start, TopicOptions};

/// The command, without the broker's variables of the test's own environment.
pub(crate) fn zaichik() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zaichik"));
    for variable in ["PORT", "RUST_LOG", "ZAICHIK_SERVER", "ZAICHIK_URL", "ZAICHIK_TOKEN_FILE"] {
        command.env_remove(variable);
    }
    command
}

/// A command with arguments separated by spaces, ready for assertions.
pub(crate) fn run(command: Command, arguments: &str) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::from_std(command);
    command.args(arguments.split_whitespace());
    command
}

/// A broker with messages in a topic that keeps them.
pub(crate) fn broker_with(bodies: &[&str]) -> Broker {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", bodies);
    broker
}

/// A running broker; it is killed on drop.
pub(crate) struct Broker {
    process: Child,
    address: String,
}

impl Broker {
    /// Starts it on any free port.
    pub(crate) fn start() -> Self {
        Self::listen("0")
    }

    /// Starts it on the port of an earlier one.
    pub(crate) fn start_at(address: &str) -> Self {
        let (_, port) = address.rsplit_once(':').expect("a port");
        Self::listen(port)
    }

    fn listen(port: &str) -> Self {
        let mut process = zaichik().args(["-p", port]).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stderr = BufReader::new(process.stderr.take().expect("a pipe"));
        let mut address = None;
        let mut line = String::new();
        while !line.contains("ready in ") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "the broker exited");
            if let Some((_, found)) = line.trim().split_once("listening zaichik://") {
                address = Some(found.to_owned());
            }
        }
        Self { process, address: address.expect("its address") }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A command that talks to it.
    pub(crate) fn command(&self) -> Command {
        let mut command = zaichik();
        command.env("ZAICHIK_SERVER", &self.address);
        command
    }

    /// A shell that runs a line, with the command in its path.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_zaichik")).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", format!("{}:{path}", folder.display()));
        command.env("ZAICHIK_SERVER", &self.address).env_remove("RUST_LOG");
        command
    }

    /// A command with arguments separated by spaces, ready for assertions.
    pub(crate) fn run(&self, arguments: &str) -> assert_cmd::Command {
        run(self.command(), arguments)
    }

    /// Runs a command that must succeed; returns its lines of JSON.
    pub(crate) fn json(&self, arguments: &str) -> Vec<serde_json::Value> {
        let output = self.run(arguments).assert().success();
        let lines = std::str::from_utf8(&output.get_output().stdout).expect("text").lines();
        lines.map(|line| serde_json::from_str(line).expect("json")).collect()
    }

    /// Starts a command with arguments separated by spaces and with pipes.
    pub(crate) fn spawn(&self, arguments: &str) -> RunningCommand {
        let mut command = self.command();
        command.args(arguments.split_whitespace());
        RunningCommand::start(command)
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("the broker runs");
        self.process.wait().expect("it exits");
    }

    pub(crate) fn create(&self, topic: &str, options: TopicOptions) {
        self.with_client(async |client| {
            client.create_topic(topic, options).await.expect("created");
        });
    }

    /// A topic that keeps its messages.
    pub(crate) fn create_kept(&self, topic: &str) {
        self.create(topic, TopicOptions::new().retain_forever());
    }

    pub(crate) fn publish(&self, topic: &str, bodies: &[&str]) {
        self.send(topic, &bodies.iter().map(|body| (*body).into()).collect::<Vec<_>>());
    }

    pub(crate) fn send(&self, topic: &str, messages: &[Outgoing]) {
        self.with_client(async |client| {
            for message in messages {
                client.publish(topic, message.clone()).await.expect("accepted");
            }
        });
    }

    /// The messages in a topic.
    pub(crate) fn messages(&self, topic: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        self.with_client(async |client| {
            let mut subscription =
                client.subscribe(topic).window(0).from(Start::Earliest).await.expect("subscribed");
            let mut next = subscription.start();
            while next < subscription.end() {
                let event =
                    subscription.next_event().await.expect("no error").expect("the subscription continues");
                if let Some(lost) = event.lost_offsets() {
                    next = lost.end;
                }
                if let Ok(message) = event.into_message() {
                    next = message.offset.saturating_add(1);
                    messages.push(message.into_message());
                }
            }
        });
        messages
    }

    /// The bodies of the messages in a topic.
    pub(crate) fn bodies(&self, topic: &str) -> Vec<String> {
        let text = |message: Message| String::from_utf8(message.body.to_vec()).expect("text");
        self.messages(topic).into_iter().map(text).collect()
    }

    pub(crate) fn with_client(&self, work: impl AsyncFnOnce(&Client)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = Client::connect(&self.address).await.expect("the broker listens");
            work(&client).await;
            client.close().await.expect("closed");
        });
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its test may have killed it already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A running command with pipes.
pub(crate) struct RunningCommand {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
}

impl RunningCommand {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().map(BufReader::new);
        let stderr = BufReader::new(process.stderr.take().expect("a pipe"));
        Self { process, stdin, stdout, stderr }
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.stdin.as_mut().expect("still open").write_all(text.as_bytes()).expect("it reads");
    }

    /// Writes a text, of which it may read only a part.
    pub(crate) fn write_what_it_reads(&mut self, text: &str) {
        // A process that has ended reads nothing more.
        drop(self.stdin.as_mut().expect("still open").write_all(text.as_bytes()));
    }

    /// The next line of its standard output without the line ending; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        next_line(self.stdout.as_mut().expect("still open"))
    }

    /// The next line of its standard error.
    pub(crate) fn stderr_line(&mut self) -> String {
        next_line(&mut self.stderr)
    }

    pub(crate) fn close_output(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("the process has a status").is_some()
    }

    /// Closes its input, then waits as [`wait`](Self::wait) does.
    pub(crate) fn end(mut self) -> (ExitStatus, String, String) {
        drop(self.stdin.take());
        self.wait()
    }

    /// Waits until it exits, with its input open; returns its status and the rest of stdout and stderr.
    pub(crate) fn wait(mut self) -> (ExitStatus, String, String) {
        let (mut rest, mut errors) = (String::new(), String::new());
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_string(&mut rest).expect("text");
        }
        self.stderr.read_to_string(&mut errors).expect("text");
        (self.process.wait().expect("it exits"), rest, errors)
    }

    /// Waits until it exits, without reading its output; returns its status.
    pub(crate) fn wait_unread(mut self) -> ExitStatus {
        self.process.wait().expect("it exits")
    }
}

fn next_line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("text");
    line.trim_end_matches('\n').to_owned()
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        // It has exited already, unless the test failed.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
