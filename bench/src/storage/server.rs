//! The servers that store: how each one is found, configured and started on an empty directory.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, geteuid};
use zaichik_proto::AckLevel;
use zaichik_store_journal::{Files, check};

use super::disk;
use super::jetstream::{self, JetStream};
use super::postgres::{self, Postgres};
use super::publisher::Publisher;
use super::redis::Redis;
use super::zaichik::Zaichik;
use crate::contender::{Contender, Programs, installed};
use crate::guarantees::{PAYLOAD, TOPIC};
use crate::payload;
use crate::process::{Process, TemporaryFolder};
use crate::report::ContenderInfo;
use crate::wire::free_port;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Zaichik,
    ZaichikAsyncStd,
    /// Zaichik on tokio, without a storage directory.
    Memory,
    /// Zaichik on tokio, with less memory than it stores.
    Small,
    Redis,
    Postgres,
    JetStream,
}

use Server::{
    JetStream as Jet, Memory, Postgres as Pg, Redis as Red, Small, Zaichik as Zai, ZaichikAsyncStd,
};

/// Syncs for each answer, which nats-server can do from version 2.10 on.
const JETSTREAM: &str = "listen: 127.0.0.1:{port}\nping_interval: \"1h\"\nmax_payload: 1MB\n\
    jetstream { store_dir: \"{data}\", sync_interval: always }\n";

/// The first minor version 2 of nats-server with that.
const ALWAYS: u32 = 10;

impl Server {
    pub(super) const ALL: [Self; 7] = [Zai, ZaichikAsyncStd, Memory, Small, Red, Pg, Jet];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Zai => "zaichik",
            ZaichikAsyncStd => "zaichik-async-std",
            Memory => "zaichik-memory",
            Small => "zaichik-small",
            Red => "redis",
            Pg => "postgres",
            Jet => "jetstream",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Zai => "Zaichik, tokio",
            ZaichikAsyncStd => "Zaichik, async-std",
            Memory => "Zaichik, memory only",
            Small => "Zaichik, 64 MiB of memory",
            Red => "redis-server",
            Pg => "PostgreSQL",
            Jet => "nats-server, JetStream",
        }
    }

    /// Whether it keeps what it acknowledges in Zaichik's journal.
    pub(super) const fn has_journal(self) -> bool {
        matches!(self, Zai | ZaichikAsyncStd)
    }

    pub(super) const fn is_peer(self) -> bool {
        matches!(self, Red | Pg | Jet)
    }

    const fn arguments(self) -> &'static str {
        match self {
            Zai | ZaichikAsyncStd => "--port {port} --data {data}",
            Memory => "--port {port}",
            Small => "--port {port} --data {data} --memory 64MiB",
            Red => {
                "--port {port} --bind 127.0.0.1 --protected-mode no --daemonize no --loglevel warning --dir {data} \
                 --appendonly yes --appendfsync always --auto-aof-rewrite-percentage 0 --save ''"
            }
            Pg => {
                "-D {data} -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=on -c \
                 synchronous_commit=on -c shared_buffers=1GB -c max_wal_size=8GB -c checkpoint_timeout=1h"
            }
            Jet => "-c {config}",
        }
    }

    /// Notes for comparing its figures.
    const fn caveat(self) -> &'static str {
        match self {
            Zai | ZaichikAsyncStd | Memory | Small => {
                "frames of one record at the level durable, to a topic that keeps everything; a commit is whatever came \
                 while the previous one was written"
            }
            Red => {
                "XADD to one stream, pipelined; it reads up to 16 KiB of each connection, appends, syncs once and \
                 answers; it does not rewrite its file during a run"
            }
            Pg => {
                "a prepared INSERT of a whole batch of rows with an identity column as the key, in one transaction; as \
                 many rows in flight as the others have messages, so a connection has one batch under way"
            }
            Jet => "one stream in files; it syncs each message by itself",
        }
    }

    /// Its program.
    ///
    /// # Errors
    /// It is not installed, or cannot sync for each answer.
    pub(super) fn find(self, programs: &Programs) -> Result<PathBuf> {
        match self {
            Zai | Memory | Small => programs.find(Contender::Zaichik),
            ZaichikAsyncStd => programs.find(Contender::ZaichikAsyncStd),
            Red => programs.find(Contender::Redis),
            Pg => {
                let missing = "PostgreSQL is not installed, or initdb and postgres are not in PATH: apt-get install \
                               postgresql";
                installed("initdb").context(missing)?;
                installed("postgres").context(missing)
            }
            Jet => {
                let version = programs.version(Contender::Nats)?;
                let is_able = minor_version(&version).is_some_and(|minor| minor >= ALWAYS);
                ensure!(
                    is_able,
                    "{version}: JetStream syncs for each answer only from version 2.{ALWAYS} on"
                );
                programs.find(Contender::Nats)
            }
        }
    }

    /// What it is, for the report.
    pub(super) fn info(self, programs: &Programs) -> Result<ContenderInfo> {
        let version = match self {
            Zai | Memory | Small => programs.version(Contender::Zaichik)?,
            ZaichikAsyncStd => programs.version(Contender::ZaichikAsyncStd)?,
            Red => programs.version(Contender::Redis)?,
            Jet => programs.version(Contender::Nats)?,
            Pg => {
                let output = Command::new(self.find(programs)?).arg("--version").output()?;
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
            }
        };
        Ok(ContenderInfo {
            contender: self.name(),
            title: self.title(),
            version,
            arguments: self.arguments().to_owned(),
            config: (self == Jet).then_some(JETSTREAM),
            caveat: self.caveat(),
        })
    }

    /// A publisher with bursts of this number of messages.
    pub(super) fn publisher(self, port: u16, burst: u64) -> Result<Box<dyn Publisher>> {
        let payloads = payloads(burst);
        Ok(match self {
            Zai | ZaichikAsyncStd | Small => {
                Box::new(Zaichik::new(port, TOPIC, &payloads, AckLevel::Durable)?)
            }
            Memory => Box::new(Zaichik::new(port, TOPIC, &payloads, AckLevel::Accepted)?),
            Red => Box::new(Redis::new(port, &payloads)?),
            Pg => Box::new(Postgres::new(port, &payloads)?),
            Jet => Box::new(JetStream::new(port, &payloads, jetstream::STREAM)?),
        })
    }

    /// Messages of a write: a batch of rows is a connection's whole share of what is in flight.
    pub(super) const fn burst(self, in_flight: u64) -> u64 {
        let share = if matches!(self, Pg) { in_flight } else { in_flight / 5 };
        if share == 0 { 1 } else { share }
    }
}

/// The payloads of a write of this number of messages.
pub(crate) fn payloads(burst: u64) -> Vec<Vec<u8>> {
    (0..burst).map(|message| payload::payload(message, burst, PAYLOAD)).collect()
}

/// A server that runs, and its directory. Dropping it ends the server and removes the directory.
#[derive(Debug)]
pub(super) struct Running {
    server: Server,
    pub(super) process: Process,
    data: PathBuf,
}

impl Running {
    /// Starts a server on an empty directory.
    pub(super) fn start(server: Server, programs: &Programs, folder: &TemporaryFolder) -> Result<Self> {
        let data = folder.path().join(server.name());
        remove(&data)?;
        fs::create_dir(&data).with_context(|| format!("creating {}", data.display()))?;
        let owner = if server == Pg { initialize(&data)? } else { None };
        disk::settle(folder.path())?;
        let process = spawn(server, programs, folder, &data, owner)?;
        Ok(Self { server, process, data })
    }

    /// Kills Zaichik, which has no chance to do anything more.
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts Zaichik again, on what it has stored.
    pub(super) fn restart(&mut self, programs: &Programs, folder: &TemporaryFolder) -> Result<()> {
        self.kill();
        self.process = spawn(self.server, programs, folder, &self.data, None)?;
        Ok(())
    }

    pub(super) const fn port(&self) -> u16 {
        self.process.port
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Kills Zaichik, checks its journal, and returns the numbers of commits and of bytes.
    pub(super) fn count_commits(mut self) -> Result<(u64, u64)> {
        self.kill();
        let report = check(&mut Files::read_only(&self.data)?)?.context("nothing is stored")?;
        Ok((report.sequence, report.bytes))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already. What it leaves behind is removed with the whole folder.
        if self.server == Pg {
            // Killed, it would leave its children behind.
            drop(self.process.end(Signal::QUIT));
        }
        self.process.kill();
        drop(remove(&self.data));
    }
}

/// Starts a server on its directory, as another user if there is one.
fn spawn(
    server: Server,
    programs: &Programs,
    folder: &TemporaryFolder,
    data: &Path,
    owner: Option<(u32, u32)>,
) -> Result<Process> {
    let port = free_port()?;
    let config = folder.path().join("jetstream.conf");
    let fill = |text: &str| {
        let text = text.replace("{port}", &port.to_string());
        text.replace("{data}", &data.to_string_lossy()).replace("{config}", &config.to_string_lossy())
    };
    if server == Jet {
        fs::write(&config, fill(JETSTREAM)).context("writing a configuration file")?;
    }
    let mut command = Command::new(server.find(programs)?);
    command.args(server.arguments().split(' ').map(|argument| fill(argument.trim_matches('\''))));
    command.env_remove("PORT").env("RUST_LOG", "zaichik=warn").current_dir(folder.path());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    Process::spawn(server.name(), command, port, folder)
}

/// Creates a cluster. It refuses to belong to root; then it belongs to another user, who is returned.
fn initialize(data: &Path) -> Result<Option<(u32, u32)>> {
    let mut command = Command::new(installed("initdb").context("initdb is not in PATH")?);
    let owner = if geteuid().is_root() { Some(other_user()?) } else { None };
    if let Some((user, group)) = owner {
        chown(data, Some(user), Some(group)).context("giving a directory to another user")?;
        command.uid(user).gid(group);
    }
    let arguments = ["-A", "trust", "-U", postgres::USER, "-E", "UTF8", "--locale=C", "--no-sync", "-D"];
    let output = command.args(arguments).arg(data).stdin(Stdio::null()).current_dir(data).output();
    let output = output.context("starting initdb")?;
    ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(owner)
}

/// A user who is not root, and his group.
fn other_user() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    for name in ["postgres", "nobody"] {
        let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let mut fields = line.into_iter().flat_map(|line| line.split(':')).skip(1);
        if let (Some(user), Some(group)) = (fields.next(), fields.next()) {
            return Ok((user.parse()?, group.parse()?));
        }
    }
    bail!("PostgreSQL cannot run as root, and there is no user postgres or nobody")
}

fn remove(data: &Path) -> Result<()> {
    match fs::remove_dir_all(data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", data.display()))
        }
        _ => Ok(()),
    }
}

/// The minor version in "nats-server: v2.10.1".
fn minor_version(text: &str) -> Option<u32> {
    let (_, version) = text.rsplit_once('v')?;
    version.split('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_the_second_number() {
        assert_eq!(minor_version("nats-server: v2.9.10"), Some(9));
        assert_eq!(minor_version("nats-server: v2.15.1"), Some(15));
        assert_eq!(minor_version("nats"), None);
    }

    #[test]
    fn a_batch_is_everything_that_is_in_flight_and_a_write_a_fifth_of_it() {
        assert_eq!((Pg.burst(1_000), Red.burst(1_000), Zai.burst(1)), (1_000, 200, 1));
    }
}
