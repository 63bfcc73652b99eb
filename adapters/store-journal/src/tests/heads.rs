//! What is shown of rows without reading their values is what was stored, wherever it is read from.

use super::damage::{disk, segments, try_disk};
use super::workload::{Rows, assert_same, by_heads, head, options, read_back};
use crate::disk::File;
use crate::error::StoreError;
use crate::inspect::check;
use crate::journal::Journal;
use crate::scan::scan;
use crate::simulated::{SimulatedDisk, next};

/// Where the frames of a segment end; behind them is what it has of an outline.
fn frames_end(disk: &SimulatedDisk, file: File) -> usize {
    let File::Segment(number) = file else { return 0 };
    let bytes = disk.content(file).unwrap();
    usize::try_from(scan(options().store, number, &bytes).outline.end).unwrap()
}

/// The same disk without outlines; how many segments had one.
fn without_outlines(disk: &SimulatedDisk) -> (SimulatedDisk, usize) {
    let (copy, files, mut outlines) = (disk.copy(1), segments(disk), 0);
    for file in files.iter().rev().skip(1) {
        let bytes = disk.content(*file).unwrap();
        let end = frames_end(disk, *file);
        outlines += usize::from(bytes.len() > end);
        copy.replace(*file, Some(bytes[..end].to_vec()));
    }
    (copy, outlines)
}

fn opened(disk: SimulatedDisk, is_curious: bool) -> Result<Rows, String> {
    let mut journal = Journal::on(disk, options()).map_err(|error| error.to_string())?;
    read_back(&mut journal, is_curious).map_err(|error| error.to_string())
}

/// Whether opening by outlines and by frames shows the same heads and rows, those that were stored.
pub(super) fn check_heads(seed: u64, ops: usize) -> Result<usize, String> {
    let (disk, states) = try_disk(seed, ops).map_err(|error| error.to_string())?;
    let expected = by_heads(states.last().unwrap());
    let (scanned, outlines) = without_outlines(&disk);
    for (disk, how) in [(disk, "by outlines"), (scanned, "by frames")] {
        for is_curious in [false, true] {
            if opened(disk.copy(2), is_curious)? != expected {
                return Err(format!("seed {seed}, opened {how}: wrong heads or rows"));
            }
        }
    }
    Ok(outlines)
}

#[test]
fn opening_by_outlines_shows_the_same_as_opening_by_frames() {
    let outlines: usize = (0..20).map(|seed| check_heads(seed, 60 + 40 * seed as usize).unwrap()).sum();
    assert!(outlines > 50, "{outlines} outlines");
}

#[test]
fn a_flipped_bit_is_found_or_changes_no_head_and_the_value_is_checked_when_it_is_read() {
    let (disk, states) = disk(11, 120);
    let rows = states.last().unwrap();
    let expected = by_heads(rows);
    let mut random = 1;
    let (mut unread, mut found_later) = (0, 0);
    for file in segments(&disk) {
        let bytes = disk.content(file).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (next(&mut random) % 8);
            let damaged = disk.copy(at as u64);
            damaged.replace(file, Some(flipped));
            let is_sound = check(&mut damaged.clone()).is_ok();
            let Ok(mut journal) = Journal::on(damaged, options()) else {
                assert!(!is_sound, "{file}, byte {at}: found when opened, but not by a check");
                continue;
            };
            match read_back(&mut journal, false) {
                Ok(shown) => assert_eq!(shown, expected, "{file}, byte {at}"),
                Err(error) => assert!(!is_sound, "{file}, byte {at}: {error}"),
            }
            for (key, value) in rows {
                match journal.get(key) {
                    Ok(found) => assert_eq!(found.as_ref(), Some(value), "{file}, byte {at}"),
                    Err(StoreError::Corrupt { file: named, .. }) => {
                        assert!(!is_sound && named == file, "{file}, byte {at}: {named}");
                        unread += 1;
                        found_later += usize::from(head(key, value).is_some());
                    }
                    Err(other) => panic!("{file}, byte {at}: {other}"),
                }
            }
        }
    }
    assert!(unread > 500 && found_later > 100, "{unread}, {found_later}");
}

#[test]
fn a_segment_whose_outline_is_damaged_is_read_as_a_whole() {
    let (disk, states) = disk(12, 300);
    let expected = by_heads(states.last().unwrap());
    for file in segments(&disk) {
        let bytes = disk.content(file).unwrap();
        for at in frames_end(&disk, file)..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let damaged = disk.copy(at as u64);
            damaged.replace(file, Some(flipped));
            assert_same(&opened(damaged, false).unwrap(), &expected);
        }
    }
}

#[test]
fn only_the_wanted_values_are_read() {
    let (disk, states) = disk(13, 200);
    let rows = states.last().unwrap();
    let mut journal = Journal::on(disk, options()).unwrap();
    assert_eq!(read_back(&mut journal, false).unwrap(), by_heads(rows));
    // From now on every row is shown as a whole.
    let mut shown = Rows::new();
    journal
        .read_back(|key, part| {
            let crate::journal::Shown::Value(value) = part else { panic!("a head of {key:?}") };
            shown.insert(key.to_vec(), value.to_vec());
            Ok::<_, StoreError>(true)
        })
        .unwrap();
    assert_eq!(shown, *rows);
}
