//! One subscriber: receives, verifies and commits messages.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Sleep;
use zaichik_measure::Latencies;
use zaichik_tokio::{Client, ClientError, Delivery, Event, Subscription, Timestamp};

use super::latency;
use super::plan::Plan;
use super::request_failure;
use super::run_state::RunState;
use super::verify::{Checked, Verifier};
use crate::failure::{Code, Failure};

/// Upper bound of the bytes that the broker counts for a message in addition to its body.
const OVERHEAD: u64 = 64;

/// The results of a subscriber.
#[derive(Debug)]
pub(crate) struct Received {
    /// Measured messages, intact and without duplicates.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// When the first and the last of them arrived.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    pub(crate) latencies: Latencies,
    pub(crate) verifier: Verifier,
    /// It gave up: no message within the timeout.
    pub(crate) timed_out: bool,
}

/// When a subscriber is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// When the publishers of this process, of this number, have finished.
    OwnEnds(usize),
    /// When this number of publishers have finished, or this number of measured messages have arrived, or the run is
    /// stopped.
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

/// Sends commits, one at a time, without being waited for.
pub(crate) struct Committer {
    /// A commit is due after this number of messages, or of bytes.
    step: u32,
    step_bytes: u64,
    uncommitted: u32,
    uncommitted_bytes: u64,
    last: Option<Delivery>,
    outstanding: Option<Commit>,
}

type Commit = Pin<Box<dyn Future<Output = Result<(), ClientError>> + Send>>;

impl Subscriber {
    /// Subscribes.
    ///
    /// # Errors
    /// The broker is unreachable or refuses.
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
                latencies: Latencies::in_microseconds()?,
                verifier: Verifier::new(run),
                timed_out: false,
            },
        })
    }

    /// Receives messages until the stop condition holds.
    ///
    /// # Errors
    /// The broker is unreachable, or ended the subscription.
    pub(crate) async fn run(mut self) -> Result<Received, Failure> {
        self.receive_all().await?;
        let Self { client, subscription, committer, got, .. } = self;
        // All messages are here, so that outstanding commits do not matter; the client sends them when it closes.
        drop((subscription, committer));
        drop(client.close().await);
        Ok(got)
    }

    async fn receive_all(&mut self) -> Result<(), Failure> {
        let state = Arc::clone(&self.state);
        let mut stopped = pin!(state.stopped());
        let mut silence = pin!(tokio::time::sleep(self.timeout));
        // Messages received when the timer last fired.
        let mut seen = 0;
        while !self.is_done() {
            let event = poll_fn(|cx| {
                if let Poll::Ready(event) = self.subscription.poll_next_unpin(cx) {
                    return Poll::Ready(Step::Event(event));
                }
                self.state.wake_publishers();
                if let Some(committer) = &mut self.committer
                    && let Poll::Ready(Err(error)) = committer.poll(cx)
                {
                    return Poll::Ready(Step::Event(Some(Err(error))));
                }
                let is_stopped =
                    matches!(self.until, Until::Ends(..)) && stopped.as_mut().poll(cx).is_ready();
                let reached = self.got.verifier.reached();
                if is_stopped || is_timed_out(cx, silence.as_mut(), self.timeout, &mut seen, reached) {
                    return Poll::Ready(Step::Stop { timed_out: !is_stopped });
                }
                Poll::Pending
            })
            .await;
            match event {
                Step::Stop { timed_out } => {
                    self.got.timed_out = timed_out;
                    break;
                }
                Step::Event(Some(Ok(Event::Message(delivery)))) => {
                    if let Err(error) = self.take(delivery).await {
                        return Err(request_failure(&self.client, error).await);
                    }
                }
                Step::Event(Some(Ok(Event::Gap { .. }))) => self.got.verifier.gap(),
                Step::Event(Some(Err(error))) => return Err(request_failure(&self.client, error).await),
                // The client does not reconnect, and no other client takes over the subscription.
                Step::Event(None | Some(Ok(_))) => {
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

enum Step {
    Event(Option<Result<Event<Delivery>, ClientError>>),
    Stop { timed_out: bool },
}

impl Committer {
    /// Commits after each half of a window of `window` messages or `window_bytes`, whichever comes first; `None`
    /// without a window.
    pub(crate) fn new(window: u32, window_bytes: u32) -> Option<Self> {
        (window > 0).then(|| Self {
            step: window.div_ceil(2),
            step_bytes: u64::from(window_bytes.div_ceil(2)),
            uncommitted: 0,
            uncommitted_bytes: 0,
            last: None,
            outstanding: None,
        })
    }

    /// Counts a message as done; a commit covers it later.
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

    /// Sends a commit if one is due and none is outstanding; returns the error of an earlier one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        loop {
            if let Some(outstanding) = &mut self.outstanding {
                let Poll::Ready(committed) = outstanding.as_mut().poll(cx) else { return Poll::Pending };
                self.outstanding = None;
                committed?;
            }
            let is_due = self.is_due();
            let Some(last) = self.last.take_if(|_| is_due) else { return Poll::Ready(Ok(())) };
            (self.uncommitted, self.uncommitted_bytes) = (0, 0);
            self.outstanding = Some(Box::pin(async move { last.commit().await }));
        }
    }
}

/// Whether no message has arrived within the timeout.
pub(crate) fn is_timed_out(
    cx: &mut Context<'_>,
    mut silence: Pin<&mut Sleep>,
    timeout: Duration,
    seen: &mut u64,
    reached: u64,
) -> bool {
    while silence.as_mut().poll(cx).is_ready() {
        if *seen == reached {
            return true;
        }
        *seen = reached;
        let now = silence.deadline();
        silence.as_mut().reset(now.checked_add(timeout).unwrap_or(now));
    }
    false
}

/// The failure when no subscriber received a message.
pub(crate) fn no_message(plan: &Plan) -> Failure {
    let waited = humantime::format_duration(plan.timeout);
    Failure::new(
        Code::TimedOut,
        format_args!(
            "topic {:?}: no message of a benchmark within {waited}; start `zaichik bench pub --topic {}`, or raise --timeout",
            plan.topic, plan.topic
        ),
    )
}
