//! The memory budget as a share of the machine's or the cgroup's memory.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The assumed memory, in bytes, where the system does not report it.
const UNKNOWN: u64 = 1 << 30;

/// `percent` of the machine's or the cgroup's memory, whichever is less, in bytes.
pub(crate) fn share(percent: u8) -> u64 {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group = read_to_string("/proc/self/cgroup").ok().and_then(|text| group_limit(&text));
    let all = machine.into_iter().chain(group).min().unwrap_or(UNKNOWN);
    (all / 100).saturating_mul(percent.into())
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// The smallest `memory.max` of the process's cgroup (version 2) and its ancestors, in bytes.
fn group_limit(cgroup: &str) -> Option<u64> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(path);
    let groups = group.ancestors().take_while(|group| group.starts_with(root));
    let limit = |group: PathBuf| read_to_string(group.join("memory.max")).ok()?.trim().parse().ok();
    groups.filter_map(|group| limit(group.to_owned())).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_in_kibibytes() {
        let meminfo = "MemTotal:       24576000 kB\nMemFree:  1 kB\n";
        assert_eq!(total(meminfo), Some(24_576_000 * 1_024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!(total("MemTotal: many\n"), None);
    }

    #[test]
    fn a_group_without_a_limit_is_none() {
        assert_eq!(group_limit("1:name=systemd:/\n"), None);
        assert_eq!(group_limit("0::/no/such/group\n"), None);
    }

    #[test]
    fn a_share_is_never_zero() {
        assert!(0 < share(1) && share(1) < share(100));
    }
}
