//! Locks, flags and threads: the standard library's, or those of a scheduler that explores thread interleavings.

#[cfg(all(feature = "server", not(feature = "shuttle")))]
pub(crate) use std::sync::atomic::AtomicBool;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(all(feature = "server", not(feature = "shuttle")))]
pub(crate) use std::thread;

#[cfg(all(feature = "server", feature = "shuttle"))]
pub(crate) use shuttle::sync::atomic::AtomicBool;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(all(feature = "server", feature = "shuttle"))]
pub(crate) use shuttle::thread;
