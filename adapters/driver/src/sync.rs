//! Locks and flags: those of the standard library, or those of a scheduler that tries out how threads interleave.

#[cfg(all(feature = "server", not(feature = "shuttle")))]
pub(crate) use std::sync::atomic::AtomicBool;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(all(feature = "server", feature = "shuttle"))]
pub(crate) use shuttle::sync::atomic::AtomicBool;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
