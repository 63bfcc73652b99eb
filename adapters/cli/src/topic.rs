//! `zaichik topic`: creates, changes, trims, lists and shows topics.

mod settings;

use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;
use zaichik_tokio::{
    ClientError, PatternError, RefusalCode, RequestError, TopicInfo, TopicName, TopicPattern, TopicStatus,
    TrimReceipt,
};

use self::settings::{Settings, SettingsArgs, retention};
use crate::connect::ServerArgs;
use crate::failure::{Failure, notice};
use crate::hints;
use crate::printable::printable_line;
use crate::report::{self, OutputArgs};
use crate::subscribe::{Position, ShowArgs, Subscribe};

const EXAMPLES: &str = "\
Examples:
  zaichik topic create orders --retention-ttl 7d --max-bytes 1GiB
  zaichik topic create prices --retention-ttl forever --compaction latest
  zaichik topic alter orders --overflow reject
  zaichik topic trim orders --before @-7d
  zaichik topic ls
  zaichik topic ls 'orders.>'
  zaichik topic view orders -o -5

Topics cannot be deleted.";

/// The client name in the broker's log.
const NAME: &str = "zaichik topic";

/// Manage topics.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Topic {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create a topic, or give the settings to one that was created by its first use; omitted settings get the broker's
    /// defaults.
    Create(Create),
    /// Change settings of a topic; omitted settings stay as they are.
    Alter(Alter),
    /// Remove the oldest messages of a topic, for ever.
    Trim(Trim),
    /// List topics.
    #[command(visible_alias = "list")]
    Ls(TopicList),
    /// Show one topic and its settings.
    Info(Info),
    /// Show the messages in a topic without consuming them.
    View(View),
}

#[derive(Debug, Args)]
struct Create {
    /// Name of the topic: 1 to 255 bytes of UTF-8, without control characters, not starting with $.
    topic: String,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(override_usage = "zaichik topic alter <TOPIC> <SETTINGS> [OPTIONS]")]
#[command(group = ArgGroup::new("changes").required(true).multiple(true).args([
    "retention_ttl", "compaction_window", "compaction", "max_messages", "max_bytes", "overflow", "max_keys",
    "tombstone_ttl",
]))]
struct Alter {
    /// Name of the topic.
    topic: String,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Consumers that have not received the messages get a gap. All other messages keep their offsets.
#[derive(Debug, Args)]
struct Trim {
    /// Name of the topic.
    topic: String,
    /// Remove what is before it: an offset (42), a count from the end (-10 keeps the last ten), an age (@-5m), a time
    /// (@2026-11-22T10:00Z), or latest, which removes all.
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    before: Position,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// List topics.
#[derive(Debug, Args)]
pub(crate) struct TopicList {
    /// Only topics whose names match it: * stands for any one part of a name between dots, and > at the end for one or more.
    #[arg(value_parser = parse_pattern)]
    pattern: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct Info {
    /// Name of the topic.
    topic: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct View {
    /// Name of the topic.
    topic: String,
    /// Where to begin: earliest, latest, an offset (42), a count from the end (-10), an age (@-5m) or a time
    /// (@2026-11-22T10:00Z).
    #[arg(
        short = 'o',
        long,
        value_name = "POSITION",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    from: Position,
    /// Maximum messages to show; all by default.
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// A topic, as JSON.
#[derive(Debug, Serialize)]
struct TopicReport<'a> {
    topic: &'a str,
    explicit: bool,
    start: u64,
    end: u64,
    messages: u64,
    bytes: u64,
    keys: u64,
    subscriptions: u32,
    memory: u64,
    settings: Settings,
}

/// The outcome of `topic create` or `topic alter`, as JSON.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    topic: &'a str,
    status: &'static str,
}

/// The outcome of `topic trim`, as JSON.
#[derive(Debug, Serialize)]
struct TrimOutcome<'a> {
    topic: &'a str,
    removed: u64,
    start: u64,
}

impl Topic {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            TopicCommand::Create(create) => create.run().await,
            TopicCommand::Alter(alter) => alter.run().await,
            TopicCommand::Trim(trim) => trim.run().await,
            TopicCommand::Ls(list) => list.run().await,
            TopicCommand::Info(info) => info.run().await,
            TopicCommand::View(view) => view.run().await,
        }
    }
}

impl Create {
    async fn run(&self) -> Result<(), Failure> {
        if let Some(hint) = hints::wildcard(&self.topic) {
            notice(hint);
        }
        let client = self.server.connect(NAME).await?;
        let status = client.create_topic(&self.topic, self.settings.options()).await;
        let status = status.map_err(|error| explain(error, &self.topic, &self.settings))?;
        let (topic, status, outcome) = match status {
            TopicStatus::Created => (&self.topic, "created", "created"),
            TopicStatus::Adopted => {
                (&self.topic, "adopted", "was already created by its first use; now has these settings")
            }
            TopicStatus::Unchanged => (&self.topic, "unchanged", "already exists with these settings"),
            _ => (&self.topic, "ready", "is ready"),
        };
        if self.output.is_json() {
            report::json(&Outcome { topic, status })?;
        } else {
            report::confirm(format_args!("topic {}: {outcome}", printable_line(topic)));
        }
        Ok(client.close().await?)
    }
}

impl Alter {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        client.alter_topic(&self.topic, self.settings.options()).await?;
        if self.output.is_json() {
            report::json(&Outcome { topic: &self.topic, status: "changed" })?;
        } else {
            report::confirm(format_args!("topic {}: changed", printable_line(&self.topic)));
        }
        Ok(client.close().await?)
    }
}

impl Trim {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        let before = self.before.resolve(&client, &self.topic).await?;
        let TrimReceipt { removed, start, .. } = client.trim_topic(&self.topic, before).await?;
        if self.output.is_json() {
            report::json(&TrimOutcome { topic: &self.topic, removed, start })?;
        } else {
            let topic = printable_line(&self.topic);
            report::confirm(format_args!("topic {topic}: {removed} messages removed; it begins at {start}"));
        }
        Ok(client.close().await?)
    }
}

impl TopicList {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        let mut topics = client.topics().await?;
        client.close().await?;
        let pattern = self.pattern.as_ref().and_then(|text| TopicPattern::parse(text.as_bytes()).ok());
        if let Some(pattern) = pattern {
            topics.retain(|topic| {
                TopicName::parse(topic.name.as_bytes()).is_ok_and(|name| pattern.matches(name))
            });
        }
        if self.output.is_json() {
            return topics.iter().try_for_each(|topic| report::json(&TopicReport::new(topic)));
        }
        if topics.is_empty() {
            report::confirm(if pattern.is_some() { "no topics match" } else { "no topics" });
        }
        let rows = topics.iter().map(|topic| {
            let numbers = [
                topic.messages,
                topic.bytes,
                topic.start,
                topic.end,
                topic.keys,
                u64::from(topic.subscriptions),
            ];
            let mut row = vec![printable_line(&topic.name), retention(&topic.settings)];
            row.extend(numbers.map(|number| number.to_string()));
            row
        });
        let header = ["TOPIC", "KEPT FOR", "MESSAGES", "BYTES", "START", "END", "KEYS", "SUBSCRIPTIONS"];
        report::columns(&header, 2, rows.collect())
    }
}

impl Info {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        let topic = client.topic(&self.topic).await?;
        client.close().await?;
        let topic = TopicReport::new(&topic);
        if self.output.is_json() {
            return report::json(&topic);
        }
        let created = if topic.explicit { "explicitly" } else { "by its first use" };
        let mut pairs = vec![("topic", printable_line(topic.topic)), ("created", created.to_owned())];
        let numbers = [
            ("start", topic.start),
            ("end", topic.end),
            ("messages", topic.messages),
            ("keys", topic.keys),
            ("subscriptions", u64::from(topic.subscriptions)),
        ];
        pairs.extend(numbers.map(|(name, number)| (name, number.to_string())));
        let sizes = [("bytes", topic.bytes), ("memory", topic.memory)];
        pairs.extend(sizes.map(|(name, size)| (name, report::size(size))));
        pairs.extend(topic.settings.pairs());
        report::pairs(pairs)
    }
}

impl View {
    async fn run(self) -> Result<(), Failure> {
        // Fails if the topic does not exist; subscribing would create it.
        let client = self.server.connect(NAME).await?;
        client.topic(&self.topic).await?;
        client.close().await?;
        let Self { topic, from, count, show, server } = self;
        Subscribe::view(topic, from, count, show, server).run().await
    }
}

/// Checks a pattern, or the name of a topic.
fn parse_pattern(text: &str) -> Result<String, PatternError> {
    TopicPattern::parse(text.as_bytes()).map(|_| text.to_owned())
}

/// Names the command that changes a topic if it exists with other settings than these.
fn explain(error: ClientError, topic: &str, settings: &SettingsArgs) -> Failure {
    let mut advice = String::new();
    if let ClientError::Request(RequestError::Refused { refusal, .. }) = &error
        && refusal.code == RefusalCode::SettingsDiffer
    {
        let (topic, flags) = (hints::argument(topic), settings.flags(refusal.value));
        advice = format!(": zaichik topic alter {topic} {flags}");
    }
    Failure::from(error).with_context("", &advice)
}

impl<'a> TopicReport<'a> {
    fn new(topic: &'a TopicInfo) -> Self {
        Self {
            topic: &topic.name,
            explicit: topic.explicit,
            start: topic.start,
            end: topic.end,
            messages: topic.messages,
            bytes: topic.bytes,
            keys: topic.keys,
            subscriptions: topic.subscriptions,
            memory: topic.memory,
            settings: Settings::new(&topic.settings),
        }
    }
}
