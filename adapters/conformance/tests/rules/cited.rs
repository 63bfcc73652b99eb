//! The ids that the sources cite, and those in the names of tests.

use std::collections::BTreeSet;

use super::defined::{Rules, id_of, is_chapter, is_id, range};
use super::{RULES, Source, is_code, is_over_adapters, is_proof, is_test};

/// The rules cited in the sources.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    pub(crate) problems: Vec<String>,
    /// Ids that tests name or cite.
    pub(crate) tested: BTreeSet<String>,
    /// Ids in the names of the engine's tests, and in the names of cases over the adapters.
    pub(crate) engine: BTreeSet<String>,
    pub(crate) adapters: BTreeSet<String>,
}

impl Uses {
    pub(crate) fn of(rules: &Rules, sources: &[Source]) -> Self {
        let mut uses = Self::default();
        for source in sources {
            for (line, number) in source.text.lines().zip(1_usize..) {
                let place = format!("{}:{number}", source.path);
                uses.citations(rules, source, line, &place);
                if is_code(&source.path) {
                    uses.function(rules, source, line, &place);
                }
            }
        }
        uses
    }

    /// Reads the ids in a line. Those in a list after `rule` or `rules` are citations, quoted ones name the broken rule
    /// in code, and any other id of a rule is an error.
    fn citations(&mut self, rules: &Rules, source: &Source, line: &str, place: &str) {
        let mut list = List::None;
        let mut previous = String::new();
        let mut is_range = false;
        for word in words(line) {
            let is_quoted = word.before.ends_with('"') && word.after.starts_with('"');
            if !matches!(word.between, " " | ", ") {
                list = List::None;
            }
            match word.text {
                "rule" | "rules" | "Rule" | "Rules" => list = List::Rules,
                "chapter" | "chapters" | "Chapter" | "Chapters" => list = List::Chapters,
                "semantics" => list = List::Old,
                "and" => {}
                "to" => is_range = true,
                id if is_chapter(id) && list == List::Chapters => {
                    if !rules.chapters.contains(id) {
                        self.problems.push(format!("{place}: there is no chapter {id}"));
                    }
                }
                id if is_id(id) && (list == List::Rules || is_quoted && is_proof(&source.path)) => {
                    if !rules.has(id) {
                        self.problems.push(format!("{place}: there is no rule {id}"));
                    }
                    if is_test(&source.path) {
                        let range = if is_range { range(&previous, id) } else { vec![id.to_owned()] };
                        self.tested.extend(range);
                    }
                    id.clone_into(&mut previous);
                    is_range = false;
                }
                id if list == List::Old && (is_id(id) || is_chapter(id))
                    || rules.has(id) && !is_quoted && source.path != RULES =>
                {
                    self.problems.push(format!("{place}: {id} is cited in another form than `rule {id}`"));
                }
                _ => list = List::None,
            }
        }
    }

    /// Reads the id from the name of a function, if the line begins one.
    fn function(&mut self, rules: &Rules, source: &Source, line: &str, place: &str) {
        let Some((_, rest)) = line.split_once("fn ") else { return };
        let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        let Some(id) = id_of(name) else { return };
        if !rules.has(&id) {
            return self.problems.push(format!("{place}: {name} names {id}, which is not a rule"));
        }
        if source.path.starts_with("zaichik-engine/") {
            self.engine.insert(id.clone());
        }
        if is_over_adapters(&source.path) {
            self.adapters.insert(id.clone());
        }
        self.tested.insert(id);
    }
}

/// The kind of ids in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    None,
    Rules,
    Chapters,
    Old,
}

/// A word of a line, the text between the previous word and this one, and everything before and after it.
struct Word<'a> {
    text: &'a str,
    between: &'a str,
    before: &'a str,
    after: &'a str,
}

fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = line.get(at..)?;
        let start = at.checked_add(rest.find(is_part)?)?;
        let tail = line.get(start..)?;
        let end = start.checked_add(tail.find(|c| !is_part(c)).unwrap_or(tail.len()))?;
        let (text, between) = (line.get(start..end)?, line.get(at..start)?);
        at = end;
        Some(Word { text, between, before: line.get(..start)?, after: line.get(end..)? })
    })
}
