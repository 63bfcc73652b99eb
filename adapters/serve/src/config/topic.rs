//! Topics that the file declares.

use zaichik_driver::TopicSettings;

use super::field::Field;
use super::keys::{self, KEYS, Key};
use super::origin::{GivenSetting, Mistake, Origin};
use super::settings::Settings;
use super::suggest::{closest, did_you_mean};

/// The list of tables in the file.
pub(super) const TABLE: &str = "topic";

/// The table whose settings a declared topic has as well.
const DEFAULTS: &str = "topic_defaults";

/// The settings of a declaration besides those of a topic.
pub(super) const NAME: &str = "name";
pub(super) const ALTER: &str = "alter";

/// A table of the file that declares a topic.
#[derive(Debug)]
pub(crate) struct GivenTopic {
    pub(super) name: String,
    /// Where its name is.
    pub(super) origin: Origin,
    pub(super) alter: bool,
    pub(super) alter_origin: Origin,
    /// Its settings, with the keys of the defaults.
    pub(super) given: Vec<GivenSetting>,
}

/// A topic that the broker creates when it starts (rule T8).
#[derive(Debug)]
pub(crate) struct DeclaredTopic {
    pub(crate) name: String,
    /// Where its name is.
    pub(crate) origin: Origin,
    /// Whether a topic that exists with other settings gets these.
    pub(crate) alter: bool,
    /// Complete: those that are left out are the defaults.
    pub(crate) settings: TopicSettings,
    alter_origin: Origin,
    /// The settings that are not left out.
    given: Vec<(&'static Key, Origin)>,
}

/// A setting of a declared topic, for printing.
#[derive(Debug)]
pub(super) struct TopicLine<'a> {
    pub(super) name: &'static str,
    /// In TOML.
    pub(super) value: String,
    pub(super) origin: &'a Origin,
}

impl DeclaredTopic {
    /// Completes a declaration with the defaults in `settings`.
    pub(super) fn resolve(topic: GivenTopic, settings: &Settings, mistakes: &mut Vec<Mistake>) -> Self {
        let mut own = settings.clone();
        let mut given = Vec::new();
        for one in topic.given {
            let path = format!("{TABLE}.{}", one.key.table_and_name().1);
            one.apply(&mut own, &path).unwrap_or_else(|mistake| mistakes.push(mistake));
            given.push((one.key, one.origin));
        }
        Self {
            name: topic.name,
            origin: topic.origin,
            alter: topic.alter,
            settings: own.topic_defaults,
            alter_origin: topic.alter_origin,
            given,
        }
    }

    /// What the file says of it, and whether it alters.
    pub(super) fn lines(&self) -> Vec<TopicLine<'_>> {
        let mut own = Settings { topic_defaults: self.settings, ..Settings::default() };
        let name = toml::Value::from(self.name.as_str()).to_string();
        let mut lines = vec![TopicLine { name: NAME, value: name, origin: &self.origin }];
        lines.extend(self.given.iter().map(|(key, origin)| {
            let field: Field<'_> = (key.field)(&mut own);
            TopicLine { name: key.table_and_name().1, value: field.write(), origin }
        }));
        let alter = self.alter.to_string();
        lines.push(TopicLine { name: ALTER, value: alter, origin: &self.alter_origin });
        lines
    }
}

/// The setting with this name in the table of a topic.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    keys::find(&format!("{DEFAULTS}.{name}"))
}

/// The message about a name that a table of a topic does not have.
pub(super) fn unknown(name: &str) -> String {
    let settings = KEYS.iter().filter_map(|key| match key.table_and_name() {
        (Some(DEFAULTS), name) => Some(name),
        _ => None,
    });
    let meant = closest(name, settings.chain([NAME, ALTER]), '.');
    format!("unknown setting {TABLE}.{name}{}", did_you_mean(meant))
}
