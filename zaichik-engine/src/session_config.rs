//! The configuration that all sessions of a broker share.

use subtle::ConstantTimeEq;
use zaichik_proto::{Hello, Limits, MAGIC, ProtocolError, ProtocolFault, Version, micros};

use crate::config::{BrokerConfig, Seed};
use crate::error::CloseReason;

/// Where the Hello starts in the client's stream: after the magic.
const HELLO_AT: u64 = MAGIC.len() as u64;

const MICROS_PER_MILLI: u64 = 1_000;

/// The configuration that all sessions of a broker share.
#[derive(Debug)]
pub(crate) struct SessionConfig {
    pub(crate) instance: u128,
    pub(crate) server_name: String,
    token: Option<Vec<u8>>,
    pub(crate) wire: Limits,
    pub(crate) handshake_micros: u64,
    pub(crate) write_micros: u64,
    pub(crate) frame_micros: u64,
    pub(crate) heartbeat_micros: u64,
    pub(crate) output_buffer: usize,
    /// Maximum bytes that the buffers of one connection may hold.
    pub(crate) connection_bytes: usize,
}

impl SessionConfig {
    pub(crate) fn new(config: &BrokerConfig, seed: Seed) -> Self {
        Self {
            instance: seed.instance,
            server_name: config.server_name.clone(),
            token: config.token.clone(),
            wire: config.wire,
            handshake_micros: micros(config.handshake_timeout),
            write_micros: micros(config.write_timeout),
            frame_micros: micros(config.frame_timeout),
            heartbeat_micros: u64::from(config.wire.heartbeat_millis).saturating_mul(MICROS_PER_MILLI),
            output_buffer: config.output_buffer,
            connection_bytes: usize::try_from(config.connection_bytes()).unwrap_or(usize::MAX),
        }
    }

    /// Checks whether a peer may connect; returns the version that both ends speak.
    pub(crate) fn check(&self, hello: &Hello<'_>) -> Result<Version, CloseReason> {
        let version = Version::negotiate(hello.version).ok_or_else(|| {
            let fault = ProtocolFault::UnsupportedVersion { got: hello.version };
            CloseReason::Protocol(ProtocolError { offset: HELLO_AT, fault })
        })?;
        match &self.token {
            // In constant time, so that the token cannot be guessed byte by byte.
            Some(token) if !bool::from(token.as_slice().ct_eq(hello.token)) => Err(CloseReason::Unauthorized),
            _ => Ok(version),
        }
    }
}
