//! All settings of a broker, with their defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zaichik_driver::{BrokerConfig, Limits, TopicSettings};

use super::address::Address;
use crate::memory;

/// The default port.
const DEFAULT_PORT: u16 = 8889;

/// Default for the maximum time of a drain.
const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

/// Default for the size of a file with messages, in bytes.
const DEFAULT_SEGMENT: u64 = 64 << 20;

/// Minimum memory budget, in bytes: room for some of the largest messages, their windows and a few hundred connections.
pub(crate) const MIN_MEMORY: u64 = 8 << 20;

/// A broker's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) listen: Vec<Address>,
    pub(crate) http: Option<Address>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) storage_dir: Option<PathBuf>,
    pub(crate) storage_sync: StorageSync,
    pub(crate) storage_segment_size: u64,
    pub(crate) log_format: LogFormat,
    pub(crate) drain: Duration,
    pub(crate) busy_poll: Duration,
    pub(crate) max_message_size: u64,
    pub(crate) max_records: u32,
    pub(crate) max_window: u32,
    pub(crate) max_window_size: u64,
    pub(crate) max_subscriptions: u32,
    pub(crate) max_connections: u32,
    pub(crate) max_handshakes: u32,
    pub(crate) max_topics: u32,
    pub(crate) max_patterns: u32,
    pub(crate) max_durables: u32,
    pub(crate) max_producers: u32,
    pub(crate) memory: Memory,
    pub(crate) output_buffer: u64,
    pub(crate) max_connection_bytes: Option<u64>,
    pub(crate) heartbeat: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) frame_timeout: Duration,
    pub(crate) producer_ttl: Duration,
    pub(crate) topic_defaults: TopicSettings,
    pub(crate) inactive_ttl: Duration,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// With timestamps; in color on a terminal.
    Pretty,
    /// Without timestamps and colors, for a journal that adds timestamps.
    Compact,
    /// One JSON object per line.
    Json,
}

/// When what is stored is synced: survives the end of the machine, and not only of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StorageSync {
    /// Before anybody hears of it.
    Always,
    /// That long after it was stored, or earlier if a client waits for it.
    Interval(Duration),
}

/// The memory budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Percent of the machine's or the cgroup's memory.
    Share(u8),
    Bytes(u64),
}

impl Settings {
    /// The configuration of the broker itself.
    pub(crate) fn broker(&self, token: Option<Vec<u8>>) -> BrokerConfig {
        let mut config = BrokerConfig::default();
        config.server_name = format!("zaichik {}", env!("CARGO_PKG_VERSION"));
        config.token = token;
        let max_message = saturated(self.max_message_size);
        config.wire = Limits::new()
            .max_message(max_message)
            .max_frame(config.wire.max_frame.max(max_message.saturating_add(Limits::FRAME_ROOM)))
            .max_records(self.max_records)
            .max_window(self.max_window)
            .max_window_size(saturated(self.max_window_size))
            .max_subscriptions(self.max_subscriptions)
            .heartbeat_millis(u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX).max(1));
        config.topic_defaults = self.topic_defaults;
        config.max_topics = self.max_topics;
        config.max_patterns = self.max_patterns;
        config.max_durables = self.max_durables;
        config.inactive_ttl = self.inactive_ttl;
        config.max_connections = self.max_connections;
        config.max_handshakes = self.max_handshakes;
        config.max_producers = self.max_producers;
        config.producer_ttl = self.producer_ttl;
        config.memory = match self.memory {
            Memory::Share(percent) => {
                memory::share(Path::new("/"), percent).max(MIN_MEMORY.max(config.min_memory()))
            }
            Memory::Bytes(bytes) => bytes,
        };
        config.handshake_timeout = self.handshake_timeout;
        config.write_timeout = self.write_timeout;
        config.frame_timeout = self.frame_timeout;
        config.output_buffer = usize::try_from(self.output_buffer).unwrap_or(usize::MAX);
        config.max_connection_bytes = self.max_connection_bytes;
        config
    }
}

impl Default for Settings {
    /// The engine's defaults, except that the memory budget is a share of the machine's memory.
    fn default() -> Self {
        let broker = BrokerConfig::default();
        Self {
            listen: vec![Address::loopback(DEFAULT_PORT)],
            http: None,
            token_file: None,
            storage_dir: None,
            storage_sync: StorageSync::Always,
            storage_segment_size: DEFAULT_SEGMENT,
            log_format: LogFormat::Pretty,
            drain: DEFAULT_DRAIN,
            busy_poll: Duration::ZERO,
            max_message_size: broker.wire.max_message.into(),
            max_records: broker.wire.max_records,
            max_window: broker.wire.max_window,
            max_window_size: broker.wire.max_window_size.into(),
            max_subscriptions: broker.wire.max_subscriptions,
            max_connections: broker.max_connections,
            max_handshakes: broker.max_handshakes,
            max_topics: broker.max_topics,
            max_patterns: broker.max_patterns,
            max_durables: broker.max_durables,
            max_producers: broker.max_producers,
            memory: Memory::Share(25),
            output_buffer: broker.output_buffer.try_into().unwrap_or(u64::MAX),
            max_connection_bytes: broker.max_connection_bytes,
            heartbeat: Duration::from_millis(broker.wire.heartbeat_millis.into()),
            handshake_timeout: broker.handshake_timeout,
            write_timeout: broker.write_timeout,
            frame_timeout: broker.frame_timeout,
            producer_ttl: broker.producer_ttl,
            topic_defaults: broker.topic_defaults,
            inactive_ttl: broker.inactive_ttl,
        }
    }
}

impl StorageSync {
    /// In the form of the setting.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Always => "always".to_owned(),
            Self::Interval(every) => {
                format!("interval {}", humantime::format_duration(every).to_string().replace(' ', ""))
            }
        }
    }

    /// A setting; `None` if it is invalid.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "always" {
            return Some(Self::Always);
        }
        let every = humantime::parse_duration(text.strip_prefix("interval ")?).ok()?;
        (!every.is_zero()).then_some(Self::Interval(every))
    }
}

impl LogFormat {
    pub(crate) const ALL: &[Self] = &[Self::Pretty, Self::Compact, Self::Json];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Compact => "compact",
            Self::Json => "json",
        }
    }
}

fn saturated(size: u64) -> u32 {
    size.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_engines() {
        let config = Settings { memory: Memory::Bytes(256 << 20), ..Settings::default() }.broker(None);
        let mut engine = BrokerConfig::default();
        engine.server_name.clone_from(&config.server_name);
        assert!(config == engine, "{config:?} is not {engine:?}");
    }

    #[test]
    fn the_memory_of_a_connection_is_the_broker_s() {
        let settings = Settings { max_connection_bytes: Some(4 << 20), ..Settings::default() };
        assert_eq!(settings.broker(None).max_connection_bytes, Some(4 << 20));
    }

    #[test]
    fn a_frame_holds_the_largest_message() {
        let settings = Settings { max_message_size: 8 << 20, ..Settings::default() };
        let wire = settings.broker(None).wire;
        assert_eq!((wire.max_message, wire.max_frame), (8 << 20, (8 << 20) + 4_096));
    }
}
