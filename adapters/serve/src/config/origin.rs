//! The origins of settings' values, and mistakes in them.

use std::fmt;
use std::sync::Arc;

use super::field::Value;
use super::keys::Key;
use super::settings::Settings;

/// A value that one of the layers gives to a setting.
#[derive(Debug)]
pub(crate) struct GivenSetting {
    pub(crate) key: &'static Key,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

impl GivenSetting {
    /// Gives the setting its value.
    ///
    /// # Errors
    /// The value is invalid; the mistake names the setting as `path`.
    pub(crate) fn apply(&self, settings: &mut Settings, path: &str) -> Result<(), Mistake> {
        let Self { key, value, origin } = self;
        (key.field)(settings)
            .read(value)
            .map_err(|instead| Mistake(format!("{origin}: {path} = {} is invalid; {instead}", value.shown())))
    }
}

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    /// A line of the configuration file, counted from 1.
    File {
        name: Arc<str>,
        line: usize,
    },
    /// The name of an environment variable.
    Env(String),
    /// A flag with its dashes.
    Flag(String),
}

/// A mistake in the configuration, as one line that names its origin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake(pub(crate) String);

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
    use super::*;

    #[test]
    fn an_origin_names_the_layer_and_the_place() {
        let file = Origin::File { name: "zaichik.toml".into(), line: 3 };
        for (origin, expected) in [
            (Origin::Default, "default"),
            (file, "zaichik.toml:3"),
            (Origin::Env("ZAICHIK_DRAIN".to_owned()), "env ZAICHIK_DRAIN"),
            (Origin::Flag("--drain".to_owned()), "--drain"),
        ] {
            assert_eq!(origin.to_string(), expected);
        }
    }
}
