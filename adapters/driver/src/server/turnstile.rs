//! The line of connections that have much to do.
//!
//! A runtime polls ready tasks one after the other, so a connection with a single request would wait for the work of each
//! busy one. Only a few busy connections are ready at a time; the others wait here, first come, first served.

use std::collections::VecDeque;
use std::task::Waker;

use crate::sync::{Mutex, MutexGuard};

/// Maximum busy connections that are ready: enough to keep the broker, which has one lock, busy while some of them read and
/// write. A request of another connection waits for as many shares of work in each of its turns.
pub(super) const INSIDE: usize = 3;

/// The line, shared by the connections of a broker. Memory: a waker for each connection that waits.
#[derive(Debug, Default)]
pub(super) struct Turnstile(Mutex<Line>);

/// Whether a connection may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Granted,
    /// It waited, and may go on when it is polled again.
    GrantedNext,
    Refused,
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Place {
    /// It is not busy.
    #[default]
    Outside,
    /// It was busy, and has nothing to do.
    Resting,
    /// It waits, with this number.
    Waiting(u64),
    /// It goes on.
    Inside,
}

#[derive(Debug, Default)]
struct Line {
    /// Connections that are not outside.
    busy: usize,
    inside: usize,
    /// Connections that waited and were let in, or left. Numbers below it are inside.
    passed: u64,
    /// Those that wait, in order; the first has the number `passed`. `None` has left.
    waiting: VecDeque<Option<Waker>>,
}

impl Turnstile {
    /// Whether the connection, which has something to do, may go on now. If it is refused, `waker` is woken when it
    /// may.
    ///
    /// A runtime may poll a task that was woken by another before those that are ready, so one that waited goes on later.
    pub(super) fn admits(&self, place: &mut Place, waker: &Waker) -> Admission {
        match *place {
            Place::Outside | Place::Inside => Admission::Granted,
            Place::Resting => {
                let mut line = self.lock();
                if line.busy > INSIDE {
                    // It was ready among all others; now it is behind those that are not busy.
                    line.enqueue(place, waker);
                    Self::let_in(line);
                    return Admission::Refused;
                }
                line.inside = line.inside.saturating_add(1);
                *place = Place::Inside;
                Admission::Granted
            }
            Place::Waiting(number) => {
                let mut line = self.lock();
                if number < line.passed {
                    *place = Place::Inside;
                    return Admission::GrantedNext;
                }
                if let Some(Some(known)) = line.position(number) {
                    known.clone_from(waker);
                }
                Admission::Refused
            }
        }
    }

    /// Whether a connection that was not busy, and now has much to do, goes behind those that wait before it does it:
    /// otherwise many new connections would all use a first share before any other connection goes on.
    pub(super) fn is_crowded_for(&self, place: Place) -> bool {
        place == Place::Outside && self.lock().busy > INSIDE
    }

    /// The connection used its share and has more to do: it goes on behind those that wait.
    pub(super) fn pass(&self, place: &mut Place, waker: &Waker) {
        let mut line = self.lock();
        line.come(*place);
        line.enqueue(place, waker);
        Self::let_in(line);
    }

    /// The connection did much, and has nothing more to do now.
    pub(super) fn rest(&self, place: &mut Place) {
        let mut line = self.lock();
        line.come(*place);
        *place = Place::Resting;
        Self::let_in(line);
    }

    /// The connection did little, and has nothing more to do.
    pub(super) fn leave(&self, place: &mut Place) {
        if *place == Place::Outside {
            return;
        }
        let mut line = self.lock();
        line.busy = line.busy.saturating_sub(1);
        match std::mem::take(place) {
            Place::Outside | Place::Resting => {}
            Place::Waiting(number) if number >= line.passed => {
                if let Some(waiting) = line.position(number) {
                    *waiting = None;
                }
            }
            Place::Waiting(_) | Place::Inside => line.inside = line.inside.saturating_sub(1),
        }
        Self::let_in(line);
    }

    /// Wakes those that may go on, without the lock.
    fn let_in(mut line: MutexGuard<'_, Line>) {
        let mut woken = Vec::new();
        while line.inside < INSIDE
            && let Some(next) = line.waiting.pop_front()
        {
            line.passed = line.passed.saturating_add(1);
            if let Some(waker) = next {
                line.inside = line.inside.saturating_add(1);
                woken.push(waker);
            }
        }
        drop(line);
        woken.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // No call panics while it holds the lock.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Line {
    /// A connection that was polled, and so does not wait, becomes busy or ends its share.
    fn come(&mut self, place: Place) {
        match place {
            Place::Outside => self.busy = self.busy.saturating_add(1),
            Place::Inside => self.inside = self.inside.saturating_sub(1),
            Place::Resting | Place::Waiting(_) => {}
        }
    }

    fn enqueue(&mut self, place: &mut Place, waker: &Waker) {
        let number = self.passed.saturating_add(self.waiting.len() as u64);
        self.waiting.push_back(Some(waker.clone()));
        *place = Place::Waiting(number);
    }

    /// The waker of the connection with this number.
    fn position(&mut self, number: u64) -> Option<&mut Option<Waker>> {
        let index = usize::try_from(number.checked_sub(self.passed)?).ok()?;
        self.waiting.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::Admission::{Granted, GrantedNext, Refused};
    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connection() -> (Arc<Count>, Waker, Place) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count), Place::default())
    }

    #[test]
    fn s14_busy_connections_go_on_in_turn() {
        let turnstile = Turnstile::default();
        let mut all: Vec<_> = (0..INSIDE * 2).map(|_| connection()).collect();
        for (_, waker, place) in &mut all {
            assert_eq!(turnstile.admits(place, waker), Granted, "nobody waits before it used a share");
            turnstile.pass(place, waker);
        }
        let admitted = |all: &mut Vec<(Arc<Count>, Waker, Place)>| -> Vec<Admission> {
            all.iter_mut().map(|(_, waker, place)| turnstile.admits(place, waker)).collect()
        };
        assert_eq!(admitted(&mut all), [[GrantedNext; INSIDE], [Refused; INSIDE]].concat());
        let (_, waker, place) = &mut all[0];
        turnstile.pass(place, waker);
        assert_eq!(turnstile.admits(place, waker), Refused, "others are before it");
        assert_eq!(turnstile.admits(&mut all[INSIDE].2, Waker::noop()), GrantedNext);
        let woken = |index: usize| all[index].0.0.load(Ordering::Relaxed);
        assert_eq!((woken(0), woken(INSIDE), woken(INSIDE + 1)), (1, 1, 0));
    }

    #[test]
    fn s14_a_connection_that_becomes_busy_waits_before_its_first_share_if_many_are_busy() {
        let turnstile = Turnstile::default();
        let mut all: Vec<_> = (0..=INSIDE).map(|_| connection()).collect();
        for (_, waker, place) in &mut all {
            assert!(!turnstile.is_crowded_for(*place), "few are busy");
            turnstile.pass(place, waker);
        }
        assert!(turnstile.is_crowded_for(Place::Outside));
        assert!(!turnstile.is_crowded_for(Place::Inside), "it has waited");
        turnstile.leave(&mut all[0].2);
        assert!(!turnstile.is_crowded_for(Place::Outside));
    }

    #[test]
    fn whoever_leaves_lets_the_next_in() {
        let turnstile = Turnstile::default();
        let mut all: Vec<_> = (0..INSIDE + 3).map(|_| connection()).collect();
        for (_, waker, place) in &mut all {
            turnstile.pass(place, waker);
        }
        turnstile.leave(&mut all[INSIDE].2);
        turnstile.leave(&mut all[0].2);
        // It was let in, and leaves before it knows.
        turnstile.leave(&mut all[INSIDE + 1].2);
        let (count, waker, place) = &mut all[INSIDE + 2];
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(turnstile.admits(place, waker), GrantedNext);
        for (_, _, place) in &mut all {
            turnstile.leave(place);
        }
        let line = turnstile.lock();
        assert_eq!((line.busy, line.inside, line.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn connections_that_did_much_wait_only_if_there_are_many() {
        let turnstile = Turnstile::default();
        let mut all: Vec<_> = (0..=INSIDE).map(|_| connection()).collect();
        for (_, waker, place) in &mut all[..INSIDE] {
            turnstile.rest(place);
            assert_eq!(turnstile.admits(place, waker), Granted);
            turnstile.rest(place);
        }
        turnstile.rest(&mut all[INSIDE].2);
        let (count, waker, place) = &mut all[INSIDE];
        assert_eq!(turnstile.admits(place, waker), Refused, "it goes behind the others that are ready");
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "and is ready again at once");
        assert_eq!(turnstile.admits(place, waker), GrantedNext);
    }

    #[test]
    fn the_latest_waker_is_woken() {
        let turnstile = Turnstile::default();
        let mut all: Vec<_> = (0..=INSIDE).map(|_| connection()).collect();
        for (_, waker, place) in &mut all {
            turnstile.pass(place, waker);
        }
        let (moved, waker, _) = connection();
        assert_eq!(turnstile.admits(&mut all[INSIDE].2, &waker), Refused);
        turnstile.leave(&mut all[0].2);
        assert_eq!(moved.0.load(Ordering::Relaxed), 1);
    }
}
