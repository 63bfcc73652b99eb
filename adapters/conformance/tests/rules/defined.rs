//! The ids that the text of the rules defines, and their forms.

use std::collections::{BTreeMap, BTreeSet};

use super::RULES;

/// The ids that `docs/rules.md` defines.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) clauses: BTreeSet<String>,
    /// Rows, and whether each is marked as one that needs a case over the adapters.
    pub(crate) rows: BTreeMap<String, bool>,
    pub(crate) chapters: BTreeSet<String>,
    pub(crate) problems: Vec<String>,
}

impl Rules {
    pub(crate) fn parse(text: &str) -> Self {
        let mut rules = Self::default();
        let mut chapter = String::new();
        for line in text.lines() {
            if let Some((letter, _)) = line.strip_prefix("## ").and_then(|title| title.split_once(". ")) {
                letter.clone_into(&mut chapter);
                rules.define(is_chapter(letter), letter, &chapter);
            } else if let Some(title) = line.strip_prefix("### ") {
                let (id, _) = title.split_once(' ').unwrap_or((title, ""));
                rules.define(is_id(id) && !id.contains('-'), id, &chapter);
            } else if let Some((cell, _)) = line.strip_prefix("| ").and_then(|cells| cells.split_once(" | "))
            {
                let id = cell.trim_end_matches('*');
                if is_id(id) {
                    rules.define(id.contains('-'), id, &chapter);
                    rules.rows.entry(id.to_owned()).and_modify(|is_marked| *is_marked = id != cell);
                }
            }
        }
        rules
    }

    /// Adds the id of a chapter, a clause or a row; `is_right` says whether the id has the form of its kind.
    fn define(&mut self, is_right: bool, id: &str, chapter: &str) {
        let is_new = if is_chapter(id) {
            self.chapters.insert(id.to_owned())
        } else if id.contains('-') {
            self.rows.insert(id.to_owned(), false).is_none()
        } else {
            self.clauses.insert(id.to_owned())
        };
        if !is_right || !is_new || !id.starts_with(chapter) || chapter.is_empty() {
            self.problems.push(format!("{RULES}: {id} is malformed, defined twice or in the wrong chapter"));
        }
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.clauses.contains(id) || self.rows.contains_key(id)
    }

    /// The letters of the chapters that have rows.
    pub(crate) fn chapters_with_rows(&self) -> BTreeSet<&str> {
        self.rows.keys().filter_map(|row| row.get(..1)).collect()
    }
}

/// Whether `word` has the form of a clause's id, such as `R9`, or of a row's, such as `R-04`.
pub(crate) fn is_id(word: &str) -> bool {
    let mut chars = word.chars();
    let has_letter = chars.next().is_some_and(|c| c.is_ascii_uppercase());
    let digits = chars.as_str().strip_prefix('-').unwrap_or(chars.as_str());
    let is_row = digits.len() < chars.as_str().len();
    has_letter
        && digits.bytes().all(|c| c.is_ascii_digit())
        && (if is_row { digits.len() == 2 } else { (1..=2).contains(&digits.len()) })
}

pub(crate) fn is_chapter(word: &str) -> bool {
    word.len() == 1 && word.bytes().all(|c| c.is_ascii_uppercase())
}

/// Returns `R9` for `r9_…` and `R-04` for `r_04_…`.
pub(crate) fn id_of(test: &str) -> Option<String> {
    let (first, rest) = test.split_once('_')?;
    let id = if first.len() == 1 { format!("{first}-{}", rest.split_once('_')?.0) } else { first.to_owned() };
    let id = id.to_ascii_uppercase();
    (first.starts_with(|c: char| c.is_ascii_lowercase()) && is_id(&id)).then_some(id)
}

/// Returns `T2`, `T3`, `T4` for `T2 to T4`.
pub(crate) fn range(from: &str, to: &str) -> Vec<String> {
    let parse = |id: &str| Some((id.get(..1)?.to_owned(), id.get(1..)?.parse::<u8>().ok()?));
    match (parse(from), parse(to)) {
        (Some((letter, from)), Some((other, to))) if letter == other => {
            (from..=to).map(|number| format!("{letter}{number}")).collect()
        }
        _ => vec![to.to_owned()],
    }
}
