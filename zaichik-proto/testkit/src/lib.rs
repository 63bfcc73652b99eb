//! A raw client for tests of a broker: requests in, bytes out; bytes in, short texts out. No I/O, no clock.
//!
//! It sends any request, valid or not, and checks what the protocol guarantees: one answer for each request, in
//! request order within the control lane; every offset from a subscription's start on accounted for, in order, within
//! a rewind; nothing of a subscription after its end. What it receives is kept as [texts](show), so that a test reads
//! like a conversation. A violation panics.
//!
//! The caller is the transport: it sends what [`RawClient::outgoing`] holds and passes what arrives to
//! [`RawClient::receive`].

#![expect(clippy::expect_used, reason = "a test whose broker violates the protocol must fail")]
#![expect(clippy::missing_panics_doc, reason = "as above")]

mod batch;
mod book;
mod client;
mod connected;
mod connections;
mod frames;
mod patterns;
mod rebuilt;
mod requests;
mod rows;
mod shared;
pub mod show;
mod sub;

pub use batch::{Op, done, put, put_all};
pub use book::Received;
pub use client::RawClient;
pub use connected::{Served, connected};
pub use connections::{BODY, Connections, publish_equal, requests};
pub use frames::Frames;
pub use patterns::PatternSub;
pub use rebuilt::{rebuilt_client_frame, rebuilt_server_frame};
pub use requests::encoded;
pub use rows::Rows;
pub use shared::Member;
pub use sub::{Sub, keyed, mortal, record};
