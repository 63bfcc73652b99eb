//! One member of a shared subscription: receives, verifies and acknowledges messages.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use zaichik_measure::Latencies;
use zaichik_measure::payload::{self, Received, Stamp};
use zaichik_tokio::{Client, ClientError, Delivery, Event, SharedOptions, Start, Subscription, Timestamp};

use super::latency;
use super::plan::Plan;
use super::request_failure;
use super::run_state::RunState;
use super::subscriber::is_timed_out;
use super::tally::Tally;
use super::verify::Checked;
use crate::failure::{Code, Failure};

/// How long the broker keeps the subscription of a run that was killed.
const INACTIVE_TTL: Duration = Duration::from_mins(1);

/// The results of a member.
#[derive(Debug)]
pub(crate) struct Worked {
    /// Measured messages that the broker counted as acknowledged, for the first time.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// When the first of them was received, and the last acknowledgement was answered.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    pub(crate) latencies: Latencies,
    /// It gave up: nobody acknowledged a message within the timeout.
    pub(crate) timed_out: bool,
}

/// A connection that is a member.
pub(crate) struct Member {
    client: Client,
    subscription: Subscription,
    state: Arc<RunState>,
    tally: Arc<Mutex<Tally>>,
    timeout: Duration,
    /// Messages to acknowledge together.
    most: usize,
    /// Messages to acknowledge next, and what they turned out to be.
    batch: Vec<Delivery>,
    contents: Vec<Received>,
    /// Those of the batch that are of this run.
    stamps: Vec<Option<Stamp>>,
    worked: Worked,
}

/// What a member does next.
enum Step {
    Acknowledge,
    Stop { timed_out: bool },
    Fail(Failure),
}

/// The name of a run's subscription.
pub(crate) fn subscription_name(plan: &Plan) -> String {
    format!("bench-{:x}", plan.run)
}

impl Member {
    /// Joins the subscription of the run, which the first member creates.
    ///
    /// # Errors
    /// The broker is unreachable or refuses.
    pub(crate) async fn join(
        client: Client,
        state: &Arc<RunState>,
        tally: &Arc<Mutex<Tally>>,
        plan: &Plan,
    ) -> Result<Self, Failure> {
        let window = plan.window.unwrap_or(1);
        let shared = SharedOptions::new(subscription_name(plan)).inactive_ttl(INACTIVE_TTL);
        let shared = if plan.keys.is_some() { shared.by_key() } else { shared };
        let subscription =
            client.subscribe(&plan.topic).shared(shared).window(window).from(Start::Latest).await?;
        Ok(Self {
            client,
            subscription,
            state: Arc::clone(state),
            tally: Arc::clone(tally),
            timeout: plan.timeout,
            most: usize::try_from(window).unwrap_or(usize::MAX),
            batch: Vec::new(),
            contents: Vec::new(),
            stamps: Vec::new(),
            worked: Worked {
                messages: 0,
                bytes: 0,
                span: None,
                latencies: Latencies::in_microseconds()?,
                timed_out: false,
            },
        })
    }

    /// Receives and acknowledges messages until all of the run are acknowledged, or the run is stopped early.
    ///
    /// # Errors
    /// The broker is unreachable, or ended the subscription.
    pub(crate) async fn run(mut self) -> Result<Worked, Failure> {
        self.work().await?;
        let Self { client, subscription, worked, .. } = self;
        drop(subscription);
        drop(client.close().await);
        Ok(worked)
    }

    async fn work(&mut self) -> Result<(), Failure> {
        let state = Arc::clone(&self.state);
        let mut completed = pin!(state.completed());
        let mut silence = pin!(tokio::time::sleep(self.timeout));
        // Messages acknowledged when the timer last fired.
        let mut seen = 0;
        loop {
            let step = poll_fn(|cx| {
                while self.batch.len() < self.most {
                    match self.subscription.poll_next_unpin(cx) {
                        Poll::Ready(Some(Ok(Event::Message(delivery)))) => self.take(delivery),
                        Poll::Ready(Some(Ok(Event::Gap { .. }))) => tally_of(&self.tally).gap(),
                        Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                        Poll::Ready(None | Some(Ok(_))) => return Poll::Ready(Ok(Step::Fail(self.ended()))),
                        Poll::Pending => break,
                    }
                }
                if !self.batch.is_empty() {
                    return Poll::Ready(Ok(Step::Acknowledge));
                }
                self.state.wake_publishers();
                let is_complete = completed.as_mut().poll(cx).is_ready();
                let reached = self.state.delivered();
                if is_complete || is_timed_out(cx, silence.as_mut(), self.timeout, &mut seen, reached) {
                    return Poll::Ready(Ok(Step::Stop { timed_out: !is_complete }));
                }
                Poll::Pending
            })
            .await;
            match step {
                Ok(Step::Acknowledge) => {
                    if let Err(error) = self.acknowledge().await {
                        return Err(request_failure(&self.client, error).await);
                    }
                }
                Ok(Step::Stop { timed_out }) => {
                    self.worked.timed_out = timed_out;
                    return Ok(());
                }
                Ok(Step::Fail(failure)) => return Err(failure),
                Err(error) => return Err(request_failure(&self.client, error).await),
            }
        }
    }

    /// Adds a message to the batch.
    fn take(&mut self, delivery: Delivery) {
        self.contents.push(payload::verify(&delivery.body));
        self.batch.push(delivery);
    }

    /// Verifies and acknowledges the batch, and waits for the answer.
    async fn acknowledge(&mut self) -> Result<(), ClientError> {
        self.verify();
        let not_held: BTreeSet<u64> = self.subscription.ack_all(&self.batch).await?.into_iter().collect();
        let (now, worked) = (self.state.clock.now(), &mut self.worked);
        let mut count = 0u64;
        let mut tally = tally_of(&self.tally);
        for (delivery, stamp) in self.batch.iter().zip(&self.stamps) {
            let Some(stamp) = stamp.filter(|_| !not_held.contains(&delivery.offset)) else { continue };
            count = count.saturating_add(1);
            if tally.acknowledge(stamp) {
                worked.messages = worked.messages.saturating_add(1);
                let bytes = u64::try_from(delivery.body.len()).unwrap_or(u64::MAX);
                worked.bytes = worked.bytes.saturating_add(bytes);
                if let Some((_, last)) = &mut worked.span {
                    *last = now;
                }
            }
        }
        let is_complete = tally.is_complete();
        drop(tally);
        self.batch.clear();
        self.contents.clear();
        self.stamps.clear();
        self.state.add_acknowledged(count);
        if is_complete {
            self.state.complete();
        }
        Ok(())
    }

    /// Verifies the batch, all of which has been received by now.
    fn verify(&mut self) {
        let (now, worked) = (self.state.clock.now(), &mut self.worked);
        let mut tally = tally_of(&self.tally);
        for (delivery, content) in self.batch.iter().zip(&self.contents) {
            let (checked, stamp) = tally.receive(*content, delivery.attempt);
            if let Checked::Measured(since) = checked {
                worked.span.get_or_insert((now, now));
                latency::record(&mut worked.latencies, since, now, 1);
            }
            if let Some(stamp) = stamp {
                tally.release(stamp);
            }
            self.stamps.push(stamp);
        }
    }

    /// The client does not reconnect, and nobody else removes the subscription of this run.
    fn ended(&self) -> Failure {
        let topic = self.subscription.topic();
        Failure::new(Code::Refused, format_args!("topic {topic:?}: the broker ended the subscription"))
    }
}

/// The tally that all members share. One that panicked has failed the run already.
pub(crate) fn tally_of(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
