//! A raw client for tests of a broker: requests in, bytes out; bytes in, short texts out. No I/O, no clock.
//!
//! It says what it is told to, right or wrong, and checks what every client may count on: one answer for each
//! request, in request order within the control lane; from a subscription's start on every offset accounted for, in
//! order, within a rewind; nothing of a subscription after its end. What the broker says is kept as
//! [texts](show), so that a test reads like a conversation. A broken promise is a panic.
//!
//! The transport is the caller's: it sends what [`RawClient::outgoing`] holds and brings what comes to
//! [`RawClient::receive`].

#![expect(clippy::expect_used, reason = "a test whose broker breaks a promise fails, as it should")]
#![expect(clippy::missing_panics_doc, reason = "as above")]

mod batch;
mod book;
mod client;
mod connected;
mod requests;
pub mod show;
mod sub;

pub use batch::{Op, done, put, put_all};
pub use book::Received;
pub use client::RawClient;
pub use connected::{Served, connected};
pub use requests::encoded;
pub use sub::{Sub, keyed, mortal, record};
