//! `zaichik sub`: prints the messages of topics.

mod args;
mod closed;
mod commits;
mod confirmation;
mod connection;
mod format;
mod patterns;
mod position;
mod run;
mod show;
mod sources;

use std::io::{self, IsTerminal};
use std::time::Duration;

use futures::StreamExt;
use zaichik_tokio::{Client, DurableOptions, PatternSubscription, SharedOptions, Subscription};

pub(crate) use self::args::Subscribe;
use self::args::WINDOW;
use self::commits::{CommitMode, Commits, FailedCommit};
use self::confirmation::confirm;
pub(crate) use self::position::Position;
use self::run::{EndReason, SubscribeRun};
pub(crate) use self::show::ShowArgs;
use self::sources::Source;
use crate::failure::{Code, Failure, notice};
use crate::{hints, signals};

/// Maximum time to wait for answers to commits before the command ends.
const DRAIN: Duration = Duration::from_secs(5);

impl Subscribe {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        self.check_patterns()?;
        let window = self.window()?;
        let mode = if self.window == Some(0) { CommitMode::Never } else { self.commit };
        let commits = Commits::new(mode, self.shared.is_some())?;
        let names = self.topics.iter().filter(|topic| !patterns::is_pattern(topic));
        names.filter_map(|topic| hints::wildcard(topic)).for_each(|hint| self.notify(hint));
        let mut signals = Box::pin(signals::arriving().map_err(|error| Failure::new(Code::Other, error))?);
        let (client, sources) = tokio::select! {
            biased;
            _ = signals.next() => return Ok(()),
            opened = self.open(window) => opened?,
        };
        if self.exit_at_end {
            self.hint_at_retention(&client, &sources).await;
        }
        let mut run = SubscribeRun::new(self, &client, commits, sources, signals);
        let outcome = run.read().await;
        // Messages that were written are committed, whatever the outcome.
        let mut settled = self.settle(&mut run).await;
        if matches!(outcome, Ok(EndReason::ReaderGone)) && self.max_attempts.is_some() {
            self.fail_the_only_one(&mut run).await;
        }
        if let (Ok(_), Ok(()), Some(name)) = (&outcome, &settled, &self.durable) {
            settled = confirm(&client, name, &run.committed(), self.server.connect_timeout()).await;
        }
        if let Err(error) = client.clone().close().await
            && outcome.is_ok()
            && settled.is_ok()
        {
            self.notify(error);
        }
        match (outcome, settled) {
            (Ok(end), Ok(())) => self.check_end(end, run.shown()),
            (Ok(_), Err(failure)) if self.relies_on_commits() => Err(failure),
            (outcome, Err(failure)) => {
                self.notify(failure);
                self.check_end(outcome?, run.shown())
            }
            (Err(failure), Ok(())) => Err(failure),
        }
    }

    /// Waits for the answers to all commits.
    async fn settle(&self, run: &mut SubscribeRun<'_>) -> Result<(), Failure> {
        match tokio::time::timeout(DRAIN, run.settle()).await {
            Ok(settled) => settled.map_err(|FailedCommit { topic, offset, error }| {
                let prefix = format!("topic {topic:?}: the commit of message {offset} failed: ");
                Failure::from(error).with_context(&prefix, "; it and later ones may be redelivered")
            }),
            Err(_) => Err(Failure::new(
                Code::TimedOut,
                "the last commit was not answered; its messages may be redelivered",
            )),
        }
    }

    /// The reader ended, in manual mode perhaps at a message that it did not commit.
    async fn fail_the_only_one(&self, run: &mut SubscribeRun<'_>) {
        match tokio::time::timeout(DRAIN, run.fail_the_only_one()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.notify(format_args!("the failure of a message was not counted: {error}")),
            Err(_) => self.notify("the failure of a message was not counted: the broker did not answer"),
        }
    }

    /// Whether anyone notices a commit that is missing: the next holder of the durable subscription, another member of the
    /// shared one, or the user who asked for commits.
    const fn relies_on_commits(&self) -> bool {
        self.is_kept() || matches!(self.commit, CommitMode::Each | CommitMode::Manual)
    }

    /// Whether the broker keeps the position.
    const fn is_kept(&self) -> bool {
        self.durable.is_some() || self.shared.is_some()
    }

    /// Explains why there is nothing to show: a frequent question of those who have just published their first message.
    async fn hint_at_retention(&self, client: &Client, sources: &[Source]) {
        for (topic, source) in self.topics.iter().zip(sources) {
            let Source::Topic(subscription) = source else { continue };
            let is_empty = subscription.start() >= subscription.end();
            if is_empty
                && self.durable.is_none()
                && !self.quiet
                && let Some(hint) = hints::nothing_kept(client, topic).await
            {
                self.notify(hint);
            }
        }
    }

    async fn open(&self, window: u32) -> Result<(Client, Vec<Source>), Failure> {
        let client = self.server.connect_with("zaichik sub", |builder| builder.drain_timeout(DRAIN)).await?;
        let mut sources = Vec::new();
        for topic in &self.topics {
            sources.push(if patterns::is_pattern(topic) {
                Source::Pattern(self.subscribe_pattern(&client, topic, window).await?)
            } else {
                Source::Topic(self.subscribe(&client, topic, window).await?)
            });
        }
        Ok((client, sources))
    }

    /// Maximum uncommitted messages; 0 without commits.
    fn window(&self) -> Result<u32, Failure> {
        let wants_commits = matches!(self.commit, CommitMode::Each | CommitMode::Manual);
        match self.window {
            _ if self.commit == CommitMode::Manual && self.shared.is_some() => Err(Failure::new(
                Code::Usage,
                "the messages of --shared are acknowledged when they are written; omit --commit manual",
            )),
            Some(0) if wants_commits => {
                Err(Failure::new(Code::Usage, "--window 0 turns commits off; omit it or --commit"))
            }
            Some(0) if self.commit == CommitMode::Never && self.is_kept() => Err(Failure::new(
                Code::Usage,
                "with --window 0 a durable or shared subscription advances without commits; omit it or --commit never",
            )),
            Some(window) => Ok(window),
            None if self.commit == CommitMode::Never && !self.is_kept() => Ok(0),
            // No more than --count, so that the broker does not deliver unneeded messages.
            None => Ok(self
                .count
                .and_then(|count| u32::try_from(count).ok())
                .map_or(WINDOW, |count| count.clamp(1, WINDOW))),
        }
    }

    async fn subscribe(&self, client: &Client, topic: &str, window: u32) -> Result<Subscription, Failure> {
        let start = self.from.resolve(client, topic).await?;
        let inactive_ttl = self.inactive_ttl.unwrap_or_default();
        let mut subscribe = client.subscribe(topic).from(start).window(window);
        if let Some(name) = &self.durable {
            let durable = DurableOptions::new(name.as_str());
            subscribe = subscribe.durable(durable.inactive_ttl(inactive_ttl));
        }
        if let Some(name) = &self.shared {
            let mut shared = SharedOptions::new(name.as_str()).inactive_ttl(inactive_ttl);
            shared.by_key = self.by_key;
            shared.ack_deadline = self.ack_deadline.unwrap_or(shared.ack_deadline);
            subscribe = subscribe.shared(shared);
        }
        if let (Some(attempts), Some(topic)) = (self.max_attempts, &self.dead_letter) {
            subscribe = subscribe.dead_letter(attempts, topic);
        }
        let subscription = subscribe.await?;
        if self.reports_subscriptions() {
            let (start, end) = (subscription.start(), subscription.end());
            self.notify(format_args!(
                "subscribed to {topic} from offset {start}; the topic ends at offset {end}"
            ));
        }
        Ok(subscription)
    }

    async fn subscribe_pattern(
        &self,
        client: &Client,
        pattern: &str,
        window: u32,
    ) -> Result<PatternSubscription, Failure> {
        let start = self.from.resolve(client, pattern).await?;
        let mut subscribe = client.subscribe_pattern(pattern).from(start).window(window);
        if let (Some(attempts), Some(topic)) = (self.max_attempts, &self.dead_letter) {
            subscribe = subscribe.dead_letter(attempts, topic);
        }
        let subscription = subscribe.await?;
        if self.reports_subscriptions() {
            let topics = subscription.topics();
            self.notify(format_args!("subscribed to {pattern}, which matches {topics} topics now"));
        }
        Ok(subscription)
    }

    /// Whether to report where subscriptions begin.
    fn reports_subscriptions(&self) -> bool {
        self.verbose || (io::stderr().is_terminal() && !self.is_view)
    }

    fn check_end(&self, end: EndReason, shown: u64) -> Result<(), Failure> {
        let is_enough = shown > 0 && self.count.is_none_or(|count| shown >= count);
        match (end, self.wait) {
            (EndReason::WaitExpired, Some(wait)) if !is_enough => {
                let wait = humantime::format_duration(wait);
                let message = match shown {
                    0 => format!("no message within {wait}"),
                    _ => format!("no further message within {wait}; messages received: {shown}"),
                };
                Err(Failure::new(Code::TimedOut, message))
            }
            _ => Ok(()),
        }
    }

    fn notify(&self, message: impl std::fmt::Display) {
        if !self.quiet {
            notice(message);
        }
    }
}
