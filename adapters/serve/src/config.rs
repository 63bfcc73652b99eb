//! The configuration, each value with its origin. Flags override the environment, which overrides `PORT`, which
//! overrides the file, which overrides the defaults.

mod address;
mod environment;
mod field;
mod file;
mod keys;
mod origin;
mod print;
mod settings;
mod suggest;
mod topic;

use std::path::PathBuf;

pub(crate) use address::Address;
pub(crate) use environment::Environment;
pub(crate) use keys::{KEYS, Key};
pub(crate) use origin::{Mistake, Origin};
pub(crate) use print::{default_file, default_json, default_value};
pub(crate) use settings::{LogFormat, Settings, StorageSync};
pub(crate) use topic::DeclaredTopic;

use crate::Options;
use field::Value;
use origin::GivenSetting;

/// A broker's settings, and the origin of each.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// Topics to create, in the order of the file.
    pub(crate) topics: Vec<DeclaredTopic>,
    /// The file that was read, if any.
    file: Option<PathBuf>,
    /// One per setting, in the order of [`KEYS`].
    origins: Vec<Origin>,
}

impl Config {
    /// Merges the layers.
    ///
    /// # Errors
    /// All mistakes, including those in values that a higher layer overrides.
    pub(crate) fn load(options: &Options, environment: &Environment) -> Result<Self, Vec<Mistake>> {
        let file = file::choose_path(options.config(), environment);
        let file::Contents { given, topics, mut mistakes } =
            file.as_deref().map(file::read).unwrap_or_default();
        let mut config = Self {
            settings: Settings::default(),
            topics: Vec::new(),
            file,
            origins: vec![Origin::Default; KEYS.len()],
        };
        config.apply_all(given, &mut mistakes);
        if let Some((port, origin)) = environment.port() {
            config.apply_port(port, origin, &mut mistakes);
        }
        let (given, unknown) = environment.settings();
        config.apply_all(given, &mut mistakes);
        mistakes.extend(unknown);
        let flags = options.given().map(|(key, values)| GivenSetting {
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
        let resolve = |topic| DeclaredTopic::resolve(topic, &config.settings, &mut mistakes);
        config.topics = topics.into_iter().map(resolve).collect();
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// The sources of the configuration in one line: the file, variables and flags.
    pub(crate) fn sources(&self) -> String {
        let file = self.file.as_ref().map(|path| path.display().to_string());
        let variables = self.origins.iter().filter(|origin| matches!(origin, Origin::Env(_)));
        let flags = self.origins.iter().filter(|origin| matches!(origin, Origin::Flag(_)));
        let named = variables.chain(flags).map(ToString::to_string);
        let sources: Vec<_> = file.into_iter().chain(named).collect();
        if sources.is_empty() { "defaults".to_owned() } else { sources.join(" + ") }
    }

    /// The origin of a setting's value.
    pub(crate) fn origin(&self, path: &str) -> &Origin {
        let index = KEYS.iter().position(|key| key.path == path);
        index.and_then(|index| self.origins.get(index)).unwrap_or(&Origin::Default)
    }

    fn apply_all(&mut self, given: impl IntoIterator<Item = GivenSetting>, mistakes: &mut Vec<Mistake>) {
        for given in given {
            match given.apply(&mut self.settings, given.key.path) {
                Ok(()) => self.set_origin(given.key, given.origin),
                Err(mistake) => mistakes.push(mistake),
            }
        }
    }

    /// Sets the only address to listen on: this port on 127.0.0.1.
    fn apply_port(&mut self, port: &str, origin: Origin, mistakes: &mut Vec<Mistake>) {
        match (port.trim().parse(), keys::find("listen")) {
            (Ok(port), Some(key)) => {
                self.settings.listen = vec![Address::loopback(port)];
                self.set_origin(key, origin);
            }
            _ => mistakes.push(Mistake(format!(
                "{origin}: {port:?} is not a port; use a whole number from 0 to 65535, 0 for any free port"
            ))),
        }
    }

    fn set_origin(&mut self, key: &Key, origin: Origin) {
        let index = KEYS.iter().position(|known| known.path == key.path);
        if let Some(current) = index.and_then(|index| self.origins.get_mut(index)) {
            *current = origin;
        }
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
    fn each_layer_overrides_the_one_before() {
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
        let mistakes = load(
            &["--max-topics", "none", "--drain=soon"],
            &[("PORT", "many"), ("ZAICHIK_LIMITS_MEMORY", "lots"), ("ZAICHIK_DRAINS", "1s")],
        );
        assert_eq!(
            mistakes.expect_err("all wrong"),
            [
                "env PORT: \"many\" is not a port; use a whole number from 0 to 65535, 0 for any free port",
                "env ZAICHIK_LIMITS_MEMORY: limits.memory = \"lots\" is invalid; use a share of the machine's \
             memory such as \"25%\", or a size such as \"256MiB\", at least 8MiB",
                "env ZAICHIK_DRAINS: unknown setting; did you mean ZAICHIK_DRAIN?",
                "--drain: drain = \"soon\" is invalid; use a duration such as \"30s\", \"5m\" or \"24h\"",
                "--max-topics: limits.max_topics = \"none\" is invalid; use a whole number from 1 to 4294967295",
            ]
        );
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let settings = KEYS.iter().map(Key::env);
        for name in settings.chain(["PORT", "ZAICHIK_CONFIG", "ZAICHIK_NO_SUCH_SETTING"].map(str::to_owned)) {
            let config = load(&[], &[(&name, "")]).expect(&name);
            assert_eq!(config.sources(), "defaults", "{name}");
            assert_eq!(config.settings, Settings::default(), "{name}");
        }
        let config = load(&[], &[("PORT", "2"), ("ZAICHIK_LISTEN", "")]).expect("valid");
        assert_eq!(config.settings.listen[0].as_str(), "127.0.0.1:2", "an empty variable overrides nothing");
    }

    #[test]
    fn the_sources_are_named_once() {
        let config = load(&["--drain=1s"], &[("PORT", "0"), ("ZAICHIK_TOKEN_FILE", "t")]).expect("valid");
        assert_eq!(config.sources(), "env PORT + env ZAICHIK_TOKEN_FILE + --drain");
        assert_eq!(load(&[], &[]).expect("valid").sources(), "defaults");
    }
}
