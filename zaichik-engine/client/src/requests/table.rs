//! The table of requests, by their ids in frames.

use slab::Slab;

use super::request::Request;

/// The number of low bits of an id that name the request's slot, counted from 1; the others distinguish uses of a slot.
const SLOT_BITS: u32 = 20;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// Requests by id. A removed id names nothing until the number of its slot's uses has wrapped around.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Slab<Request>,
    uses: u32,
}

impl Table {
    /// Adds the request that `make` builds for its id.
    pub(crate) fn insert(&mut self, make: impl FnOnce(u32) -> Request) -> &mut Request {
        let entry = self.slots.vacant_entry();
        self.uses = self.uses.wrapping_add(1);
        // The limits of requests and subscriptions together stay below the number of slots.
        let slot = u32::try_from(entry.key()).unwrap_or(SLOT_MASK);
        let wire = (self.uses << SLOT_BITS) | (slot.saturating_add(1) & SLOT_MASK);
        entry.insert(make(wire))
    }

    pub(crate) fn get(&self, wire: u32) -> Option<&Request> {
        self.slots.get(slot_of(wire)?).filter(|request| request.wire == wire)
    }

    pub(crate) fn get_mut(&mut self, wire: u32) -> Option<&mut Request> {
        self.slots.get_mut(slot_of(wire)?).filter(|request| request.wire == wire)
    }

    pub(crate) fn remove(&mut self, wire: u32) -> Option<Request> {
        self.get(wire)?;
        self.slots.try_remove(slot_of(wire)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.slots.iter().map(|(_, request)| request)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Request> {
        self.slots.iter_mut().map(|(_, request)| request)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

fn slot_of(wire: u32) -> Option<usize> {
    (wire & SLOT_MASK).checked_sub(1).map(|slot| slot as usize)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zaichik_proto::Timestamp;

    use super::*;
    use crate::requests::{Progress, RequestKind};

    fn ping(wire: u32) -> Request {
        Request {
            wire,
            id: None,
            order: 0,
            place: 0,
            topic: "".into(),
            kind: RequestKind::Ping,
            progress: Progress::Waiting,
            frame: Bytes::new(),
            sequence: None,
            is_bound: false,
            may_be_applied: false,
            operations: None,
            timer: Timestamp::MAX,
            deadline: Timestamp::MAX,
        }
    }

    #[test]
    fn an_id_names_nothing_once_its_request_is_gone() {
        let mut table = Table::default();
        let first = table.insert(ping).wire;
        assert!(table.remove(first).is_some() && table.remove(first).is_none());
        let second = table.insert(ping).wire;
        assert_ne!(first, second, "the slot is used again under another id");
        assert!(table.get(first).is_none() && table.get_mut(second).is_some());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn ids_are_not_zero_and_unknown_ones_name_nothing() {
        let mut table = Table::default();
        assert_ne!(table.insert(ping).wire, 0);
        for unknown in [0, 1, u32::MAX] {
            assert!(table.get(unknown).is_none() && table.remove(unknown).is_none(), "{unknown}");
        }
    }
}
