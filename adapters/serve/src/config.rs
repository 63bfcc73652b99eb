//! The configuration: flags over the environment over `PORT` over the file over defaults, each value with its origin.

mod address;
mod environment;
mod field;
mod file;
mod keys;
mod print;
mod settings;
mod suggest;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use address::Address;
pub(crate) use environment::Environment;
pub(crate) use keys::{KEYS, Key};
pub(crate) use print::default_file;
pub(crate) use settings::{LogFormat, Settings};

use crate::Options;
use field::Value;
use file::Given;

/// A broker's settings, and where each of them comes from.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// The file that was read.
    file: Option<PathBuf>,
    /// As many as there are settings, in their order.
    origins: Vec<Origin>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { name: Arc<str>, line: usize },
    Env(String),
    Flag(String),
}

/// One line about something that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake(pub(crate) String);

impl Config {
    /// Puts the layers together.
    ///
    /// # Errors
    /// Everything that is wrong, whether or not a higher layer says something else.
    pub(crate) fn load(options: &Options, environment: &Environment) -> Result<Self, Vec<Mistake>> {
        let file = file::choose(options.config(), environment);
        let (given, mut mistakes) = file.as_deref().map(file::read).unwrap_or_default();
        let mut config =
            Self { settings: Settings::default(), file, origins: vec![Origin::Default; KEYS.len()] };
        config.apply_all(given, &mut mistakes);
        if let Some((port, origin)) = environment.port() {
            config.apply_port(port, origin, &mut mistakes);
        }
        let (given, unknown) = environment.settings();
        config.apply_all(given, &mut mistakes);
        mistakes.extend(unknown);
        let flags = options.given().map(|(key, values)| Given {
            key,
            value: match values {
                [value] => Value::Text(value.clone()),
                values => Value::List(values.to_vec()),
            },
            origin: Origin::Flag(format!("--{}", key.flag().unwrap_or_default())),
        });
        config.apply_all(flags, &mut mistakes);
        if let Some(port) = options.port() {
            config.apply_port(port, Origin::Flag("--port".to_owned()), &mut mistakes);
        }
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// What the configuration is made of, in a few words.
    pub(crate) fn sources(&self) -> String {
        let file = self.file.as_ref().map(|path| path.display().to_string());
        let variables = self.origins.iter().filter(|origin| matches!(origin, Origin::Env(_)));
        let flags = self.origins.iter().filter(|origin| matches!(origin, Origin::Flag(_)));
        let named = variables.chain(flags).map(ToString::to_string);
        let sources: Vec<_> = file.into_iter().chain(named).collect();
        if sources.is_empty() { "defaults".to_owned() } else { sources.join(" + ") }
    }

    /// Where the value of a setting comes from.
    pub(crate) fn origin(&self, path: &str) -> &Origin {
        let place = KEYS.iter().position(|key| key.path == path);
        place.and_then(|place| self.origins.get(place)).unwrap_or(&Origin::Default)
    }

    fn apply_all(&mut self, given: impl IntoIterator<Item = Given>, mistakes: &mut Vec<Mistake>) {
        for Given { key, value, origin } in given {
            match (key.field)(&mut self.settings).read(&value) {
                Ok(()) => self.note(key, origin),
                Err(instead) => {
                    let value = value.shown();
                    mistakes.push(Mistake(format!("{origin}: {} = {value} is wrong; {instead}", key.path)));
                }
            }
        }
    }

    /// A port stands for an address of this machine, and for that one only.
    fn apply_port(&mut self, port: &str, origin: Origin, mistakes: &mut Vec<Mistake>) {
        match (port.trim().parse(), keys::find("listen")) {
            (Ok(port), Some(key)) => {
                self.settings.listen = vec![Address::loopback(port)];
                self.note(key, origin);
            }
            _ => mistakes.push(Mistake(format!(
                "{origin}: {port:?} is no port; use a whole number from 0 to 65535, 0 for any free port"
            ))),
        }
    }

    fn note(&mut self, key: &Key, origin: Origin) {
        let place = KEYS.iter().position(|known| known.path == key.path);
        if let Some(known) = place.and_then(|place| self.origins.get_mut(place)) {
            *known = origin;
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let cli = Cli::try_parse_from(["zaichik"].iter().chain(flags)).expect("known flags");
        Config::load(&cli.options, &Environment::of(variables))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_layer_is_above_the_one_before() {
        let port = ("PORT", "2");
        let listen = ("ZAICHIK_LISTEN", "127.0.0.1:3");
        for (flags, variables, address, origin) in [
            (&[][..], &[][..], "127.0.0.1:8889", "default"),
            (&[], &[port], "127.0.0.1:2", "env PORT"),
            (&[], &[port, listen], "127.0.0.1:3", "env ZAICHIK_LISTEN"),
            (&["--listen", "127.0.0.1:4"], &[port, listen], "127.0.0.1:4", "--listen"),
            (&["-p", "5"], &[port, listen], "127.0.0.1:5", "--port"),
        ] {
            let config = load(flags, variables).expect("valid");
            assert_eq!(config.settings.listen.len(), 1);
            assert_eq!(config.settings.listen[0].as_str(), address);
            assert_eq!(config.origins[0].to_string(), origin);
        }
    }

    #[test]
    fn every_mistake_is_a_line_with_its_origin() {
        let said = load(
            &["--max-topics", "none", "--drain=soon"],
            &[("PORT", "many"), ("ZAICHIK_LIMITS_MEMORY", "lots"), ("ZAICHIK_DRAINS", "1s")],
        );
        assert_eq!(
            said.expect_err("all wrong"),
            [
                "env PORT: \"many\" is no port; use a whole number from 0 to 65535, 0 for any free port",
                "env ZAICHIK_LIMITS_MEMORY: limits.memory = \"lots\" is wrong; use a share of the machine's such as \
             \"25%\", or a size such as \"256MiB\"",
                "env ZAICHIK_DRAINS: there is no such setting; did you mean ZAICHIK_DRAIN?",
                "--drain: drain = \"soon\" is wrong; use a duration such as \"30s\", \"5m\" or \"24h\"",
                "--max-topics: limits.max_topics = \"none\" is wrong; use a whole number from 1 to 4294967295",
            ]
        );
    }

    #[test]
    fn the_sources_are_named_once() {
        let config = load(&["--drain=1s"], &[("PORT", "0"), ("ZAICHIK_TOKEN_FILE", "")]).expect("valid");
        assert_eq!(config.sources(), "env PORT + env ZAICHIK_TOKEN_FILE + --drain");
        assert_eq!(load(&[], &[]).expect("valid").sources(), "defaults");
    }
}
