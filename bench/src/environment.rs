//! The machine and the arguments.

use std::fs;
use std::process::Command;

use serde::Serialize;
use zaichik_measure::Machine;

/// The conditions that figures depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Environment {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) rustc: String,
    /// Load average of the preceding minute.
    pub(crate) load: String,
    /// Rounds; tables show their medians.
    pub(crate) rounds: u32,
    /// Whether runs and counts were too small for meaningful figures.
    pub(crate) quick: bool,
    pub(crate) arguments: Vec<String>,
}

impl Environment {
    pub(crate) fn detect(rounds: u32, quick: bool) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = read("/proc/meminfo");
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let memory = memory.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
        let cpu = read("/proc/cpuinfo");
        let cpu =
            cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        let machine = Machine::detect();
        Self {
            kernel: machine.kernel,
            processor: cpu.map_or("unknown", |(_, name)| name).to_owned(),
            cores: machine.cores,
            memory_mib: memory.unwrap_or_default() / 1_024,
            rustc: first_line("rustc", "--version"),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            rounds,
            quick,
            arguments: std::env::args().skip(1).collect(),
        }
    }
}

/// The first line of a program's output.
fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.as_deref().and_then(|text| text.lines().next()).unwrap_or("unknown").to_owned()
}
