//! What the two ends say to each other; each direction is a type of its own.

pub(crate) mod batch;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod cursor;
pub(crate) mod delivery;
pub(crate) mod describe;
pub(crate) mod publish;
pub(crate) mod server;
pub(crate) mod subscribe;
pub(crate) mod topic;
