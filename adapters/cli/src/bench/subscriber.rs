//! One subscriber: verifies what it receives, and commits.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Sleep;
use zaichik_tokio::{Client, ClientError, Delivery, Incoming, Subscription, Timestamp};

use super::latency::{self, Latencies};
use super::plan::Plan;
use super::request_failure;
use super::run_state::RunState;
use super::verify::{Checked, Verifier};
use crate::failure::{Code, Failure};

/// More than what the broker counts for a message besides its body.
const OVERHEAD: u64 = 64;

/// What a subscriber got.
#[derive(Debug)]
pub(crate) struct Received {
    /// Messages that count, intact and different.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// When the first and the last of them came.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    pub(crate) latencies: Latencies,
    pub(crate) verifier: Verifier,
    /// Nothing came for so long that it gave up.
    pub(crate) timed_out: bool,
}

/// When a subscriber is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// When the publishers of this process have ended, of which there are so many.
    OwnEnds(usize),
    /// When so many publishers have ended, or so many messages that count have come, or it is asked to.
    Ends(usize, Option<u64>),
}

/// A connection that subscribes.
pub(crate) struct Subscriber {
    index: usize,
    client: Client,
    subscription: Subscription,
    state: Arc<RunState>,
    until: Until,
    timeout: Duration,
    committer: Option<Committer>,
    got: Received,
}

/// Committer that go out by themselves, one at a time.
pub(crate) struct Committer {
    /// Messages after which one is due, or bytes.
    step: u32,
    step_bytes: u64,
    uncommitted: u32,
    uncommitted_bytes: u64,
    last: Option<Delivery>,
    under_way: Option<Commit>,
}

type Commit = Pin<Box<dyn Future<Output = Result<(), ClientError>> + Send>>;

impl Subscriber {
    /// Subscribes.
    ///
    /// # Errors
    /// The broker refuses, or is gone.
    pub(crate) async fn subscribe(
        client: Client,
        state: &Arc<RunState>,
        plan: &Plan,
        (index, window_bytes): (usize, u32),
        until: Until,
    ) -> Result<Self, Failure> {
        let window = plan.window.unwrap_or_default();
        let subscription =
            client.subscribe(&plan.topic).window(window).from(zaichik_tokio::Start::Latest).await?;
        let run = match until {
            Until::OwnEnds(_) => Some(plan.run),
            Until::Ends(..) => None,
        };
        Ok(Self {
            index,
            client,
            subscription,
            state: Arc::clone(state),
            until,
            timeout: plan.timeout,
            committer: Committer::new(window, window_bytes),
            got: Received {
                messages: 0,
                bytes: 0,
                span: None,
                latencies: latency::empty()?,
                verifier: Verifier::new(run),
                timed_out: false,
            },
        })
    }

    /// Takes messages until there are no more.
    ///
    /// # Errors
    /// The broker is gone, or ended the subscription.
    pub(crate) async fn run(mut self) -> Result<Received, Failure> {
        self.take_all().await?;
        let Self { client, subscription, committer, got, .. } = self;
        // Everything was taken; what is still to be committed makes no difference, and the client drains it.
        drop((subscription, committer));
        drop(client.close().await);
        Ok(got)
    }

    async fn take_all(&mut self) -> Result<(), Failure> {
        let state = Arc::clone(&self.state);
        let mut stopped = pin!(state.stopped());
        let mut quiet = pin!(tokio::time::sleep(self.timeout));
        // What had come when the quiet was last looked at.
        let mut seen = 0;
        while !self.is_done() {
            let event = poll_fn(|cx| {
                if let Poll::Ready(incoming) = self.subscription.poll_next_unpin(cx) {
                    return Poll::Ready(Event::Incoming(incoming));
                }
                self.state.wake_publishers();
                if let Some(committer) = &mut self.committer
                    && let Poll::Ready(Err(error)) = committer.poll(cx)
                {
                    return Poll::Ready(Event::Incoming(Some(Err(error))));
                }
                let is_asked = matches!(self.until, Until::Ends(..)) && stopped.as_mut().poll(cx).is_ready();
                let reached = self.got.verifier.reached();
                if is_asked || is_timed_out(cx, quiet.as_mut(), self.timeout, &mut seen, reached) {
                    return Poll::Ready(Event::Stop { timed_out: !is_asked });
                }
                Poll::Pending
            })
            .await;
            match event {
                Event::Stop { timed_out } => {
                    self.got.timed_out = timed_out;
                    break;
                }
                Event::Incoming(Some(Ok(Incoming::Message(delivery)))) => {
                    if let Err(error) = self.take(delivery).await {
                        return Err(request_failure(&self.client, error).await);
                    }
                }
                Event::Incoming(Some(Ok(Incoming::Gap { .. }))) => self.got.verifier.gap(),
                Event::Incoming(Some(Err(error))) => return Err(request_failure(&self.client, error).await),
                // The client does not connect again, and the subscription is nobody else's.
                Event::Incoming(None | Some(Ok(_))) => {
                    let topic = self.subscription.topic();
                    return Err(Failure::new(
                        Code::Refused,
                        format_args!("topic {topic:?}: the broker ended the subscription"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let got = &self.got;
        match self.until {
            Until::OwnEnds(ends) => got.verifier.ended() >= ends,
            Until::Ends(ends, messages) => {
                got.verifier.ended() >= ends || messages.is_some_and(|messages| got.messages >= messages)
            }
        }
    }

    async fn take(&mut self, delivery: Delivery) -> Result<(), ClientError> {
        let Received { messages, bytes, span, latencies, verifier, .. } = &mut self.got;
        match verifier.check(&delivery.body) {
            Checked::Measured(since) => {
                let now = self.state.clock.now();
                *messages = messages.saturating_add(1);
                *bytes = bytes.saturating_add(u64::try_from(delivery.body.len()).unwrap_or(u64::MAX));
                span.get_or_insert((now, now)).1 = now;
                latency::record(latencies, since, now, 1);
            }
            Checked::WarmUp | Checked::End | Checked::Faulty | Checked::Foreign => {}
        }
        self.state.set_reached(self.index, verifier.reached());
        match &mut self.committer {
            Some(committer) => committer.take(delivery).await,
            None => Ok(()),
        }
    }
}

enum Event {
    Incoming(Option<Result<Incoming, ClientError>>),
    Stop { timed_out: bool },
}

impl Committer {
    /// Committer after each half of a window of so many messages, which the broker bounds in bytes too; none without a window.
    pub(crate) fn new(window: u32, window_bytes: u32) -> Option<Self> {
        (window > 0).then(|| Self {
            step: window.div_ceil(2),
            step_bytes: u64::from(window_bytes.div_ceil(2)),
            uncommitted: 0,
            uncommitted_bytes: 0,
            last: None,
            under_way: None,
        })
    }

    /// A message is done; it is committed with others before and after it.
    ///
    /// # Errors
    /// An earlier commit failed.
    pub(crate) async fn take(&mut self, delivery: Delivery) -> Result<(), ClientError> {
        let bytes = u64::try_from(delivery.body.len()).unwrap_or(u64::MAX).saturating_add(OVERHEAD);
        self.last = Some(delivery);
        self.uncommitted = self.uncommitted.saturating_add(1);
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_add(bytes);
        if !self.is_due() {
            return Ok(());
        }
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    const fn is_due(&self) -> bool {
        self.uncommitted >= self.step || self.uncommitted_bytes >= self.step_bytes
    }

    /// Sends a commit if one is due and none is under way; errors are those of one that was.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        loop {
            if let Some(under_way) = &mut self.under_way {
                let Poll::Ready(committed) = under_way.as_mut().poll(cx) else { return Poll::Pending };
                self.under_way = None;
                committed?;
            }
            let is_due = self.is_due();
            let Some(last) = self.last.take_if(|_| is_due) else { return Poll::Ready(Ok(())) };
            (self.uncommitted, self.uncommitted_bytes) = (0, 0);
            self.under_way = Some(Box::pin(async move { last.commit().await }));
        }
    }
}

/// Whether nothing has come for the whole timeout.
fn is_timed_out(
    cx: &mut Context<'_>,
    mut quiet: Pin<&mut Sleep>,
    timeout: Duration,
    seen: &mut u64,
    reached: u64,
) -> bool {
    while quiet.as_mut().poll(cx).is_ready() {
        if *seen == reached {
            return true;
        }
        *seen = reached;
        let now = quiet.deadline();
        quiet.as_mut().reset(now.checked_add(timeout).unwrap_or(now));
    }
    false
}

/// What to tell when every subscriber waited in vain.
pub(crate) fn no_message(plan: &Plan) -> Failure {
    let waited = humantime::format_duration(plan.timeout);
    Failure::new(
        Code::TimedOut,
        format_args!(
            "topic {:?}: no message of a benchmark came for {waited}; start `zaichik bench pub --topic {}`, or wait longer with --timeout",
            plan.topic, plan.topic
        ),
    )
}
