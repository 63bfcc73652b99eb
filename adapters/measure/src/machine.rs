//! The machine that measures.

use std::num::NonZero;
use std::thread;

/// What figures depend on in every measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The operating system's name.
    pub system: String,
    /// The kernel's version; empty where the system does not report it.
    pub kernel: String,
    /// Cores that this process may use.
    pub cores: usize,
}

impl Machine {
    /// Asks the operating system.
    #[must_use]
    pub fn detect() -> Self {
        let (system, kernel) = system();
        Self { system, kernel, cores: thread::available_parallelism().map_or(1, NonZero::get) }
    }
}

#[cfg(unix)]
fn system() -> (String, String) {
    let name = rustix::system::uname();
    (name.sysname().to_string_lossy().into_owned(), name.release().to_string_lossy().into_owned())
}

#[cfg(not(unix))]
fn system() -> (String, String) {
    (std::env::consts::OS.to_owned(), String::new())
}

/// Makes this thread's sleeps end on time: Linux adds 50 µs to each sleep of a thread that does not ask for less.
#[cfg(target_os = "linux")]
pub fn sleep_exactly() {
    // Without it the schedule is kept a little worse, which shows in the latencies.
    let _ = rustix::thread::set_current_timer_slack(NonZero::new(1));
}

/// Does nothing: only Linux lets a thread choose how late its sleeps may end.
#[cfg(not(target_os = "linux"))]
pub fn sleep_exactly() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_name_and_a_core() {
        let machine = Machine::detect();
        assert!(!machine.system.is_empty() && machine.cores > 0, "{machine:?}");
    }
}
