//! Checks that every section of `docs/protocol.md` that the sources cite exists: `§6.2`, `protocol.md, section 6.2`.

#![expect(clippy::expect_used, reason = "without the sources the test must fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The file whose sections are cited.
const PROTOCOL: &str = "docs/protocol.md";

/// The numbers of the sections, from the headings of the text.
fn sections(text: &str) -> BTreeSet<&str> {
    let headings = text.lines().filter_map(|line| line.strip_prefix("##"));
    headings.filter_map(|heading| number(heading.trim_start_matches('#').trim_start())).collect()
}

/// The number of a section at the beginning of `text`, such as `6` or `6.2`; a full stop may follow.
fn number(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text.get(..end)?.trim_end_matches('.');
    number.starts_with(|c: char| c.is_ascii_digit()).then_some(number)
}

/// The sections cited in a line: behind each `§`, and behind each `section` if the line is about the protocol.
fn citations(line: &str) -> Vec<&str> {
    let is_about_protocol = line.contains("protocol.md");
    let signs = line.split('§').skip(1);
    let words = ["section ", "Section "].into_iter().flat_map(|word| line.split(word).skip(1));
    signs.chain(words.filter(|_| is_about_protocol)).filter_map(|rest| number(rest.trim_start())).collect()
}

/// The citations of sections that do not exist, in all texts below `folder`; returns how many citations there are.
fn check(root: &Path, folder: &Path, known: &BTreeSet<&str>, problems: &mut Vec<String>) -> usize {
    let mut count = 0_usize;
    for entry in fs::read_dir(folder).expect("a folder of the workspace") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "corpus" {
                count = count.saturating_add(check(root, &path, known, problems));
            }
            continue;
        }
        let is_text = [".rs", ".md", ".py", ".toml"].iter().any(|extension| name.ends_with(extension));
        // Not this file, with its bad examples.
        if !is_text || path.ends_with("conformance/tests/sections.rs") {
            continue;
        }
        let place = path.strip_prefix(root).expect("it is below the root").display();
        for (line, at) in fs::read_to_string(&path).expect("it is text").lines().zip(1_usize..) {
            let cited = citations(line);
            count = count.saturating_add(cited.len());
            let unknown = cited.into_iter().filter(|section| !known.contains(section));
            problems
                .extend(unknown.map(|section| format!("{place}:{at}: {PROTOCOL} has no section {section}")));
        }
    }
    count
}

#[test]
fn every_cited_section_of_the_protocol_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join(PROTOCOL)).expect("the protocol");
    let known = sections(&text);
    let mut problems = Vec::new();
    let count = check(&root, &root, &known, &mut problems);
    assert!(known.len() > 60 && count > 100, "{} sections and {count} citations", known.len());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn sections_and_citations_are_recognised() {
    let known = sections("# Title\n## 6. Frames\n### 6.2 Settings\n#### No number\ntext 7.\n");
    assert!(known.iter().eq(["6", "6.2"].iter()), "{known:?}");
    for (line, cited) in [
        ("/// Settings (docs/protocol.md §6.2).", vec!["6.2"]),
        ("§6.13, §7.13 and § 9.", vec!["6.13", "7.13", "9"]),
        ("protocol.md, section 5.1, says", vec!["5.1"]),
        ("section 5 of RFC 8305, a `§` alone", vec![]),
    ] {
        assert_eq!(citations(line), cited, "{line}");
    }
}
