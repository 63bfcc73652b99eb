//! Makes text of other people safe to print on a terminal.

use std::fmt::Write;

/// A body: control characters and characters that reorder text are escaped, except newline and tab; invalid UTF-8 is
/// replaced.
pub(crate) fn printable(bytes: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(bytes), |char| is_harmful(char) && char != '\n' && char != '\t')
}

/// A name or another text that belongs on one line: newlines and tabs are escaped, too.
pub(crate) fn printable_line(text: &str) -> String {
    escaped(text, is_harmful)
}

/// The same JSON, with the characters in its texts escaped that JSON allows and a terminal obeys.
pub(crate) fn printable_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for next in json.chars() {
        // Serialized JSON has the others only within a text. Those below a space are escaped there already; elsewhere they
        // are its layout.
        if is_harmful(next) && next > ' ' {
            // Writing to a string succeeds.
            let _ = write!(safe, "\\u{:04x}", u32::from(next));
        } else {
            safe.push(next);
        }
    }
    safe
}

fn escaped(text: &str, is_harmful: impl Fn(char) -> bool) -> String {
    let mut printable = String::with_capacity(text.len());
    for next in text.chars() {
        if is_harmful(next) {
            printable.extend(next.escape_default());
        } else {
            printable.push(next);
        }
    }
    printable
}

/// Whether a terminal obeys the character instead of showing it: control characters (below U+0020, and U+007F to U+009F),
/// line and paragraph separators, and the controls of bidirectional text.
fn is_harmful(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable(b"a\tb\n\x1b[2J\x07\xff\r"), "a\tb\n\\u{1b}[2J\\u{7}\u{fffd}\\r");
        assert_eq!(printable("gr\u{fc}n \u{9b}".as_bytes()), "gr\u{fc}n \\u{9b}");
    }

    #[test]
    fn every_character_that_a_terminal_obeys_is_escaped_in_names_and_in_json() {
        let controls = (0..=0x9f).filter(|code| *code < 0x20 || *code >= 0x7f);
        let others = [0x61c, 0x200e, 0x200f].into_iter().chain(0x2028..=0x202e).chain(0x2066..=0x2069);
        for harmful in controls.chain(others).filter_map(char::from_u32) {
            let name = format!("a{harmful}b");
            let line = printable_line(&name);
            assert!(line.starts_with("a\\") && line.ends_with('b') && line.is_ascii(), "{name:?}: {line}");
            let json = printable_json(&serde_json::to_string(&name).expect("JSON"));
            assert!(json.starts_with("\"a\\") && json.is_ascii(), "{name:?}: {json}");
            assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(name));
        }
        for harmless in ["заказы", "注文", "a b", "\u{200d}", "é"] {
            assert_eq!(printable_line(harmless), harmless);
            assert_eq!(printable_json(harmless), harmless);
        }
    }
}
