//! The closed loop: one message at a time, there and back on one connection.

use std::pin::pin;
use std::task::Poll;

use futures::StreamExt;
use zaichik_measure::payload::{Kind, Payloads};
use zaichik_tokio::{Client, ClientError, Outgoing, Subscription, Timestamp};

use super::course::Course;
use super::environment::Environment;
use super::latency::{self, Latencies};
use super::options::Ack;
use super::plan::Plan;
use super::progress::Progress;
use super::reason;
use super::report::{Part, Report};
use super::run::{arriving, connect, create_topic};
use super::server::Watch;
use super::subscriber::Commits;
use super::verify::{Taken, Verifier};
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};

/// The one client.
struct Echo<'a> {
    plan: &'a Plan,
    client: Client,
    subscription: Subscription,
    course: &'a Course,
    payloads: Payloads,
    commits: Option<Commits>,
    verifier: Verifier,
    latencies: Latencies,
    /// Round trips that count, and when they began and ended.
    counted: u64,
    span: Option<(Timestamp, Timestamp)>,
}

/// Runs a plan's round trips.
///
/// # Errors
/// The broker is gone or refuses, or a message does not come back in time.
pub(crate) async fn run(plan: &Plan, server: &ServerArgs, shows: bool) -> Result<Report, Failure> {
    let size = plan.size.unwrap_or_default();
    let course = Course::new(1, size, 1);
    let client = connect(plan, server).await?;
    create_topic(&client, plan).await?;
    let watch = Watch::start(connect(plan, server).await?).await;
    let window = plan.window.unwrap_or_default();
    let subscription =
        client.subscribe(&plan.topic).window(window).from(zaichik_tokio::Start::Latest).await?;
    let publisher = plan.publisher(0);
    let mut echo = Echo {
        plan,
        client,
        subscription,
        course: &course,
        payloads: Payloads::new(publisher, size),
        commits: Commits::new(window, watch.window_bytes()),
        verifier: Verifier::new(Some(plan.run)),
        latencies: latency::empty()?,
        counted: 0,
        span: None,
    };
    let progress = shows.then(|| Progress::start(&course, plan)).transpose()?;
    let ended = echo.until_the_end().await;
    drop(progress);
    let (total, interrupted) = ended?;
    let bytes = echo.counted.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX));
    Ok(Report {
        parameters: plan.clone(),
        environment: Environment::look(),
        server: watch.cost().await,
        interrupted,
        published: None,
        delivered: None,
        round_trips: Some(Part::new(1, echo.counted, bytes, echo.span, &echo.latencies)),
        verify: Some(echo.verifier.verdict_of([(publisher, total)])),
    })
}

impl Echo<'_> {
    /// How many messages went around, and whether a signal ended it.
    async fn until_the_end(&mut self) -> Result<(u64, bool), Failure> {
        let mut signals = pin!(arriving()?);
        let warmup = self.plan.warmup.unwrap_or_default();
        let mut number = 0u64;
        loop {
            let is_asked =
                futures::future::poll_fn(|cx| Poll::Ready(signals.as_mut().poll_next_unpin(cx).is_ready()));
            let is_asked = is_asked.await;
            let enough = match (self.plan.msgs, self.plan.duration, self.span) {
                (Some(messages), ..) => self.counted >= messages,
                (None, Some(duration), Some((first, _))) => self.course.is_over(first, duration),
                (None, ..) => false,
            };
            if is_asked || enough {
                return Ok((number, is_asked));
            }
            let kind = if number < warmup { Kind::WarmUp } else { Kind::Measured };
            let came = tokio::time::timeout(self.plan.timeout, self.go_around(kind, number)).await;
            match came {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(reason(&self.client, error).await),
                Err(_) => return Err(self.lost(number)),
            }
            number = number.saturating_add(1);
        }
    }

    /// Publishes one message, and waits until it and its answer are here.
    async fn go_around(&mut self, kind: Kind, number: u64) -> Result<(), ClientError> {
        let begin = self.course.clock.now();
        let payload = self.payloads.build(kind, number, [begin.as_micros()].into_iter()).next();
        let message = Outgoing::from(payload.unwrap_or_default());
        let answer = match self.plan.ack {
            Some(Ack::None) => {
                self.client.publish_unacknowledged(&self.plan.topic, message).await?;
                None
            }
            Some(Ack::Accepted) | None => Some(self.client.publish_nowait(&self.plan.topic, message)?),
        };
        self.course.publish(1);
        loop {
            // What the broker tells instead of a message is an error here, and ends the run.
            let Some(delivery) = self.subscription.next_message().await? else {
                return Err(ClientError::Abandoned);
            };
            let taken = self.verifier.take(&delivery.body);
            let now = self.course.clock.now();
            if let Some(commits) = &mut self.commits {
                commits.take(delivery).await?;
            }
            match taken {
                Taken::Measured(since) => {
                    latency::record(&mut self.latencies, since, now, 1);
                    self.counted = self.counted.saturating_add(1);
                    self.span.get_or_insert((begin, now)).1 = now;
                    break;
                }
                Taken::WarmUp => break,
                Taken::End | Taken::Faulty | Taken::Foreign => {}
            }
        }
        self.course.reach(0, self.verifier.reached());
        if let Some(answer) = answer {
            answer.await?;
        }
        Ok(())
    }

    fn lost(&self, number: u64) -> Failure {
        let (topic, waited) = (&self.plan.topic, humantime::format_duration(self.plan.timeout));
        Failure::new(
            Code::Unverified,
            format_args!("topic {topic:?}: message {number} did not come back within {waited}"),
        )
    }
}
