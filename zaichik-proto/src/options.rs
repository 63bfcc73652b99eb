//! The settings of a topic, as clients request them and brokers report them.

use core::fmt;
use core::time::Duration;

use alloc::vec::Vec;

use crate::error::ProtocolFault;
use crate::read::Reader;

/// Settings of a topic (docs/protocol.md §6.2); `None` leaves a setting to the broker's default.
///
/// Times are in microseconds. `u64::MAX` means forever, or no limit.
///
/// ```
/// use std::time::Duration;
/// use zaichik_proto::TopicOptions;
/// let options = TopicOptions::new().retention_ttl(Duration::from_secs(10)).max_messages(1_000);
/// assert_eq!(options.retention_ttl_micros, Some(10_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TopicOptions {
    /// How long a record is retained (rule R1); 0 retains records for existing subscriptions only (rule R2).
    pub retention_ttl_micros: Option<u64>,
    /// How long a key is remembered (rule C1), or with [`CompactionMode::Latest`] how long a superseded record is
    /// retained; 0 is not at all.
    pub compaction_window_micros: Option<u64>,
    /// Which record of a key is kept.
    pub compaction: Option<CompactionMode>,
    /// Maximum number of retained records; at least 1.
    pub max_messages: Option<u64>,
    /// Maximum bytes of retained records, including their overhead; at least 1.
    pub max_bytes: Option<u64>,
    /// What happens at these limits.
    pub overflow: Option<Overflow>,
    /// Maximum number of remembered keys; at least 1, `u64::MAX` for no limit.
    pub max_keys: Option<u64>,
    /// How long a tombstone is live (rule C7).
    pub tombstone_ttl_micros: Option<u64>,
}

/// Which record of a key is kept (chapter C).
///
/// ```
/// use zaichik_proto::{CompactionMode, TopicOptions};
/// let prices = TopicOptions::new().retain_forever().compaction(CompactionMode::Latest); // a table
/// assert_eq!(prices.compaction, Some(CompactionMode::Latest));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompactionMode {
    /// The first record within the window; later ones are duplicates.
    #[default]
    First,
    /// The newest record, which supersedes the older ones.
    Latest,
}

/// What a topic does at its limits (rule R5).
///
/// ```
/// use zaichik_proto::{Overflow, TopicOptions};
/// let jobs = TopicOptions::new().max_messages(1_000).overflow(Overflow::Reject); // refuses instead of losing records
/// assert_eq!(jobs.overflow, Some(Overflow::Reject));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The oldest record is removed, and subscriptions that have not read it receive a Gap.
    #[default]
    DropOldest,
    /// A record makes room only once every subscription has committed it or it has expired; until then the publish is
    /// refused.
    Reject,
}

/// Converts a duration to microseconds; a duration that does not fit becomes `u64::MAX`, which means forever.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl TopicOptions {
    /// Options that leave every setting to the broker's defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            retention_ttl_micros: None,
            compaction_window_micros: None,
            compaction: None,
            max_messages: None,
            max_bytes: None,
            overflow: None,
            max_keys: None,
            tombstone_ttl_micros: None,
        }
    }

    /// Sets how long records are retained; zero retains them for existing subscriptions only.
    #[must_use]
    pub fn retention_ttl(mut self, ttl: Duration) -> Self {
        self.retention_ttl_micros = Some(micros(ttl));
        self
    }

    /// Retains records until a limit evicts them.
    #[must_use]
    pub const fn retain_forever(mut self) -> Self {
        self.retention_ttl_micros = Some(u64::MAX);
        self
    }

    /// Sets how long keys are remembered, or with [`CompactionMode::Latest`] how long superseded records are
    /// retained; zero is not at all.
    #[must_use]
    pub fn compaction_window(mut self, window: Duration) -> Self {
        self.compaction_window_micros = Some(micros(window));
        self
    }

    /// Sets which record of a key is kept.
    #[must_use]
    pub const fn compaction(mut self, mode: CompactionMode) -> Self {
        self.compaction = Some(mode);
        self
    }

    /// Sets the maximum number of retained records; `u64::MAX` for no limit.
    #[must_use]
    pub const fn max_messages(mut self, count: u64) -> Self {
        self.max_messages = Some(count);
        self
    }

    /// Sets the maximum bytes of retained records; `u64::MAX` for no limit.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Sets what happens at the limits.
    #[must_use]
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Sets the maximum number of remembered keys; `u64::MAX` for no limit.
    #[must_use]
    pub const fn max_keys(mut self, count: u64) -> Self {
        self.max_keys = Some(count);
        self
    }

    /// Sets how long tombstones are live.
    #[must_use]
    pub fn tombstone_ttl(mut self, ttl: Duration) -> Self {
        self.tombstone_ttl_micros = Some(micros(ttl));
        self
    }

    pub(crate) fn write(&self, out: &mut impl bytes::BufMut) {
        let fields = self.fields();
        let mask = fields
            .iter()
            .zip(0..)
            .fold(0u16, |mask, (field, bit)| mask | (u16::from(field.is_some()) << bit));
        out.put_u16_le(mask);
        for value in fields.into_iter().flatten() {
            out.put_u64_le(value);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ProtocolFault> {
        let mask = reader.u16()?;
        if mask >> NAMES.len() != 0 {
            return Err(ProtocolFault::ReservedBits { field: "settings mask" });
        }
        let mut values = [None; NAMES.len()];
        for (value, bit) in values.iter_mut().zip(0..) {
            if (mask >> bit) & 1 == 1 {
                *value = Some(reader.u64()?);
            }
        }
        let [retention, window, mode, messages, bytes, overflow, keys, tombstone] = values;
        Ok(Self {
            retention_ttl_micros: retention,
            compaction_window_micros: window,
            compaction: match mode {
                None => None,
                Some(0) => Some(CompactionMode::First),
                Some(1) => Some(CompactionMode::Latest),
                Some(got) => {
                    return Err(ProtocolFault::BadValue { field: "compaction", got });
                }
            },
            max_messages: messages,
            max_bytes: bytes,
            overflow: match overflow {
                None => None,
                Some(0) => Some(Overflow::DropOldest),
                Some(1) => Some(Overflow::Reject),
                Some(got) => {
                    return Err(ProtocolFault::BadValue { field: "overflow", got });
                }
            },
            max_keys: keys,
            tombstone_ttl_micros: tombstone,
        })
    }

    /// The settings in the order of their mask bits.
    fn fields(&self) -> [Option<u64>; NAMES.len()] {
        [
            self.retention_ttl_micros,
            self.compaction_window_micros,
            self.compaction.map(|mode| match mode {
                CompactionMode::First => 0,
                CompactionMode::Latest => 1,
            }),
            self.max_messages,
            self.max_bytes,
            self.overflow.map(|overflow| match overflow {
                Overflow::DropOldest => 0,
                Overflow::Reject => 1,
            }),
            self.max_keys,
            self.tombstone_ttl_micros,
        ]
    }

    /// A mask of the settings that differ between two sets of options, in the order of docs/protocol.md §6.2.
    ///
    /// An absent setting differs from every value, so both sets should be complete.
    #[must_use]
    pub fn difference(&self, other: &Self) -> u64 {
        let pairs = self.fields().into_iter().zip(other.fields());
        pairs.zip(0..).fold(0, |mask, ((ours, theirs), bit)| mask | (u64::from(ours != theirs) << bit))
    }
}

/// Names of the settings in the order of their mask bits.
const NAMES: [&str; 8] = [
    "retention_ttl",
    "compaction_window",
    "compaction",
    "max_messages",
    "max_bytes",
    "overflow",
    "max_keys",
    "tombstone_ttl",
];

/// Displays the names of the settings in a mask (docs/protocol.md §6.2).
///
/// ```
/// use zaichik_proto::SettingNames;
/// assert_eq!(SettingNames(0b1001).to_string(), "retention_ttl, max_messages");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingNames(pub u64);

impl fmt::Display for SettingNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().zip(0u32..).filter(|(_, bit)| (self.0 >> bit) & 1 == 1);
        f.write_str(&names.map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
    }
}
