//! The Zaichik broker as a pure state machine: frames and time in, effects out.
//!
//! This crate uses no socket, task, thread, clock, file or random number; their effects are passed in as arguments. A
//! [`Session`] is everything that belongs to one connection, and a [`Broker`] everything that connections share. They
//! interact in [`Session::exchange`], and work for the caller is reported in [`Effects`]. A test can therefore run a
//! broker for a simulated year in a second:
//!
//! ```
//! use bytes::{Buf, BytesMut};
//! use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp};
//! use zaichik_proto::{ClientFrame, Hello, Limits, MAGIC, ServerDecoder, ServerFrame};
//!
//! let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
//! let (mut effects, now) = (Effects::new(), Timestamp::from_micros(0));
//! let mut session = broker.accept(now, &mut effects);
//!
//! let mut hello = BytesMut::from(&MAGIC[..]);
//! ClientFrame::Hello(Hello { version: 1, name: "doc", token: b"" }).encode(&mut hello);
//! session.inbound().extend_from_slice(&hello);
//! session.handle_read(now);
//! let _ = session.exchange(now, &mut broker, &mut effects);
//!
//! let outbound = session.outbound();
//! let bytes = outbound.copy_to_bytes(outbound.remaining());
//! let mut decoder = ServerDecoder::handshake(&Limits::default());
//! let (frame, _) = decoder.decode(&bytes)?.expect("a whole frame");
//! assert!(matches!(frame, ServerFrame::Welcome(welcome) if welcome.instance == 7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arena;
mod broker;
mod config;
mod effects;
mod error;
mod group;
mod id;
mod outbound;
mod pattern;
mod planted;
mod queue;
mod ring;
mod session;
mod session_config;
mod stats;
mod steps;
pub mod store;
mod subscription;
mod table;
mod topic;
mod window;

pub use broker::{Broker, Declared, Inconsistent, Ledger, Restore};
pub use config::{BrokerConfig, ConfigError, Seed, TopicSettings};
pub use effects::{Effects, Note, NoteEvent, Turn};
pub use error::CloseReason;
pub use id::SessionId;
pub use outbound::Outbound;
#[cfg(feature = "planted")]
pub use planted::{Defect, plant};
pub use session::{Session, Status};
pub use stats::Stats;
pub use zaichik_proto::Timestamp;

/// The program of this crate's README, compiled and run as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
