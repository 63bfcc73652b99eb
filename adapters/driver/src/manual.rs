//! A runtime for tests: everything runs on the test's thread, and only woken tasks run. Its timers never ring.
//!
//! With the feature `shuttle`, tasks are threads of its scheduler instead.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::local::LocalIo;
use crate::runtime::{Listener, Runtime, Timer};

/// Maximum polls of a test.
const MOST_POLLS: usize = 100_000;

/// The runtime. Spawned tasks run in [`block_on`](Self::block_on), in the order spawned.
pub(crate) struct Manual;

/// Never rings.
pub(crate) struct Silent;

/// There is no network.
pub(crate) enum NoListener {}

/// A task that is polled only when it was woken.
pub(crate) struct Task {
    pub(crate) future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Flag>,
}

pub(crate) struct Flag(AtomicBool);

thread_local! {
    static SPAWNED: RefCell<Vec<Task>> = const { RefCell::new(Vec::new()) };
}

impl Manual {
    /// Polls `future` and the tasks that are woken, the future first, until the future is ready.
    ///
    /// # Panics
    /// If nothing is woken and the future is not ready: it never will be.
    #[track_caller]
    pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
        let woken = Flag::raised();
        let waker = Waker::from(Arc::clone(&woken));
        let mut future = pin!(future);
        for _ in 0..MOST_POLLS {
            if woken.take() {
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return value;
                }
            } else {
                assert!(Self::step(), "stuck: no task was woken, and the future is not ready");
            }
        }
        panic!("the tasks wake each other endlessly");
    }

    /// Drops all tasks, as a runtime does that ends.
    pub(crate) fn shut_down() {
        let tasks = SPAWNED.take();
        drop(tasks);
    }

    /// Polls one task that was woken, if any; says whether it did.
    fn step() -> bool {
        let due = SPAWNED.with_borrow_mut(|tasks| {
            tasks.retain(|task| task.future.is_some());
            let index = tasks.iter().position(Task::is_due)?;
            // A task may spawn others, so it is taken out of the list.
            Some((index, std::mem::replace(tasks.get_mut(index)?, Task::over())))
        });
        let Some((index, mut task)) = due else {
            return false;
        };
        task.poll();
        SPAWNED.with_borrow_mut(|tasks| tasks[index] = task);
        true
    }
}

impl Task {
    pub(crate) fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self { future: Some(Box::pin(future)), woken: Flag::raised() }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.future.is_some() && self.woken.0.load(Ordering::Relaxed)
    }

    pub(crate) fn poll(&mut self) {
        self.woken.take();
        let waker = Waker::from(Arc::clone(&self.woken));
        if let Some(future) = &mut self.future
            && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            self.future = None;
        }
    }

    fn over() -> Self {
        Self { future: None, woken: Flag::raised() }
    }
}

impl Flag {
    fn raised() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Runtime for Manual {
    type Io = LocalIo;
    type Listener = NoListener;
    type Timer = Silent;

    async fn connect(_: &str) -> io::Result<LocalIo> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn bind(_: &str) -> io::Result<NoListener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn timer() -> Silent {
        Silent
    }

    #[cfg(feature = "shuttle")]
    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        // The handle is not needed: tasks end on their own.
        drop(shuttle::future::spawn(future));
    }

    #[cfg(not(feature = "shuttle"))]
    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        SPAWNED.with_borrow_mut(|tasks| tasks.push(Task::new(future)));
    }
}

impl Timer for Silent {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

impl Listener for NoListener {
    type Io = LocalIo;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(LocalIo, String)>> {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<Endpoint> {
        match *self {}
    }
}
