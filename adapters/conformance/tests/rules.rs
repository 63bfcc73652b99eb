//! Checks `docs/rules.md` against the sources: every citation has the standard form and names an existing rule, every
//! clause has a test that cites it, every row has a test of the engine, and every chapter with rows and every marked
//! row has a case over the adapters.

#![expect(clippy::expect_used, reason = "without the sources the test must fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The file that defines the rules.
const RULES: &str = "docs/rules.md";

/// The ids that `docs/rules.md` defines.
#[derive(Debug, Default)]
struct Rules {
    clauses: BTreeSet<String>,
    /// Rows, and whether each is marked as one that needs a case over the adapters.
    rows: BTreeMap<String, bool>,
    chapters: BTreeSet<String>,
    problems: Vec<String>,
}

impl Rules {
    fn parse(text: &str) -> Self {
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

    fn has(&self, id: &str) -> bool {
        self.clauses.contains(id) || self.rows.contains_key(id)
    }

    /// The letters of the chapters that have rows.
    fn chapters_with_rows(&self) -> BTreeSet<&str> {
        self.rows.keys().filter_map(|row| row.get(..1)).collect()
    }
}

/// A file of the repository.
#[derive(Debug)]
struct Source {
    path: String,
    text: String,
}

/// The rules cited in the sources.
#[derive(Debug, Default)]
struct Uses {
    problems: Vec<String>,
    /// Ids that tests name or cite.
    tested: BTreeSet<String>,
    /// Ids in the names of the engine's tests, and in the names of cases over the adapters.
    engine: BTreeSet<String>,
    adapters: BTreeSet<String>,
}

impl Uses {
    fn of(rules: &Rules, sources: &[Source]) -> Self {
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

/// All errors in the rules and in the citations of the sources.
fn problems(text: &str, sources: &[Source]) -> Vec<String> {
    let rules = Rules::parse(text);
    let uses = Uses::of(&rules, sources);
    let mut problems = [&rules.problems[..], &uses.problems].concat();
    for clause in rules.clauses.difference(&uses.tested) {
        problems.push(format!("no test cites clause {clause}"));
    }
    for (row, is_marked) in &rules.rows {
        if !uses.engine.contains(row) {
            problems.push(format!("row {row} has no test of the engine"));
        }
        if *is_marked && !uses.adapters.contains(row) {
            problems.push(format!("row {row} has no case over the adapters"));
        }
    }
    for chapter in rules.chapters_with_rows() {
        if !uses.adapters.iter().any(|id| id.starts_with(chapter)) {
            problems.push(format!("chapter {chapter} has no case over the adapters"));
        }
    }
    problems
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

/// Whether `word` has the form of a clause's id, such as `R9`, or of a row's, such as `R-04`.
fn is_id(word: &str) -> bool {
    let mut chars = word.chars();
    let has_letter = chars.next().is_some_and(|c| c.is_ascii_uppercase());
    let digits = chars.as_str().strip_prefix('-').unwrap_or(chars.as_str());
    let is_row = digits.len() < chars.as_str().len();
    has_letter
        && digits.bytes().all(|c| c.is_ascii_digit())
        && (if is_row { digits.len() == 2 } else { (1..=2).contains(&digits.len()) })
}

fn is_chapter(word: &str) -> bool {
    word.len() == 1 && word.bytes().all(|c| c.is_ascii_uppercase())
}

/// Returns `R9` for `r9_…` and `R-04` for `r_04_…`.
fn id_of(test: &str) -> Option<String> {
    let (first, rest) = test.split_once('_')?;
    let id = if first.len() == 1 { format!("{first}-{}", rest.split_once('_')?.0) } else { first.to_owned() };
    let id = id.to_ascii_uppercase();
    (first.starts_with(|c: char| c.is_ascii_lowercase()) && is_id(&id)).then_some(id)
}

/// Returns `T2`, `T3`, `T4` for `T2 to T4`.
fn range(from: &str, to: &str) -> Vec<String> {
    let parse = |id: &str| Some((id.get(..1)?.to_owned(), id.get(1..)?.parse::<u8>().ok()?));
    match (parse(from), parse(to)) {
        (Some((letter, from)), Some((other, to))) if letter == other => {
            (from..=to).map(|number| format!("{letter}{number}")).collect()
        }
        _ => vec![to.to_owned()],
    }
}

fn is_code(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

fn is_over_adapters(path: &str) -> bool {
    path.starts_with("adapters/conformance/src/") || path.starts_with("adapters/parity/src/")
}

/// The simulator and its tests name rules in strings when they are broken.
fn is_proof(path: &str) -> bool {
    is_code(path) && path.starts_with("fuzz/")
}

/// Whether a citation in this file is a test's. The reference model and its runner only describe rules, so they do not
/// count.
fn is_test(path: &str) -> bool {
    let is_proof = path.starts_with("fuzz/src/sim/") || path.starts_with("fuzz/src/model/rows/");
    is_code(path)
        && (path.contains("/tests/") || path.ends_with("/tests.rs") || is_over_adapters(path) || is_proof)
}

/// Every text of the workspace that may cite rules, except this file with its bad examples.
fn sources(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("it can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "corpus" {
                    folders.push(path);
                }
                continue;
            }
            let relative =
                path.strip_prefix(root).expect("it is below the root").to_string_lossy().replace('\\', "/");
            let is_text = [".rs", ".md", ".py", ".toml"].iter().any(|extension| name.ends_with(extension));
            if is_text && relative != "adapters/conformance/tests/rules.rs" {
                let text = fs::read_to_string(&path).expect("it is text");
                sources.push(Source { path: relative, text });
            }
        }
    }
    sources
}

#[test]
fn every_rule_is_proved_and_every_citation_resolves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join(RULES)).expect("the rules");
    let rules = Rules::parse(&text);
    let marked = rules.rows.values().filter(|is_marked| **is_marked).count();
    assert!(rules.clauses.len() > 70 && rules.rows.len() > 100 && marked > 10, "the parser missed rules");
    let problems = problems(&text, &sources(&root));
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::{Source, problems};

    const TEXT: &str = "## R. Retention\n### R1 Time to live\n### R2 Live-only\n| R-01 | given | then |\n";
    const ROW_TESTS: [(&str, &str); 2] = [
        (
            "zaichik-engine/tests/rules/retention.rs",
            "fn r_01_delivered() {}\nfn r1_exact() {}\nfn r2_kept() {}",
        ),
        ("adapters/conformance/src/chapters.rs", "pub(crate) async fn r_01_delivered<F: Form>() {}"),
    ];

    fn check(rules: &str, tests: &[(&str, &str)], path: &str, text: &str) -> Vec<String> {
        let files = tests.iter().copied().chain([(path, text)]);
        let source = |(path, text): (&str, &str)| Source { path: path.to_owned(), text: text.to_owned() };
        problems(rules, &files.map(source).collect::<Vec<_>>())
    }

    fn check_text(path: &str, text: &str) -> Vec<String> {
        check(TEXT, &ROW_TESTS, path, text)
    }

    #[test]
    fn good_citations_pass() {
        for text in [
            "/// It expires (rule R1).",
            "//! Rules R1, R2 and R-01: retention.",
            "/// Rules R1 to R2, chapter R.",
            "Metric::P50, §6.12, UTF-8, `r_04_…`",
        ] {
            assert!(check_text("zaichik-engine/src/topic.rs", text).is_empty(), "{text}");
        }
        assert!(check_text("fuzz/src/sim/check/sub.rs", r#"Broken::because("R1", text)"#).is_empty());
    }

    #[test]
    fn an_unknown_id_is_found() {
        for (path, text, id) in [
            ("docs/guide.md", "see rule R3", "R3"),
            ("docs/guide.md", "see rules R1, R2 and Q7", "Q7"),
            ("docs/guide.md", "see rule R-02", "R-02"),
            ("docs/guide.md", "see chapter Q", "Q"),
            ("fuzz/src/sim/check/sub.rs", r#"Broken::because("W5", text)"#, "W5"),
            ("adapters/driver/src/io.rs", "    fn w5_split() {}", "W5"),
            ("zaichik-engine/tests/rules/limits.rs", "fn r_02_not_delivered() {}", "R-02"),
        ] {
            let found = check_text(path, text);
            assert!(found.len() == 1 && found[0].contains(id), "{text}: {found:?}");
        }
    }

    #[test]
    fn another_form_of_citation_is_found() {
        for text in [
            "/// It expires (R1).",
            "/// It expires (semantics R1).",
            "/// It expires (semantics R).",
            "/// R1: it expires.",
            "assert!(ok, \"R-01: it expires\");",
            "/// It expires (rule R1; R2).",
        ] {
            assert_eq!(check_text("zaichik-engine/src/topic.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_clause_that_no_test_cites_is_found() {
        let rules = format!("{TEXT}### R4 Never silently\n");
        let expected = ["no test cites clause R4"];
        assert_eq!(check(&rules, &ROW_TESTS, "zaichik-engine/src/topic.rs", "/// Rule R4."), expected);
        assert!(
            check(&rules, &ROW_TESTS, "zaichik-engine/tests/rules/gaps.rs", "//! Rules R2 to R4.").is_empty()
        );
        assert!(check(&rules, &ROW_TESTS, "zaichik-engine/tests/rules/gaps.rs", "//! Rule R4.").is_empty());
        assert!(check(&rules, &ROW_TESTS, "zaichik-engine/src/topic/log.rs", "fn r4_gap() {}").is_empty());
    }

    #[test]
    fn a_row_without_a_test_is_found() {
        let rules = format!("{TEXT}| R-02 | given | then |\n| R-03* | given | then |\n");
        let tests = "fn r_02_a() {}\nfn r_03_b() {}";
        let expected = [
            "row R-02 has no test of the engine",
            "row R-03 has no test of the engine",
            "row R-03 has no case over the adapters",
        ];
        assert_eq!(check(&rules, &ROW_TESTS, "fuzz/tests/planted.rs", tests), expected);
        let found = check(&rules, &ROW_TESTS, "zaichik-engine/tests/rules/gaps.rs", tests);
        assert_eq!(found, ["row R-03 has no case over the adapters"]);
        for place in ["adapters/conformance/src/wire.rs", "adapters/parity/src/commands.rs"] {
            let found = check(&rules, &ROW_TESTS, place, tests);
            assert_eq!(found, ["row R-02 has no test of the engine", "row R-03 has no test of the engine"]);
        }
    }

    #[test]
    fn a_chapter_without_a_case_over_the_adapters_is_found() {
        let engine = &ROW_TESTS[..1];
        let expected = ["chapter R has no case over the adapters"];
        assert_eq!(check(TEXT, engine, "adapters/driver/src/clock.rs", "fn r_01_delivered() {}"), expected);
        for case in ["async fn r_01_delivered<F: Form>() {}", "async fn r1_exact<F: Form>() {}"] {
            assert!(check(TEXT, engine, "adapters/conformance/src/chapters.rs", case).is_empty(), "{case}");
        }
        // A chapter without rows, as that of the simulator's invariants, needs no case.
        let invariants = format!("{TEXT}## I. Invariants\n### I1 Total order\n");
        let found = check(&invariants, &ROW_TESTS, "fuzz/tests/simulation.rs", "/// Rule I1.");
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_malformed_text_is_found() {
        for line in
            ["### R1 Again", "### T1 Elsewhere", "### Rows", "| R-01 | twice | no |", "## Rx. Two letters"]
        {
            let found = check(&format!("{TEXT}{line}\n"), &ROW_TESTS, "docs/guide.md", "");
            assert!(!found.is_empty(), "{line}");
        }
    }
}
