//! The machine and the arguments.

use std::fs;
use std::path::Path;
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
        let Reported { processor, memory_mib, load } = Reported::below(Path::new("/"));
        let machine = Machine::detect();
        Self {
            kernel: machine.kernel,
            processor,
            cores: machine.cores,
            memory_mib,
            rustc: first_line("rustc", "--version"),
            load,
            rounds,
            quick,
            arguments: std::env::args().skip(1).collect(),
        }
    }
}

/// What Linux reports in files; unknown or 0 elsewhere.
#[derive(Debug, PartialEq, Eq)]
struct Reported {
    processor: String,
    memory_mib: u64,
    load: String,
}

impl Reported {
    /// Reads the files below `root`, which is `/` except in tests.
    fn below(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let memory = read("proc/meminfo");
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let memory = memory.and_then(|text| text.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok());
        let cpu = read("proc/cpuinfo");
        let cpu =
            cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        Self {
            processor: cpu.map_or("unknown", |(_, name)| name).to_owned(),
            memory_mib: memory.unwrap_or_default() / 1_024,
            load: read("proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// The first line of a program's output.
fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.as_deref().and_then(|text| text.lines().next()).unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_reports_processor_memory_and_load() {
        let root = std::env::temp_dir().join(format!("zaichik-environment-{}", std::process::id()));
        let nothing = Reported { processor: "unknown".to_owned(), memory_mib: 0, load: String::new() };
        assert_eq!(Reported::below(&root), nothing);
        fs::create_dir_all(root.join("proc")).unwrap();
        let cpu = "processor\t: 0\nmodel name\t: Small: 2 cores\n\nprocessor\t: 1\nmodel name\t: Large\n";
        for (file, text) in [
            ("meminfo", "MemFree: 1 kB\nMemTotal:        2049 kB\nMemTotal: 9 kB\n"),
            ("cpuinfo", cpu),
            ("loadavg", "0.50 0.25 0.10 1/200 7\n"),
        ] {
            fs::write(root.join("proc").join(file), text).unwrap();
        }
        let reported = Reported::below(&root);
        fs::remove_dir_all(&root).unwrap();
        let expected =
            Reported { processor: "Small: 2 cores".to_owned(), memory_mib: 2, load: "0.50".to_owned() };
        assert_eq!(reported, expected);
    }
}
