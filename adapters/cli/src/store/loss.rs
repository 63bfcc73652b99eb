//! What a repair gives up.

use serde::Serialize;
use zaichik_store_journal::{File, Repair};

use super::survey::Survey;
use crate::failure::Failure;
use crate::printable::printable_line;
use crate::report;

/// What a repair gives up, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Loss {
    dir: String,
    /// Whether it was done.
    repaired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_off: Option<Place>,
    messages: Part,
    subscriptions: Part,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topics: Vec<TopicLoss>,
}

/// Where the journal is cut off.
#[derive(Debug, Serialize)]
struct Place {
    file: String,
    at: u64,
    bytes_given_up: u64,
    segments_removed: usize,
    commits: Part,
}

/// How much is left of something.
#[derive(Debug, Serialize)]
struct Part {
    /// What can be read before the repair.
    found: u64,
    left: u64,
}

/// A topic of which something is given up.
#[derive(Debug, Serialize)]
struct TopicLoss {
    topic: String,
    messages: Part,
    end: Part,
}

impl Loss {
    /// What becomes of a directory with these files if it is cut off there.
    pub(super) fn new(
        dir: String,
        (cut, files): (&Repair, &[(File, u64)]),
        (before, after): (&Survey, &Survey),
        sequence: u64,
    ) -> Self {
        // An interrupted repair has replaced what was known of answers.
        let sequence = if cut.floor == u64::MAX { sequence } else { sequence.max(cut.floor) };
        let behind = files.iter().filter(|(file, _)| matches!(file, File::Segment(_)) && *file >= cut.file);
        let kept = |file: File| if file == cut.file { cut.at } else { 0 };
        let is_removed = |(file, _): &&(File, u64)| kept(*file) == 0;
        let topics = before.topics.iter().map(|(number, topic)| {
            let left = after.topics.get(number);
            TopicLoss {
                topic: topic.name(*number),
                messages: Part::new(topic.messages, left.map_or(0, |left| left.messages)),
                end: Part::new(topic.end, left.map_or(0, |left| left.end)),
            }
        });
        Self {
            repaired: false,
            cut_off: Some(Place {
                file: cut.file.to_string(),
                at: cut.at,
                bytes_given_up: behind
                    .clone()
                    .fold(0, |sum, (file, len)| sum.saturating_add(len.saturating_sub(kept(*file)))),
                segments_removed: behind.filter(is_removed).count(),
                commits: Part::new(sequence, cut.sequence),
            }),
            topics: topics.filter(|topic| !(topic.messages.is_whole() && topic.end.is_whole())).collect(),
            ..Self::between(dir, before, after)
        }
    }

    /// Nothing is given up.
    pub(super) fn nothing(dir: String, survey: &Survey) -> Self {
        Self::between(dir, survey, survey)
    }

    fn between(dir: String, before: &Survey, after: &Survey) -> Self {
        Self {
            dir,
            repaired: false,
            cut_off: None,
            messages: Part::new(before.messages(), after.messages()),
            subscriptions: Part::new(before.subscriptions, after.subscriptions),
            topics: Vec::new(),
        }
    }

    /// The same, when it was done.
    pub(super) fn done(self) -> Self {
        Self { repaired: true, ..self }
    }

    /// Prints it for people.
    pub(super) fn print(&self) -> Result<(), Failure> {
        let mut pairs = vec![("directory", printable_line(&self.dir))];
        if let Some(place) = &self.cut_off {
            pairs.extend([
                ("cut off", format!("{} at byte {}", place.file, place.at)),
                ("given up", report::size(place.bytes_given_up)),
                ("segments removed", place.segments_removed.to_string()),
                ("commits", place.commits.shown()),
            ]);
        }
        pairs.extend([
            ("messages", self.messages.shown()),
            ("durable subscriptions", self.subscriptions.shown()),
            ("instance", "another one, so clients report a restart".to_owned()),
        ]);
        report::pairs(pairs)?;
        let rows = self.topics.iter().map(|topic| {
            let TopicLoss { topic, messages, end } = topic;
            let mut row = vec![printable_line(topic)];
            let numbers = [messages.found, messages.left, end.found, end.left];
            row.extend(numbers.map(|number| number.to_string()));
            row
        });
        report::columns(&["TOPIC", "MESSAGES", "LEFT", "END", "NEW END"], 1, rows.collect())
    }
}

impl Part {
    const fn new(found: u64, left: u64) -> Self {
        Self { found, left }
    }

    const fn is_whole(&self) -> bool {
        self.found == self.left
    }

    fn shown(&self) -> String {
        format!("{} found, {} left", self.found, self.left)
    }
}
