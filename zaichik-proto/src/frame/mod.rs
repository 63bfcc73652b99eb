//! What the two ends say to each other; each direction is a type of its own.

pub(crate) mod client;
pub(crate) mod server;
