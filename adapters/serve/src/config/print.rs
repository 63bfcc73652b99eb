//! The configuration as a file.

use std::fmt::Write;

use super::keys::{KEYS, Key};
use super::settings::Settings;
use super::{Config, Origin};

/// What stands above the defaults.
const HEADER: &str = "\
# Zaichik's configuration: every value shown is the default. `zaichik config default` prints this file.
#
# It is read from --config, $ZAICHIK_CONFIG, ./zaichik.toml or $XDG_CONFIG_HOME/zaichik/config.toml, the first that
# is there. Flags are above the environment (ZAICHIK_LIMITS_MEMORY=1GiB), which is above PORT, which is above this.
# `zaichik config print` shows what holds, and where each value comes from.
";

/// The file with every default, and what each setting is.
pub(crate) fn default_file() -> String {
    let mut settings = Settings::default();
    let lines = KEYS.iter().map(|key| {
        let Line { name, value } = line(key, &mut settings);
        (key, format!("# {}.\n{name} = {value}\n", key.help))
    });
    format!("{HEADER}\n{}", file(lines, "\n"))
}

impl Config {
    /// The file with what holds, and where it comes from.
    pub(crate) fn effective_file(&self) -> String {
        let mut settings = self.settings.clone();
        let lines = KEYS.iter().zip(&self.origins).map(|(key, origin)| {
            let Line { name, value } = line(key, &mut settings);
            (key, format!("{name} = {value}  # {}\n", Comment(origin)))
        });
        file(lines, "")
    }
}

/// A setting as it stands in a file.
struct Line {
    name: &'static str,
    value: String,
}

fn line(key: &Key, settings: &mut Settings) -> Line {
    Line { name: key.table_and_name().1, value: (key.field)(settings).write() }
}

/// Puts lines into their tables; `between` stands between two settings.
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

/// An origin that can't end its comment.
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
    fn the_default_file_says_what_holds_without_it() {
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
            "write it anew: zaichik config default > packaging/zaichik.toml"
        );
    }
}
