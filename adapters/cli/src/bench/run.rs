//! Runs publishers and subscribers, from connecting to the report.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::future::Either;
use futures::{Stream, StreamExt};
use tokio::task::JoinSet;
use zaichik_measure::Latencies;
use zaichik_serve::Signal;
use zaichik_tokio::{Client, ClientError, Overflow, RefusalCode, RequestError, TopicOptions};

use super::alarm::{self, Alarm};
use super::environment::Environment;
use super::member::{Member, Worked, subscription_name, tally_of};
use super::options::Ack;
use super::plan::Plan;
use super::progress::Progress;
use super::publisher::{Published, Publisher};
use super::report::{Part, Report};
use super::run_state::RunState;
use super::server::{ServerCost, ServerWatch};
use super::subscriber::{Received, Subscriber, Until, no_message};
use super::tally::Tally;
use super::verdict::Verdict;
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure, notice};
use crate::signals;

/// Maximum bytes of a connection's unanswered publishes, including the overhead of small messages: four times the limit
/// of the options, which counts bodies only. A publisher must never wait for room in its client, as that would reorder
/// its messages.
const CLIENT_BYTES: usize = 256 << 20;

/// Minimum timeout of requests that are not measured: a short `--timeout` is meant for messages.
const MIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests of a connection in addition to the measured ones.
const SPARE_REQUESTS: usize = 16;

/// The results of all clients of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) published: Vec<Published>,
    pub(crate) received: Vec<Received>,
    pub(crate) worked: Vec<Worked>,
    pub(crate) interrupted: bool,
}

/// The result of one client.
enum ClientResult {
    Published(Published),
    Received(Received),
    Worked(Worked),
}

/// Runs a plan's publishers and subscribers.
///
/// # Errors
/// The broker is unreachable or refuses, or the run was interrupted twice.
pub(crate) async fn run(plan: &Plan, server: &ServerArgs, shows: bool) -> Result<Report, Failure> {
    let step = u64::from(plan.batch.unwrap_or(1)).saturating_mul(plan.pubs.into());
    // The members of a shared subscription are one subscriber together.
    let subscribers = plan.members.map_or(plan.subs, |_| 1);
    let state = RunState::new(subscribers, plan.size.unwrap_or_default(), step);
    let signals = stop_signals()?;
    let control = connect(plan, server).await?;
    create_topic(&control, plan).await?;
    let watch = ServerWatch::start(control).await;
    let subscribers = subscribe(plan, server, &state, watch.window_bytes()).await?;
    let tally = Arc::new(Mutex::new(Tally::new(plan)));
    let members = join(plan, server, &state, &tally).await?;
    let publishers = if plan.size.is_some() { publish(plan, server, &state).await? } else { Vec::new() };
    if publishers.is_empty() {
        notice(format_args!(
            "subscribed to {}; waiting for `zaichik bench pub --topic {}`",
            plan.topic, plan.topic
        ));
    }
    let progress = shows.then(|| Progress::start(&state, plan)).transpose()?;
    let outcome = run_clients(plan, &state, (publishers, subscribers, members), signals).await;
    drop(progress);
    if plan.members.is_some() {
        // If it fails, the broker removes the subscription a minute later.
        drop(watch.client().remove_subscription(&plan.topic, &subscription_name(plan)).await);
    }
    let report = report(plan, outcome?, &tally)?;
    Ok(Report { server: watch.cost().await, ..report })
}

/// Opens a connection of a run. It does not reconnect: a broken connection ends the run, since its losses cannot be
/// measured.
///
/// # Errors
/// As for [`ServerArgs::connect`].
pub(crate) async fn connect(plan: &Plan, server: &ServerArgs) -> Result<Client, Failure> {
    let in_flight = plan.in_flight.and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
    let (timeout, is_acked) = (plan.timeout, plan.ack == Some(Ack::Accepted));
    let name = format!("zaichik bench {}", plan.command);
    let configure = |builder: zaichik_tokio::ClientBuilder| {
        builder
            .reconnect(false)
            .drain_timeout(Duration::from_secs(1).min(timeout))
            .max_in_flight(in_flight.saturating_add(SPARE_REQUESTS))
            .configure(|config| {
                config.request_timeout = timeout.max(MIN_REQUEST_TIMEOUT);
                if is_acked {
                    config.max_in_flight_bytes = CLIENT_BYTES;
                    config.max_outbound_bytes = CLIENT_BYTES;
                }
            })
    };
    server.connect_with(&name, configure).await
}

/// Creates a topic that keeps each message until every subscriber has it, and refuses messages while it is full. An
/// existing topic with other settings is used as it is.
///
/// # Errors
/// The broker is unreachable or refuses.
pub(crate) async fn create_topic(client: &Client, plan: &Plan) -> Result<(), Failure> {
    let options = TopicOptions::new().retention_ttl(Duration::ZERO).overflow(Overflow::Reject);
    match client.create_topic(&plan.topic, options).await {
        Ok(_) => Ok(()),
        Err(ClientError::Request(RequestError::Refused { refusal, .. }))
            if refusal.code == RefusalCode::SettingsDiffer =>
        {
            notice(format_args!(
                "topic {:?} exists with other settings, which may lose messages of a run",
                plan.topic
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn subscribe(
    plan: &Plan,
    server: &ServerArgs,
    state: &Arc<RunState>,
    window_bytes: u32,
) -> Result<Vec<Subscriber>, Failure> {
    let ends = usize::try_from(plan.pubs).unwrap_or(usize::MAX);
    let until = if plan.size.is_some() { Until::OwnEnds(ends) } else { Until::Ends(ends, plan.msgs) };
    let mut subscribers = Vec::new();
    for (index, _) in (0..plan.subs).enumerate() {
        let client = connect(plan, server).await?;
        subscribers.push(Subscriber::subscribe(client, state, plan, (index, window_bytes), until).await?);
    }
    Ok(subscribers)
}

async fn join(
    plan: &Plan,
    server: &ServerArgs,
    state: &Arc<RunState>,
    tally: &Arc<Mutex<Tally>>,
) -> Result<Vec<Member>, Failure> {
    let mut members = Vec::new();
    for _ in 0..plan.members.unwrap_or_default() {
        let client = connect(plan, server).await?;
        members.push(Member::join(client, state, tally, plan).await?);
    }
    Ok(members)
}

async fn publish(plan: &Plan, server: &ServerArgs, state: &Arc<RunState>) -> Result<Vec<Publisher>, Failure> {
    let mut publishers = Vec::new();
    for index in 0..plan.pubs {
        let client = connect(plan, server).await?;
        publishers.push(Publisher::new(client, state, plan, index)?);
    }
    Ok(publishers)
}

/// Runs all clients until they are done, or one of them fails.
async fn run_clients(
    plan: &Plan,
    state: &Arc<RunState>,
    (publishers, subscribers, members): (Vec<Publisher>, Vec<Subscriber>, Vec<Member>),
    signals: impl Stream<Item = Signal>,
) -> Result<Outcome, Failure> {
    let mut clients = JoinSet::new();
    let is_alone = publishers.is_empty();
    for subscriber in subscribers {
        clients.spawn(async move { subscriber.run().await.map(ClientResult::Received) });
    }
    for member in members {
        clients.spawn(async move { member.run().await.map(ClientResult::Worked) });
    }
    for publisher in publishers {
        if plan.rate.is_none() {
            clients.spawn(async move { publisher.run(None).await.map(ClientResult::Published) });
            continue;
        }
        let clock = state.clock;
        clients.spawn_blocking(move || {
            let alarm = Alarm::new();
            alarm::block_on(&clock, &alarm, publisher.run(Some(&alarm))).map(ClientResult::Published)
        });
    }
    if let Some(duration) = plan.duration.filter(|_| is_alone) {
        let state = Arc::clone(state);
        // The task ends with the runtime if the run ends earlier.
        drop(tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            state.stop();
        }));
    }
    let mut outcome =
        Outcome { published: Vec::new(), received: Vec::new(), worked: Vec::new(), interrupted: false };
    let mut signals = pin!(signals);
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(Some(signal)) = signals.as_mut().poll_next(cx) {
                return Poll::Ready(Either::Right(signal));
            }
            clients.poll_join_next(cx).map(Either::Left)
        });
        match next.await {
            Either::Left(None) => return Ok(outcome),
            Either::Left(Some(result)) => {
                let result = result.map_err(|error| Failure::new(Code::Other, error)).flatten();
                match result {
                    Ok(ClientResult::Published(published)) => outcome.published.push(published),
                    Ok(ClientResult::Received(received)) => {
                        if received.timed_out {
                            // Publishers would wait for this subscriber forever.
                            state.stop();
                        }
                        outcome.received.push(received);
                    }
                    Ok(ClientResult::Worked(worked)) => {
                        if worked.timed_out {
                            state.stop();
                        }
                        outcome.worked.push(worked);
                    }
                    Err(failure) => {
                        state.stop();
                        return Err(failure);
                    }
                }
            }
            Either::Right(_) if outcome.interrupted => {
                state.stop();
                return Err(Failure::new(Code::Other, "interrupted twice; there are no results"));
            }
            Either::Right(_) => {
                outcome.interrupted = true;
                state.stop();
            }
        }
    }
}

/// Signals that ask the run to stop.
///
/// # Errors
/// Signals cannot be received.
pub(crate) fn stop_signals() -> Result<impl Stream<Item = Signal> + Send, Failure> {
    let arriving = signals::arriving();
    let arriving = arriving
        .map_err(|error| Failure::new(Code::Other, format_args!("cannot listen for signals: {error}")))?;
    Ok(arriving.fuse())
}

fn report(plan: &Plan, outcome: Outcome, tally: &Mutex<Tally>) -> Result<Report, Failure> {
    let Outcome { published, received, worked, interrupted } = outcome;
    let is_silent = |got: &Received| got.timed_out && got.verifier.is_untouched();
    if published.is_empty() && received.iter().all(is_silent) && !received.is_empty() {
        return Err(no_message(plan));
    }
    let publish = if published.is_empty() { None } else { Some(published_part(plan, &published)?) };
    let begin = published.iter().filter_map(|done| done.span).map(|(first, _)| first).min();
    let deliver = if received.is_empty() { None } else { Some(delivered_part(&received, begin)?) };
    let acknowledged = if worked.is_empty() { None } else { Some(acknowledged_part(&worked, begin)?) };
    let totals: Vec<(u64, u64)> = published.iter().map(|done| (done.publisher, done.total)).collect();
    let may_stop_early = interrupted || plan.msgs.is_some() || plan.duration.is_some();
    let verify = (!received.is_empty()).then(|| {
        let verdicts = received.into_iter().map(|got| {
            if !totals.is_empty() {
                return got.verifier.verdict_for(totals.iter().copied());
            }
            // A subscriber that timed out has missed publishers' ends, regardless of its stop condition.
            let ends = usize::try_from(plan.pubs).ok().filter(|_| got.timed_out || !may_stop_early);
            got.verifier.verdict(ends)
        });
        verdicts.fold(Verdict::default(), |all, one| all.and(&one))
    });
    let verify = if worked.is_empty() { verify } else { Some(tally_of(tally).verdict(totals)) };
    Ok(Report {
        parameters: plan.clone(),
        environment: Environment::detect(),
        server: ServerCost::default(),
        interrupted,
        published: publish,
        delivered: deliver,
        acknowledged,
        round_trips: None,
        verify,
    })
}

fn published_part(plan: &Plan, published: &[Published]) -> Result<Part, Failure> {
    let mut latencies = Latencies::in_microseconds()?;
    for done in published {
        latencies.add(&done.latencies)?;
    }
    let messages = published.iter().map(|done| done.messages).fold(0, u64::saturating_add);
    let size = u64::try_from(plan.size.unwrap_or_default()).unwrap_or(u64::MAX);
    let first = published.iter().filter_map(|done| done.span).map(|(first, _)| first).min();
    let last = published.iter().filter_map(|done| done.span).map(|(_, last)| last).max();
    let mut part =
        Part::new(published.len(), messages, messages.saturating_mul(size), first.zip(last), &latencies);
    part.refused_publishes = published.iter().map(|done| done.refused).fold(0, u64::saturating_add);
    Ok(part)
}

/// The results of all subscribers; from the first publish on if this process published.
fn delivered_part(received: &[Received], begin: Option<zaichik_tokio::Timestamp>) -> Result<Part, Failure> {
    let mut latencies = Latencies::in_microseconds()?;
    for got in received {
        latencies.add(&got.latencies)?;
    }
    let messages = received.iter().map(|got| got.messages).fold(0, u64::saturating_add);
    let bytes = received.iter().map(|got| got.bytes).fold(0, u64::saturating_add);
    let first = received.iter().filter_map(|got| got.span).map(|(first, _)| first).min();
    let last = received.iter().filter_map(|got| got.span).map(|(_, last)| last).max();
    Ok(Part::new(received.len(), messages, bytes, begin.or(first).zip(last), &latencies))
}

/// The results of all members of a shared subscription.
fn acknowledged_part(worked: &[Worked], begin: Option<zaichik_tokio::Timestamp>) -> Result<Part, Failure> {
    let mut latencies = Latencies::in_microseconds()?;
    for done in worked {
        latencies.add(&done.latencies)?;
    }
    let messages = worked.iter().map(|done| done.messages).fold(0, u64::saturating_add);
    let bytes = worked.iter().map(|done| done.bytes).fold(0, u64::saturating_add);
    let first = worked.iter().filter_map(|done| done.span).map(|(first, _)| first).min();
    let last = worked.iter().filter_map(|done| done.span).map(|(_, last)| last).max();
    Ok(Part::new(worked.len(), messages, bytes, begin.or(first).zip(last), &latencies))
}
