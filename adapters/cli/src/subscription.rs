//! `zaichik subscription`: lists, shows, moves and removes subscriptions.

mod members;

use clap::{Args, Subcommand};
use serde::Serialize;
use zaichik_tokio::{ClientError, RefusalCode, RequestError, SubscriptionInfo};

use self::members::{Shared, shared_of};
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};
use crate::printable::printable_line;
use crate::report::{self, OutputArgs};
use crate::subscribe::Position;

const EXAMPLES: &str = "\
Examples:
  zaichik subscription ls
  zaichik subscription seek orders billing -10    # receive the last ten again
  zaichik subscription rm orders billing";

/// The client name in the broker's log.
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
    /// List subscriptions, including those that are not durable.
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show one durable or shared subscription; of a shared one its members as well.
    Info(Info),
    /// Move a durable subscription to another position, even if a connection holds it.
    Seek(Seek),
    /// Remove a durable subscription that no connection holds.
    Rm(Remove),
}

#[derive(Debug, Args)]
struct List {
    /// Topic whose subscriptions to list; all topics by default.
    topic: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The name of a durable subscription.
#[derive(Debug, Args)]
struct DurableName {
    /// Topic of the subscription.
    topic: String,
    /// Name of the subscription, as given with --durable or --shared.
    name: String,
}

#[derive(Debug, Args)]
struct Info {
    #[command(flatten)]
    durable: DurableName,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct Seek {
    #[command(flatten)]
    durable: DurableName,
    /// New position: earliest, latest, an offset (42), a count from the end (-10), an age (@-5m) or a time
    /// (@2026-11-22T10:00Z).
    #[arg(value_name = "POSITION", allow_hyphen_values = true)]
    to: Position,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    durable: DurableName,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// A subscription, as JSON.
#[derive(Debug, Serialize)]
struct SubscriptionReport<'a> {
    topic: &'a str,
    /// Null if it is not durable.
    name: Option<&'a str>,
    attached: bool,
    epoch: u32,
    window: u32,
    cursor: u64,
    next: u64,
    end: u64,
    lag: u64,
    /// Null while it is attached, and if it never expires.
    expires_in_us: Option<u64>,
    /// Only of a shared one, and not in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<Shared<'a>>,
}

/// The outcome of `subscription seek` or `subscription rm`, as JSON.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    topic: &'a str,
    name: &'a str,
    status: &'static str,
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
        let reports = subscriptions.iter().map(SubscriptionReport::new);
        if self.output.is_json() {
            return reports.into_iter().try_for_each(|subscription| report::json(&subscription));
        }
        if subscriptions.is_empty() {
            report::confirm("no subscriptions");
        }
        let rows = reports.map(|subscription| {
            let SubscriptionReport { topic, window, cursor, next, end, lag, .. } = subscription;
            let mut row = vec![
                printable_line(topic),
                subscription.shown_name(),
                subscription.state().to_owned(),
                subscription.expires(),
            ];
            let numbers = [u64::from(window), cursor, next, end, lag];
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
        let subscription = client.subscription(&self.durable.topic, &self.durable.name).await;
        let subscription = subscription.map_err(|error| self.durable.failure(error))?;
        let shared = shared_of(&client, &self.durable.topic, &self.durable.name).await?;
        client.close().await?;
        let subscription = SubscriptionReport::new(&subscription);
        let shared = shared.as_ref().map(Shared::new);
        if self.output.is_json() {
            return report::json(&SubscriptionReport { shared, ..subscription });
        }
        let mut pairs = vec![
            ("topic", printable_line(subscription.topic)),
            ("name", subscription.shown_name()),
            ("state", subscription.state().to_owned()),
            ("expires in", subscription.expires()),
        ];
        let numbers = [
            ("epoch", u64::from(subscription.epoch)),
            ("window", u64::from(subscription.window)),
            ("cursor", subscription.cursor),
            ("next", subscription.next),
            ("end", subscription.end),
            ("lag", subscription.lag),
        ];
        pairs.extend(numbers.map(|(name, number)| (name, number.to_string())));
        pairs.extend(shared.iter().flat_map(Shared::pairs));
        report::pairs(pairs)?;
        shared.map_or(Ok(()), |shared| shared.print_members())
    }
}

impl Seek {
    async fn run(&self) -> Result<(), Failure> {
        let DurableName { topic, name } = &self.durable;
        let client = self.server.connect(NAME).await?;
        let to = self.to.resolve(&client, topic).await?;
        client.seek(topic, name, to).await.map_err(|error| self.durable.failure(error))?;
        self.durable.confirm("moved", &self.output)?;
        Ok(client.close().await?)
    }
}

impl Remove {
    async fn run(&self) -> Result<(), Failure> {
        let DurableName { topic, name } = &self.durable;
        let client = self.server.connect(NAME).await?;
        client.remove_subscription(topic, name).await.map_err(|error| self.durable.failure(error))?;
        self.durable.confirm("removed", &self.output)?;
        Ok(client.close().await?)
    }
}

impl DurableName {
    /// Reports what happened to the subscription.
    fn confirm(&self, status: &'static str, output: &OutputArgs) -> Result<(), Failure> {
        let Self { topic, name } = self;
        if output.is_json() {
            return report::json(&Outcome { topic, name, status });
        }
        let (topic, name) = (printable_line(topic), printable_line(name));
        report::confirm(format_args!("subscription {name} of {topic}: {status}"));
        Ok(())
    }

    /// The broker's refusal does not name the subscription.
    fn failure(&self, error: ClientError) -> Failure {
        if let ClientError::Request(RequestError::Refused { refusal, .. }) = &error
            && refusal.code == RefusalCode::NotSubscribed
        {
            let Self { topic, name } = self;
            return Failure::new(
                Code::Refused,
                format_args!(
                    "topic {topic:?} has no durable subscription {name:?}; zaichik subscription ls lists them"
                ),
            );
        }
        error.into()
    }
}

impl<'a> SubscriptionReport<'a> {
    fn new(subscription: &'a SubscriptionInfo) -> Self {
        let micros =
            |remaining: std::time::Duration| u64::try_from(remaining.as_micros()).unwrap_or(u64::MAX);
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
            shared: None,
        }
    }

    fn shown_name(&self) -> String {
        self.name.map_or_else(|| "-".to_owned(), printable_line)
    }

    const fn state(&self) -> &'static str {
        if self.attached { "attached" } else { "detached" }
    }

    /// The time until it expires, in whole seconds.
    fn expires(&self) -> String {
        match self.expires_in_us {
            Some(micros) => report::duration(micros.saturating_sub(micros % 1_000_000)),
            None if self.attached => "-".to_owned(),
            None => "never".to_owned(),
        }
    }
}
