//! A raw client for tests of a broker: it encodes requests, and keeps what it receives as short texts. No I/O, no clock.
//!
//! It sends whatever a test asks for, valid or not, and checks what every client relies on: one answer for each request,
//! in request order within the control lane; every offset from a subscription's start accounted for, in order, within a
//! rewind; nothing from a subscription after its end. What the broker sends is kept as [texts](show), so that a test
//! reads like a conversation. A violation is a panic.
//!
//! The caller is the transport: it sends what [`RawClient::outgoing`] holds and passes what it receives to
//! [`RawClient::receive`].

#![expect(clippy::expect_used, reason = "a broker that violates the protocol fails its test")]
#![expect(clippy::missing_panics_doc, reason = "as above")]

mod batch;
mod book;
mod client;
mod requests;
pub mod show;
mod sub;

pub use batch::{Op, done, put, put_all};
pub use book::Received;
pub use client::RawClient;
pub use requests::encoded;
pub use sub::{Sub, keyed, mortal, record};
