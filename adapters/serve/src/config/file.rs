//! The file: which one it is, and what it says.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::field::Value;
use super::keys::{self, KEYS, Key};
use super::suggest::{closest, did_you_mean};
use super::{Mistake, Origin};

/// The file of the directory that the command was started in.
const HERE: &str = "zaichik.toml";

/// The file in the directory of the user's configuration.
const OF_THE_USER: &str = "zaichik/config.toml";

/// Largest file: far more than all settings with their comments.
const LARGEST: u64 = 1 << 20;

/// A setting that was given somewhere.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) key: &'static Key,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// The file to read: the one that was named, otherwise the first that is there.
pub(crate) fn choose(named: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = named.map(Path::to_owned).or_else(|| environment.config());
    named.or_else(|| {
        let of_the_user = environment.config_home().map(|home| home.join(OF_THE_USER));
        [PathBuf::from(HERE)].into_iter().chain(of_the_user).find(|path| path.exists())
    })
}

/// The settings in a file, and everything that is wrong with it.
pub(crate) fn read(path: &Path) -> (Vec<Given>, Vec<Mistake>) {
    let shown = path.display();
    let text = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > LARGEST => Err(format!("it has {} bytes", metadata.len())),
        _ => std::fs::read_to_string(path).map_err(|error| error.to_string()),
    };
    match text {
        Ok(text) => parse(&shown.to_string(), &text),
        Err(error) => {
            (Vec::new(), vec![Mistake(format!("cannot read the configuration file {shown}: {error}"))])
        }
    }
}

/// The settings in the text of a file called `name`.
pub(crate) fn parse(name: &str, text: &str) -> (Vec<Given>, Vec<Mistake>) {
    let mut file = File { name: name.into(), text, given: Vec::new(), mistakes: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => file.take(None, table.get_ref()),
        Err(error) => {
            let at = error.span().unwrap_or_default();
            let message = error.message().replace('\n', ", ");
            file.mistake(&at, &message);
        }
    }
    (file.given, file.mistakes)
}

/// A file that is being read.
struct File<'a> {
    name: Arc<str>,
    text: &'a str,
    given: Vec<Given>,
    mistakes: Vec<Mistake>,
}

impl File<'_> {
    fn take(&mut self, table: Option<&str>, entries: &DeTable<'_>) {
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let path = table
                .map_or_else(|| name.get_ref().to_string(), |table| format!("{table}.{}", name.get_ref()));
            match (keys::find(&path), value.get_ref()) {
                (Some(key), _) => {
                    let origin = Origin::File { name: Arc::clone(&self.name), line: self.line(&name.span()) };
                    self.given.push(Given { key, value: self.value(value), origin });
                }
                (None, DeValue::Table(entries)) if keys::is_table(&path) => self.take(Some(&path), entries),
                (None, _) if keys::is_table(&path) => {
                    self.mistake(&name.span(), &format!("{path} is a table; use [{path}]"));
                }
                (None, _) => {
                    let meant = closest(&path, KEYS.iter().map(|key| key.path), '.');
                    let message = format!("there is no setting {path}{}", did_you_mean(meant));
                    self.mistake(&name.span(), &message);
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no setting takes anything else")]
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

    fn mistake(&mut self, at: &Range<usize>, message: &str) {
        let line = self.line(at);
        self.mistakes.push(Mistake(format!("{}:{line}: {message}", self.name)));
    }

    /// The line that a span begins in, counted from 1.
    fn line(&self, at: &Range<usize>) -> usize {
        self.text.bytes().take(at.start).filter(|byte| *byte == b'\n').count().saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        parse("z.toml", text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_value_knows_its_line() {
        let text = "listen = [\"127.0.0.1:1\"]\n\n[limits]\n# more\nmax_topics = 0x10\nmax_window = 1_000\n";
        let (given, mistakes) = parse("z.toml", text);
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
                "z.toml:2: there is no setting listen_on; did you mean listen?",
                "z.toml:4: there is no setting limits.max_conections; did you mean limits.max_connections?",
            ]
        );
        assert_eq!(mistakes("[limit]\nmax_topics = 1"), ["z.toml:1: there is no setting limit"]);
        assert_eq!(mistakes("limits = 3"), ["z.toml:1: limits is a table; use [limits]"]);
    }

    #[test]
    fn what_is_no_toml_is_one_line() {
        let said = mistakes("listen = [\"127.0.0.1:1\"]\ndrain = 127.0.0.1");
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("z.toml:2: ") && !said[0].contains('\n'), "{said:?}");
    }
}
