//! The reader of bodies: it never reads past its slice and never allocates.

use crate::error::ProtocolFault;

/// Takes fields off the front of a body.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], ProtocolFault> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(ProtocolFault::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolFault> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(ProtocolFault::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, ProtocolFault> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ProtocolFault> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolFault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ProtocolFault> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, ProtocolFault> {
        self.array().map(u128::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    #[inline]
    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool, ProtocolFault> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(ProtocolFault::BadValue { field, got: u64::from(got) }),
        }
    }

    /// The id of a request, which must not be 0.
    pub(crate) fn request(&mut self) -> Result<u32, ProtocolFault> {
        match self.u32()? {
            0 => Err(ProtocolFault::BadValue { field: "request id", got: 0 }),
            request => Ok(request),
        }
    }

    /// Bytes after a one-byte length.
    #[inline]
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8], ProtocolFault> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// Bytes after a two-byte length.
    pub(crate) fn long_bytes(&mut self) -> Result<&'a [u8], ProtocolFault> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// Text after a one-byte length.
    pub(crate) fn short_text(&mut self, field: &'static str) -> Result<&'a str, ProtocolFault> {
        core::str::from_utf8(self.short_bytes()?).map_err(|_| ProtocolFault::NotUtf8 { field })
    }

    /// Text after a two-byte length.
    pub(crate) fn long_text(&mut self, field: &'static str) -> Result<&'a str, ProtocolFault> {
        core::str::from_utf8(self.long_bytes()?).map_err(|_| ProtocolFault::NotUtf8 { field })
    }

    /// The name of a durable subscription, which is not empty.
    pub(crate) fn durable_name(&mut self) -> Result<&'a str, ProtocolFault> {
        match self.short_text("durable name")? {
            "" => Err(ProtocolFault::BadValue { field: "durable name length", got: 0 }),
            name => Ok(name),
        }
    }

    /// All remaining bytes.
    #[inline]
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Checks that the body ends here.
    pub(crate) const fn finish(&self) -> Result<(), ProtocolFault> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(ProtocolFault::TrailingBytes { count: self.rest.len() })
        }
    }
}
