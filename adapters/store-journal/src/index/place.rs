//! Where the value of a row is.

/// The highest number of a segment.
pub(crate) const MAX_SEGMENT: u64 = u32::MAX as u64;

/// Where the value of a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// At most [`MAX_SEGMENT`].
    pub(crate) segment: u32,
    pub(crate) at: u32,
    pub(crate) len: u32,
    /// The checksum of key and value.
    pub(crate) crc: u32,
}
