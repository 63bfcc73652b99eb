//! Records that an application draws.

use zaichik_proto::Record;

use super::App;
use crate::sim::check::numbered;
use crate::sim::plan::Publishes;
use crate::sim::{MILLI, SECOND};

/// A record that an application drew.
pub(super) struct Drawn {
    pub(super) id: Option<u64>,
    key: Option<Vec<u8>>,
    body: Vec<u8>,
    ttl: Option<u64>,
    has_header: bool,
}

impl Drawn {
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            key: self.key.as_deref(),
            headers: if self.has_header { &[("h", b"v")] } else { &[] },
            body: &self.body,
            ttl_micros: self.ttl,
            tombstone: self.id.is_none(),
            timestamp: 0,
        }
    }
}

impl App {
    pub(super) fn draw(&mut self, publishes: &Publishes) -> Drawn {
        let key = (publishes.keys > 0 && !self.rng.once_in(4))
            .then(|| format!("k{}", self.rng.below(publishes.keys)).into_bytes());
        let is_tombstone = key.is_some() && self.rng.once_in(publishes.tombstone);
        let pad = usize::try_from(self.rng.below(publishes.body + 1)).unwrap_or(0);
        let ttl = self.rng.once_in(publishes.mortal).then(|| self.rng.pick(&[MILLI, 100 * MILLI, SECOND]));
        // A tombstone has no body that could hold a number.
        let id = (!is_tombstone).then(|| {
            self.next_id += 1;
            self.next_id
        });
        let body = id.map(|id| numbered(id, pad)).unwrap_or_default();
        Drawn { id, key, body, ttl, has_header: self.rng.once_in(8) }
    }
}
