//! `zaichik topic`: what topics there are, what they keep and what is in them.

mod settings;

use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;
use zaichik_tokio::{TopicInfo, TopicStatus};

use self::settings::{Settings, SettingsArgs, retention};
use crate::connect::ServerArgs;
use crate::failure::Failure;
use crate::report::{self, OutputArgs};
use crate::subscribe::{Position, ShowArgs, Subscribe};

const EXAMPLES: &str = "\
Examples:
  zaichik topic create orders --retention-ttl 7d --max-bytes 1GiB
  zaichik topic create prices --retention-ttl forever --compaction latest
  zaichik topic alter orders --overflow reject
  zaichik topic ls
  zaichik topic view orders -o -5

Topics can't be deleted.";

/// How a command on topics names itself to the broker.
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
    /// Create a topic; one that was created by its first use takes the settings over.
    Create(Create),
    /// Change settings of a topic.
    Alter(Alter),
    /// List all topics.
    Ls(List),
    /// Show one topic and its settings.
    Info(Info),
    /// Show what is in a topic; nothing is consumed.
    View(View),
}

#[derive(Debug, Args)]
struct Create {
    /// Its name: 1 to 255 bytes of UTF-8 without control characters and without a $ at the beginning.
    topic: String,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("changes").required(true).multiple(true).args([
    "retention_ttl", "compaction_window", "compaction", "max_messages", "max_bytes", "overflow", "max_keys",
    "tombstone_ttl",
]))]
struct Alter {
    topic: String,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct Info {
    topic: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct View {
    topic: String,
    /// Where to begin, as for zaichik sub.
    #[arg(
        short = 'o',
        long,
        value_name = "POSITION",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    from: Position,
    /// Most messages to show.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// A topic, as JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
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

/// What became of a topic that was to be created, as JSON.
#[derive(Debug, Serialize)]
struct Created<'a> {
    topic: &'a str,
    status: &'static str,
}

impl Topic {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            TopicCommand::Create(create) => create.run().await,
            TopicCommand::Alter(alter) => alter.run().await,
            TopicCommand::Ls(list) => list.run().await,
            TopicCommand::Info(info) => info.run().await,
            TopicCommand::View(view) => view.run().await,
        }
    }
}

impl Create {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        let status = client.create_topic(&self.topic, self.settings.options()).await?;
        let (topic, status, what) = match status {
            TopicStatus::Created => (&self.topic, "created", "created"),
            TopicStatus::Adopted => (&self.topic, "adopted", "existed by its use, and has the settings"),
            TopicStatus::Unchanged => (&self.topic, "unchanged", "existed with these settings"),
            _ => (&self.topic, "ready", "is ready"),
        };
        if self.output.is_json() {
            report::json(&Created { topic, status })?;
        } else {
            report::done(format_args!("topic {topic}: {what}"));
        }
        Ok(client.close().await?)
    }
}

impl Alter {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        client.alter_topic(&self.topic, self.settings.options()).await?;
        report::done(format_args!("topic {}: changed", self.topic));
        Ok(client.close().await?)
    }
}

impl List {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect(NAME).await?;
        let topics = client.topics().await?;
        client.close().await?;
        if self.output.is_json() {
            return topics.iter().try_for_each(|topic| report::json(&Line::new(topic)));
        }
        if topics.is_empty() {
            report::done("no topics");
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
            let mut row = vec![topic.name.clone(), retention(&topic.settings)];
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
        let line = Line::new(&topic);
        if self.output.is_json() {
            return report::json(&line);
        }
        let created = if line.explicit { "explicitly" } else { "by its first use" };
        let mut pairs = vec![("topic", line.topic.to_owned()), ("created", created.to_owned())];
        let numbers = [
            ("start", line.start),
            ("end", line.end),
            ("messages", line.messages),
            ("bytes", line.bytes),
            ("keys", line.keys),
            ("subscriptions", u64::from(line.subscriptions)),
            ("memory", line.memory),
        ];
        pairs.extend(numbers.map(|(name, number)| (name, number.to_string())));
        pairs.extend(line.settings.pairs());
        report::pairs(pairs)
    }
}

impl View {
    async fn run(self) -> Result<(), Failure> {
        // Subscribing would create it.
        let client = self.server.connect(NAME).await?;
        client.topic(&self.topic).await?;
        client.close().await?;
        let Self { topic, from, count, show, server } = self;
        Subscribe::view(topic, from, count, show, server).run().await
    }
}

impl<'a> Line<'a> {
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
            settings: Settings::of(&topic.settings),
        }
    }
}
