//! Finds the hexadecimal blocks of docs/protocol.md.

#![expect(clippy::expect_used, reason = "a document that does not parse fails the test")]

use std::collections::BTreeMap;

/// The document.
pub(crate) const TEXT: &str = include_str!("../../../docs/protocol.md");

/// The vectors of one end: blocks that open with three backticks, `hex`, the end and the name.
pub(crate) fn vectors(end: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let mut found = BTreeMap::new();
    for (info, bytes) in hex_blocks() {
        if let Some((of, name)) = info.split_once(' ')
            && of == end
        {
            assert!(found.insert(name, bytes).is_none(), "two vectors are called {name}");
        }
    }
    found
}

/// The bytes that one end sends in the conversation: blocks that open with three backticks, `hex say` and the end.
pub(crate) fn said_by(end: &str) -> Vec<Vec<u8>> {
    let said = hex_blocks().filter(|(info, _)| info.strip_prefix("say ") == Some(end));
    said.map(|(_, bytes)| bytes).collect()
}

fn hex_blocks() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let blocks = TEXT.split("\n```hex ").skip(1);
    blocks.map(|block| {
        let (block, _) = block.split_once("\n```").expect("a block ends");
        let (info, lines) = block.split_once('\n').expect("a block has lines");
        (info, lines.lines().flat_map(parse_line).collect())
    })
}

/// The bytes of a line; a semicolon begins a comment.
fn parse_line(line: &str) -> Vec<u8> {
    let bytes = line.split(';').next().unwrap_or_default();
    let byte = |text| u8::from_str_radix(text, 16).expect("two hexadecimal digits");
    bytes.split_whitespace().map(byte).collect()
}
