//! The configuration file: which one to read, and the settings in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::field::Value;
use super::keys::{self, KEYS};
use super::origin::{GivenSetting, Mistake, Origin};
use super::suggest::{closest, did_you_mean};

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

/// The settings in a file, and all mistakes in it.
pub(crate) fn read(path: &Path) -> (Vec<GivenSetting>, Vec<Mistake>) {
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
            (Vec::new(), vec![Mistake(format!("cannot read the configuration file {shown}: {error}"))])
        }
    }
}

/// The settings in the text of a file called `name`.
pub(crate) fn parse(name: &str, text: &str) -> (Vec<GivenSetting>, Vec<Mistake>) {
    let mut file = FileParser { name: name.into(), text, given: Vec::new(), mistakes: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => file.add_table(None, table.get_ref()),
        Err(error) => {
            let at = error.span().unwrap_or_default();
            let message = error.message().replace('\n', ", ");
            file.add_mistake(&at, &message);
        }
    }
    (file.given, file.mistakes)
}

/// A file that is being parsed.
struct FileParser<'a> {
    name: Arc<str>,
    text: &'a str,
    given: Vec<GivenSetting>,
    mistakes: Vec<Mistake>,
}

impl FileParser<'_> {
    fn add_table(&mut self, table: Option<&str>, entries: &DeTable<'_>) {
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let path = table
                .map_or_else(|| name.get_ref().to_string(), |table| format!("{table}.{}", name.get_ref()));
            match (keys::find(&path), value.get_ref()) {
                (Some(key), _) => {
                    let origin = Origin::File { name: Arc::clone(&self.name), line: self.line(&name.span()) };
                    self.given.push(GivenSetting { key, value: self.value(value), origin });
                }
                (None, DeValue::Table(entries)) if keys::is_table(&path) => {
                    self.add_table(Some(&path), entries);
                }
                (None, _) if keys::is_table(&path) => {
                    self.add_mistake(&name.span(), &format!("{path} is a table; use [{path}]"));
                }
                (None, _) => {
                    let meant = closest(&path, KEYS.iter().map(|key| key.path), '.');
                    let message = format!("unknown setting {path}{}", did_you_mean(meant));
                    self.add_mistake(&name.span(), &message);
                }
            }
        }
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

    fn add_mistake(&mut self, at: &Range<usize>, message: &str) {
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
    fn each_value_has_its_line() {
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
                "z.toml:2: unknown setting listen_on; did you mean listen?",
                "z.toml:4: unknown setting limits.max_conections; did you mean limits.max_connections?",
            ]
        );
        assert_eq!(mistakes("[limit]\nmax_topics = 1"), ["z.toml:1: unknown setting limit"]);
        assert_eq!(mistakes("limits = 3"), ["z.toml:1: limits is a table; use [limits]"]);
    }

    #[test]
    fn a_syntax_error_is_one_line() {
        let messages = mistakes("listen = [\"127.0.0.1:1\"]\ndrain = 127.0.0.1");
        assert_eq!(messages.len(), 1);
        assert!(messages[0].starts_with("z.toml:2: ") && !messages[0].contains('\n'), "{messages:?}");
    }
}
