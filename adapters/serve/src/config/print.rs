//! Writes the configuration as a file.

use std::fmt::Write;

use super::Config;
use super::keys::{KEYS, Key};
use super::origin::Origin;
use super::settings::Settings;
use super::topic::{TABLE, TopicLine};

/// The comment at the top of the default file.
const HEADER: &str = "\
# Zaichik's configuration. Every value shown is the default; `zaichik config default` prints this file.
#
# The broker reads the first that exists of --config, $ZAICHIK_CONFIG, ./zaichik.toml and
# $XDG_CONFIG_HOME/zaichik/config.toml. Flags override the environment (ZAICHIK_LIMITS_MEMORY=1GiB), which overrides
# PORT, which overrides this file. `zaichik config print` shows the effective values and where each one comes from.
";

/// The comment at the end of the default file.
const TOPICS: &str = "
# Topics to create when the broker starts. Settings that are left out are those of [topic_defaults]. A topic that exists
# with other settings is reported and stays as it is, unless `alter = true`.
#
# [[topic]]
# name = \"orders\"
# retention_ttl = \"1h\"
# max_bytes = \"1GiB\"
# alter = true
";

/// The file with every setting at its default, and a comment on each.
pub(crate) fn default_file() -> String {
    let mut settings = Settings::default();
    let lines = KEYS.iter().map(|key| {
        let Line { name, value } = line(key, &mut settings);
        (key, format!("# {}.\n{name} = {value}\n", key.help))
    });
    format!("{HEADER}\n{}{TOPICS}", file(lines, "\n"))
}

/// Every setting's default as one line of JSON: an object with the settings' paths.
pub(crate) fn default_json() -> String {
    let mut settings = Settings::default();
    let values: serde_json::Map<_, _> =
        KEYS.iter().map(|key| (key.path.to_owned(), json_value(key, &mut settings))).collect();
    format!("{}\n", serde_json::Value::from(values))
}

/// A setting's value, as the file has it.
fn json_value(key: &Key, settings: &mut Settings) -> serde_json::Value {
    let Line { name, value } = line(key, settings);
    parsed(name, &value)
}

/// A value in TOML as JSON.
fn parsed(name: &str, value: &str) -> serde_json::Value {
    let table: toml::Table = format!("{name} = {value}").parse().unwrap_or_default();
    table.get(name).and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
}

fn with_origin(value: &serde_json::Value, origin: &Origin) -> serde_json::Value {
    serde_json::json!({ "value": value, "origin": Comment(origin).to_string() })
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
        let topics = self.topics.iter().map(|topic| {
            let lines = topic.lines().into_iter().map(|TopicLine { name, value, origin }| {
                format!("{name} = {value}  # {}\n", Comment(origin))
            });
            format!("\n[[{TABLE}]]\n{}", lines.collect::<String>())
        });
        file(lines, "") + &topics.collect::<String>()
    }

    /// The effective values as one line of JSON: an object with the settings' paths, each with its value and its origin.
    pub(crate) fn effective_json(&self) -> String {
        let mut settings = self.settings.clone();
        let mut values: serde_json::Map<_, _> = KEYS
            .iter()
            .zip(&self.origins)
            .map(|(key, origin)| (key.path.to_owned(), with_origin(&json_value(key, &mut settings), origin)))
            .collect();
        if !self.topics.is_empty() {
            let topics = self.topics.iter().map(|topic| {
                let lines = topic.lines().into_iter();
                lines
                    .map(|line| {
                        (line.name.to_owned(), with_origin(&parsed(line.name, &line.value), line.origin))
                    })
                    .collect::<serde_json::Map<_, _>>()
            });
            values.insert(TABLE.to_owned(), topics.collect());
        }
        format!("{}\n", serde_json::Value::from(values))
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
    use crate::config::file::{Contents, parse};

    #[test]
    fn the_default_file_has_the_defaults() {
        let Contents { given, mistakes, topics } = parse("default", &default_file());
        assert!(topics.is_empty(), "they are an example");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(given.len(), KEYS.len());
        let mut settings = Settings::default();
        for given in given {
            (given.key.field)(&mut settings).read(&given.value).unwrap();
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn json_has_every_setting_as_the_file_has_it() {
        let json: serde_json::Value = serde_json::from_str(&default_json()).unwrap();
        assert_eq!(json.as_object().unwrap().len(), KEYS.len());
        for (path, expected) in [
            ("listen", serde_json::json!(["127.0.0.1:8889"])),
            ("limits.max_topics", 100_000.into()),
            ("limits.memory", "25%".into()),
            ("http", "".into()),
        ] {
            assert_eq!(json[path], expected, "{path}");
        }
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
