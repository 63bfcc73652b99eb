//! Runs every target over its corpus, without the fuzzer, as a regression test for everything that it found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_target_survives_its_corpus() {
    for (name, target) in zaichik_fuzz::TARGETS {
        let inputs = inputs(&corpus().join(name));
        assert!(inputs.len() >= 10, "{name} has a corpus");
        for path in inputs {
            let input = fs::read(&path).unwrap();
            // Shown only if the test fails: the last path is the failing input.
            println!("{}", path.display());
            target(&input);
        }
    }
}

#[test]
fn every_target_survives_every_prefix_and_every_flipped_byte_of_its_corpus() {
    for (name, target) in zaichik_fuzz::TARGETS {
        for path in inputs(&corpus().join(name)) {
            let mut input = fs::read(&path).unwrap();
            input.truncate(300);
            println!("{}", path.display());
            for end in 0..input.len() {
                target(&input[..end]);
                input[end] ^= 0xff;
                target(&input);
                input[end] ^= 0xff;
            }
        }
    }
}

#[test]
fn every_corpus_and_every_binary_has_a_target() {
    let targets: BTreeSet<_> = zaichik_fuzz::TARGETS.iter().map(|(name, _)| String::from(*name)).collect();
    let names = |directory: &Path| -> BTreeSet<_> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        fs::read_dir(directory).unwrap().map(|entry| stem(entry.unwrap().path())).collect()
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(names(&here.join("corpus")), targets);
    assert_eq!(names(&here.join("fuzz_targets")), targets);
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The files of a directory, ordered by name.
fn inputs(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.map(|entry| entry.path()).unwrap()).collect()
}
