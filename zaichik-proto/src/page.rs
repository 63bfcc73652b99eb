//! Pages: lists of items of any size that stay in their frame.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::error::ProtocolFault;
use crate::limits::Limits;
use crate::read::Reader;

/// One page of things that a broker has (docs/protocol.md §7.17, §7.18).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Items, Page};
/// let page = Page { request: 6, next: Some(270), items: Items::EMPTY }; // ask again, from 270 on
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
    /// The things of this page; there may be none although there are more.
    pub items: Items<'a, T>,
}

/// A thing on a page, of whatever size.
pub trait Item<'a>: Sized {
    /// Least bytes of one.
    const MIN_SIZE: usize;
    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);
    /// Takes it off the front of `rest`.
    ///
    /// # Errors
    /// It is not one.
    fn read(rest: &mut &'a [u8]) -> Result<Self, ProtocolFault>;
}

/// Things of a page that stay in their frame.
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
    /// The page without things.
    pub const EMPTY: Self = Self { count: 0, bytes: &[], item: PhantomData };

    /// Things that [`Item::write`] wrote, so many of them.
    #[must_use]
    pub const fn from_encoded(count: u32, bytes: &'a [u8]) -> Self {
        Self { count, bytes, item: PhantomData }
    }

    /// The things, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut rest = self.bytes;
        // Each was read once when the page was, so none is left out.
        (0..self.count).map_while(move |_| T::read(&mut rest).ok())
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads a `u32` count and that many things, to the end of the frame.
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
