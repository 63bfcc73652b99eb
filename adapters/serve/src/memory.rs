//! The memory budget as a share of the machine's or the cgroup's memory.

use std::fs::read_to_string;
use std::path::Path;

use crate::planted::{Defect, is_planted};

/// The assumed memory, in bytes, where the system does not report it.
const UNKNOWN: u64 = 1 << 30;

/// `percent` of the machine's or the cgroup's memory, whichever is less, in bytes. The files that report it are below
/// `root`, which is `/` except in tests.
pub(crate) fn share(root: &Path, percent: u8) -> u64 {
    let machine = read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total(&text));
    let group = read_to_string(root.join("proc/self/cgroup")).ok();
    let group = group.and_then(|text| group_limit(&root.join("sys/fs/cgroup"), &text));
    let all = machine.into_iter().chain(group).min().unwrap_or(UNKNOWN);
    (all / 100).saturating_mul(percent.into())
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// The smallest memory limit of the process's cgroup and its ancestors, in bytes; without a limit, version 1 reports a
/// number above every machine's memory. The directories of cgroups are below `root`.
fn group_limit(root: &Path, cgroup: &str) -> Option<u64> {
    cgroup.lines().filter_map(|line| smallest(root, line)).min()
}

/// The smallest limit in the hierarchy of a line of /proc/self/cgroup: that of version 2, or the one of version 1 that
/// limits memory.
fn smallest(root: &Path, line: &str) -> Option<u64> {
    let (_, line) = line.split_once(':')?;
    let (controllers, path) = line.split_once(":/")?;
    let (root, file) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = root.join(path);
    let groups = group.ancestors().take_while(|group| group.starts_with(&root));
    let groups = groups.take(if is_planted(Defect::OwnLimitOnly) { 1 } else { usize::MAX });
    let limit = |group: &Path| read_to_string(group.join(file)).ok()?.trim().parse().ok();
    groups.filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The path and the text of a file.
    type File = (&'static str, &'static str);

    /// A directory in place of `/`, with these files; removed on drop.
    struct Root(PathBuf);

    impl Root {
        fn with(name: &str, files: &[File]) -> Self {
            let root = std::env::temp_dir().join(format!("zaichik-memory-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn the_total_is_in_kibibytes() {
        for (meminfo, expected) in [
            ("MemTotal:       24576000 kB\nMemFree:  1 kB\n", Some(24_576_000 * 1_024)),
            ("MemFree: 1 kB\nMemTotal: 2 kB\n", Some(2_048)),
            ("MemTotal: 2 kB\nMemTotal: 3 kB\n", Some(2_048)),
            ("MemFree: 1 kB\n", None),
            ("XMemTotal: 1 kB\n", None),
            ("MemTotal: many\n", None),
            ("MemTotal: 2 kB kB\n", None),
            ("MemTotal: 2 MB\n", None),
            ("MemTotal: 18446744073709551615 kB\n", None),
        ] {
            assert_eq!(total(meminfo), expected, "{meminfo}");
        }
    }

    #[test]
    fn the_smallest_limit_of_the_group_and_its_ancestors_counts() {
        const GIB: u64 = 1 << 30;
        let meminfo = ("proc/meminfo", "MemTotal: 4194304 kB\n");
        let own = ("proc/self/cgroup", "0::/a/b\n");
        let cases: [(&str, &[File], u64); 12] = [
            ("nothing", &[], UNKNOWN),
            ("no-group", &[meminfo], 4 * GIB),
            ("no-limit", &[meminfo, own, ("sys/fs/cgroup/a/b/memory.max", "max\n")], 4 * GIB),
            ("own", &[meminfo, own, ("sys/fs/cgroup/a/b/memory.max", "1073741824\n")], GIB),
            ("parent", &[meminfo, own, ("sys/fs/cgroup/a/memory.max", "1073741824\n")], GIB),
            ("top", &[meminfo, own, ("sys/fs/cgroup/memory.max", "1073741824\n")], GIB),
            (
                "all",
                &[
                    meminfo,
                    own,
                    ("sys/fs/cgroup/a/memory.max", "1073741824\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "2147483648\n"),
                    ("sys/fs/cgroup/a/b/c/memory.max", "1024\n"),
                    ("sys/fs/cgroup/ab/memory.max", "1024\n"),
                    ("sys/fs/memory.max", "1024\n"),
                ],
                GIB,
            ),
            ("larger", &[meminfo, own, ("sys/fs/cgroup/a/memory.max", "8589934592\n")], 4 * GIB),
            (
                "both-versions",
                &[
                    meminfo,
                    ("proc/self/cgroup", "12:memory:/x\n1:name=systemd:/x\n0::/a/b\n"),
                    ("sys/fs/cgroup/x/memory.max", "1024\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "1073741824\n"),
                ],
                GIB,
            ),
            (
                "version-1",
                &[
                    meminfo,
                    ("proc/self/cgroup", "12:cpu,memory:/a/b\n1:name=memory:/x\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"),
                    ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "2147483648\n"),
                    ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1024\n"),
                    ("sys/fs/cgroup/a/memory.max", "1024\n"),
                ],
                GIB,
            ),
            (
                "version-1-without-limit",
                &[
                    meminfo,
                    ("proc/self/cgroup", "12:memory:/a\n0::/a\n"),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                4 * GIB,
            ),
            ("unreadable", &[meminfo, own, ("sys/fs/cgroup/a/b/memory.max", "1073741824 1\n")], 4 * GIB),
        ];
        for (name, files, expected) in cases {
            let root = Root::with(name, files);
            assert_eq!(share(&root.0, 100), expected / 100 * 100, "{name}");
            assert_eq!(share(&root.0, 25), expected / 100 * 25, "{name}");
        }
    }

    #[test]
    fn a_share_is_never_zero() {
        let root = Path::new("/");
        assert!(0 < share(root, 1) && share(root, 1) < share(root, 100));
    }
}
