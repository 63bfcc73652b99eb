//! A durable subscription as a row, and from it.

use zaichik_proto::Timestamp;

use super::{EarlierDeliveries, Position, Subscription};
use crate::planted::{Defect, is_planted};
use crate::store::CursorRow;

impl Subscription {
    /// Its row; `None` if it is not durable. `stopped` is for how long the broker has not run, in microseconds.
    pub(crate) fn row(&self, stopped: u64) -> Option<CursorRow> {
        let durable = self.durable.as_ref()?;
        let (delivered, failures) = self.earlier.as_ref().map(|earlier| earlier.stored()).unwrap_or_default();
        // Any other pause ends with the connection.
        let pause = if self.holds_off { self.paused_until.plus_micros(stopped) } else { Timestamp::ZERO };
        Some(CursorRow {
            topic: self.topic.0,
            name: durable.name.clone(),
            principal: Box::default(),
            epoch: durable.epoch,
            held_since: durable.held_since(),
            inactive_micros: durable.inactive_micros,
            window: self.terms.window,
            cursor: self.cursor,
            start: self.start,
            rewind: self.rewind,
            sought: self.sought,
            paused_until: pause,
            delivered,
            failures,
        })
    }

    /// Takes the state that it had at `stored_at`, before a restart at `now`: its pause is prolonged by the time between
    /// (rule A4), and it is detached from now on (rule D5).
    pub(crate) fn restore(&mut self, row: CursorRow, stored_at: Timestamp, now: Timestamp) {
        (self.start, self.pass_start, self.cursor) = (row.start, row.cursor, row.cursor);
        (self.rewind, self.sought) = (row.rewind, row.sought);
        let failures = if is_planted(Defect::FailuresLost) { Vec::new() } else { row.failures };
        let earlier = EarlierDeliveries::restored(&row.delivered, failures);
        self.earlier = (!earlier.is_empty()).then(|| Box::new(earlier));
        self.read_on(Position::at(row.cursor));
        if row.paused_until > Timestamp::ZERO {
            let is_over = row.paused_until <= stored_at;
            let stopped = if is_over { 0 } else { now.as_micros().saturating_sub(stored_at.as_micros()) };
            self.hold_off(row.paused_until.plus_micros(stopped));
        }
        if let Some(durable) = &mut self.durable {
            let lost = u32::from(is_planted(Defect::EpochLost) && row.epoch > 1);
            durable.restore(row.epoch.saturating_sub(lost), row.held_since);
            durable.inactive_micros = row.inactive_micros;
            durable.expires_at = now.plus_micros(row.inactive_micros);
        }
    }
}
