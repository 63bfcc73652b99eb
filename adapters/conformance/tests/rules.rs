//! The table in `docs/semantics.md` names tests that exist, and forgets no rule that has one.

#![expect(clippy::expect_used, reason = "a test that can't read the sources fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all functions of the sources below a folder of the workspace.
fn functions(folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).expect("it is text");
                let found = source.split("fn ").skip(1).map(|rest| {
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
                });
                names.extend(found);
            }
        }
    }
    names
}

/// The tests that a cell names.
fn tests(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// `C-17` for `c_17_a_slow_subscriber…`; tests of the rules' clauses are not about one row.
fn rule(test: &str) -> Option<String> {
    let (letter, rest) = test.split_once('_')?;
    let (number, _) = rest.split_once('_')?;
    let is_rule = letter.len() == 1 && number.len() == 2 && number.bytes().all(|c| c.is_ascii_digit());
    is_rule.then(|| format!("{}-{number}", letter.to_uppercase()))
}

#[test]
fn the_table_of_rules_names_tests_that_exist_and_forgets_none() {
    let mut engine = functions("zaichik-engine/tests/rules");
    engine.extend(functions("zaichik-engine/src/client"));
    let mut adapters = functions("adapters/conformance/src");
    adapters.extend(functions("adapters/parity"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/semantics.md");
    let text = fs::read_to_string(path).expect("the document is there");
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, id, _, in_engine, over_adapters, _] = cells[..] else { continue };
        if !id.contains('-') || id.starts_with("--") {
            continue;
        }
        assert!(ids.insert(id.to_owned()), "{id} is there once");
        for (cell, known) in [(in_engine, &engine), (over_adapters, &adapters)] {
            assert!(!tests(cell).is_empty(), "{id} has a test");
            for test in tests(cell) {
                assert!(known.contains(test), "{id}: there is no test {test}");
                assert!(rule(test).is_none_or(|rule| rule == *id), "{id}: {test} is about another rule");
            }
        }
    }
    assert!(ids.len() > 100, "{} rules", ids.len());
    for test in engine.union(&adapters) {
        assert!(
            rule(test).is_none_or(|rule| ids.contains(&rule)),
            "{test} is about a rule that is not there"
        );
    }
}
