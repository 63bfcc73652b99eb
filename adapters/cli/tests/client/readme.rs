//! The commands in the READMEs' console session print what the READMEs show.

use super::broker::Broker;
use super::pty::on_a_terminal;

const READMES: [&str; 2] = [include_str!("../../../../README.md"), include_str!("../../../../README.ru.md")];

#[test]
fn the_session_in_the_readme_is_what_the_commands_print() {
    let sessions = READMES.map(|readme| {
        let (_, block) = readme.split_once("\n```console\n").expect("a session");
        block.split_once("\n```\n").expect("its end").0
    });
    assert_eq!(sessions[0], sessions[1], "both languages show the same session");
    let broker = Broker::start();
    for step in sessions[0].split("$ ").skip(1) {
        let (line, expected) = step.split_once('\n').expect("a command and its output");
        let (code, screen) = on_a_terminal(broker.shell(line), "");
        assert_eq!(code, Some(0), "{line}: {screen}");
        let printed: Vec<_> = screen.lines().map(timeless).collect();
        assert_eq!(printed, expected.lines().map(timeless).collect::<Vec<_>>(), "{line}");
    }
}

/// A line without the parts that depend on timing.
fn timeless(line: &str) -> String {
    let word = |word: &str| match word.split_once('=') {
        Some(("age", _)) => "age=?".to_owned(),
        _ if word.ends_with(['h', 'm', 's']) => word.replace(|letter: char| letter.is_ascii_digit(), ""),
        _ => word.to_owned(),
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}
