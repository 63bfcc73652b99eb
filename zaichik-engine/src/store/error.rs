//! Why a row can't be used.

use thiserror::Error;

use super::key::Key;
use crate::config::ConfigError;

/// Why rows do not make a broker. Nothing is guessed: a broker is restored from all rows, or not at all.
///
/// ```
/// use zaichik_engine::store::{Key, Row, RowError};
/// let error = Row::decode(&[0], &[9]).expect_err("another format");
/// assert_eq!(error, RowError::Format { key: Key::Meta, format: 9 });
/// assert!(error.to_string().contains("format 9"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RowError {
    /// The key is not one of a row.
    #[error(
        "a key of kind {kind} and {len} bytes is not one of a row; was the store written by a newer version?"
    )]
    Key {
        /// The first byte; 0 if there is none.
        kind: u8,
        /// The length.
        len: usize,
    },
    /// The value has another format.
    #[error("{key} has format {format}, and this version reads format 1; use the version that wrote it")]
    Format {
        /// The row.
        key: Key,
        /// The format found.
        format: u8,
    },
    /// The value is not what a broker writes.
    #[error("{key} is damaged: {field} is invalid; restore the store from a copy")]
    Damaged {
        /// The row.
        key: Key,
        /// What is wrong.
        field: &'static str,
    },
    /// The row's key is not above that of the row before.
    #[error("{key} came out of order; the store returned its rows in the wrong order")]
    OutOfOrder {
        /// The row.
        key: Key,
    },
    /// The row contradicts another one.
    #[error("{key} contradicts another row: {what}; restore the store from a copy")]
    Contradiction {
        /// The row.
        key: Key,
        /// What contradicts.
        what: &'static str,
    },
    /// A row is missing.
    #[error("{key} is missing; restore the store from a copy")]
    Missing {
        /// The row.
        key: Key,
    },
    /// The configuration of the broker contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
