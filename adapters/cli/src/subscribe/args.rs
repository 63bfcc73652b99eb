//! The arguments of `zaichik sub`.

use std::time::Duration;

use clap::{ArgGroup, Args};

use super::commits::CommitMode;
use super::position::Position;
use super::show::ShowArgs;
use crate::connect::ServerArgs;

/// The default window, in messages.
pub(super) const WINDOW: u32 = 256;

const READING: &str = "Reading";

const EXAMPLES: &str = "\
Examples:
  zaichik sub orders                           # stored messages, then new ones
  zaichik sub orders -o latest                 # only new messages
  zaichik sub orders -o -10 -e                 # the last ten
  zaichik sub orders -o @-5m -e -J | jq .body  # the last five minutes
  zaichik sub orders payments -v               # two topics; each line begins with its topic
  zaichik sub 'orders.*' -v                    # every topic of this form, also those created later
  zaichik sub 'orders.>' -F '%t %s\n'           # also orders.eu.new, and so on
  zaichik sub orders -c 1 -W 5s                # one message, within five seconds
  zaichik sub jobs --durable worker            # continues where it stopped
  zaichik sub jobs --shared workers            # each message goes to one of those who run this
  zaichik sub jobs -F '%o %k %s{hex}\\n'

Exit code: 0 if it is done or was stopped by a signal, 4 if --wait expired before a message (or all of --count)
arrived, or the broker did not confirm a commit that was asked for or is of a durable or shared subscription, 5 if the broker
refused a request, 6 if messages are missing and --fail-on-gap is given.";

/// Subscribe to topics.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("kept").args(["durable", "shared"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate flag")]
pub(crate) struct Subscribe {
    /// Topics to subscribe to; created with the broker's defaults if they do not exist. In a pattern, * stands for any one part
    /// of a name between dots, and > at the end for one or more.
    #[arg(required = true, value_name = "TOPIC")]
    pub(super) topics: Vec<String>,
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
    pub(super) from: Position,
    /// Stop after N messages.
    #[arg(short, long, value_name = "N", help_heading = READING)]
    pub(super) count: Option<u64>,
    /// Stop at the offsets where the topics ended when the command started.
    #[arg(short, long, help_heading = READING)]
    pub(super) exit_at_end: bool,
    /// Stop if no message arrives within DURATION.
    #[arg(short = 'W', long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    #[arg(help_heading = READING)]
    pub(super) wait: Option<Duration>,
    /// Use a durable subscription of this name: the next subscriber with the name continues after the last commit.
    #[arg(long, value_name = "NAME", help_heading = READING)]
    pub(super) durable: Option<String>,
    /// How long the durable or shared subscription is kept while no connection holds it; the broker's default is 24h unless
    /// it is configured otherwise. The newest subscriber decides.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "kept")]
    #[arg(help_heading = READING)]
    pub(super) inactive_ttl: Option<Duration>,
    /// Share the messages with the other members of this name: each goes to one of them, and is acknowledged alone instead of
    /// committed.
    #[arg(long, value_name = "NAME", conflicts_with = "exit_at_end", help_heading = READING)]
    pub(super) shared: Option<String>,
    /// Messages with one key are held by one member at a time, in order.
    #[arg(long, requires = "shared", help_heading = READING)]
    pub(super) by_key: bool,
    /// How long a message may be held before it goes to another member [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "shared")]
    #[arg(help_heading = READING)]
    pub(super) ack_deadline: Option<Duration>,
    /// Maximum uncommitted messages; 0 turns commits off [default: 256, or --count if that is less].
    #[arg(long, value_name = "N", help_heading = READING)]
    pub(super) window: Option<u32>,
    /// When to commit messages.
    #[arg(long, value_enum, value_name = "MODE", default_value = "auto", help_heading = READING)]
    pub(super) commit: CommitMode,
    /// Give up on a message after N failures.
    ///
    /// A message fails if it is the only uncommitted one of a durable subscription when the connection breaks, whether or
    /// not it was printed; with --commit manual also if it is the only printed one that is not committed when the input
    /// ends or nobody reads the output any more. Any other end of the command is no failure.
    #[arg(long, value_name = "N", requires = "dead_letter", help_heading = READING)]
    pub(super) max_attempts: Option<u32>,
    /// Topic that failed messages are moved to.
    #[arg(long, value_name = "TOPIC", requires = "max_attempts", help_heading = READING)]
    pub(super) dead_letter: Option<String>,
    /// Exit with code 6 if messages are missing because they expired, a limit removed them, or the broker restarted.
    #[arg(long, help_heading = READING)]
    pub(super) fail_on_gap: bool,
    #[command(flatten)]
    pub(super) show: ShowArgs,
    /// Begin each raw line with its topic, and report where each subscription begins.
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Output")]
    pub(super) verbose: bool,
    /// Do not report missing messages and broken connections.
    #[arg(short, long, help_heading = "Output")]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Whether it runs for `topic view`, which does not report where it begins.
    #[arg(skip)]
    pub(super) is_view: bool,
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
            shared: None,
            by_key: false,
            ack_deadline: None,
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
}
