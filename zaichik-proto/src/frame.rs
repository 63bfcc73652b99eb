//! What the two ends say to each other: requests beside their answers, one file for each subject.
//!
//! What may grow without a new protocol version, such as refusal codes, counters and the reasons that answers give,
//! is `#[non_exhaustive]`. The rest is not, on purpose:
//!
//! - [`ClientFrame`](client::ClientFrame), [`ServerFrame`](server::ServerFrame) and what requests can ask for
//!   (`Start`, `Operation`, `Subject`, …) are matched by the state machines of both ends. A machine that ignores a
//!   frame leaves a request without an answer, so a new one has to break the build of every machine.
//! - Structs of frames, records and list entries have public fields and can be written as literals: their layout is
//!   fixed for each protocol version.

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
