//! What can be said about a broker on the command line.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{KEYS, Key};

/// How to run a broker. What a flag does not say, the environment, `PORT`, a file or a default does.
#[derive(Debug, Args)]
pub struct Options {
    /// The port to listen on, on 127.0.0.1; 0 takes any free one. Also: PORT.
    #[arg(short, long, conflicts_with = "listen")]
    port: Option<String>,
    #[command(flatten)]
    settings: Flags,
    /// The configuration file. Default: `$ZAICHIK_CONFIG`, ./zaichik.toml, `$XDG_CONFIG_HOME/zaichik/config.toml`.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Log what each connection does; twice: every turn of every connection. `RUST_LOG` is above it.
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Check the configuration, and end.
    #[arg(long)]
    pub(crate) check: bool,
    /// Listen on addresses that others reach without a token: for clients, or for HTTP, which has none.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// When ready, write a line of JSON to this descriptor and close it: addresses, http, pid, version.
    #[arg(long, value_name = "N")]
    pub(crate) ready_fd: Option<u32>,
}

impl Options {
    /// The file that was named.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    pub(crate) fn port(&self) -> Option<&str> {
        self.port.as_deref()
    }

    /// The settings given as flags.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static Key, &[String])> {
        self.settings.0.iter().map(|(key, values)| (*key, values.as_slice()))
    }
}

/// The settings that are flags, as texts: they are read together with what the other layers say.
#[derive(Debug)]
struct Flags(Vec<(&'static Key, Vec<String>)>);

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let flags = KEYS.iter().filter_map(|key| Some((key, key.flag()?)));
        flags.fold(command, |command, (key, flag)| {
            let arg = Arg::new(key.path)
                .help(key.help)
                .value_name(value_name(key.path))
                .action(if key.path == LISTEN { ArgAction::Append } else { ArgAction::Set });
            let arg = if key.path == LISTEN { arg.short('l') } else { arg };
            command.arg(arg.long(flag))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = KEYS.iter().filter(|key| key.flag().is_some());
        let given = flags.filter_map(|key| {
            let values = matches.get_many::<String>(key.path)?;
            Some((key, values.cloned().collect()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The one setting that may be given several times.
const LISTEN: &str = "listen";

fn value_name(path: &str) -> &'static str {
    match path {
        LISTEN | "http" => "ADDR",
        "token_file" => "PATH",
        "log_format" => "FORMAT",
        "drain" | "busy_poll" => "DURATION",
        _ if path.ends_with("_size") || path.ends_with("memory") || path.ends_with("buffer") => "SIZE",
        _ if path.ends_with("_timeout") || path.ends_with("_ttl") || path.ends_with("heartbeat") => {
            "DURATION"
        }
        _ => "N",
    }
}
