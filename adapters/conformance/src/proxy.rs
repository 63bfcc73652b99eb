//! A proxy between a broker and its peers whose connections fail as a case requires.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use zaichik_driver::{Clock, Listener, Runtime};

use crate::faults::{Direction, Fault, Half, Step};

/// Maximum connections that a proxy accepts in total.
const MOST_CONNECTIONS: usize = 4_096;

/// Steps of a connection before other tasks of the thread get their turn.
const STEPS_PER_POLL: usize = 64;

/// A running proxy; it and its connections end when this is dropped.
pub(crate) struct Proxy {
    address: String,
    control: Arc<Mutex<Control>>,
}

impl Proxy {
    /// Starts a proxy for the broker at `address`. `plan` returns the faults of a connection by its number, from 0.
    pub(crate) async fn start<R: Runtime>(
        address: &str,
        plan: impl Fn(usize) -> Vec<Fault> + Send + Unpin + 'static,
    ) -> Self {
        let listener = R::bind("127.0.0.1:0").await.expect("a free address");
        let here = listener.local_addr().expect("an address");
        let control = Arc::<Mutex<Control>>::default();
        R::spawn(Acceptor::<R, _> {
            listener,
            broker: address.to_owned(),
            plan,
            control: Arc::clone(&control),
        });
        Self { address: here.to_string(), control }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.control).accepted
    }

    /// Silently stops a direction of every connection.
    pub(crate) fn freeze(&self, direction: Direction) {
        lock(&self.control).frozen[direction as usize] = true;
    }

    /// Breaks every connection and ends all freezes.
    pub(crate) fn cut(&self) {
        change(&self.control, |control| {
            control.frozen = [false; 2];
            control.era += 1;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        change(&self.control, |control| control.over = true);
    }
}

/// The state that a proxy shares with its tasks.
#[derive(Default)]
struct Control {
    accepted: usize,
    frozen: [bool; 2],
    /// Connections of an earlier era must break.
    era: u64,
    over: bool,
    /// By the number of the connection; the acceptor has the last number.
    wakers: BTreeMap<usize, Waker>,
}

struct Acceptor<R: Runtime, P> {
    listener: R::Listener,
    broker: String,
    plan: P,
    control: Arc<Mutex<Control>>,
}

impl<R: Runtime, P: Fn(usize) -> Vec<Fault> + Unpin> Future for Acceptor<R, P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            {
                let mut control = lock(&self.control);
                if control.over || control.accepted == MOST_CONNECTIONS {
                    return Poll::Ready(());
                }
                control.wakers.insert(usize::MAX, cx.waker().clone());
            }
            let Poll::Ready(accepted) = self.listener.poll_accept(cx) else {
                return Poll::Pending;
            };
            let (client, _) = accepted.expect("the listener works");
            let control = Arc::clone(&self.control);
            let (number, era) = {
                let mut control = lock(&control);
                control.accepted += 1;
                (control.accepted - 1, control.era)
            };
            let (faults, broker) = ((self.plan)(number), self.broker.clone());
            R::spawn(async move {
                // Without a broker the client's connection ends at once.
                if let Ok(broker) = R::connect(&broker).await {
                    let clock = Clock::of::<R>();
                    let to_broker = Half::new(Direction::ToBroker, &faults, R::timer(), clock);
                    let from_broker = Half::new(Direction::FromBroker, &faults, R::timer(), clock);
                    Pump::<R> { number, era, client, broker, to_broker, from_broker, control }.await;
                }
            });
        }
    }
}

/// One connection.
struct Pump<R: Runtime> {
    number: usize,
    era: u64,
    client: R::Io,
    broker: R::Io,
    to_broker: Half<R::Timer>,
    from_broker: Half<R::Timer>,
    control: Arc<Mutex<Control>>,
}

impl<R: Runtime> Pump<R> {
    /// Polls one direction, unless it is frozen.
    fn poll_half(&mut self, cx: &mut Context<'_>, direction: Direction) -> Poll<Step> {
        if lock(&self.control).frozen[direction as usize] {
            return Poll::Pending;
        }
        let Self { client, broker, to_broker, from_broker, .. } = self;
        match direction {
            Direction::ToBroker => to_broker.poll(cx, client, broker),
            Direction::FromBroker => from_broker.poll(cx, broker, client),
        }
    }
}

impl<R: Runtime> Future for Pump<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..STEPS_PER_POLL {
            {
                let mut control = lock(&self.control);
                if control.over || control.era != self.era {
                    return Poll::Ready(());
                }
                control.wakers.insert(self.number, cx.waker().clone());
            }
            let steps = [Direction::ToBroker, Direction::FromBroker].map(|way| self.poll_half(cx, way));
            match steps {
                [Poll::Ready(Step::Cut), _]
                | [_, Poll::Ready(Step::Cut)]
                | [Poll::Ready(Step::Over), Poll::Ready(Step::Over)] => return Poll::Ready(()),
                [Poll::Ready(Step::Moved), _] | [_, Poll::Ready(Step::Moved)] => {}
                _ => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Drop for Pump<R> {
    fn drop(&mut self) {
        let waker = lock(&self.control).wakers.remove(&self.number);
        drop(waker);
    }
}

fn change(control: &Mutex<Control>, change: impl FnOnce(&mut Control)) {
    let mut control = lock(control);
    change(&mut control);
    let wakers: Vec<_> = control.wakers.values().cloned().collect();
    drop(control);
    wakers.into_iter().for_each(Waker::wake);
}

fn lock(control: &Mutex<Control>) -> MutexGuard<'_, Control> {
    control.lock().unwrap_or_else(PoisonError::into_inner)
}
