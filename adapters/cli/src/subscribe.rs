//! `zaichik sub`: the messages of topics on standard output.

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
use self::run::{End, Run};
pub(crate) use self::show::ShowArgs;
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};
use crate::signals;

/// The window that nobody asked for, in messages.
const WINDOW: u32 = 256;

/// How long the end waits for commits to be answered.
const DRAIN: Duration = Duration::from_secs(5);

const READING: &str = "Reading";

const EXAMPLES: &str = "\
Examples:
  zaichik sub orders                           # what is there, and then what comes
  zaichik sub orders -o latest                 # only what comes
  zaichik sub orders -o -10 -e                 # the last ten
  zaichik sub orders -o @-5m -e -J | jq .body  # the last five minutes
  zaichik sub orders payments -v               # two topics, each line begins with its topic
  zaichik sub orders -c 1 -W 5s                # one message, within five seconds
  zaichik sub jobs --durable worker            # goes on where it stopped
  zaichik sub jobs -F '%o %k %s{hex}\\n'

Ends with 0 when it is done or asked to stop, 4 when --wait ran out before a message (or
all of --count) came, 5 when the broker says no, 6 when messages are
missing and --fail-on-gap is given.";

/// Subscribe to topics.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Subscribe {
    /// The topics; one that does not exist is created with the broker's defaults.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where to begin: earliest, latest, an offset (42), so many before the end (-10), so long ago (@-5m), a time
    /// (@2026-11-22T10:00Z). A durable subscription that exists goes on where it is.
    #[arg(
        short = 'o',
        long,
        value_name = "POSITION",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    #[arg(help_heading = READING)]
    from: Position,
    /// End after so many messages.
    #[arg(short, long, value_name = "N", help_heading = READING)]
    count: Option<u64>,
    /// End where the topics ended when it began.
    #[arg(short, long, help_heading = READING)]
    exit_at_end: bool,
    /// End when no message came for so long.
    #[arg(short = 'W', long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    #[arg(help_heading = READING)]
    wait: Option<Duration>,
    /// A name for the place that was reached: the next one who subscribes under it goes on there.
    #[arg(long, value_name = "NAME", help_heading = READING)]
    durable: Option<String>,
    /// How long the name is remembered when nobody uses it; the broker's default is a day.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "durable")]
    #[arg(help_heading = READING)]
    inactive_ttl: Option<Duration>,
    /// Most messages that are not committed; 0 turns commits off.
    #[arg(long, value_name = "N", help_heading = READING)]
    window: Option<u32>,
    /// When messages are committed.
    #[arg(long, value_enum, value_name = "MODE", default_value = "auto", help_heading = READING)]
    commit: CommitMode,
    /// Give a message up that failed so often.
    ///
    /// A message fails when it is the only uncommitted one of a durable subscription whose connection ends, whether or not
    /// it was shown: with --count the one after the last.
    #[arg(long, value_name = "N", requires = "dead_letter", help_heading = READING)]
    max_attempts: Option<u32>,
    /// The topic that such messages go to.
    #[arg(long, value_name = "TOPIC", requires = "max_attempts", help_heading = READING)]
    dead_letter: Option<String>,
    /// End with code 6 when messages are missing: they expired, a limit removed them, or the broker was restarted.
    #[arg(long, help_heading = READING)]
    fail_on_gap: bool,
    #[command(flatten)]
    show: ShowArgs,
    /// Begin each raw line with its topic, and say where subscriptions begin.
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Output")]
    verbose: bool,
    /// Say nothing about missing messages and broken connections.
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// It is for looking only, and does not say where it begins.
    #[arg(skip)]
    is_view: bool,
}

impl Subscribe {
    /// Shows what is in a topic, and consumes nothing.
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
        let mut run = Run::new(self, subscriptions, signals);
        let outcome = run.read().await;
        // What was written is committed, whatever ended it.
        match tokio::time::timeout(DRAIN, run.settle()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.say(format_args!("the last commit failed: {error}")),
            Err(_) => self.say(format_args!("the last commit was not answered; its messages may come again")),
        }
        if let Err(error) = client.close().await
            && outcome.is_ok()
        {
            self.say(error);
        }
        self.judge(outcome?, run.shown())
    }

    async fn open(&self, window: u32) -> Result<(Client, Vec<Subscription>), Failure> {
        let client = self.server.connect_with("zaichik sub", |builder| builder.drain_timeout(DRAIN)).await?;
        let mut subscriptions = Vec::new();
        for topic in &self.topics {
            subscriptions.push(self.subscribe(&client, topic, window).await?);
        }
        Ok((client, subscriptions))
    }

    /// Most messages uncommitted; 0 without commits.
    fn window(&self) -> Result<u32, Failure> {
        let wants_commits = matches!(self.commit, CommitMode::Each | CommitMode::Manual);
        match self.window {
            Some(0) if wants_commits => Err(Failure::new(
                Code::Usage,
                "with --window 0 nothing is committed; leave it or --commit out",
            )),
            Some(0) if self.commit == CommitMode::Never && self.durable.is_some() => Err(Failure::new(
                Code::Usage,
                "with --window 0 a durable subscription goes on without commits; leave it or --commit never out",
            )),
            Some(window) => Ok(window),
            None if self.commit == CommitMode::Never && self.durable.is_none() => Ok(0),
            // Who wants few messages does not make the broker deliver many.
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
            self.say(format_args!("subscribed to {topic} from offset {start}; its end is {end}"));
        }
        Ok(subscription)
    }

    fn judge(&self, end: End, shown: u64) -> Result<(), Failure> {
        let is_enough = shown > 0 && self.count.is_none_or(|count| shown >= count);
        match (end, self.wait) {
            (End::Silence, Some(wait)) if !is_enough => {
                let wait = humantime::format_duration(wait);
                let message = match shown {
                    0 => format!("no message came within {wait}"),
                    _ => format!("no further message came within {wait}; there were {shown}"),
                };
                Err(Failure::new(Code::TimedOut, message))
            }
            _ => Ok(()),
        }
    }

    fn say(&self, what: impl std::fmt::Display) {
        if !self.quiet {
            // Nobody can be told that it can't be told.
            drop(writeln!(io::stderr(), "zaichik: {what}"));
        }
    }
}
