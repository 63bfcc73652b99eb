//! Encodes and decodes the bodies of frames, each direction in one file.

pub(crate) mod publish;

mod client;
mod delivery;
mod server;
