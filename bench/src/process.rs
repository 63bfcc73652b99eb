//! A contender as a process, and what the system says about it: processor time, memory.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::contender::{Contender, Programs};

/// How long a contender may take until it accepts connections.
const START: Duration = Duration::from_secs(20);

/// A folder for files of contenders, which goes with this value.
#[derive(Debug)]
pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// A new one.
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("zaichik-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("making the folder {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What stays there stays in a folder for temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A contender that runs. It is killed when this value goes.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The port that it listens on.
    pub(crate) port: u16,
    /// From the start of the process until it accepted a connection.
    pub(crate) startup: Duration,
}

impl Process {
    /// Starts a contender on a free port and waits until it accepts a connection.
    pub(crate) fn start(contender: Contender, programs: &Programs, folder: &TemporaryFolder) -> Result<Self> {
        let port = free_port()?;
        let mut command = programs.command(contender, port, folder.path())?;
        let log = folder.path().join("log");
        let output = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let errors = output.try_clone().context("a second handle of the log")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let begin = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", contender.name()))?;
        let mut running = Self { child, port, startup: Duration::ZERO };
        loop {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                running.startup = begin.elapsed();
                return Ok(running);
            }
            let said = || fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = running.child.try_wait().context("asking for the process")? {
                bail!("{} ended with {status}: {}", contender.name(), said());
            }
            if begin.elapsed() > START {
                bail!("{} accepts no connection after {START:?}: {}", contender.name(), said());
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Processor time so far, user and system, in seconds. The system counts in hundredths.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = self.read("stat")?;
        let ticks = cpu_ticks(&stat).context("the process's times")?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The most memory that it had, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<f64> {
        let status = self.read("status")?;
        kibibytes(&status, "VmHWM:").context("the process's peak memory")
    }

    /// The memory that it has, in bytes: its share of what it shares.
    pub(crate) fn memory(&self) -> Result<f64> {
        match self.read("smaps_rollup") {
            Ok(maps) => kibibytes(&maps, "Pss:").context("the process's memory"),
            Err(_) => kibibytes(&self.read("status")?, "VmRSS:").context("the process's memory"),
        }
    }

    /// Ends it; connections to it end as well.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
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

/// Raises the limit of descriptors as far as is permitted, for this process and those it starts.
///
/// Says how many there may be.
pub(crate) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let is_raised = setrlimit(Resource::Nofile, raised).is_ok();
    let limit = if is_raised { limit.maximum } else { limit.current };
    limit.unwrap_or(u64::MAX)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// User and system time of /proc/PID/stat. The command's name, in parentheses, may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// A line of /proc/PID/status, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let count: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(count as f64 * 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_a_name_that_may_hold_anything() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 117 0 0 0 12 30 0 0 20 0 1 0 100 2000 300";
        assert_eq!(cpu_ticks(stat), Some(42));
    }

    #[test]
    fn sizes_are_kibibytes() {
        assert_eq!(kibibytes("Name:\tx\nVmHWM:\t    1500 kB\n", "VmHWM:"), Some(1_536_000.0));
        assert_eq!(kibibytes("Name:\tx\n", "VmHWM:"), None);
    }
}
