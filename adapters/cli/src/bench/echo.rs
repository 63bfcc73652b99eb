//! The closed loop: round trips of one message at a time on one connection.

use std::pin::pin;
use std::task::Poll;

use futures::StreamExt;
use zaichik_measure::Latencies;
use zaichik_measure::payload::{Kind, Payloads};
use zaichik_tokio::{Client, ClientError, OnLoss, Outgoing, Start, Subscription, Timestamp};

use super::environment::Environment;
use super::latency;
use super::options::Ack;
use super::plan::Plan;
use super::progress::Progress;
use super::report::{Part, Report};
use super::request_failure;
use super::run::{connect, create_topic, stop_signals};
use super::run_state::RunState;
use super::server::ServerWatch;
use super::subscriber::Committer;
use super::verify::{Checked, Verifier};
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};

/// The client of a closed loop.
struct Echo<'a> {
    plan: &'a Plan,
    client: Client,
    subscription: Subscription,
    state: &'a RunState,
    payloads: Payloads,
    committer: Option<Committer>,
    verifier: Verifier,
    latencies: Latencies,
    /// Measured round trips, and when they began and ended.
    counted: u64,
    span: Option<(Timestamp, Timestamp)>,
}

/// Runs a plan's round trips.
///
/// # Errors
/// The broker is unreachable or refuses, or a message does not come back in time.
pub(crate) async fn run(plan: &Plan, server: &ServerArgs, shows: bool) -> Result<Report, Failure> {
    let size = plan.size.unwrap_or_default();
    let state = RunState::new(1, size, 1);
    let client = connect(plan, server).await?;
    create_topic(&client, plan).await?;
    let watch = ServerWatch::start(connect(plan, server).await?).await;
    let window = plan.window.unwrap_or_default();
    let subscription =
        client.subscribe(&plan.topic).window(window).from(Start::Latest).on_loss(OnLoss::Fail).await?;
    let publisher = plan.publisher(0);
    let mut echo = Echo {
        plan,
        client,
        subscription,
        state: &state,
        payloads: Payloads::new(publisher, size),
        committer: Committer::new(window, watch.window_bytes()),
        verifier: Verifier::new(Some(plan.run)),
        latencies: Latencies::in_microseconds()?,
        counted: 0,
        span: None,
    };
    let progress = shows.then(|| Progress::start(&state, plan)).transpose()?;
    let ended = echo.run_round_trips().await;
    drop(progress);
    let (total, interrupted) = ended?;
    let bytes = echo.counted.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX));
    Ok(Report {
        parameters: plan.clone(),
        environment: Environment::detect(),
        server: watch.cost().await,
        interrupted,
        published: None,
        delivered: None,
        acknowledged: None,
        round_trips: Some(Part::new(1, echo.counted, bytes, echo.span, &echo.latencies)),
        verify: Some(echo.verifier.verdict_for([(publisher, total)])),
    })
}

impl Echo<'_> {
    /// Returns the number of messages, and whether a signal ended the run.
    async fn run_round_trips(&mut self) -> Result<(u64, bool), Failure> {
        let mut signals = pin!(stop_signals()?);
        let warmup = self.plan.warmup.unwrap_or_default();
        let mut number = 0u64;
        loop {
            let is_interrupted =
                futures::future::poll_fn(|cx| Poll::Ready(signals.as_mut().poll_next_unpin(cx).is_ready()));
            let is_interrupted = is_interrupted.await;
            let is_done = match (self.plan.msgs, self.plan.duration, self.span) {
                (Some(messages), ..) => self.counted >= messages,
                (None, Some(duration), Some((first, _))) => self.state.is_over(first, duration),
                (None, ..) => false,
            };
            if is_interrupted || is_done {
                return Ok((number, is_interrupted));
            }
            let kind = if number < warmup { Kind::WarmUp } else { Kind::Measured };
            let result = tokio::time::timeout(self.plan.timeout, self.round_trip(kind, number)).await;
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(request_failure(&self.client, error).await),
                Err(_) => return Err(self.timed_out(number)),
            }
            number = number.saturating_add(1);
        }
    }

    /// Publishes one message, and waits for it and its answer.
    async fn round_trip(&mut self, kind: Kind, number: u64) -> Result<(), ClientError> {
        let begin = self.state.clock.now();
        let payload = self.payloads.build(kind, number, [begin.as_micros()].into_iter()).next();
        let message = Outgoing::from(payload.unwrap_or_default());
        let answer = match self.plan.ack {
            Some(Ack::None) => {
                self.client.publish(&self.plan.topic, message).no_ack().await?;
                None
            }
            Some(Ack::Accepted) | None => Some(self.client.publish(&self.plan.topic, message).enqueue()?),
        };
        self.state.add_published(1);
        loop {
            // Anything but a message is an error here and ends the run.
            let Some(delivery) = self.subscription.next_message().await? else {
                return Err(ClientError::Abandoned);
            };
            let taken = self.verifier.check(&delivery.body);
            let now = self.state.clock.now();
            if let Some(committer) = &mut self.committer {
                committer.take(delivery).await?;
            }
            match taken {
                Checked::Measured(since) => {
                    latency::record(&mut self.latencies, since, now, 1);
                    self.counted = self.counted.saturating_add(1);
                    self.span.get_or_insert((begin, now)).1 = now;
                    break;
                }
                Checked::WarmUp => break,
                Checked::End | Checked::Faulty | Checked::Foreign => {}
            }
        }
        self.state.set_reached(0, self.verifier.reached());
        if let Some(answer) = answer {
            answer.await?;
        }
        Ok(())
    }

    fn timed_out(&self, number: u64) -> Failure {
        let (topic, waited) = (&self.plan.topic, humantime::format_duration(self.plan.timeout));
        Failure::new(
            Code::Unverified,
            format_args!("topic {topic:?}: message {number} did not come back within {waited}"),
        )
    }
}
