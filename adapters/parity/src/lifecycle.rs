//! Starting and stopping servers leaks nothing.

use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::messages::next_message;
use futures::future::{Either, select};
use futures::join;
use futures::task::AtomicWaker;
use zaichik_driver::{BrokerConfig, Client, Runtime, Server};

/// Servers before the first measurement, so that permanent threads, pools and tables exist by then.
const WARM_UP: usize = 100;

/// Servers between the two measurements.
const SERVERS: usize = 1_000;

/// Maximum growth of the heap, in bytes: threads allocate some memory, such as read buffers, only when they first run
/// a task. A leak of a few hundred bytes per server exceeds it.
const SLACK: usize = 256 << 10;

/// Starts and stops servers with a client each, then checks that no task is left and that the numbers of file
/// descriptors and of heap bytes, as `heap` reports them, have not grown.
///
/// Nothing else may run in the process.
pub async fn a_thousand_servers_leave_nothing<R: Runtime>(heap: impl Fn() -> usize) {
    start_and_stop::<R>(WARM_UP).await;
    let (descriptors, bytes) = (open_descriptors(), heap());
    start_and_stop::<R>(SERVERS).await;
    assert_eq!(open_descriptors(), descriptors, "file descriptors");
    let grown = heap().saturating_sub(bytes);
    assert!(grown <= SLACK, "the heap has grown by {grown} bytes, at most {SLACK} are allowed");
}

/// Shuts down every other server, and drops the rest with a client connected.
async fn start_and_stop<R: Runtime>(servers: usize) {
    for number in 0..servers {
        let config = BrokerConfig::default();
        let server = Server::<Counted<R>>::bind("127.0.0.1:0", config).await.expect("a free port");
        let (address, handle) = (server.local_addr().to_string(), server.broker().handle());
        if number % 2 == 0 {
            let stopping = async {
                served_client::<Counted<R>>(&address)
                    .await
                    .close()
                    .await
                    .expect("the client has no unfinished work");
                handle.shutdown(Duration::ZERO);
            };
            let (ended, ()) = join!(server.serve(), stopping);
            ended.expect("an orderly end");
        } else {
            let serving = pin!(server.serve());
            let client = match select(serving, pin!(served_client::<Counted<R>>(&address))).await {
                Either::Left(_) => panic!("the server stopped early"),
                Either::Right((client, _)) => client,
            };
            client.close().await.expect("the client has no unfinished work");
        }
        all_tasks_ended().await;
    }
}

/// A client that has published, received and committed one message.
async fn served_client<R: Runtime>(address: &str) -> Client<R> {
    let client = Client::<R>::connect(address).await.expect("the broker listens");
    let mut subscription = client.subscribe("short lived").await.expect("subscribed");
    client.publish("short lived", "x").await.expect("accepted");
    let message = next_message(&mut subscription).await;
    message.commit().await.expect("committed");
    client
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux has it").count()
}

/// A runtime that counts the tasks it spawns.
struct Counted<R>(PhantomData<fn() -> R>);

static TASKS: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicWaker = AtomicWaker::new();

/// Counts one task until it is dropped.
struct TaskGuard;

impl TaskGuard {
    fn new() -> Self {
        TASKS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        TASKS.fetch_sub(1, Ordering::SeqCst);
        ENDED.wake();
    }
}

/// Waits until every task has ended.
async fn all_tasks_ended() {
    poll_fn(|cx| {
        ENDED.register(cx.waker());
        if TASKS.load(Ordering::SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl<R: Runtime> Runtime for Counted<R> {
    type Io = R::Io;
    type Listener = R::Listener;
    type Timer = R::Timer;

    async fn connect(address: &str) -> io::Result<R::Io> {
        R::connect(address).await
    }

    async fn bind(address: &str) -> io::Result<R::Listener> {
        R::bind(address).await
    }

    fn timer() -> R::Timer {
        R::timer()
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        let guard = TaskGuard::new();
        R::spawn(async move {
            future.await;
            drop(guard);
        });
    }
}
