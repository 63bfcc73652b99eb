//! `zaichik sub`: prints the messages of topics.

mod commits;
mod format;
mod position;
mod run;
mod show;
mod sources;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use zaichik_tokio::{Client, DurableOptions, Subscription};

use self::commits::CommitMode;
pub(crate) use self::position::Position;
use self::run::{EndReason, SubscribeRun};
pub(crate) use self::show::ShowArgs;
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};
use crate::signals;

/// The default window, in messages.
const WINDOW: u32 = 256;

/// Maximum time to wait for answers to commits before the command ends.
const DRAIN: Duration = Duration::from_secs(5);

const READING: &str = "Reading";

const EXAMPLES: &str = "\
Examples:
  zaichik sub orders                           # stored messages, then new ones
  zaichik sub orders -o latest                 # only new messages
  zaichik sub orders -o -10 -e                 # the last ten
  zaichik sub orders -o @-5m -e -J | jq .body  # the last five minutes
  zaichik sub orders payments -v               # two topics; each line begins with its topic
  zaichik sub orders -c 1 -W 5s                # one message, within five seconds
  zaichik sub jobs --durable worker            # continues where it stopped
  zaichik sub jobs -F '%o %k %s{hex}\\n'

Exit code: 0 if it is done or was stopped by a signal, 4 if --wait expired before a message (or all of --count)
arrived, 5 if the broker refused a request, 6 if messages are missing and --fail-on-gap is given.";

/// Subscribe to topics.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate flag")]
pub(crate) struct Subscribe {
    /// Topics to subscribe to; created with the broker's defaults if they do not exist.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where to begin: earliest, latest, an offset (42), a count from the end (-10), an age (@-5m) or a time
    /// (@2026-11-22T10:00Z). An existing durable subscription continues at its cursor instead.
    #[arg(
        short = 'o',
        long,
        value_name = "POSITION",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    #[arg(help_heading = READING)]
    from: Position,
    /// Stop after N messages.
    #[arg(short, long, value_name = "N", help_heading = READING)]
    count: Option<u64>,
    /// Stop at the offsets where the topics ended when the command started.
    #[arg(short, long, help_heading = READING)]
    exit_at_end: bool,
    /// Stop if no message arrives within DURATION.
    #[arg(short = 'W', long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    #[arg(help_heading = READING)]
    wait: Option<Duration>,
    /// Use a durable subscription of this name: the next subscriber with the name continues after the last commit.
    #[arg(long, value_name = "NAME", help_heading = READING)]
    durable: Option<String>,
    /// How long the durable subscription is kept while no connection holds it; the broker's default is 24h unless it is
    /// configured otherwise.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "durable")]
    #[arg(help_heading = READING)]
    inactive_ttl: Option<Duration>,
    /// Maximum uncommitted messages; 0 turns commits off [default: 256, or --count if that is less].
    #[arg(long, value_name = "N", help_heading = READING)]
    window: Option<u32>,
    /// When to commit messages.
    #[arg(long, value_enum, value_name = "MODE", default_value = "auto", help_heading = READING)]
    commit: CommitMode,
    /// Give up on a message after N failures.
    ///
    /// A message fails if it is the only uncommitted one of a durable subscription when the connection ends, whether or
    /// not it was printed: with --count, that is the one after the last.
    #[arg(long, value_name = "N", requires = "dead_letter", help_heading = READING)]
    max_attempts: Option<u32>,
    /// Topic that failed messages are moved to.
    #[arg(long, value_name = "TOPIC", requires = "max_attempts", help_heading = READING)]
    dead_letter: Option<String>,
    /// Exit with code 6 if messages are missing because they expired, a limit removed them, or the broker restarted.
    #[arg(long, help_heading = READING)]
    fail_on_gap: bool,
    #[command(flatten)]
    show: ShowArgs,
    /// Begin each raw line with its topic, and report where each subscription begins.
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Output")]
    verbose: bool,
    /// Do not report missing messages and broken connections.
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Whether it runs for `topic view`, which does not report where it begins.
    #[arg(skip)]
    is_view: bool,
}

impl Subscribe {
    /// Prints the messages in a topic without consuming them.
    pub(crate) fn view(
        topic: String,
        from: Position,
        count: Option<u64>,
        show: ShowArgs,
        server: ServerArgs,
    ) -> Self {
        Self {
            topics: vec![topic],
            from,
            count,
            exit_at_end: true,
            wait: None,
            durable: None,
            inactive_ttl: None,
            window: Some(0),
            commit: CommitMode::Never,
            max_attempts: None,
            dead_letter: None,
            fail_on_gap: false,
            show,
            verbose: false,
            quiet: false,
            server,
            is_view: true,
        }
    }

    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let window = self.window()?;
        let mut signals = Box::pin(signals::arriving().map_err(|error| Failure::new(Code::Other, error))?);
        let (client, subscriptions) = tokio::select! {
            biased;
            _ = signals.next() => return Ok(()),
            opened = self.open(window) => opened?,
        };
        let mut run = SubscribeRun::new(self, subscriptions, signals);
        let outcome = run.read().await;
        // Messages that were written are committed, whatever the outcome.
        match tokio::time::timeout(DRAIN, run.settle()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.notify(format_args!("the last commit failed: {error}")),
            Err(_) => {
                self.notify(format_args!(
                    "the last commit was not answered; its messages may be redelivered"
                ));
            }
        }
        if let Err(error) = client.close().await
            && outcome.is_ok()
        {
            self.notify(error);
        }
        self.check_end(outcome?, run.shown())
    }

    async fn open(&self, window: u32) -> Result<(Client, Vec<Subscription>), Failure> {
        let client = self.server.connect_with("zaichik sub", |builder| builder.drain_timeout(DRAIN)).await?;
        let mut subscriptions = Vec::new();
        for topic in &self.topics {
            subscriptions.push(self.subscribe(&client, topic, window).await?);
        }
        Ok((client, subscriptions))
    }

    /// Maximum uncommitted messages; 0 without commits.
    fn window(&self) -> Result<u32, Failure> {
        let wants_commits = matches!(self.commit, CommitMode::Each | CommitMode::Manual);
        match self.window {
            Some(0) if wants_commits => {
                Err(Failure::new(Code::Usage, "--window 0 turns commits off; omit it or --commit"))
            }
            Some(0) if self.commit == CommitMode::Never && self.durable.is_some() => Err(Failure::new(
                Code::Usage,
                "with --window 0 a durable subscription advances without commits; omit it or --commit never",
            )),
            Some(window) => Ok(window),
            None if self.commit == CommitMode::Never && self.durable.is_none() => Ok(0),
            // No more than --count, so that the broker does not deliver unneeded messages.
            None => Ok(self
                .count
                .and_then(|count| u32::try_from(count).ok())
                .map_or(WINDOW, |count| count.clamp(1, WINDOW))),
        }
    }

    async fn subscribe(&self, client: &Client, topic: &str, window: u32) -> Result<Subscription, Failure> {
        let start = self.from.resolve(client, topic).await?;
        let mut subscribe = client.subscribe(topic).from(start).window(window);
        if let Some(name) = &self.durable {
            let durable = DurableOptions::new(name.as_str());
            let ttl = self.inactive_ttl.unwrap_or_default();
            subscribe = subscribe.durable(durable.inactive_ttl(ttl));
        }
        if let (Some(attempts), Some(topic)) = (self.max_attempts, &self.dead_letter) {
            subscribe = subscribe.dead_letter(attempts, topic);
        }
        let subscription = subscribe.await?;
        if self.verbose || (io::stderr().is_terminal() && !self.is_view) {
            let (start, end) = (subscription.start(), subscription.end());
            self.notify(format_args!(
                "subscribed to {topic} from offset {start}; the topic ends at offset {end}"
            ));
        }
        Ok(subscription)
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
            // There is nowhere to report a failure to write to stderr.
            drop(writeln!(io::stderr(), "zaichik: {message}"));
        }
    }
}
