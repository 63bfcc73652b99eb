//! Each planted defect is found by the properties.

use super::backups::check_backups;
use super::crash::check_crashes;
use super::damage::{check_damage, check_flips};
use super::faults::check_faults;
use super::fetching::check_fetches;
use super::full::check_full;
use super::heads::check_heads;
use super::unsynced::{check_failures, check_power};
use crate::planted::{Defect, plant};

fn check(seed: u64) -> Result<(), String> {
    let _ = check_heads(seed, 300)?;
    check_damage(seed, 60)?;
    check_flips(seed, 30)?;
    check_faults(seed, 60)?;
    check_fetches(seed)?;
    check_full(seed, 60)?;
    check_crashes(seed, 200)?;
    check_failures(seed, 30)?;
    check_power(seed, 120)?;
    check_backups(seed, 100)
}

#[test]
fn every_planted_defect_is_found() {
    for &defect in Defect::ALL {
        plant(Some(defect));
        let found = (0..5).find_map(|seed| check(seed).err());
        plant(None);
        let found = found.unwrap_or_else(|| panic!("{defect:?} is not found"));
        println!("{defect:?}: {found}");
    }
    check(0).unwrap();
}
