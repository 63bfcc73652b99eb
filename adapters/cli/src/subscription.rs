//! `zaichik subscription`: who reads what, and how far.

use clap::{Args, Subcommand};
use serde::Serialize;
use zaichik_tokio::SubscriptionInfo;

use crate::connect::ServerArgs;
use crate::failure::Failure;
use crate::printable::printable;
use crate::report::{self, OutputArgs};
use crate::subscribe::Position;

const EXAMPLES: &str = "\
Examples:
  zaichik subscription ls
  zaichik subscription seek orders billing -10    # the last ten once more
  zaichik subscription rm orders billing";

/// How a command on subscriptions names itself to the broker.
const NAME: &str = "zaichik subscription";

/// Manage durable subscriptions.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Subscriptions {
    #[command(subcommand)]
    command: SubscriptionCommand,
}

#[derive(Debug, Subcommand)]
enum SubscriptionCommand {
    /// List subscriptions, those without a name included.
    Ls(List),
    /// Show one durable subscription.
    Info(Info),
    /// Move a durable subscription, whoever has it.
    Seek(Seek),
    /// Forget a durable subscription that nobody is connected to.
    Rm(Remove),
}

#[derive(Debug, Args)]
struct List {
    /// Only those of this topic.
    topic: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which durable subscription.
#[derive(Debug, Args)]
struct Named {
    /// Its topic.
    topic: String,
    /// Its name, as given with --durable.
    name: String,
}

#[derive(Debug, Args)]
struct Info {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct Seek {
    #[command(flatten)]
    named: Named,
    /// Where to: earliest, latest, an offset (42), so many before the end (-10), so long ago (@-5m), a time
    /// (@2026-11-22T10:00Z).
    #[arg(value_name = "POSITION", allow_hyphen_values = true)]
    to: Position,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    server: ServerArgs,
}

/// A subscription, as JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    topic: &'a str,
    /// Null for one that ends with its connection.
    name: Option<&'a str>,
    attached: bool,
    epoch: u32,
    window: u32,
    cursor: u64,
    next: u64,
    end: u64,
    lag: u64,
    /// Null while it is attached, or for ever.
    expires_in_us: Option<u64>,
}

impl Subscriptions {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            SubscriptionCommand::Ls(list) => list.run().await,
            SubscriptionCommand::Info(info) => info.run().await,
            SubscriptionCommand::Seek(seek) => seek.run().await,
            SubscriptionCommand::Rm(remove) => remove.run().await,
        }
    }
}

impl List {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        let subscriptions = client.subscriptions(self.topic.as_deref()).await?;
        client.close().await?;
        let lines = subscriptions.iter().map(Line::new);
        if self.output.is_json() {
            return lines.into_iter().try_for_each(|line| report::json(&line));
        }
        if subscriptions.is_empty() {
            report::done("no subscriptions");
        }
        let rows = lines.map(|line| {
            let mut row =
                vec![line.topic.to_owned(), line.shown_name(), line.state().to_owned(), line.expires()];
            let numbers = [u64::from(line.window), line.cursor, line.next, line.end, line.lag];
            row.extend(numbers.map(|number| number.to_string()));
            row
        });
        let header = ["TOPIC", "NAME", "STATE", "EXPIRES IN", "WINDOW", "CURSOR", "NEXT", "END", "LAG"];
        report::columns(&header, 4, rows.collect())
    }
}

impl Info {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        let subscription = client.subscription(&self.named.topic, &self.named.name).await?;
        client.close().await?;
        let line = Line::new(&subscription);
        if self.output.is_json() {
            return report::json(&line);
        }
        let mut pairs = vec![
            ("topic", line.topic.to_owned()),
            ("name", line.shown_name()),
            ("state", line.state().to_owned()),
            ("expires in", line.expires()),
        ];
        let numbers = [
            ("epoch", u64::from(line.epoch)),
            ("window", u64::from(line.window)),
            ("cursor", line.cursor),
            ("next", line.next),
            ("end", line.end),
            ("lag", line.lag),
        ];
        pairs.extend(numbers.map(|(name, number)| (name, number.to_string())));
        report::pairs(pairs)
    }
}

impl Seek {
    async fn run(&self) -> Result<(), Failure> {
        let Named { topic, name } = &self.named;
        let client = self.server.connect(NAME).await?;
        let to = self.to.resolve(&client, topic).await?;
        client.seek(topic, name, to).await?;
        report::done(format_args!("subscription {} of {topic}: moved", printable(name.as_bytes())));
        Ok(client.close().await?)
    }
}

impl Remove {
    async fn run(&self) -> Result<(), Failure> {
        let Named { topic, name } = &self.named;
        let client = self.server.connect(NAME).await?;
        client.remove_subscription(topic, name).await?;
        report::done(format_args!("subscription {} of {topic}: forgotten", printable(name.as_bytes())));
        Ok(client.close().await?)
    }
}

impl<'a> Line<'a> {
    fn new(subscription: &'a SubscriptionInfo) -> Self {
        let micros = |left: std::time::Duration| u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        Self {
            topic: &subscription.topic,
            name: Some(subscription.name.as_str()).filter(|name| !name.is_empty()),
            attached: subscription.attached,
            epoch: subscription.epoch,
            window: subscription.window,
            cursor: subscription.cursor,
            next: subscription.next,
            end: subscription.end,
            lag: subscription.lag(),
            expires_in_us: subscription.expires_in.map(micros),
        }
    }

    fn shown_name(&self) -> String {
        self.name.map_or_else(|| "-".to_owned(), |name| printable(name.as_bytes()))
    }

    const fn state(&self) -> &'static str {
        if self.attached { "attached" } else { "detached" }
    }

    /// In whole seconds.
    fn expires(&self) -> String {
        match self.expires_in_us {
            Some(micros) => report::duration(micros.saturating_sub(micros % 1_000_000)),
            None if self.attached => "-".to_owned(),
            None => "never".to_owned(),
        }
    }
}
