//! Makes bytes safe to print on a terminal.

/// Text with control characters escaped, except newline and tab, and invalid UTF-8 replaced.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut printable = String::with_capacity(bytes.len());
    for next in String::from_utf8_lossy(bytes).chars() {
        if next.is_control() && next != '\n' && next != '\t' {
            printable.extend(next.escape_default());
        } else {
            printable.push(next);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable(b"a\tb\n\x1b[2J\x07\xff\r"), "a\tb\n\\u{1b}[2J\\u{7}\u{fffd}\\r");
        assert_eq!(printable("gr\u{fc}n \u{9b}".as_bytes()), "gr\u{fc}n \\u{9b}");
    }
}
