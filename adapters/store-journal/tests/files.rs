//! The journal in a directory of the file system.

use std::fs;
use std::path::PathBuf;

use zaichik_store_journal::{
    Disk, Effect, File, Files, Journal, Op, OpenError, Options, StoreError, Syncing, backup, check,
};

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("zaichik-journal-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Result<Journal, OpenError> {
        Journal::open(&self.0, Options { segment_bytes: 4096, reserve_bytes: 100_000, ..Options::new(7) })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn rows_are_there_again_after_the_journal_was_closed() {
    let directory = Directory::new("again");
    for round in 0..20_u8 {
        let mut journal = directory.open().unwrap();
        let mut rows = 0;
        journal
            .rows(|key, value| {
                assert_eq!((key, value), ([4, rows].as_slice(), [rows; 300].as_slice()));
                rows += 1;
                Ok::<_, StoreError>(())
            })
            .unwrap();
        assert_eq!(rows, round);
        journal
            .commit(&[Op::Put { key: &[4, round], head: &[], value: &[&[round; 100], &[round; 200]] }])
            .unwrap();
        journal.tend(std::time::Duration::ZERO).unwrap();
    }
    let report = check(&mut Files::open(&directory.0).unwrap()).unwrap().unwrap();
    assert_eq!((report.rows, report.sequence, report.floor), (20, 40, 40));
    assert_eq!(fs::metadata(directory.0.join("RESERVE")).unwrap().len(), 100_000);
}

#[test]
fn a_directory_that_is_looked_at_is_not_created() {
    let directory = Directory::new("absent");
    assert!(matches!(Files::existing(&directory.0), Err(OpenError::Store(StoreError::Failed(_)))));
    assert!(matches!(Files::read_only(&directory.0), Err(OpenError::Store(StoreError::Failed(_)))));
    assert!(!directory.0.exists());
    fs::create_dir_all(&directory.0).unwrap();
    assert_eq!(check(&mut Files::existing(&directory.0).unwrap()).unwrap(), None);
}

#[test]
fn a_second_owner_is_refused_and_hears_who_is_the_first() {
    let directory = Directory::new("locked");
    let _first = directory.open().unwrap();
    let error = directory.open().unwrap_err();
    assert!(
        matches!(&error, OpenError::Locked { pid, .. } if *pid == std::process::id().to_string()),
        "{error}"
    );
    assert!(error.to_string().contains(&directory.0.display().to_string()));
}

#[test]
fn a_directory_that_is_read_stays_as_it_is_and_has_no_owner_meanwhile() {
    let directory = Directory::new("read");
    drop(directory.open().unwrap());
    let listed = || {
        let entries = fs::read_dir(&directory.0).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> =
            entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect();
        files.sort();
        files
    };
    for has_lock in [true, false] {
        let before = listed();
        let (mut first, mut second) =
            (Files::read_only(&directory.0).unwrap(), Files::read_only(&directory.0).unwrap());
        assert_eq!(check(&mut first).unwrap(), check(&mut second).unwrap());
        assert!(first.run(Effect::Create(File::Floor)).is_err());
        if has_lock {
            assert!(matches!(directory.open(), Err(OpenError::BeingRead { .. })));
        }
        assert_eq!(listed(), before);
        drop((first, second));
        let _ = fs::remove_file(directory.0.join("LOCK"));
    }
    let _owner = directory.open().unwrap();
    let own = std::process::id().to_string();
    assert!(matches!(Files::read_only(&directory.0), Err(OpenError::Locked { pid, .. }) if pid == own));
}

#[cfg(unix)]
#[test]
fn an_owner_whose_lock_was_removed_stores_nothing_more() {
    let directory = Directory::new("stolen");
    let mut first = directory.open().unwrap();
    fs::remove_file(directory.0.join("LOCK")).unwrap();
    let mut second = directory.open().unwrap();
    assert!(matches!(first.commit(&[]), Err(StoreError::Fenced)));
    second.commit(&[Op::Remove { key: &[1] }]).unwrap();
}

#[test]
fn a_directory_with_other_files_is_refused() {
    let directory = Directory::new("foreign");
    fs::create_dir_all(&directory.0).unwrap();
    fs::write(directory.0.join("letter.txt"), "dear").unwrap();
    let error = directory.open().unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { entry, .. } if entry == "letter.txt"), "{error}");
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
    fs::remove_file(directory.0.join("letter.txt")).unwrap();
    drop(directory.open().unwrap());
    fs::write(directory.0.join("letter.txt"), "dear").unwrap();
    directory.open().unwrap();
}

#[test]
fn a_directory_of_another_version_is_refused() {
    let directory = Directory::new("version");
    drop(directory.open().unwrap());
    fs::write(directory.0.join("FORMAT"), "zaichik journal\nformat 3\n").unwrap();
    let error = directory.open().unwrap_err();
    assert_eq!(error.to_string(), "the storage directory has format 3, but this version reads format 2");
}

#[test]
fn a_damaged_segment_is_named_with_its_place() {
    let directory = Directory::new("damaged");
    let mut journal = directory.open().unwrap();
    for round in 0..3_u8 {
        journal.commit(&[Op::Put { key: &[4, round], head: &[], value: &[&[round; 300]] }]).unwrap();
    }
    drop(journal);
    let path = directory.0.join("segment-0000000001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = directory.open().unwrap_err().to_string();
    assert!(error.starts_with("segment-0000000001 is damaged at byte 112: a commit is not valid"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_tells_the_end_of_the_machine_from_that_of_the_process() {
    let directory = Directory::new("unsynced");
    let options = Options { syncing: Syncing::OnDemand, reserve_bytes: 0, ..Options::new(7) };
    let open = || Journal::open(&directory.0, options).unwrap();
    let mark = directory.0.join("UNSYNCED");
    for round in 0..3_u8 {
        let mut journal = open();
        assert!(!journal.lacks_commits(), "only the process ended");
        journal.commit(&[Op::Put { key: &[4, round], head: &[], value: &[&[round]] }]).unwrap();
    }
    let text = fs::read_to_string(&mark).unwrap();
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(&id.trim().replace('-', "")), "{text}");
    // As if the machine had been started again since.
    fs::write(&mark, format!("not every commit may be on the disk\nboot {:032x}\n", 1)).unwrap();
    assert!(open().lacks_commits());
    let mut journal = open();
    assert!(journal.lacks_commits(), "nothing was committed since");
    journal.commit(&[]).unwrap();
    assert!(!journal.lacks_commits());
    drop(journal);
    let mut journal = open();
    assert!(!journal.lacks_commits());
    journal.close(std::time::Duration::ZERO).unwrap();
    assert!(!mark.exists());
}

/// A directory whose first change begins something else.
struct Beside<'a>(Files, Option<&'a mut dyn FnMut()>);
impl Disk for Beside<'_> {
    fn run(&mut self, effect: Effect<'_>) -> std::io::Result<()> {
        if let Some(go_on) = self.1.take() {
            go_on();
        }
        self.0.run(effect)
    }
    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(file, at, bytes)
    }
    fn files(&mut self) -> std::io::Result<Vec<(File, u64)>> {
        self.0.files()
    }
    fn is_ours(&mut self) -> bool {
        self.0.is_ours()
    }
    fn boot(&mut self) -> Option<u128> {
        self.0.boot()
    }
}

#[test]
fn a_segment_that_the_owner_removes_is_copied_to_its_end() {
    let (directory, target) = (Directory::new("owner"), Directory::new("copy"));
    let mut journal = directory.open().unwrap();
    let write = |journal: &mut Journal, value: u8| {
        for row in 0..40 {
            journal.commit(&[Op::Put { key: &[4, row], head: &[], value: &[&[value; 300]] }]).unwrap();
            journal.tend(std::time::Duration::from_secs(value.into())).unwrap();
        }
    };
    write(&mut journal, 1);
    let first = directory.0.join("segment-0000000001");
    let mut go_on = || {
        assert!(first.exists());
        (2..6).for_each(|value| write(&mut journal, value));
        assert!(!first.exists(), "its owner has removed it");
    };
    let mut copy = Beside(Files::open(&target.0).unwrap(), Some(&mut go_on));
    let report = backup(&mut Files::beside(&directory.0).unwrap(), &mut copy).unwrap().unwrap();
    assert!(report.is_backup && report.rows == 40);
    drop(copy);
    let mut copied = target.open().unwrap();
    copied
        .rows(|_, value| {
            assert_eq!(value, [1; 300], "the rows of before");
            Ok::<_, StoreError>(())
        })
        .unwrap();
}
