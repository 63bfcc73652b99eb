//! Properties of the journal on a disk that loses power, fills up and fails.

mod backups;
mod crash;
mod damage;
mod faults;
mod fetching;
mod full;
mod heads;
#[cfg(feature = "planted")]
mod planted;
mod rescue;
mod size;
mod unsynced;
mod workload;
