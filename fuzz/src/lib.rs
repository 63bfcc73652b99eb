//! Fuzz targets, the reference model and the simulator.
//!
//! A target is one function that takes arbitrary bytes and panics if it finds something: `fuzz_targets/` has the fuzzer's
//! entry points, `corpus/` the interesting inputs, and `tests/replay.rs` runs every function over its corpus on a stable
//! toolchain. To search for more:
//!
//! ```text
//! cargo +nightly fuzz run decode_client --fuzz-dir fuzz --features libfuzzer
//! ```
//!
//! A new target is a module with its function, a line in [`TARGETS`], a file in `fuzz_targets/` and its `[[bin]]`
//! in `Cargo.toml`, and a directory in `corpus/`.

#![forbid(unsafe_code)]

mod broken;
mod choices;
mod client;
mod compaction;
mod decode;
mod handshake;
pub mod model;
mod restored;
mod rows;
mod session;
pub mod sim;

pub use client::client;
pub use compaction::compaction;
pub use decode::{decode_client, decode_server};
pub use handshake::handshake;
pub use model::{engine, restart};
pub use rows::rows;
pub use session::session;

/// Runs one target on one input.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its binary and of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("client", client),
    ("compaction", compaction),
    ("decode_client", decode_client),
    ("decode_server", decode_server),
    ("engine", engine),
    ("handshake", handshake),
    ("restart", restart),
    ("rows", rows),
    ("session", session),
];
