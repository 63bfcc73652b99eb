//! A broker inside a program, with its state in a directory.
//!
//! [`Storage`] names the directory and starts the broker; `zaichik_tokio::Storage` and `zaichik_async_std::Storage` are
//! the same for their runtime. The commands `zaichik` and `zaichik-async-std` use it for `--data`, and `zaichik store` works
//! on the directory.

mod error;
mod journal_store;
mod recovered;
mod storage;

pub use error::StorageError;
pub use journal_store::JournalStore;
pub use recovered::{Continuity, Recovered};
pub use storage::Storage;
