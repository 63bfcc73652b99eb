//! Whether the broker was heard recently, and when to ping it.

use zaichik_proto::{Limits, Timestamp};

/// Measures the broker's silence on one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heartbeat {
    /// Zero turns heartbeats off.
    interval_micros: u64,
    heard_at: Timestamp,
    /// Pings sent in this silence.
    pings: u64,
    /// When the last of them was sent.
    pinged_at: Timestamp,
    /// Reading is paused, so silence means nothing.
    is_paused: bool,
}

/// How to react to silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Do nothing yet.
    Short,
    /// Send a ping, to check that the broker responds.
    Ping,
    /// Treat the connection as broken.
    Broken,
}

impl Heartbeat {
    /// Intervals of silence after which the connection counts as broken.
    const MAX_SILENCE: u64 = 3;

    /// The heartbeat of a connection that opens now.
    pub(crate) fn new(limits: &Limits, now: Timestamp) -> Self {
        Self {
            interval_micros: u64::from(limits.heartbeat_millis).saturating_mul(1_000),
            heard_at: now,
            pings: 0,
            pinged_at: now,
            is_paused: false,
        }
    }

    pub(crate) const fn heard(&mut self, now: Timestamp) {
        (self.heard_at, self.pings, self.is_paused) = (now, 0, false);
    }

    /// Silence means nothing from here on; the clock restarts when reading resumes.
    pub(crate) const fn pause(&mut self) {
        self.is_paused = true;
    }

    pub(crate) const fn heard_at(&self) -> Timestamp {
        self.heard_at
    }

    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        if self.interval_micros == 0 {
            return None;
        }
        let due = self.silent_for(self.pings.saturating_add(1));
        let after_ping = self.pinged_at.plus_micros(self.interval_micros);
        Some(if self.pings == 0 { due } else { due.max(after_ping) })
    }

    /// Judges the silence up to now; requests each ping once. Nothing is broken that had no interval to answer a ping, or
    /// whose silence was not watched: a check that is late by an interval, after a suspend, requests another ping.
    pub(crate) fn check(&mut self, now: Timestamp) -> Silence {
        if self.is_paused {
            self.heard(now);
            return Silence::Short;
        }
        let Some(due) = self.next_timeout().filter(|due| *due <= now) else {
            return Silence::Short;
        };
        let is_late = now >= due.plus_micros(self.interval_micros);
        if self.pings > 0 && now >= self.silent_for(Self::MAX_SILENCE) && !is_late {
            return Silence::Broken;
        }
        (self.pings, self.pinged_at) = (self.pings.saturating_add(1), now);
        Silence::Ping
    }

    /// When the broker will have been silent for so many intervals.
    const fn silent_for(&self, intervals: u64) -> Timestamp {
        self.heard_at.plus_micros(self.interval_micros.saturating_mul(intervals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis.saturating_mul(1_000))
    }

    fn every_second() -> Heartbeat {
        Heartbeat::new(&Limits::new().heartbeat_millis(1_000), at(0))
    }

    #[test]
    fn two_pings_precede_a_broken_connection() {
        let mut heartbeat = every_second();
        assert_eq!(heartbeat.check(at(999)), Silence::Short);
        assert_eq!(heartbeat.check(at(1_000)), Silence::Ping);
        assert_eq!(heartbeat.check(at(1_000)), Silence::Short);
        assert_eq!(heartbeat.check(at(2_000)), Silence::Ping);
        assert_eq!(heartbeat.check(at(3_000)), Silence::Broken);
    }

    #[test]
    fn s4_a_suspended_client_pings_before_it_gives_up() {
        for before in [0, 1_000, 2_000] {
            let mut heartbeat = every_second();
            for at_millis in (1_000..=before).step_by(1_000) {
                assert_eq!(heartbeat.check(at(at_millis)), Silence::Ping);
            }
            assert_eq!(heartbeat.check(at(3_600_000)), Silence::Ping, "after {before} ms");
            assert_eq!(heartbeat.check(at(3_600_999)), Silence::Short);
            assert_eq!(heartbeat.check(at(3_601_000)), Silence::Broken);
        }
    }

    #[test]
    fn hearing_the_broker_restarts_the_clock() {
        let mut heartbeat = every_second();
        assert_eq!(heartbeat.check(at(2_500)), Silence::Ping);
        heartbeat.heard(at(2_600));
        assert_eq!(heartbeat.next_timeout(), Some(at(3_600)));
    }

    #[test]
    fn silence_while_reading_is_paused_does_not_count() {
        let mut heartbeat = every_second();
        heartbeat.pause();
        assert_eq!(heartbeat.check(at(60_000)), Silence::Short);
        assert_eq!(heartbeat.next_timeout(), Some(at(61_000)));
    }

    #[test]
    fn an_interval_of_zero_turns_heartbeats_off() {
        let mut heartbeat = Heartbeat::new(&Limits::new().heartbeat_millis(0), at(0));
        assert_eq!(heartbeat.next_timeout(), None);
        assert_eq!(heartbeat.check(Timestamp::MAX), Silence::Short);
    }
}
