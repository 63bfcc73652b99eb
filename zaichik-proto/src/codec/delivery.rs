//! Encodes and decodes a Delivery: its records are not copied, and its head is written without them.

use bytes::{BufMut, BytesMut};

use crate::error::ProtocolFault;
use crate::frame::delivery::{Delivery, DeliveryHead};
use crate::header::{FrameHeader, HEADER_LEN, server_kind as kind};
use crate::limits::Limits;
use crate::read::Reader;
use crate::record::{Origin, Records};

impl<'a> Delivery<'a> {
    /// The fields before the records.
    #[must_use]
    pub const fn head(&self) -> DeliveryHead {
        DeliveryHead {
            subscription: self.subscription,
            rewind: self.rewind,
            attempt: self.attempt,
            count: self.records.len(),
            first_offset: self.first_offset,
        }
    }

    pub(super) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        let (subscription, rewind, attempt, count) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        let first_offset = r.u64()?;
        let records = Records::read(r, count, Limits::MAX_RECORDS, Origin::Delivery)?;
        if first_offset.checked_add(u64::from(count)).is_none() {
            return Err(ProtocolFault::BadValue { field: "first offset", got: first_offset });
        }
        Ok(Self { subscription, rewind, attempt, first_offset, records })
    }
}

impl DeliveryHead {
    /// Size of a Delivery frame before its records, including the frame header, in bytes.
    pub const LEN: usize = HEADER_LEN + Self::BODY_LEN as usize;
    const BODY_LEN: u32 = 24;

    /// Appends the frame header and the fixed fields of a Delivery; the caller appends the records, `records_len`
    /// bytes.
    #[inline]
    pub fn encode(&self, records_len: u32, out: &mut BytesMut) {
        let header =
            FrameHeader { body_len: Self::BODY_LEN.saturating_add(records_len), kind: kind::DELIVERY };
        let mut bytes = [0; Self::LEN];
        let (start, body) = bytes.split_at_mut(HEADER_LEN);
        start.copy_from_slice(&header.to_bytes());
        self.write(&mut &mut *body);
        // One call, because there is one for each delivery.
        out.put_slice(&bytes);
    }

    pub(super) fn write(&self, out: &mut impl BufMut) {
        out.put_u32_le(self.subscription);
        out.put_u32_le(self.rewind);
        out.put_u32_le(self.attempt);
        out.put_u32_le(self.count);
        out.put_u64_le(self.first_offset);
    }
}
