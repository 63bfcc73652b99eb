//! Servers that come and go leave nothing behind.

use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, select};
use futures::join;
use futures::task::AtomicWaker;
use zaichik_driver::{Client, Runtime, Server, default_config};

/// Servers before the measuring starts: threads, pools and tables that stay are there then.
const WARM_UP: usize = 100;

/// Servers in between.
const SERVERS: usize = 1_000;

/// Most bytes that the heap may have grown by: what threads come to own only when they get something to do, such
/// as a buffer to read into. A leak of a few hundred bytes per server is more.
const SLACK: usize = 256 << 10;

/// Starts and stops servers, with a client each, and compares what is left with what was there before: tasks
/// (none), file descriptors, and bytes of the heap, which `heap` counts.
///
/// Nothing else may run in the process.
pub async fn a_thousand_servers_leave_nothing<R: Runtime>(heap: impl Fn() -> usize) {
    come_and_go::<R>(WARM_UP).await;
    let (descriptors, bytes) = (open_descriptors(), heap());
    come_and_go::<R>(SERVERS).await;
    assert_eq!(open_descriptors(), descriptors, "file descriptors");
    let grown = heap().saturating_sub(bytes);
    assert!(grown <= SLACK, "the heap has grown by {grown} bytes");
}

/// Stops every other server, and drops the others with a client connected.
async fn come_and_go<R: Runtime>(servers: usize) {
    for number in 0..servers {
        let config = default_config().expect("random numbers");
        let server = Server::<Counted<R>>::bind("127.0.0.1:0", config).await.expect("a free port");
        let (address, handle) = (server.local_addr().to_string(), server.handle());
        if number % 2 == 0 {
            let stopping = async {
                work::<Counted<R>>(&address).await.close().await.expect("it owes nothing");
                handle.shutdown(Duration::ZERO);
            };
            let (ended, ()) = join!(server.serve(), stopping);
            ended.expect("an orderly end");
        } else {
            let serving = pin!(server.serve());
            let client = match select(serving, pin!(work::<Counted<R>>(&address))).await {
                Either::Left(_) => panic!("nobody stopped it"),
                Either::Right((client, _)) => client,
            };
            client.close().await.expect("it owes nothing");
        }
        nothing_is_left().await;
    }
}

/// A client that has been served.
async fn work<R: Runtime>(address: &str) -> Client<R> {
    let client = Client::<R>::connect(address).await.expect("the broker listens");
    let mut subscription = client.subscribe("short lived").await.expect("subscribed");
    client.publish("short lived", "x").await.expect("accepted");
    let message = subscription.next_message().await.expect("no gap").expect("a message");
    message.commit().await.expect("committed");
    client
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux has it").count()
}

/// A runtime that counts what it spawns.
struct Counted<R>(PhantomData<fn() -> R>);

static TASKS: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicWaker = AtomicWaker::new();

/// A task that has not ended.
struct Alive;

impl Alive {
    fn new() -> Self {
        TASKS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        TASKS.fetch_sub(1, Ordering::SeqCst);
        ENDED.wake();
    }
}

/// Ready when every task has ended.
async fn nothing_is_left() {
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
        let alive = Alive::new();
        R::spawn(async move {
            future.await;
            drop(alive);
        });
    }
}
