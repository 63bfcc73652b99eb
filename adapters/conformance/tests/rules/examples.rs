//! Errors that the check finds.

use super::{Source, problems};

const TEXT: &str = "## R. Retention\n### R1 Time to live\n### R2 Live-only\n| R-01 | given | then |\n";
const ROW_TESTS: [(&str, &str); 2] = [
    ("zaichik-engine/tests/rules/retention.rs", "fn r_01_delivered() {}\nfn r1_exact() {}\nfn r2_kept() {}"),
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
