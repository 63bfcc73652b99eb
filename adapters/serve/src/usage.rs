//! What the process uses of the machine, as counters of the broker.

use std::future::poll_fn;
use std::time::Duration;

use zaichik_driver::{Counter, Runtime, ServerHandle, Timer};

/// How old the counters may be.
const INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the counters up to date until the broker stops, for clients that ask it what it costs.
pub(crate) async fn keep_reporting<R: Runtime>(broker: ServerHandle) {
    let mut timer = R::timer();
    while !broker.is_stopping() {
        report(&broker);
        let Some(next) = R::now().checked_add(INTERVAL) else { break };
        poll_fn(|cx| timer.poll_until(cx, next)).await;
    }
}

/// Brings the counters up to date.
pub(crate) fn report(broker: &ServerHandle) {
    let (resident, peak) = memory();
    for (counter, value) in
        [(Counter::ProcessCpu, cpu()), (Counter::ProcessMemory, resident), (Counter::ProcessMemoryPeak, peak)]
    {
        if let Some(value) = value {
            broker.report(counter, value);
        }
    }
}

/// Microseconds of all threads.
#[cfg(unix)]
fn cpu() -> Option<u64> {
    use rustix::time::{ClockId, clock_gettime};
    let used = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()?;
    u64::try_from(used.as_micros()).ok()
}

#[cfg(not(unix))]
const fn cpu() -> Option<u64> {
    None
}

/// Bytes that are in memory, and the most that ever were; only Linux tells.
fn memory() -> (Option<u64>, Option<u64>) {
    let status = if cfg!(target_os = "linux") {
        std::fs::read_to_string("/proc/self/status").unwrap_or_default()
    } else {
        String::new()
    };
    (bytes(&status, "VmRSS:"), bytes(&status, "VmHWM:"))
}

/// A value of the process's status, which Linux gives in KiB.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tzaichik\nVmHWM:\t   41984 kB\nVmRSS:\t   20480 kB\nThreads:\t4\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(20 << 20));
        assert_eq!(bytes(status, "VmHWM:"), Some(41 << 20));
        assert_eq!(bytes(status, "Threads:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let (resident, peak) = memory();
        assert!(resident.is_some_and(|bytes| bytes > 0) && peak >= resident, "{resident:?} {peak:?}");
        assert!(cpu().is_some());
    }
}
