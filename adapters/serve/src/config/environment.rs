//! What the environment says.

use std::path::PathBuf;

use super::field::Value;
use super::file::Given;
use super::keys::{KEYS, PREFIX, env_name};
use super::suggest::{closest, did_you_mean};
use super::{Mistake, Origin};

/// The variable that named a port before there were others.
const PORT: &str = "PORT";

/// Where the file is.
const CONFIG: &str = "ZAICHIK_CONFIG";

/// What else there is under the prefix, as the names of settings are: the file, and what clients read.
const OTHERS: &[&str] = &["config", "url"];

/// A copy of the environment, as far as brokers care about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// The process's.
    pub(crate) fn of_the_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        let mut variables: Vec<_> = std::env::vars_os().map(text).collect();
        variables.sort();
        Self { variables }
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { variables: variables.iter().map(owned).collect() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The file that it names.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        self.get(CONFIG).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// The directory of the user's configuration.
    pub(crate) fn config_home(&self) -> Option<PathBuf> {
        let named = |name| self.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        named("XDG_CONFIG_HOME").or_else(|| named("HOME").map(|home| home.join(".config")))
    }

    /// The port that it names.
    pub(crate) fn port(&self) -> Option<(&str, Origin)> {
        self.get(PORT).map(|port| (port, Origin::Env(PORT.to_owned())))
    }

    /// The settings that it names, and names that nobody knows.
    pub(crate) fn settings(&self) -> (Vec<Given>, Vec<Mistake>) {
        let (mut given, mut mistakes) = (Vec::new(), Vec::new());
        let ours = self.variables.iter().filter(|(name, _)| name.starts_with(PREFIX));
        for (name, value) in ours.filter(|(name, value)| !is_of_kubernetes(name, value)) {
            if let Some(key) = KEYS.iter().find(|key| key.env() == *name) {
                let value = Value::Text(value.clone());
                given.push(Given { key, value, origin: Origin::Env(name.clone()) });
            } else if !OTHERS.iter().any(|known| env_name(known) == *name) {
                mistakes.push(unknown(name));
            }
        }
        (given, mistakes)
    }
}

fn unknown(name: &str) -> Mistake {
    // As paths of the file, so that a name without its table is recognised.
    let wanted = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
    let meant = closest(&wanted, KEYS.iter().map(|key| key.path).chain(OTHERS.iter().copied()), '.');
    let meant = meant.map(env_name);
    Mistake(format!("env {name}: there is no such setting{}", did_you_mean(meant.as_deref())))
}

/// Whether it is one of the variables that Kubernetes gives every pod beside a service called `zaichik`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    rest == PORT && value.contains("://") || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_knows_are_mistakes() {
        let names =
            ["ZAICHIK_LIMITS_MAX_TOPIC", "ZAICHIK_MAX_TOPICS", "ZAICHIK_COLOUR", "ZAICHIK_URL", "HOME"];
        let environment = Environment::of(&names.map(|name| (name, "1")));
        let (given, mistakes) = environment.settings();
        assert!(given.is_empty());
        let said: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "env ZAICHIK_LIMITS_MAX_TOPIC: there is no such setting; did you mean ZAICHIK_LIMITS_MAX_TOPICS?",
                "env ZAICHIK_MAX_TOPICS: there is no such setting; did you mean ZAICHIK_LIMITS_MAX_TOPICS?",
                "env ZAICHIK_COLOUR: there is no such setting",
            ]
        );
    }

    #[test]
    fn a_service_called_zaichik_is_no_mistake() {
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
