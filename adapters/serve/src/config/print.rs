//! Writes the configuration as a file.

use std::fmt::Write;

use super::Config;
use super::keys::{KEYS, Key};
use super::origin::Origin;
use super::settings::Settings;

/// The comment at the top of the default file.
const HEADER: &str = "\
# Zaichik's configuration. Every value shown is the default; `zaichik config default` prints this file.
#
# The broker reads the first that exists of --config, $ZAICHIK_CONFIG, ./zaichik.toml and
# $XDG_CONFIG_HOME/zaichik/config.toml. Flags override the environment (ZAICHIK_LIMITS_MEMORY=1GiB), which overrides
# PORT, which overrides this file. `zaichik config print` shows the effective values and where each one comes from.
";

/// The file with every setting at its default, and a comment on each.
pub(crate) fn default_file() -> String {
    let mut settings = Settings::default();
    let lines = KEYS.iter().map(|key| {
        let Line { name, value } = line(key, &mut settings);
        (key, format!("# {}.\n{name} = {value}\n", key.help))
    });
    format!("{HEADER}\n{}", file(lines, "\n"))
}

/// The default of a setting for a help text: without quotes and brackets, `none` for an empty value.
pub(crate) fn default_value(key: &Key) -> String {
    let value = line(key, &mut Settings::default()).value.replace(['"', '[', ']'], "");
    if value.is_empty() { "none".to_owned() } else { value }
}

impl Config {
    /// The file with the effective values, each with its origin.
    pub(crate) fn effective_file(&self) -> String {
        let mut settings = self.settings.clone();
        let lines = KEYS.iter().zip(&self.origins).map(|(key, origin)| {
            let Line { name, value } = line(key, &mut settings);
            (key, format!("{name} = {value}  # {}\n", Comment(origin)))
        });
        file(lines, "")
    }
}

/// A setting as one line of a file.
struct Line {
    name: &'static str,
    value: String,
}

fn line(key: &Key, settings: &mut Settings) -> Line {
    Line { name: key.table_and_name().1, value: (key.field)(settings).write() }
}

/// Puts lines into their tables, with `between` after each setting but the last of its table.
fn file(lines: impl Iterator<Item = (&'static Key, String)>, between: &str) -> String {
    let mut file = String::new();
    let mut last = None;
    for (key, line) in lines {
        let table = key.table_and_name().0;
        match table {
            Some(table) if Some(table) != last => {
                // Writing to a string succeeds.
                let _ = writeln!(file, "\n[{table}]");
            }
            _ if !file.is_empty() => file.push_str(between),
            _ => {}
        }
        last = table;
        file.push_str(&line);
    }
    file
}

/// An origin without control characters, so that it stays within its comment.
struct Comment<'a>(&'a Origin);

impl std::fmt::Display for Comment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        text.chars().filter(|char| !char.is_control()).try_for_each(|char| f.write_char(char))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::parse;

    #[test]
    fn the_default_file_has_the_defaults() {
        let (given, mistakes) = parse("default", &default_file());
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(given.len(), KEYS.len());
        let mut settings = Settings::default();
        for given in given {
            (given.key.field)(&mut settings).read(&given.value).unwrap();
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn the_packaged_file_is_the_default_file() {
        let packaged = include_str!("../../../../packaging/zaichik.toml");
        assert_eq!(
            default_file(),
            packaged,
            "update it with: zaichik config default > packaging/zaichik.toml"
        );
    }
}
