//! Keys and values as bytes.

mod cursor;
mod fields;
mod group;
mod head;
mod keys;
mod producer;
mod records;
mod topic;

use bytes::BufMut;

use self::fields::{Fields, put_format};
use super::error::RowError;
use super::key::Key;
use super::row::{MetaRow, Row};

/// Maximum bytes of the name of a durable subscription.
const MAX_NAME: usize = 255;

impl Key {
    /// Appends the key's bytes. Their order is that of the keys.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.kind());
        match self {
            Self::Meta => {}
            Self::Topic { topic } => out.put_u32(*topic),
            Self::Records { topic, start } | Self::Marks { topic, start } | Self::Keys { topic, start } => {
                out.put_u32(*topic);
                out.put_u64(*start);
            }
            Self::Cursor { topic, name } | Self::Group { topic, name } => {
                out.put_u32(*topic);
                out.put_slice(name.as_bytes());
            }
            Self::Producer { producer } => out.put_u128(*producer),
            Self::Answer { producer, number } => {
                out.put_u128(*producer);
                out.put_u64(*number);
            }
        }
    }

    /// Reads a key that fills `bytes`.
    ///
    /// # Errors
    /// [`RowError::Key`] if it is not one of a row that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let unknown = || RowError::Key { kind: bytes.first().copied().unwrap_or(0), len: bytes.len() };
        let (kind, rest) = bytes.split_first().ok_or_else(unknown)?;
        let producer = |rest: &[u8]| rest.try_into().map(u128::from_be_bytes).map_err(|_| unknown());
        match *kind {
            Self::META if rest.is_empty() => Ok(Self::Meta),
            Self::TOPIC => {
                let topic = rest.try_into().map(u32::from_be_bytes).map_err(|_| unknown())?;
                Ok(Self::Topic { topic })
            }
            Self::RECORDS | Self::MARKS | Self::KEYS => {
                let (topic, rest) = rest.split_first_chunk().ok_or_else(unknown)?;
                let start = rest.try_into().map(u64::from_be_bytes).map_err(|_| unknown())?;
                let topic = u32::from_be_bytes(*topic);
                Ok(match *kind {
                    Self::RECORDS => Self::Records { topic, start },
                    Self::MARKS => Self::Marks { topic, start },
                    _ => Self::Keys { topic, start },
                })
            }
            Self::CURSOR | Self::GROUP => {
                let (topic, name) = rest.split_first_chunk().ok_or_else(unknown)?;
                let name = core::str::from_utf8(name).ok();
                let name = name.filter(|name| !name.is_empty() && name.len() <= MAX_NAME);
                let name = name.ok_or_else(unknown)?.into();
                let topic = u32::from_be_bytes(*topic);
                Ok(if *kind == Self::CURSOR {
                    Self::Cursor { topic, name }
                } else {
                    Self::Group { topic, name }
                })
            }
            Self::PRODUCER => Ok(Self::Producer { producer: producer(rest)? }),
            Self::ANSWER => {
                let (id, number) = rest.split_at_checked(size_of::<u128>()).ok_or_else(unknown)?;
                let number = number.try_into().map(u64::from_be_bytes).map_err(|_| unknown())?;
                Ok(Self::Answer { producer: producer(id)?, number })
            }
            _ => Err(unknown()),
        }
    }
}

impl Row {
    /// Appends the row's value.
    ///
    /// ```
    /// use zaichik_engine::Timestamp;
    /// use zaichik_engine::store::{Key, MetaRow, Row};
    /// let row = Row::Meta(MetaRow { instance: 7, now: Timestamp::from_micros(1), stopped_micros: 0 });
    /// let (mut key, mut value) = (Vec::new(), Vec::new());
    /// row.key().encode(&mut key);
    /// row.encode(&mut value);
    /// assert_eq!(Row::decode(&key, &value), Ok(row));
    /// ```
    pub fn encode(&self, out: &mut impl BufMut) {
        self.encode_head(out);
        out.put_slice(self.data());
    }

    /// Appends the row's value without the [`data`](Self::data) that ends it, for stores that write both without copying
    /// the data.
    pub fn encode_head(&self, out: &mut impl BufMut) {
        put_format(out);
        match self {
            Self::Meta(row) => {
                out.put_u128_le(row.instance);
                out.put_u64_le(row.now.as_micros());
                out.put_u64_le(row.stopped_micros);
            }
            Self::Topic(row) => row.put(out),
            Self::Records(row) => row.put_head(out),
            Self::Cursor(row) => row.put(out),
            Self::Producer(row) => row.put(out),
            Self::Answer(row) => row.put(out),
            Self::Marks(row) => row.put(out),
            Self::Keys(row) => row.put(out),
            Self::Group(row) => row.put(out),
        }
    }

    /// Reads a row from its key and its value, and checks everything that can be checked in one row alone.
    ///
    /// # Errors
    /// [`RowError::Key`], [`RowError::Format`] or [`RowError::Damaged`].
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let key = Key::decode(key)?;
        Self::read(&key, value)
    }

    /// Reads a row's value.
    pub(crate) fn read(key: &Key, value: &[u8]) -> Result<Self, RowError> {
        let mut fields = Fields::new(key, value)?;
        let row = match key {
            Key::Meta => {
                let (instance, now) = (fields.u128("the instance")?, fields.time("the time")?);
                let stopped_micros = fields.u64("the time in which it did not run")?;
                Self::Meta(MetaRow { instance, now, stopped_micros })
            }
            Key::Topic { topic } => Self::Topic(topic::read(*topic, &mut fields)?),
            Key::Records { topic, start } => Self::Records(records::read(*topic, *start, &mut fields)?),
            Key::Cursor { topic, name } => Self::Cursor(cursor::read(*topic, name, &mut fields)?),
            Key::Producer { producer } => Self::Producer(producer::read(*producer, &mut fields)?),
            Key::Answer { producer, number } => {
                Self::Answer(producer::read_answer(*producer, *number, &mut fields)?)
            }
            Key::Marks { topic, start } => Self::Marks(keys::read_marks(*topic, *start, &mut fields)?),
            Key::Keys { topic, start } => Self::Keys(keys::read(*topic, *start, &mut fields)?),
            Key::Group { topic, name } => Self::Group(group::read(*topic, name, &mut fields)?),
        };
        fields.end()?;
        Ok(row)
    }
}
