//! The tests that docs/guide.md quotes verbatim.

mod cart;
mod day;
mod network;

#[test]
fn the_guide_shows_them_as_they_are() {
    let guide = include_str!("../../../docs/guide.md");
    for test in [include_str!("cart.rs"), include_str!("day.rs"), include_str!("network.rs")] {
        assert!(
            guide.contains(&format!("```rust,ignore\n{test}```\n")),
            "the guide does not quote this test verbatim:\n{test}"
        );
    }
}
