//! What a broker is told once, when it is made.

use core::time::Duration;

use thiserror::Error;
use zaichik_proto::{CompactionMode, Limits, Overflow, SettingNames, TopicOptions};

/// A broker's configuration.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig};
/// let mut config = BrokerConfig::new(0x1234, 0x5678);
/// config.memory_budget = 64 << 20;
/// let broker = Broker::new(config)?;
/// # Ok::<(), zaichik_engine::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Names this broker among all that ever ran: random, another one at each start (semantics P5).
    pub instance: u128,
    /// Keys the hashes of names and keys: random and secret, so that nobody can choose names that collide.
    pub hash_key: u128,
    /// What the broker calls itself in its Welcome; at most 255 bytes.
    pub server_name: String,
    /// The shared token that clients must send; `None` lets everybody in. At most 1,024 bytes.
    pub token: Option<Vec<u8>>,
    /// What one connection may carry; announced in the Welcome.
    pub wire: Limits,
    /// Settings of topics that are created on first use, and of what `CreateTopic` leaves out.
    pub topic_defaults: TopicSettings,
    /// The offset of a topic's first record. Default 0; something near the end lets a test reach it.
    pub first_offset: u64,
    /// Most topics; they can't be deleted. Default 100,000.
    pub max_topics: u32,
    /// Most durable subscriptions, attached or not. Default 100,000.
    pub max_durables: u32,
    /// How long a durable subscription is kept while no connection has it, if it was not told itself. Default 24 h.
    pub inactive_ttl: Duration,
    /// Most connections. Default 65,536.
    pub max_connections: u32,
    /// Most connections whose handshake is not done. Default 1,024.
    pub max_handshakes: u32,
    /// Most producers whose answers are remembered for their retries. Default 4,096.
    pub max_producers: u32,
    /// Silence after which a producer is forgotten: at this instant it is a new one (semantics P3). Default 10 min.
    pub producer_ttl: Duration,
    /// Most memory for everything a broker holds, in bytes, counted by the broker. Default 256 MiB.
    pub memory_budget: u64,
    /// How long a handshake may take, in total. Default 5 s.
    pub handshake_timeout: Duration,
    /// How long a peer may take no byte of what waits for it. Default 10 s.
    pub write_timeout: Duration,
    /// Bytes that may wait in each of a connection's lanes, and one frame more. Default 256 KiB.
    pub lane_bytes: usize,
}

impl BrokerConfig {
    /// The defaults, for an instance and a secret hash key that the caller drew at random.
    #[must_use]
    pub fn new(instance: u128, hash_key: u128) -> Self {
        Self {
            instance,
            hash_key,
            server_name: concat!("zaichik ", env!("CARGO_PKG_VERSION")).to_owned(),
            token: None,
            wire: Limits::default(),
            topic_defaults: TopicSettings::default(),
            first_offset: 0,
            max_topics: 100_000,
            max_durables: 100_000,
            inactive_ttl: Duration::from_hours(24),
            max_connections: 65_536,
            max_handshakes: 1_024,
            max_producers: 4_096,
            producer_ttl: Duration::from_mins(10),
            memory_budget: 256 << 20,
            handshake_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            lane_bytes: 256 << 10,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
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
        let limits = [wire.max_message, wire.max_window, wire.max_window_bytes, wire.max_subscriptions];
        if limits.contains(&0) || self.lane_bytes == 0 || self.max_producers == 0 {
            return Err(ConfigError::ZeroLimit);
        }
        let timeouts = [self.handshake_timeout, self.write_timeout, self.producer_ttl];
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
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BrokerConfig")
            .field("instance", &self.instance)
            .field("token", &self.token.as_ref().map(|_| "redacted"))
            .field("wire", &self.wire)
            .field("topic_defaults", &self.topic_defaults)
            .field("max_topics", &self.max_topics)
            .field("max_connections", &self.max_connections)
            .field("max_producers", &self.max_producers)
            .field("memory_budget", &self.memory_budget)
            .finish_non_exhaustive()
    }
}

/// A configuration that contradicts itself; never caused by what a peer sends.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, ConfigError};
/// let mut config = BrokerConfig::new(1, 2);
/// config.wire.max_records = 0;
/// assert_eq!(Broker::new(config).err(), Some(ConfigError::MaxRecords { got: 0 }));
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
    /// No client takes a Welcome with a limit of zero, lanes of zero bytes let nothing through, and a broker without
    /// producers could say so to each of them only.
    #[error(
        "max_message, max_window, max_window_bytes, max_subscriptions, max_producers and lane_bytes must be above zero"
    )]
    ZeroLimit,
    /// A heartbeat or deadline of zero would close every connection, and producers would be forgotten at once.
    #[error("heartbeat, handshake and write timeouts and producer_ttl must be above zero")]
    ZeroTimeout,
    /// The server name does not fit the Welcome.
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
        /// A bit for each offending setting, as in docs/protocol.md §6.2.
        mask: u64,
    },
}

/// A topic's settings, complete. Times are microseconds; `u64::MAX` stands for "for ever" and "without limit".
///
/// ```
/// use zaichik_engine::{BrokerConfig, TopicSettings};
/// let mut config = BrokerConfig::new(1, 2);
/// config.topic_defaults = TopicSettings { max_bytes: 1 << 20, ..TopicSettings::default() };
/// assert_eq!(config.topic_defaults.retention_ttl_micros, 0, "for who is there, and nobody else");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSettings {
    /// How long a record lives (semantics R1); 0, the default, keeps records for existing subscriptions (R2).
    pub retention_ttl_micros: u64,
    /// How long a key is remembered (C1), and 0, the default, turns that off; with `latest`, how long a record that was
    /// superseded stays live from its own acceptance on (C6), and 0 is not at all.
    pub compaction_window_micros: u64,
    /// Which record of a key stays. Default: the first.
    pub compaction: CompactionMode,
    /// Most records retained. Default 10,000,000.
    pub max_messages: u64,
    /// Most bytes of records retained. Default 64 MiB.
    pub max_bytes: u64,
    /// What happens at those limits. Default: the oldest record goes.
    pub overflow: Overflow,
    /// Most keys remembered; with `latest`, most keys whose newest record is live (C4). Default 1,000,000.
    pub max_keys: u64,
    /// How long a tombstone is live (C7). Default 24 h.
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
    /// These settings with what the options give.
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

    /// The same as options that leave nothing out.
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

    /// Whether newcomers see nothing that was accepted before them (R2).
    pub(crate) const fn is_live_only(&self) -> bool {
        self.retention_ttl_micros == 0
    }

    /// A mask of the settings that are not valid, in the order of docs/protocol.md §6.2; 0 if all are.
    pub(crate) fn check(&self) -> u64 {
        let zero = |value: u64| u64::from(value == 0);
        (zero(self.max_messages) << 3) | (zero(self.max_bytes) << 4) | (zero(self.max_keys) << 6)
    }
}
