//! The settings in the environment.

use std::path::PathBuf;

use super::field::Value;
use super::keys::{KEYS, PREFIX, env_name};
use super::origin::{GivenSetting, Mistake, Origin};
use super::suggest::{closest, did_you_mean};
use crate::planted::{Defect, is_planted};

/// The variable for the port alone, without Zaichik's prefix.
const PORT: &str = "PORT";

/// The variable for the path of the configuration file.
const CONFIG: &str = "ZAICHIK_CONFIG";

/// Known variables that are not settings, without the prefix: the configuration file, and the broker's URL for clients
/// under its two names.
const OTHERS: &[&str] = &["config", "server", "url"];

/// A copy of the environment, without empty variables: each of them counts as not set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_the_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        Self::new(std::env::vars_os().map(text))
    }

    fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut variables: Vec<_> = variables
            .into_iter()
            .filter(|(_, value)| !value.is_empty() || is_planted(Defect::EmptyVariable))
            .collect();
        variables.sort();
        Self { variables }
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self::new(variables.iter().map(owned))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The path of the configuration file, if the environment names one.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        self.get(CONFIG).map(PathBuf::from)
    }

    /// The directory of the user's configuration files.
    pub(crate) fn config_home(&self) -> Option<PathBuf> {
        let named = |name| self.get(name).map(PathBuf::from);
        named("XDG_CONFIG_HOME").or_else(|| named("HOME").map(|home| home.join(".config")))
    }

    /// The value of `PORT`, not yet parsed.
    pub(crate) fn port(&self) -> Option<(&str, Origin)> {
        self.get(PORT).map(|port| (port, Origin::Env(PORT.to_owned())))
    }

    /// The settings in variables with the prefix, and a mistake for each unknown one.
    pub(crate) fn settings(&self) -> (Vec<GivenSetting>, Vec<Mistake>) {
        let (mut given, mut mistakes) = (Vec::new(), Vec::new());
        let ours = self.variables.iter().filter(|(name, _)| name.starts_with(PREFIX));
        for (name, value) in ours.filter(|(name, value)| !is_of_kubernetes(name, value)) {
            if let Some(key) = KEYS.iter().find(|key| key.env() == *name) {
                let value = Value::Text(value.clone());
                given.push(GivenSetting { key, value, origin: Origin::Env(name.clone()) });
            } else if !OTHERS.iter().any(|known| env_name(known) == *name) {
                mistakes.push(unknown(name));
            }
        }
        (given, mistakes)
    }
}

fn unknown(name: &str) -> Mistake {
    // Compared with paths in the file, so that a name without its table is recognized.
    let wanted = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
    let meant = closest(&wanted, KEYS.iter().map(|key| key.path).chain(OTHERS.iter().copied()), '.');
    let meant = meant.map(env_name);
    Mistake(format!("env {name}: unknown setting{}", did_you_mean(meant.as_deref())))
}

/// Whether it is one of the variables that Kubernetes sets in every pod next to a service called `zaichik`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    rest == PORT && value.contains("://") || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_mistakes() {
        let names = [
            "ZAICHIK_LIMITS_MAX_TOPIC",
            "ZAICHIK_MAX_TOPICS",
            "ZAICHIK_COLOUR",
            "ZAICHIK_URL",
            "ZAICHIK_SERVER",
            "HOME",
        ];
        let environment = Environment::of(&names.map(|name| (name, "1")));
        let (given, mistakes) = environment.settings();
        assert!(given.is_empty());
        let messages: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "env ZAICHIK_COLOUR: unknown setting",
                "env ZAICHIK_LIMITS_MAX_TOPIC: unknown setting; did you mean ZAICHIK_LIMITS_MAX_TOPICS?",
                "env ZAICHIK_MAX_TOPICS: unknown setting; did you mean ZAICHIK_LIMITS_MAX_TOPICS?",
            ]
        );
    }

    #[test]
    fn a_kubernetes_service_called_zaichik_is_not_a_mistake() {
        let environment = Environment::of(&[
            ("ZAICHIK_PORT", "tcp://10.0.0.1:8889"),
            ("ZAICHIK_PORT_8889_TCP_ADDR", "10.0.0.1"),
            ("ZAICHIK_SERVICE_HOST", "10.0.0.1"),
        ]);
        assert!(environment.settings().1.is_empty());
        let (_, mistakes) = Environment::of(&[("ZAICHIK_PORT", "8889")]).settings();
        assert_eq!(mistakes.len(), 1);
    }
}
