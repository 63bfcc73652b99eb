//! The command-line options of a broker.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{KEYS, Key, default_value};

/// How to run a broker. Flags override the environment, which overrides `PORT`, the file and the defaults.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Port to listen on, on 127.0.0.1; 0 picks any free port [env: PORT].
    #[arg(short, long, conflicts_with = "listen")]
    port: Option<String>,
    #[command(flatten)]
    settings: Flags,
    /// Configuration file. Default: the first that exists of `$ZAICHIK_CONFIG`, ./zaichik.toml and
    /// `$XDG_CONFIG_HOME/zaichik/config.toml`.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Log what each connection does; -vv logs every turn of every connection. `RUST_LOG` overrides it.
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Check the configuration, then exit.
    #[arg(long)]
    pub(crate) check: bool,
    /// Allow other machines to connect without a token, or to read the HTTP pages, which never ask for one.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Start although the clock of this machine is more than an hour before the last commit in the storage directory;
    /// the broker's time then stands still until the clock has caught up.
    #[arg(long)]
    pub(crate) accept_clock: bool,
    /// When ready, write one line of JSON (addresses, http, pid, version) to this file descriptor and close it.
    #[arg(long, value_name = "N")]
    pub(crate) ready_fd: Option<u32>,
}

impl Options {
    /// The configuration file, if one was named.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    pub(crate) fn port(&self) -> Option<&str> {
        self.port.as_deref()
    }

    /// The settings given as flags, with their values.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static Key, &[String])> {
        self.settings.0.iter().map(|(key, values)| (*key, values.as_slice()))
    }
}

/// The settings that are flags, as text: they are parsed together with the other layers.
#[derive(Debug, Default)]
struct Flags(Vec<(&'static Key, Vec<String>)>);

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let flags = KEYS.iter().filter_map(|key| Some((key, key.flag()?)));
        flags.fold(command, |command, (key, flag)| {
            let arg = Arg::new(key.path)
                .help(format!("{} [default: {}]", key.help, default_value(key)))
                .value_name(value_name(key.path))
                .action(if key.path == LISTEN { ArgAction::Append } else { ArgAction::Set });
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

/// The only flag that may be repeated.
const LISTEN: &str = "listen";

fn value_name(path: &str) -> &'static str {
    match path {
        LISTEN | "http" => "ADDR",
        "token_file" => "PATH",
        "storage.dir" => "DIR",
        "storage.sync" => "WHEN",
        "log_format" => "FORMAT",
        "drain" | "busy_poll" => "DURATION",
        _ if path.ends_with("_size")
            || path.ends_with("memory")
            || path.ends_with("buffer")
            || path.ends_with("bytes") =>
        {
            "SIZE"
        }
        _ if path.ends_with("_timeout") || path.ends_with("_ttl") || path.ends_with("heartbeat") => {
            "DURATION"
        }
        _ => "N",
    }
}
