//! The frames that the two ends exchange: requests together with their answers, one file for each subject.
//!
//! Types that may grow without a new protocol version, such as refusal codes, counters and the reasons in answers, are
//! `#[non_exhaustive]`. All others are deliberately exhaustive:
//!
//! - [`ClientFrame`](client::ClientFrame), [`ServerFrame`](server::ServerFrame) and the enums in requests (`Start`,
//!   `Operation`, `Subject`, …) are matched by the state machines of both ends. A state machine that ignores a frame
//!   leaves a request without an answer, so a new variant must break the build of every state machine.
//! - Structs of frames, records and list entries have public fields and can be written as literals: their layout is
//!   fixed for each protocol version.

pub(crate) mod batch;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod cursor;
pub(crate) mod delivery;
pub(crate) mod describe;
pub(crate) mod members;
pub(crate) mod pattern;
pub(crate) mod publish;
pub(crate) mod server;
pub(crate) mod shared;
pub(crate) mod subscribe;
pub(crate) mod topic;
