//! The configuration file: which one to read, and the settings and topics in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::field::Value;
use super::keys::{self, KEYS, Key};
use super::origin::{GivenSetting, Mistake, Origin};
use super::suggest::{closest, did_you_mean};
use super::topic::{self, GivenTopic};

/// The file in the working directory.
const HERE: &str = "zaichik.toml";

/// The file in the directory of the user's configuration files.
const OF_THE_USER: &str = "zaichik/config.toml";

/// Maximum size of a file, in bytes: far more than all settings with their comments.
const MAX_SIZE: u64 = 1 << 20;

/// The file to read: the one that was named, otherwise the first that exists.
pub(crate) fn choose_path(named: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = named.map(Path::to_owned).or_else(|| environment.config());
    named.or_else(|| {
        let of_the_user = environment.config_home().map(|home| home.join(OF_THE_USER));
        [PathBuf::from(HERE)].into_iter().chain(of_the_user).find(|path| path.exists())
    })
}

/// What a file has, and all mistakes in it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) given: Vec<GivenSetting>,
    pub(crate) topics: Vec<GivenTopic>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Contents {
    let shown = path.display();
    let text = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_SIZE => {
            Err(format!("it has {} bytes, the maximum is {MAX_SIZE}", metadata.len()))
        }
        _ => std::fs::read_to_string(path).map_err(|error| error.to_string()),
    };
    match text {
        Ok(text) => parse(&shown.to_string(), &text),
        Err(error) => {
            let mistake = Mistake(format!("cannot read the configuration file {shown}: {error}"));
            Contents { mistakes: vec![mistake], ..Contents::default() }
        }
    }
}

/// What the text of a file called `name` has.
pub(crate) fn parse(name: &str, text: &str) -> Contents {
    let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
    let mut file = FileParser {
        name: name.into(),
        text,
        newlines: newlines.collect(),
        declared: BTreeMap::new(),
        contents: Contents::default(),
    };
    match DeTable::parse(text) {
        Ok(table) => file.add_table(None, table.get_ref()),
        Err(error) => {
            let at = error.span().unwrap_or_default();
            let message = error.message().replace('\n', ", ");
            file.add_mistake(&at, &message);
        }
    }
    file.contents
}

/// A file that is being parsed.
struct FileParser<'a> {
    name: Arc<str>,
    text: &'a str,
    /// Where its lines end.
    newlines: Vec<usize>,
    /// The topics so far, each with the place of its name.
    declared: BTreeMap<String, Origin>,
    contents: Contents,
}

impl FileParser<'_> {
    fn add_table(&mut self, table: Option<&str>, entries: &DeTable<'_>) {
        for (name, value) in in_order(entries) {
            let path = table
                .map_or_else(|| name.get_ref().to_string(), |table| format!("{table}.{}", name.get_ref()));
            match (keys::find(&path), value.get_ref()) {
                (Some(key), _) => {
                    let given = self.setting(key, &name.span(), value);
                    self.contents.given.push(given);
                }
                (None, DeValue::Array(topics)) if path == topic::TABLE => {
                    topics.iter().for_each(|topic| self.add_topic(topic));
                }
                (None, _) if path == topic::TABLE => {
                    self.add_mistake(&name.span(), "topic is a list of tables; use [[topic]]");
                }
                (None, DeValue::Table(entries)) if keys::is_table(&path) => {
                    self.add_table(Some(&path), entries);
                }
                (None, _) if keys::is_table(&path) => {
                    self.add_mistake(&name.span(), &format!("{path} is a table; use [{path}]"));
                }
                (None, _) => {
                    let known = KEYS.iter().map(|key| key.path).chain([topic::TABLE]);
                    let meant = closest(&path, known, '.');
                    let message = format!("unknown setting {path}{}", did_you_mean(meant));
                    self.add_mistake(&name.span(), &message);
                }
            }
        }
    }

    fn add_topic(&mut self, table: &Spanned<DeValue<'_>>) {
        let DeValue::Table(entries) = table.get_ref() else {
            return self.add_mistake(&table.span(), "topic is a list of tables; use [[topic]]");
        };
        let (mut topic_name, mut alter, mut given) = (None, (false, Origin::Default), Vec::new());
        for (name, value) in in_order(entries) {
            let at = name.span();
            match (&**name.get_ref(), value.get_ref(), topic::find(name.get_ref())) {
                (_, _, Some(key)) => given.push(self.setting(key, &at, value)),
                (topic::NAME, DeValue::String(text), _) => {
                    topic_name = Some((text.to_string(), self.origin(&at)));
                }
                (topic::NAME, _, _) => {
                    return self.add_invalid(&at, topic::NAME, value, "use a quoted string");
                }
                (topic::ALTER, DeValue::Boolean(value), _) => alter = (*value, self.origin(&at)),
                (topic::ALTER, _, _) => self.add_invalid(&at, topic::ALTER, value, "use true or false"),
                (other, _, _) => self.add_mistake(&at, &topic::unknown(other)),
            }
        }
        let Some((name, origin)) = topic_name else {
            return self.add_mistake(&table.span(), "a topic has no name; add name = \"…\"");
        };
        if let Some(first) = self.declared.insert(name.clone(), origin.clone()) {
            let mistake = format!("{origin}: topic {name:?} is declared twice; {first} has it too");
            return self.contents.mistakes.push(Mistake(mistake));
        }
        let (alter, alter_origin) = alter;
        self.contents.topics.push(GivenTopic { name, origin, alter, alter_origin, given });
    }

    fn setting(&self, key: &'static Key, at: &Range<usize>, value: &Spanned<DeValue<'_>>) -> GivenSetting {
        GivenSetting { key, value: self.value(value), origin: self.origin(at) }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no setting accepts any other type")]
    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        let other = || Value::Other(self.text.get(value.span()).unwrap_or_default().replace('\n', " "));
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| other(), Value::Number)
            }
            DeValue::Array(values) => {
                let texts: Option<_> = values.iter().map(|value| value.get_ref().as_str()).collect();
                texts.map_or_else(other, |texts: Vec<&str>| {
                    Value::List(texts.into_iter().map(str::to_owned).collect())
                })
            }
            _ => other(),
        }
    }

    fn add_invalid(&mut self, at: &Range<usize>, name: &str, value: &Spanned<DeValue<'_>>, instead: &str) {
        let value = self.value(value).shown();
        self.add_mistake(at, &format!("{}.{name} = {value} is invalid; {instead}", topic::TABLE));
    }

    fn add_mistake(&mut self, at: &Range<usize>, message: &str) {
        let mistake = Mistake(format!("{}: {message}", self.origin(at)));
        self.contents.mistakes.push(mistake);
    }

    fn origin(&self, at: &Range<usize>) -> Origin {
        Origin::File { name: Arc::clone(&self.name), line: self.line(at) }
    }

    /// The line that a span begins in, counted from 1.
    fn line(&self, at: &Range<usize>) -> usize {
        self.newlines.partition_point(|newline| *newline < at.start).saturating_add(1)
    }
}

/// The entries of a table in the order of the file.
fn in_order<'a, 'text>(
    table: &'a DeTable<'text>,
) -> Vec<(&'a Spanned<Cow<'text, str>>, &'a Spanned<DeValue<'text>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        parse("z.toml", text).mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_value_has_its_line() {
        let text = "listen = [\"127.0.0.1:1\"]\n\n[limits]\n# more\nmax_topics = 0x10\nmax_window = 1_000\n";
        let Contents { given, mistakes, .. } = parse("z.toml", text);
        assert!(mistakes.is_empty());
        let found: Vec<_> = given
            .iter()
            .map(|given| (given.key.path, given.value.shown(), given.origin.to_string()))
            .collect();
        let expected = [
            ("listen", "[\"127.0.0.1:1\"]", "z.toml:1"),
            ("limits.max_topics", "16", "z.toml:5"),
            ("limits.max_window", "1000", "z.toml:6"),
        ];
        for (path, value, origin) in expected {
            assert!(found.contains(&(path, value.to_owned(), origin.to_owned())), "{path}: {found:?}");
        }
        assert_eq!(found.len(), expected.len());
    }

    #[test]
    fn unknown_settings_are_mistakes_with_a_suggestion() {
        assert_eq!(
            mistakes("\nlisten_on = 1\n[limits]\nmax_conections = 1\n"),
            [
                "z.toml:2: unknown setting listen_on; did you mean listen?",
                "z.toml:4: unknown setting limits.max_conections; did you mean limits.max_connections?",
            ]
        );
        assert_eq!(mistakes("[limit]\nmax_topics = 1"), ["z.toml:1: unknown setting limit"]);
        assert_eq!(mistakes("limits = 3"), ["z.toml:1: limits is a table; use [limits]"]);
    }

    #[test]
    fn topics_are_read_in_their_order_with_their_lines() {
        let text = "[[topic]]\nname = \"b\"\nmax_bytes = 5\n\n[[topic]]\nalter = true\nname = \"a\"\n";
        let Contents { topics, mistakes, .. } = parse("z.toml", text);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let shown = |topic: &GivenTopic| {
            let given: Vec<_> =
                topic.given.iter().map(|one| format!("{} {}", one.key.path, one.origin)).collect();
            format!("{} {} {} {given:?}", topic.name, topic.origin, topic.alter)
        };
        let shown: Vec<_> = topics.iter().map(shown).collect();
        assert_eq!(shown, ["b z.toml:2 false [\"topic_defaults.max_bytes z.toml:3\"]", "a z.toml:7 true []"]);
    }

    #[test]
    fn mistakes_in_topics_have_their_lines() {
        let topics = "[[topic]]\nname = \"a\"\nmax_byte = 1\nalter = 1\n[[topic]]\nname = \"a\"\n[[topic]]\n\
                      [[topic]]\nname = 3\n";
        assert_eq!(
            mistakes(topics),
            [
                "z.toml:3: unknown setting topic.max_byte; did you mean max_bytes?",
                "z.toml:4: topic.alter = 1 is invalid; use true or false",
                "z.toml:6: topic \"a\" is declared twice; z.toml:2 has it too",
                "z.toml:7: a topic has no name; add name = \"…\"",
                "z.toml:9: topic.name = 3 is invalid; use a quoted string",
            ]
        );
        for text in ["topic = 3", "[topic]\nname = \"a\"", "topic = [3]"] {
            assert_eq!(mistakes(text), ["z.toml:1: topic is a list of tables; use [[topic]]"], "{text}");
        }
        assert_eq!(
            mistakes("[[topics]]\nname = \"a\""),
            ["z.toml:1: unknown setting topics; did you mean topic?"]
        );
    }

    #[test]
    fn a_syntax_error_is_one_line() {
        let messages = mistakes("listen = [\"127.0.0.1:1\"]\ndrain = 127.0.0.1");
        assert_eq!(messages.len(), 1);
        assert!(messages[0].starts_with("z.toml:2: ") && !messages[0].contains('\n'), "{messages:?}");
    }
}
