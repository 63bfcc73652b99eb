//! A durable subscription as a row, and from it.

use zaichik_proto::Timestamp;

use super::{EarlierDeliveries, Position, Shared, Subscription};
use crate::group::Stored;
use crate::planted::{Defect, is_planted};
use crate::store::{CursorRow, GroupRow, Row};

impl Subscription {
    /// Its row; `None` if it is not durable.
    pub(crate) fn row(&self) -> Option<Row> {
        let durable = self.durable.as_ref()?;
        if let Some(Shared { group, .. }) = self.shared.as_deref() {
            let Stored { rewind, cursor, done, failures, delays } = group.stored();
            return Some(Row::Group(GroupRow {
                topic: self.topic.0,
                name: durable.name.clone(),
                principal: Box::default(),
                by_key: group.options.by_key,
                inactive_micros: durable.inactive_micros,
                window: self.terms.window,
                max_span: group.options.max_span,
                ack_deadline_micros: group.options.ack_deadline_micros,
                cursor,
                rewind,
                done,
                failures,
                delays,
            }));
        }
        let (delivered, failures) = self.earlier.as_ref().map(|earlier| earlier.stored()).unwrap_or_default();
        // Any other pause ends with the connection.
        let pause = if self.holds_off { self.paused_until } else { Timestamp::ZERO };
        Some(Row::Cursor(CursorRow {
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
        }))
    }

    /// The same for a shared one, which the row describes.
    pub(crate) fn restore_shared(&mut self, row: GroupRow, now: Timestamp) {
        let GroupRow { rewind, cursor, done, failures, delays, .. } = row;
        let done = if is_planted(Defect::RangesLost) { Vec::new() } else { done };
        if let Some(shared) = &mut self.shared {
            shared.group.restore(Stored { rewind, cursor, done, failures, delays });
        }
        self.follow_group();
        if let Some(durable) = &mut self.durable {
            durable.inactive_micros = row.inactive_micros;
            durable.expires_at = now.plus_micros(row.inactive_micros);
        }
    }

    /// Takes the state that it had before a restart: it is detached from now on (rule D5).
    pub(crate) fn restore(&mut self, row: CursorRow, now: Timestamp) {
        (self.start, self.pass_start, self.cursor) = (row.start, row.cursor, row.cursor);
        (self.rewind, self.sought) = (row.rewind, row.sought);
        let failures = if is_planted(Defect::FailuresLost) { Vec::new() } else { row.failures };
        let earlier = EarlierDeliveries::restored(&row.delivered, failures);
        self.earlier = (!earlier.is_empty()).then(|| Box::new(earlier));
        self.read_on(Position::at(row.cursor));
        if row.paused_until > Timestamp::ZERO {
            self.hold_off(row.paused_until);
        }
        if let Some(durable) = &mut self.durable {
            let lost = u32::from(is_planted(Defect::EpochLost) && row.epoch > 1);
            durable.restore(row.epoch.saturating_sub(lost), row.held_since);
            durable.inactive_micros = row.inactive_micros;
            durable.expires_at = now.plus_micros(row.inactive_micros);
        }
    }
}
