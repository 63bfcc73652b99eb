//! The fields of a value, read and written.

use bytes::{BufMut, Bytes};
use zaichik_proto::Timestamp;

use crate::store::error::RowError;
use crate::store::key::Key;

/// The only format of values so far.
const FORMAT: u8 = 1;

/// Maximum bytes of a principal.
const MAX_PRINCIPAL: usize = 255;

/// What is left of a value.
pub(in crate::store) struct Fields<'a> {
    key: &'a Key,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of a value, after its format.
    pub(super) fn new(key: &'a Key, value: &'a [u8]) -> Result<Self, RowError> {
        let mut fields = Self { key, rest: value };
        match fields.u8("format")? {
            FORMAT => Ok(fields),
            format => Err(RowError::Format { key: key.clone(), format }),
        }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, RowError> {
        self.array(field).map(|[byte]| byte)
    }

    pub(super) fn bool(&mut self, field: &'static str) -> Result<bool, RowError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.damaged(field)),
        }
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, RowError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, RowError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, RowError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self, field: &'static str) -> Result<u128, RowError> {
        self.array(field).map(u128::from_le_bytes)
    }

    pub(super) fn time(&mut self, field: &'static str) -> Result<Timestamp, RowError> {
        self.u64(field).map(Timestamp::from_micros)
    }

    /// Text after its length in one byte.
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, RowError> {
        let len = usize::from(self.u8(field)?);
        core::str::from_utf8(self.take(len, field)?).map_err(|_| self.damaged(field))
    }

    /// Bytes after their length in four bytes.
    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Bytes, RowError> {
        let len = usize::try_from(self.u32(field)?).map_err(|_| self.damaged(field))?;
        self.take(len, field).map(Bytes::copy_from_slice)
    }

    /// A list after its length in four bytes. Nothing is allocated for entries that are only announced.
    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        max: usize,
        mut entry: impl FnMut(&mut Self) -> Result<T, RowError>,
    ) -> Result<Vec<T>, RowError> {
        let count = self.u32(field)?;
        if count as usize > max {
            return Err(self.damaged(field));
        }
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(entry(self)?);
        }
        Ok(list)
    }

    /// All that is left.
    pub(super) const fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), RowError> {
        self.check(self.rest.is_empty(), "its length")
    }

    /// The value is damaged unless this holds.
    pub(super) fn check(&self, holds: bool, field: &'static str) -> Result<(), RowError> {
        if holds { Ok(()) } else { Err(self.damaged(field)) }
    }

    pub(super) fn damaged(&self, field: &'static str) -> RowError {
        RowError::Damaged { key: self.key.clone(), field }
    }

    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], RowError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.damaged(field))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RowError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.damaged(field))?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Begins a value.
pub(super) fn put_format(out: &mut impl BufMut) {
    out.put_u8(FORMAT);
}

/// Writes text of at most 255 bytes after its length.
pub(super) fn put_text(text: &str, out: &mut impl BufMut) {
    let text = text.as_bytes().get(..MAX_PRINCIPAL).unwrap_or(text.as_bytes());
    out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.put_slice(text);
}

/// Writes bytes after their length.
pub(super) fn put_bytes(bytes: &[u8], out: &mut impl BufMut) {
    put_len(bytes.len(), out);
    out.put_slice(bytes);
}

/// Writes the length of a list or of bytes.
pub(super) fn put_len(len: usize, out: &mut impl BufMut) {
    out.put_u32_le(u32::try_from(len).unwrap_or(u32::MAX));
}
