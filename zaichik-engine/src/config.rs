//! A broker's configuration, fixed when it is created.

use core::time::Duration;

use thiserror::Error;
use zaichik_proto::{CompactionMode, Limits, Overflow, SettingNames, TopicOptions};

use crate::session::BUSY_ROOM;

/// A broker's configuration. Start from the default and change fields.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Seed};
/// let mut config = BrokerConfig::default();
/// config.memory = 64 << 20;
/// let broker = Broker::new(config, Seed::new(0x1234, 0x5678))?; // random numbers
/// # Ok::<(), zaichik_engine::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// The broker's name in its Welcome; at most 255 bytes.
    pub server_name: String,
    /// The shared token that clients must send; `None` admits all clients. At most 1,024 bytes.
    pub token: Option<Vec<u8>>,
    /// Limits of a connection, announced in the Welcome.
    pub wire: Limits,
    /// Settings of topics created on first use, and of settings that `CreateTopic` omits.
    pub topic_defaults: TopicSettings,
    /// The offset of a topic's first record. Default 0; tests set it near the last offset.
    pub first_offset: u64,
    /// Maximum topics; they can't be deleted. Default 100,000.
    pub max_topics: u32,
    /// Maximum patterns of topics that are subscribed to. Default 10,000.
    pub max_patterns: u32,
    /// Maximum durable subscriptions, attached or not. Default 100,000.
    pub max_durables: u32,
    /// How long a durable subscription is kept while detached, unless it specifies a time itself. Default 24 h.
    pub inactive_ttl: Duration,
    /// Maximum connections. Default 65,536.
    pub max_connections: u32,
    /// Maximum connections whose handshake is not done. Default 1,024.
    pub max_handshakes: u32,
    /// Maximum producers whose answers are remembered for retries. Default 4,096.
    pub max_producers: u32,
    /// Idle time after which a producer is forgotten; at this instant it counts as new (rule P3). Default 10 min.
    pub producer_ttl: Duration,
    /// Maximum memory for everything the broker holds, in bytes, as the broker counts it. Default 256 MiB; at least
    /// [`min_memory`](Self::min_memory). A quarter of it is for the buffers of connections, or more if the largest frame
    /// needs more (rule S9).
    pub memory: u64,
    /// Maximum memory for the buffers of one connection, in bytes; `None`, the default, for three times the largest
    /// frame (or 128 KiB), two output buffers and 192 KiB (rule S15). It can't be less without the output buffers.
    pub max_connection_bytes: Option<u64>,
    /// From how many bytes of records, subscriptions, producers and tables on a broker with a store frees the memory of
    /// records that the store has (rule B8); `None`, the default, for three quarters of the memory that is for them. With
    /// fewer it reads more back.
    pub max_resident_bytes: Option<u64>,
    /// How long a handshake may take, in total. Default 5 s.
    pub handshake_timeout: Duration,
    /// How long a peer may take to accept the output that waits for it, or 16 KiB of it (rule S16). Default 10 s.
    pub write_timeout: Duration,
    /// How long a peer may take to complete a frame that it has begun, or to send 16 KiB of it (rule S16). Default 10 s.
    pub frame_timeout: Duration,
    /// Bytes that may wait in each of a connection's lanes, plus one frame. Default 256 KiB.
    pub output_buffer: usize,
}

/// Random numbers that identify and protect a broker, drawn each time it starts.
///
/// ```
/// use zaichik_engine::Seed;
/// let seed = Seed::new(0x1234, 0x5678);
/// assert!(!format!("{seed:?}").contains("hash_key"), "the hash key is a secret");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seed {
    /// Identifies this broker instance: different at each start; clients see it (rule P5).
    pub instance: u128,
    /// Key for hashing names and message keys: secret, so that clients cannot choose names that collide.
    pub hash_key: u128,
}

impl Seed {
    /// A seed of two random numbers that the caller drew.
    #[must_use]
    pub const fn new(instance: u128, hash_key: u128) -> Self {
        Self { instance, hash_key }
    }
}

impl core::fmt::Debug for Seed {
    /// Omits the secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Seed").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            server_name: concat!("zaichik ", env!("CARGO_PKG_VERSION")).to_owned(),
            token: None,
            wire: Limits::default(),
            topic_defaults: TopicSettings::default(),
            first_offset: 0,
            max_topics: 100_000,
            max_patterns: 10_000,
            max_durables: 100_000,
            inactive_ttl: Duration::from_hours(24),
            max_connections: 65_536,
            max_handshakes: 1_024,
            max_producers: 4_096,
            producer_ttl: Duration::from_mins(10),
            memory: 256 << 20,
            max_connection_bytes: None,
            max_resident_bytes: None,
            handshake_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(10),
            output_buffer: 256 << 10,
        }
    }
}

impl BrokerConfig {
    /// The least [`memory`](Self::memory) with which the largest frame can be received and answered, in bytes: seven
    /// times that frame (or 128 KiB) and 960 KiB.
    ///
    /// ```
    /// use zaichik_engine::{Broker, BrokerConfig, ConfigError, Seed};
    /// let mut config = BrokerConfig::default();
    /// config.memory = config.min_memory() - 1;
    /// let error = Broker::new(config, Seed::new(1, 2)).expect_err("too little");
    /// assert!(matches!(error, ConfigError::MemoryTooSmall { .. }));
    /// ```
    #[must_use]
    pub const fn min_memory(&self) -> u64 {
        self.largest_read().saturating_mul(7).saturating_add(960 << 10)
    }

    /// The part of the memory that is for the buffers of connections.
    pub(crate) fn connections_memory(&self) -> u64 {
        let least = (self.min_memory() / 2).min(self.memory / 2);
        (self.memory / 4).max(least)
    }

    /// Maximum memory for the buffers of one connection.
    pub(crate) fn connection_bytes(&self) -> u64 {
        let lanes = (self.output_buffer as u64).saturating_mul(2);
        self.max_connection_bytes.unwrap_or_else(|| self.least_connection_bytes().saturating_add(lanes))
    }

    /// What the largest frame needs: itself, its answer, which is at most twice as large, and other answers.
    const fn least_connection_bytes(&self) -> u64 {
        self.largest_read().saturating_mul(3).saturating_add(192 << 10)
    }

    /// Maximum bytes received and not applied.
    const fn largest_read(&self) -> u64 {
        let frame = self.wire.max_frame as u64;
        if frame > BUSY_ROOM as u64 { frame } else { BUSY_ROOM as u64 }
    }

    /// Checks that the settings are possible and fit each other, as [`Broker::new`](crate::Broker::new) does.
    ///
    /// ```
    /// use zaichik_engine::{BrokerConfig, ConfigError};
    /// let mut config = BrokerConfig::default();
    /// assert_eq!(config.check(), Ok(()));
    /// config.max_connection_bytes = Some(1 << 20);
    /// assert!(matches!(config.check(), Err(ConfigError::ConnectionBytesTooSmall { .. })));
    /// ```
    ///
    /// # Errors
    /// The first setting that is impossible, or does not fit the others.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wire = &self.wire;
        let needed = wire.max_message.checked_add(Limits::FRAME_ROOM);
        if needed.is_none_or(|needed| wire.max_frame < needed) {
            return Err(ConfigError::FrameTooSmall {
                max_frame: wire.max_frame,
                max_message: wire.max_message,
            });
        }
        if wire.max_records == 0 || wire.max_records > Limits::MAX_RECORDS {
            return Err(ConfigError::MaxRecords { got: wire.max_records });
        }
        let limits = [wire.max_message, wire.max_window, wire.max_window_size, wire.max_subscriptions];
        if limits.contains(&0) || self.output_buffer == 0 || self.max_producers == 0 {
            return Err(ConfigError::ZeroLimit);
        }
        if self.memory < self.min_memory() {
            return Err(ConfigError::MemoryTooSmall { got: self.memory, least: self.min_memory() });
        }
        let least = self.least_connection_bytes();
        if let Some(got) = self.max_connection_bytes.filter(|got| *got < least) {
            return Err(ConfigError::ConnectionBytesTooSmall { got, least });
        }
        let timeouts = [self.handshake_timeout, self.write_timeout, self.frame_timeout, self.producer_ttl];
        if wire.heartbeat_millis == 0 || timeouts.iter().any(|timeout| zaichik_proto::micros(*timeout) == 0) {
            return Err(ConfigError::ZeroTimeout);
        }
        if self.server_name.len() > usize::from(u8::MAX) {
            return Err(ConfigError::NameTooLong { got: self.server_name.len() });
        }
        if let Some(token) = &self.token
            && (token.is_empty() || token.len() > Limits::MAX_TOKEN)
        {
            return Err(ConfigError::Token { got: token.len() });
        }
        match self.topic_defaults.check() {
            0 => Ok(()),
            mask => Err(ConfigError::TopicDefaults { mask }),
        }
    }
}

impl core::fmt::Debug for BrokerConfig {
    /// Omits the secrets.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BrokerConfig")
            .field("token", &self.token.as_ref().map(|_| "redacted"))
            .field("wire", &self.wire)
            .field("topic_defaults", &self.topic_defaults)
            .field("max_topics", &self.max_topics)
            .field("max_connections", &self.max_connections)
            .field("max_producers", &self.max_producers)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

/// An inconsistent configuration; never caused by a peer's input.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, ConfigError, Seed};
/// let mut config = BrokerConfig::default();
/// config.wire.max_records = 0;
/// assert_eq!(Broker::new(config, Seed::new(1, 2)).err(), Some(ConfigError::MaxRecords { got: 0 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A frame could not hold the largest message.
    #[error("max_frame {max_frame} can't hold max_message {max_message} and 4,096 bytes; raise max_frame")]
    FrameTooSmall {
        /// The frame limit given.
        max_frame: u32,
        /// The message limit given.
        max_message: u32,
    },
    /// Not between 1 and 65,536.
    #[error("max_records is {got}; use 1 to 65,536")]
    MaxRecords {
        /// The value given.
        got: u32,
    },
    /// No client accepts a Welcome with a limit of zero, lanes of zero bytes send nothing, and a broker that remembers
    /// no producers refuses all of them.
    #[error(
        "max_message, max_window, max_window_size, max_subscriptions, max_producers and output_buffer must be above zero"
    )]
    ZeroLimit,
    /// Too little memory for the largest frame.
    #[error(
        "memory is {got} bytes; with this max_frame at least {least} are needed; raise memory or lower max_frame"
    )]
    MemoryTooSmall {
        /// The budget given.
        got: u64,
        /// The least budget for this `max_frame`.
        least: u64,
    },
    /// Too little memory for a connection that sends the largest frame.
    #[error("max_connection_bytes is {got}; with this max_frame at least {least} are needed")]
    ConnectionBytesTooSmall {
        /// The value given.
        got: u64,
        /// The least value for this `max_frame`.
        least: u64,
    },
    /// A heartbeat or deadline of zero would close every connection, and producers would be forgotten at once.
    #[error("heartbeat, handshake, write and frame timeouts and producer_ttl must be above zero")]
    ZeroTimeout,
    /// The server name does not fit in the Welcome.
    #[error("server_name has {got} bytes; at most 255 fit")]
    NameTooLong {
        /// Its length.
        got: usize,
    },
    /// A token that no client could send.
    #[error("the token has {got} bytes; use 1 to 1,024")]
    Token {
        /// Its length.
        got: usize,
    },
    /// The topic defaults are not valid settings.
    #[error("the topic defaults are invalid: {} must be at least 1", SettingNames(*mask))]
    TopicDefaults {
        /// A bit for each invalid setting, as in docs/protocol.md §6.2.
        mask: u64,
    },
}

/// A topic's complete settings. Times are in microseconds; `u64::MAX` means forever or unlimited.
///
/// ```
/// use zaichik_engine::{BrokerConfig, TopicSettings};
/// let mut config = BrokerConfig::default();
/// config.topic_defaults.max_bytes = 1 << 20;
/// assert_eq!(config.topic_defaults.retention_ttl_micros, 0, "only for existing subscriptions");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSettings {
    /// How long a record lives (rule R1); 0, the default, keeps records only for existing subscriptions (rule R2).
    pub retention_ttl_micros: u64,
    /// How long a key is remembered (rule C1); 0, the default, turns that off. With `latest`, how long a superseded
    /// record stays live, from its own acceptance on (rule C6); 0 means not at all.
    pub compaction_window_micros: u64,
    /// Which record of a key is kept. Default: the first.
    pub compaction: CompactionMode,
    /// Maximum records retained. Default 10,000,000.
    pub max_messages: u64,
    /// Maximum bytes of records retained. Default 64 MiB.
    pub max_bytes: u64,
    /// What happens at those limits. Default: the oldest records are dropped.
    pub overflow: Overflow,
    /// Maximum keys remembered; with `latest`, maximum keys whose newest record is live (rule C4). Default 1,000,000.
    pub max_keys: u64,
    /// How long a tombstone is live (rule C7). Default 24 h.
    pub tombstone_ttl_micros: u64,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            retention_ttl_micros: 0,
            compaction_window_micros: 0,
            compaction: CompactionMode::First,
            max_messages: 10_000_000,
            max_bytes: 64 << 20,
            overflow: Overflow::DropOldest,
            max_keys: 1_000_000,
            tombstone_ttl_micros: 24 * 3_600 * 1_000_000,
        }
    }
}

impl TopicSettings {
    /// These settings, overridden where the options have a value.
    #[must_use]
    pub fn with(self, options: &TopicOptions) -> Self {
        Self {
            retention_ttl_micros: options.retention_ttl_micros.unwrap_or(self.retention_ttl_micros),
            compaction_window_micros: options
                .compaction_window_micros
                .unwrap_or(self.compaction_window_micros),
            compaction: options.compaction.unwrap_or(self.compaction),
            max_messages: options.max_messages.unwrap_or(self.max_messages),
            max_bytes: options.max_bytes.unwrap_or(self.max_bytes),
            overflow: options.overflow.unwrap_or(self.overflow),
            max_keys: options.max_keys.unwrap_or(self.max_keys),
            tombstone_ttl_micros: options.tombstone_ttl_micros.unwrap_or(self.tombstone_ttl_micros),
        }
    }

    /// The same as options with every value present.
    #[must_use]
    pub const fn to_options(self) -> TopicOptions {
        let mut options = TopicOptions::new();
        options.retention_ttl_micros = Some(self.retention_ttl_micros);
        options.compaction_window_micros = Some(self.compaction_window_micros);
        options.compaction = Some(self.compaction);
        options.max_messages = Some(self.max_messages);
        options.max_bytes = Some(self.max_bytes);
        options.overflow = Some(self.overflow);
        options.max_keys = Some(self.max_keys);
        options.tombstone_ttl_micros = Some(self.tombstone_ttl_micros);
        options
    }

    /// Whether new subscriptions get nothing accepted before them (rule R2).
    pub(crate) const fn is_live_only(&self) -> bool {
        self.retention_ttl_micros == 0
    }

    /// A mask of the settings that are not valid, in the order of docs/protocol.md §6.2; 0 if all are.
    pub(crate) fn check(&self) -> u64 {
        let zero = |value: u64| u64::from(value == 0);
        (zero(self.max_messages) << 3) | (zero(self.max_bytes) << 4) | (zero(self.max_keys) << 6)
    }
}
