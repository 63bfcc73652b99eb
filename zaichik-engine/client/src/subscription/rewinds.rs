//! The rewinds of one subscription: those that happened, and those in flight (rule A4).

use super::position::Position;

#[derive(Debug, Default)]
pub(super) struct Rewinds {
    /// How often deliveries were rewound; deliveries with a smaller number are stale.
    number: u32,
    /// Nacks and seeks without an answer.
    pending: u32,
    /// The number of seeks among them.
    seeks: u32,
    /// The rewind number after the seeks in flight.
    sought: u32,
    /// The position that applies if none of them has an effect.
    saved: Option<Position>,
    /// A seek lost its connection before its answer: only the broker knows where a durable cursor is.
    lost_seek: bool,
}

impl Rewinds {
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// A Subscribed arrived with this number. Returns whether it is `added` more than the known one, so that no other
    /// client has moved the cursor.
    pub(super) const fn subscribed(&mut self, number: u32, added: u32) -> bool {
        let is_known = !self.lost_seek && number == self.number.wrapping_add(added);
        (self.number, self.lost_seek) = (number, false);
        is_known
    }

    /// From here on, deliveries have this higher number.
    pub(super) const fn advance(&mut self, number: u32) {
        (self.number, self.saved) = (number, None);
    }

    /// A Nack is in flight, while `position` applies.
    pub(super) fn start_nack(&mut self, position: Position) {
        self.saved.get_or_insert(position);
        self.pending = self.pending.saturating_add(1);
    }

    /// A Seek is in flight, while `position` applies.
    pub(super) fn start_seek(&mut self, position: Position) {
        self.start_nack(position);
        self.sought = if self.seeks == 0 { self.number } else { self.sought }.wrapping_add(1);
        self.seeks = self.seeks.saturating_add(1);
    }

    /// One of them is no longer in flight; returns the position to restore if it was the last and none had an effect.
    pub(super) const fn finish(&mut self, is_seek: bool) -> Option<Position> {
        self.pending = self.pending.saturating_sub(1);
        if is_seek {
            self.seeks = self.seeks.saturating_sub(1);
        }
        if self.pending > 0 { None } else { self.saved.take() }
    }

    /// None of the rewinds in flight will be answered any more.
    pub(super) const fn abandon(&mut self) {
        self.lost_seek = self.lost_seek || self.seeks > 0;
        (self.pending, self.seeks, self.saved) = (0, 0, None);
    }

    pub(super) const fn is_pending(&self) -> bool {
        self.pending > 0
    }

    pub(super) const fn has_seeks(&self) -> bool {
        self.seeks > 0
    }

    /// Whether the number does not yet show the effect of all seeks.
    pub(super) const fn awaits_seek(&self) -> bool {
        self.number < self.sought
    }

    /// The position that applies if no rewind in flight has an effect; `None` if none is in flight.
    pub(super) const fn saved_mut(&mut self) -> Option<&mut Position> {
        self.saved.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use zaichik_proto::Start;

    use super::*;

    fn position(offset: u64) -> Position {
        let mut position = Position::new(Start::Earliest);
        position.begin_at(offset);
        position
    }

    #[test]
    fn the_position_before_the_first_rewind_is_restored_after_the_last() {
        let mut rewinds = Rewinds::default();
        rewinds.start_nack(position(5));
        rewinds.start_seek(position(7));
        assert!(rewinds.finish(false).is_none());
        assert_eq!(rewinds.finish(true).map(|saved| saved.cursor()), Some(5));
    }

    #[test]
    fn a_rewind_with_an_effect_restores_nothing() {
        let mut rewinds = Rewinds::default();
        rewinds.start_nack(position(5));
        rewinds.advance(1);
        assert!(rewinds.finish(false).is_none());
    }

    #[test]
    fn a_lost_seek_leaves_a_durable_cursor_unknown_once() {
        let mut rewinds = Rewinds::default();
        rewinds.start_seek(position(5));
        rewinds.abandon();
        assert!(!rewinds.subscribed(1, 1));
        assert!(rewinds.subscribed(2, 1));
        assert!(!rewinds.subscribed(4, 1), "another client has moved the cursor");
    }
}
