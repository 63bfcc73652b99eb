//! How each frame looks on the wire: one parse and one write per direction.

pub(crate) mod plain;

mod client;
mod server;
