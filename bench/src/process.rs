//! A contender's process, its processor time and its memory.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::contender::{Contender, Programs};
use crate::wire::free_port;

/// Maximum time until a contender accepts connections.
const START: Duration = Duration::from_secs(20);

/// A folder for files of contenders, removed when dropped.
#[derive(Debug)]
pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    pub(crate) fn new() -> Result<Self> {
        Self::below(&std::env::temp_dir())
    }

    /// A folder in this one.
    pub(crate) fn below(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("zaichik-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("creating the folder {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // If that fails, the folder remains among the system's temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A running contender, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
    /// Time from the start of the process until it accepted a connection.
    pub(crate) startup: Duration,
}

impl Process {
    /// Starts a contender on a free port, with more environment variables, and waits until it accepts a connection.
    pub(crate) fn start(
        contender: Contender,
        programs: &Programs,
        folder: &TemporaryFolder,
        variables: &[(&str, String)],
    ) -> Result<Self> {
        let port = free_port()?;
        let mut command = programs.command(contender, port, folder.path())?;
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Self::spawn(contender.name(), command, port, folder)
    }

    /// Starts a program that listens on this port of 127.0.0.1, and waits until it accepts a connection.
    pub(crate) fn spawn(
        name: &str,
        mut command: Command,
        port: u16,
        folder: &TemporaryFolder,
    ) -> Result<Self> {
        let log = folder.path().join("log");
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let errors = output.try_clone().context("a second handle of the log")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let begin = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        let mut running = Self { child, port, startup: Duration::ZERO };
        loop {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                running.startup = begin.elapsed();
                return Ok(running);
            }
            let log_text = || fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = running.child.try_wait().context("checking the process")? {
                bail!("{name} ended with {status}: {}", log_text());
            }
            if begin.elapsed() > START {
                bail!("{name} accepts no connection after {START:?}: {}", log_text());
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Processor time so far, user and system, in seconds. Its resolution is 0.01 s.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = self.read("stat")?;
        let ticks = cpu_ticks(&stat).context("the process's times")?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Processor time so far of the process and of the processes that it started and that still run, in seconds.
    pub(crate) fn cpu_with_children(&self) -> Result<f64> {
        let id = self.child.id();
        let children = self.read(&format!("task/{id}/children"))?;
        // A child may end at any time; then its time is missing.
        let stat = |child: &str| fs::read_to_string(format!("/proc/{child}/stat")).ok();
        let ticks: u64 =
            children.split_ascii_whitespace().filter_map(stat).filter_map(|stat| cpu_ticks(&stat)).sum();
        Ok(self.cpu()? + ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Peak memory in bytes.
    pub(crate) fn peak_memory(&self) -> Result<f64> {
        let status = self.read("status")?;
        kibibytes(&status, "VmHWM:").context("the process's peak memory")
    }

    /// Current memory in bytes; shared memory counts proportionally.
    pub(crate) fn memory(&self) -> Result<f64> {
        match self.read("smaps_rollup") {
            Ok(maps) => kibibytes(&maps, "Pss:").context("the process's memory"),
            Err(_) => kibibytes(&self.read("status")?, "VmRSS:").context("the process's memory"),
        }
    }

    /// Kills it, which ends its connections.
    pub(crate) fn kill(&mut self) {
        // It may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends it a signal, and waits until it has ended.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(id, signal).context("sending a signal")?;
        self.child.wait().context("waiting for the end of the process").map(drop)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Raises the limit of file descriptors to the maximum, for this process and its children; returns the limit.
pub(crate) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let is_raised = setrlimit(Resource::Nofile, raised).is_ok();
    let limit = if is_raised { limit.maximum } else { limit.current };
    limit.unwrap_or(u64::MAX)
}

/// User and system time of /proc/PID/stat. The command's name, in parentheses, may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// The value of a line of /proc/PID/status, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let count: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(count as f64 * 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_a_name_that_may_contain_anything() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 117 0 0 0 12 30 0 0 20 0 1 0 100 2000 300";
        assert_eq!(cpu_ticks(stat), Some(42));
    }

    #[test]
    fn sizes_are_kibibytes() {
        assert_eq!(kibibytes("Name:\tx\nVmHWM:\t    1500 kB\n", "VmHWM:"), Some(1_536_000.0));
        assert_eq!(kibibytes("Name:\tx\n", "VmHWM:"), None);
    }
}
