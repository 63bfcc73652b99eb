//! Pages: lists of items of variable size, borrowed from their frame.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::error::ProtocolFault;
use crate::limits::Limits;
use crate::read::Reader;

/// One page of topics or subscriptions (docs/protocol.md §7.17, §7.18).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Items, Page};
/// let page = Page { request: 6, next: Some(270), items: Items::EMPTY }; // the next request asks from 270
/// let mut wire = BytesMut::new();
/// ServerFrame::Topics(page).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Topics(page), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<'a, T> {
    /// The request's id.
    pub request: u32,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<u32>,
    /// The items of this page; it may be empty although further pages follow.
    pub items: Items<'a, T>,
}

/// An item of a page, of variable size.
pub trait Item<'a>: Sized {
    /// Minimum size in bytes.
    const MIN_SIZE: usize;
    /// Appends the item.
    fn write(&self, out: &mut Vec<u8>);
    /// Takes an item off the front of `rest`.
    ///
    /// # Errors
    /// [`ProtocolFault`] says why the bytes are not such an item.
    fn read(rest: &mut &'a [u8]) -> Result<Self, ProtocolFault>;
}

/// The items of a page, borrowed from their frame.
///
/// ```
/// use zaichik_proto::{Item, Items, SubscriptionItem};
/// # let subscription = SubscriptionItem { topic: "orders", name: "billing", attached: true, epoch: 1, window: 8, cursor: 0, next: 0, end: 0, expires_in_micros: u64::MAX };
/// let mut bytes = Vec::new();
/// subscription.write(&mut bytes);
/// let items = Items::<SubscriptionItem<'_>>::from_encoded(1, &bytes);
/// assert!(items.iter().eq([subscription]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Items<'a, T> {
    count: u32,
    bytes: &'a [u8],
    item: PhantomData<T>,
}

impl<'a, T: Item<'a>> Items<'a, T> {
    /// No items.
    pub const EMPTY: Self = Self { count: 0, bytes: &[], item: PhantomData };

    /// Takes `count` items that [`Item::write`] encoded; the bytes are not checked.
    #[must_use]
    pub const fn from_encoded(count: u32, bytes: &'a [u8]) -> Self {
        Self { count, bytes, item: PhantomData }
    }

    /// The items, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut rest = self.bytes;
        // Every item was read when the page was decoded, so none is lost here.
        (0..self.count).map_while(move |_| T::read(&mut rest).ok())
    }

    /// Number of items.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are no items.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads a `u32` count and that many items, which end the frame.
    pub(crate) fn read(reader: &mut Reader<'a>, field: &'static str) -> Result<Self, ProtocolFault> {
        let count = reader.u32()?;
        let possible = reader.remaining().checked_div(T::MIN_SIZE).unwrap_or(0);
        let limit = possible.min(Limits::MAX_ELEMENTS as usize);
        if count as usize > limit {
            return Err(ProtocolFault::CountTooLarge { field, limit: limit as u64, got: u64::from(count) });
        }
        let bytes = reader.rest();
        let mut rest = bytes;
        for _ in 0..count {
            T::read(&mut rest)?;
        }
        Reader::new(rest).finish()?;
        Ok(Self { count, bytes, item: PhantomData })
    }
}
