//! The rows of a store as bytes: golden vectors, and that every row is read back and no bytes cause a panic.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

mod generate;
mod properties;
mod vectors;
