//! A broker that ends, and is restored from its rows.

use zaichik_engine::store::{Row, RowError};
use zaichik_engine::{Broker, Restore, Seed, Timestamp};

use super::World;

impl World {
    /// The broker ends without a word, and one that is restored from its rows takes its place, at the time `now` of its
    /// clock.
    pub(crate) fn recover_at(&mut self, now: Timestamp) {
        self.settle();
        let rows: Vec<Row> = self.broker.rows().collect();
        self.recover_from(&rows, now);
    }

    /// The same from other rows.
    pub(crate) fn recover_from(&mut self, rows: &[Row], now: Timestamp) {
        let restored = self.restore(&encoded(rows), now).expect("consistent rows");
        self.replace(restored);
    }

    /// The broker ends without a word, and one that is restored from its rows takes its place; all records that can stay in
    /// the store do.
    pub(crate) fn recover_by_heads(&mut self, rows: &[Row], now: Timestamp) {
        let restored = self.restore_by_heads(rows, now).expect("consistent rows");
        self.replace(restored);
        self.broker.begin_storing();
    }

    /// A broker from rows, whose records stay in the store if they can.
    pub(crate) fn restore_by_heads(&self, rows: &[Row], now: Timestamp) -> Result<Broker, RowError> {
        let mut restore = Restore::new(self.broker.config().clone(), Seed::new(1, 2))?;
        for (row, (key, value)) in rows.iter().zip(encoded(rows)) {
            let is_taken = match head(row) {
                Some(head) => restore.head(&key, &head)?,
                None => false,
            };
            if !is_taken {
                restore.row(&key, &value)?;
            }
        }
        restore.finish(now)
    }

    /// The broker and its machine end without a word. Of its commits, only these rows are left, so another instance takes
    /// its place.
    pub(crate) fn lose_commits(&mut self, rows: &[Row], instance: u128) {
        let seed = Seed::new(instance, 2);
        let mut restore = Restore::as_another(self.broker.config().clone(), seed).expect("valid");
        encoded(rows).iter().try_for_each(|(key, value)| restore.row(key, value)).expect("consistent rows");
        let restored = restore.finish(self.now).expect("consistent rows");
        self.replace(restored);
    }

    fn replace(&mut self, restored: Broker) {
        restored.verify().expect("a consistent broker");
        for end in &self.ends {
            let mut pipe = end.pipe.borrow_mut();
            pipe.is_closed = true;
            pipe.from_broker.clear();
        }
        self.connections.replace(restored);
    }

    /// The same at the time of the world.
    pub(crate) fn recover(&mut self) {
        self.recover_at(self.now);
    }

    /// A broker from keys and values.
    pub(crate) fn restore(&self, rows: &[(Vec<u8>, Vec<u8>)], now: Timestamp) -> Result<Broker, RowError> {
        // Another instance, and another key for hashing: the first one comes from the rows.
        let mut restore = Restore::new(self.broker.config().clone(), Seed::new(1, 2))?;
        rows.iter().try_for_each(|(key, value)| restore.row(key, value))?;
        restore.finish(now)
    }
}

/// What is known of a row without its records, if that may be enough.
pub(crate) fn head(row: &Row) -> Option<Vec<u8>> {
    let Row::Records(row) = row else { return None };
    let mut head = Vec::new();
    row.head()?.encode(&mut head);
    Some(head)
}

/// The keys and values of rows.
pub(crate) fn encoded(rows: &[Row]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = |row: &Row| {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        row.key().encode(&mut key);
        row.encode(&mut value);
        (key, value)
    };
    rows.iter().map(bytes).collect()
}
