//! The types of values that settings have: how each is parsed, and how it is written in TOML.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use zaichik_driver::{CompactionMode, Overflow};

use super::address::Address;
use super::settings::{LogFormat, MIN_MEMORY, Memory, StorageSync};

/// A value as it was given; flags and the environment give text only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    List(Vec<String>),
    /// A type that no setting accepts, as written in the file.
    Other(String),
}

/// A reference to a field of the settings, with the type of values that it accepts.
#[derive(Debug)]
pub(crate) enum Field<'a> {
    /// Addresses, at least one.
    Addresses(&'a mut Vec<Address>),
    /// An address, or "" for none.
    Address(&'a mut Option<Address>),
    /// A path, or "" for none.
    Path(&'a mut Option<PathBuf>),
    LogFormat(&'a mut LogFormat),
    Sync(&'a mut StorageSync),
    Memory(&'a mut Memory),
    /// A number from 1 to a maximum.
    Count(&'a mut u32, u32),
    /// Bytes, from 1 to a maximum.
    Size(&'a mut u64, u64),
    /// A number from 1; `u64::MAX` is "unlimited".
    CountOrUnlimited(&'a mut u64),
    /// Bytes from 1; `u64::MAX` is "unlimited".
    SizeOrUnlimited(&'a mut u64),
    /// Bytes, from 1 to a maximum; `None` is "auto".
    SizeOrAuto(&'a mut Option<u64>, u64),
    /// A duration, zero included.
    Duration(&'a mut Duration),
    /// A duration other than zero.
    Timeout(&'a mut Duration),
    /// Microseconds, zero included; `u64::MAX` is "forever".
    DurationOrForever(&'a mut u64),
    Compaction(&'a mut CompactionMode),
    Overflow(&'a mut Overflow),
}

/// Maximum addresses to listen on; each takes a file descriptor.
const MAX_ADDRESSES: usize = 1_024;

/// The words for `u64::MAX`.
const UNLIMITED: &str = "unlimited";
const FOREVER: &str = "forever";

/// The word for a value that the broker derives from other settings.
const AUTO: &str = "auto";

impl Value {
    /// The value as it was written, for an error message.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::List(texts) => list(texts),
            Self::Other(text) => text.clone(),
        }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text.trim()) } else { None }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            Self::Text(text) => text.trim().replace('_', "").parse().ok(),
            Self::List(_) | Self::Other(_) => None,
        }
    }

    /// Bytes: a number without a unit, or with one.
    fn size(&self) -> Option<u64> {
        if let Some(number) = self.number() {
            return Some(number);
        }
        let size: ByteSize = self.text()?.parse().ok()?;
        Some(size.as_u64())
    }

    /// A duration with a unit; only 0 needs none.
    fn duration(&self) -> Option<Duration> {
        if self.number() == Some(0) {
            return Some(Duration::ZERO);
        }
        humantime::parse_duration(self.text()?).ok()
    }

    /// The texts of a list, or the parts of one text between commas.
    fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::List(texts) => Some(texts.iter().map(String::as_str).collect()),
            Self::Text(text) => Some(text.split(',').map(str::trim).collect()),
            Self::Number(_) | Self::Other(_) => None,
        }
    }
}

impl Field<'_> {
    /// Parses a value into the field.
    ///
    /// # Errors
    /// The value is invalid; the message says what to use.
    pub(crate) fn read(self, value: &Value) -> Result<(), String> {
        match self {
            Self::Addresses(place) => *place = addresses(value)?,
            Self::Address(place) => *place = optional(value, Address::parse)?,
            Self::Path(place) => *place = optional(value, |text| Ok(text.into()))?,
            Self::LogFormat(place) => *place = one_of(value, LogFormat::ALL, LogFormat::name)?,
            Self::Sync(place) => {
                let sync = value.text().and_then(StorageSync::parse);
                *place =
                    sync.ok_or("use \"always\", or an interval longer than zero such as \"interval 1s\"")?;
            }
            Self::Memory(place) => *place = memory(value)?,
            Self::Count(place, maximum) => *place = count(value, maximum)?,
            Self::Size(place, maximum) => {
                let size = value.size().filter(|size| (1..=maximum).contains(size));
                *place =
                    size.ok_or_else(|| format!("use a size such as \"64KiB\", at most {}", bytes(maximum)))?;
            }
            Self::CountOrUnlimited(place) => {
                let count = word_or(value, UNLIMITED, Value::number).filter(|count| *count > 0);
                *place = count.ok_or("use a positive whole number, or \"unlimited\"")?;
            }
            Self::SizeOrUnlimited(place) => {
                let size = word_or(value, UNLIMITED, Value::size).filter(|size| *size > 0);
                *place = size.ok_or("use a size such as \"64MiB\", or \"unlimited\"")?;
            }
            Self::SizeOrAuto(place, maximum) => {
                let size = value.size().filter(|size| (1..=maximum).contains(size));
                let size = if value.text() == Some(AUTO) { Some(None) } else { size.map(Some) };
                *place = size.ok_or_else(|| {
                    format!("use a size such as \"2MiB\", at most {}, or \"auto\"", bytes(maximum))
                })?;
            }
            Self::Duration(place) => {
                *place = value.duration().ok_or("use a duration such as \"30s\", \"5m\" or \"24h\"")?;
            }
            Self::Timeout(place) => {
                let timeout = value.duration().filter(|timeout| !timeout.is_zero());
                *place = timeout.ok_or("use a duration longer than zero, such as \"10s\"")?;
            }
            Self::DurationOrForever(place) => {
                let micros =
                    |value: &Value| value.duration().and_then(|span| span.as_micros().try_into().ok());
                let micros = word_or(value, FOREVER, micros);
                *place = micros.ok_or("use a duration such as \"24h\", or \"forever\"")?;
            }
            Self::Compaction(place) => *place = one_of(value, COMPACTION, compaction_name)?,
            Self::Overflow(place) => *place = one_of(value, OVERFLOW, overflow_name)?,
        }
        Ok(())
    }

    /// The value in TOML; [`read`](Self::read) accepts it.
    pub(crate) fn write(self) -> String {
        let unlimited = |value: u64, shown: fn(u64) -> String| {
            if value == u64::MAX { quoted(UNLIMITED) } else { shown(value) }
        };
        match self {
            Self::Addresses(place) => list(place),
            Self::Address(place) => quoted(place.as_ref().map(Address::as_str).unwrap_or_default()),
            Self::Path(place) => {
                quoted(&place.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default())
            }
            Self::LogFormat(place) => quoted(place.name()),
            Self::Sync(place) => quoted(&place.shown()),
            Self::Memory(Memory::Share(percent)) => quoted(&format!("{percent}%")),
            Self::Memory(Memory::Bytes(size)) => quoted(&bytes(*size)),
            Self::Count(place, _) => grouped(u64::from(*place)),
            Self::Size(place, _) => quoted(&bytes(*place)),
            Self::CountOrUnlimited(place) => unlimited(*place, grouped),
            Self::SizeOrUnlimited(place) => unlimited(*place, |size| quoted(&bytes(size))),
            Self::SizeOrAuto(place, _) => quoted(&place.map_or_else(|| AUTO.to_owned(), bytes)),
            Self::Duration(place) | Self::Timeout(place) => quoted(&duration(*place)),
            Self::DurationOrForever(place) if *place == u64::MAX => quoted(FOREVER),
            Self::DurationOrForever(place) => quoted(&duration(Duration::from_micros(*place))),
            Self::Compaction(place) => quoted(compaction_name(*place)),
            Self::Overflow(place) => quoted(overflow_name(*place)),
        }
    }
}

const COMPACTION: &[CompactionMode] = &[CompactionMode::First, CompactionMode::Latest];
const OVERFLOW: &[Overflow] = &[Overflow::DropOldest, Overflow::Reject];

const fn compaction_name(mode: CompactionMode) -> &'static str {
    match mode {
        CompactionMode::First => "first",
        CompactionMode::Latest => "latest",
    }
}

const fn overflow_name(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::DropOldest => "drop_oldest",
        Overflow::Reject => "reject",
    }
}

fn addresses(value: &Value) -> Result<Vec<Address>, String> {
    let addresses = value.texts().unwrap_or_default();
    if addresses.is_empty() {
        return Err("use one or more addresses, such as \"127.0.0.1:8889\"".to_owned());
    }
    if addresses.len() > MAX_ADDRESSES {
        return Err(format!("use at most {MAX_ADDRESSES} addresses"));
    }
    addresses.into_iter().map(Address::parse).collect()
}

fn optional<T>(value: &Value, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    match value.text() {
        Some("") => Ok(None),
        Some(text) => parse(text).map(Some),
        None => Err("use one quoted string, or \"\" for none".to_owned()),
    }
}

fn memory(value: &Value) -> Result<Memory, String> {
    let share = value.text().and_then(|text| text.strip_suffix('%'));
    let memory = match share {
        Some(share) => {
            share.trim_end().parse().ok().filter(|share| (1..=100).contains(share)).map(Memory::Share)
        }
        None => value.size().filter(|size| *size >= MIN_MEMORY).map(Memory::Bytes),
    };
    memory.ok_or_else(|| {
        format!(
            "use a share of the machine's memory such as \"25%\", or a size such as \"256MiB\", at least {}",
            bytes(MIN_MEMORY)
        )
    })
}

fn count(value: &Value, maximum: u32) -> Result<u32, String> {
    let count = value.number().and_then(|count| u32::try_from(count).ok());
    let count = count.filter(|count| (1..=maximum).contains(count));
    count.ok_or_else(|| format!("use a whole number from 1 to {maximum}"))
}

/// The value with this name, in which `-` and `_` are the same.
fn one_of<T: Copy>(value: &Value, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    let given = value.text().map(|text| text.replace('-', "_"));
    let found = all.iter().copied().find(|one| given.as_deref() == Some(name(*one)));
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| quoted(name(*one))).collect();
        format!("use {}", names.join(" or "))
    })
}

/// `u64::MAX` for the word, otherwise the parsed value.
fn word_or(value: &Value, word: &str, otherwise: impl FnOnce(&Value) -> Option<u64>) -> Option<u64> {
    if value.text() == Some(word) { Some(u64::MAX) } else { otherwise(value) }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(texts: &[impl ToString]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(&text.to_string())).collect();
    format!("[{}]", texts.join(", "))
}

/// Bytes in the largest unit that divides them.
fn bytes(size: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = |shift: u32| size > 0 && size.trailing_zeros() >= shift;
    let unit = units.into_iter().find(|(_, shift)| whole(*shift));
    unit.map_or_else(|| format!("{size}B"), |(name, shift)| format!("{}{name}", size >> shift))
}

/// A duration without spaces.
fn duration(span: Duration) -> String {
    // Hours rather than days, so that 24h is written as 24h.
    let hours = span.as_secs() / 3_600;
    if !span.is_zero() && hours > 0 && span == Duration::from_hours(hours) {
        return format!("{hours}h");
    }
    humantime::format_duration(span).to_string().replace(' ', "")
}

/// A number with underscores between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (left, digit) in (1..=digits.len()).rev().zip(digits.chars()) {
        grouped.push(digit);
        if left > 1 && left % 3 == 1 {
            grouped.push('_');
        }
    }
    grouped
}

#[cfg(test)]
mod tests;
