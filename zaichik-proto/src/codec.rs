//! How each frame looks on the wire: one parse and one write per direction.

pub(crate) mod publish;

mod client;
mod server;
