//! Checks `docs/rules.md` against the sources: every citation has the standard form and names an existing rule, every
//! clause has a test that cites it, every row has a test of the engine, and every chapter with rows and every marked
//! row has a case over the adapters.

#![expect(clippy::expect_used, reason = "without the sources the test must fail")]

mod cited;
mod defined;
mod examples;

use std::fs;
use std::path::Path;

use cited::Uses;
use defined::Rules;

/// The file that defines the rules.
const RULES: &str = "docs/rules.md";

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

/// A file of the repository.
#[derive(Debug)]
struct Source {
    path: String,
    text: String,
}

/// Every text of the workspace that may cite rules, except this test with its bad examples.
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
            if is_text && !relative.starts_with("adapters/conformance/tests/rules/") {
                let text = fs::read_to_string(&path).expect("it is text");
                sources.push(Source { path: relative, text });
            }
        }
    }
    sources
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
