//! The broker's lock. Connections that take it again and again let threads that already wait for it go first.
//!
//! The lock of the standard library is not fair: a thread that releases it and takes it again at once is usually faster
//! than one that has to be woken. While connections use whole shares of work (rule S14), one with a single request would
//! wait for many of them.

use std::sync::LockResult;
use std::sync::TryLockError::{Poisoned, WouldBlock};

use crate::sync::{Mutex, MutexGuard};

/// A lock with two orders of taking it. A thread must not take two of them at once.
#[derive(Debug)]
pub(super) struct Lock<T> {
    value: Mutex<T>,
    /// Held while its holder waits for the value: the next one to get it.
    next: Mutex<()>,
    /// Held by the one of those that [go behind others](Self::lock_behind_others) that waits to be the next one.
    behind: Mutex<()>,
}

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), next: Mutex::new(()), behind: Mutex::new(()) }
    }

    /// Locks the value: at once if it is free.
    ///
    /// # Errors
    ///
    /// A thread panicked while it held the lock; the guard is in the error.
    pub(super) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.value.try_lock() {
            Ok(value) => Ok(value),
            Err(Poisoned(error)) => Err(error),
            Err(WouldBlock) => self.wait(),
        }
    }

    /// The same, for one that does much and often: behind the others that wait. Of those that do so, at most one at a time
    /// waits beside the others.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub(super) fn lock_behind_others(&self) -> LockResult<MutexGuard<'_, T>> {
        let _behind = self.behind.lock();
        self.wait()
    }

    fn wait(&self) -> LockResult<MutexGuard<'_, T>> {
        // No thread panics while it holds this one.
        let _next = self.next.lock();
        self.value.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    /// Without the order it passes only if the waiting thread is faster; with it, always.
    #[test]
    fn s14_one_that_goes_behind_others_takes_the_lock_after_those_that_wait() {
        for _ in 0..200 {
            let lock = Lock::new(Vec::new());
            let (held, is_held) = channel();
            let mut first = lock.lock_behind_others().expect("not poisoned");
            thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    held.send(()).expect("the test waits");
                    lock.lock().expect("not poisoned").push("waiting");
                });
                is_held.recv().expect("the thread runs");
                // It waits for the value: it is the next one.
                while lock.next.try_lock().is_ok() {
                    thread::yield_now();
                }
                first.push("first");
                drop(first);
                lock.lock_behind_others().expect("not poisoned").push("again");
                waiting.join().expect("it does not panic");
            });
            assert_eq!(*lock.lock().expect("not poisoned"), ["first", "waiting", "again"]);
        }
    }

    #[test]
    fn s12_a_lock_whose_holder_panicked_is_poisoned_in_both_orders() {
        let lock = Lock::new(1);
        let failed = thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = lock.lock();
                panic!("the holder fails");
            });
            holder.join()
        });
        assert!(failed.is_err());
        assert_eq!(*lock.lock().expect_err("poisoned").into_inner(), 1);
        assert_eq!(*lock.lock_behind_others().expect_err("poisoned").into_inner(), 1);
    }
}
