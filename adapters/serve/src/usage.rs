//! The process's CPU time, memory and storage, as counters of the broker.

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zaichik_driver::{BrokerHandle, Counter, Runtime, Timer};

use crate::storage::Meter;

/// Time between two updates, so the maximum age of the counters.
const INTERVAL: Duration = Duration::from_secs(1);

/// Updates the counters periodically until the broker stops.
pub(crate) async fn keep_reporting<R: Runtime>(broker: BrokerHandle, meter: Option<Arc<Meter>>) {
    let mut timer = R::timer();
    while !broker.is_stopping() {
        report(&broker, meter.as_deref());
        let Some(next) = R::now().checked_add(INTERVAL) else { break };
        poll_fn(|cx| timer.poll_until(cx, next)).await;
    }
}

/// Updates the counters once.
pub(crate) fn report(broker: &BrokerHandle, meter: Option<&Meter>) {
    let (resident, peak) = memory(Path::new("/"));
    let process = [
        (Counter::ProcessCpu, cpu()),
        (Counter::ProcessMemory, resident),
        (Counter::ProcessMemoryPeak, peak),
    ];
    let process = process.into_iter().filter_map(|(counter, value)| Some((counter, value?)));
    for (counter, value) in process.chain(meter.into_iter().flat_map(Meter::counters)) {
        broker.report(counter, value);
    }
}

/// CPU time of all threads, in microseconds.
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

/// Resident memory and its peak, in bytes; known on Linux only. The file that reports them is below `root`, which is `/`
/// except in tests.
fn memory(root: &Path) -> (Option<u64>, Option<u64>) {
    let status = std::fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    (bytes(&status, "VmRSS:"), bytes(&status, "VmHWM:"))
}

/// A value of `/proc/self/status` in bytes; the file has KiB.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_parsed() {
        let status = "Name:\tzaichik\nVmHWM:\t   41984 kB\nVmRSS:\t   20480 kB\nThreads:\t4\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(20 << 20));
        assert_eq!(bytes(status, "VmHWM:"), Some(41 << 20));
        assert_eq!(bytes(status, "Threads:"), None);
        for wrong in
            ["VmRSS: 1 kB kB", "VmRSS: 1", "VmRSS: 1 2 kB", "XVmRSS: 1 kB", "VmRSS: 18446744073709551615 kB"]
        {
            assert_eq!(bytes(wrong, "VmRSS:"), None, "{wrong}");
        }
        assert_eq!(bytes("VmRSS: 1 kB\nVmRSS: 2 kB\n", "VmRSS:"), Some(1_024));
    }

    #[test]
    fn without_the_file_the_memory_is_unknown() {
        assert_eq!(memory(Path::new("/no/such/root")), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory_and_cpu() {
        let (resident, peak) = memory(Path::new("/"));
        assert!(resident.is_some_and(|bytes| bytes > 0) && peak >= resident, "{resident:?} {peak:?}");
        assert!(cpu().is_some());
    }
}
