//! Publishing with answers: many messages in flight, or one at a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use zaichik_measure::Latencies;

/// A connection that publishes messages encoded beforehand; an answer says that a message is durable.
pub(crate) trait Publisher: Send {
    /// Messages of a write.
    fn burst(&self) -> u64;

    /// Writes a burst.
    fn write(&mut self) -> Result<()>;

    /// Waits for answers; returns the number of messages that they acknowledge.
    fn read(&mut self) -> Result<u64>;
}

/// What was published and acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Published {
    pub(super) messages: u64,
    pub(super) seconds: f64,
}

/// Publishes with several connections, until the time is over and everything is acknowledged.
///
/// `in_flight` is the maximum of unacknowledged messages of all of them.
pub(super) fn publish_all(
    publishers: Vec<Box<dyn Publisher>>,
    in_flight: u64,
    duration: Duration,
) -> Result<Published> {
    let each = in_flight / publishers.len() as u64;
    let begin = Instant::now();
    let messages = thread::scope(|scope| {
        let publish = |mut publisher: Box<dyn Publisher>| {
            scope.spawn(move || publish(&mut *publisher, each, duration, |_| ()))
        };
        let threads: Vec<_> = publishers.into_iter().map(publish).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<u64>>| {
            thread.join().unwrap_or_else(|_| bail!("a publisher panicked"))
        };
        threads.into_iter().map(join).sum::<Result<u64>>()
    })?;
    Ok(Published { messages, seconds: begin.elapsed().as_secs_f64() })
}

/// Publishes until the time is over and everything is acknowledged; returns the number of messages.
///
/// `before_last` is called before the last burst is written, with the number of all messages.
pub(super) fn publish(
    publisher: &mut dyn Publisher,
    in_flight: u64,
    duration: Duration,
    before_last: impl FnOnce(u64),
) -> Result<u64> {
    let burst = publisher.burst();
    let begin = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    while begin.elapsed() < duration {
        while sent - answered + burst <= in_flight {
            publisher.write()?;
            sent += burst;
        }
        answered += publisher.read()?;
    }
    while sent - answered + burst > in_flight {
        answered += publisher.read()?;
    }
    before_last(sent + burst);
    publisher.write()?;
    sent += burst;
    while answered < sent {
        answered += publisher.read()?;
    }
    Ok(sent)
}

/// Publishes one burst at a time, and measures each in nanoseconds until it is acknowledged.
pub(super) fn one_at_a_time(publisher: &mut dyn Publisher, duration: Duration) -> Result<Latencies> {
    let mut latencies = Latencies::in_nanoseconds()?;
    let begin = Instant::now();
    while begin.elapsed() < duration {
        let written = Instant::now();
        publisher.write()?;
        let mut answered = 0;
        while answered < publisher.burst() {
            answered += publisher.read()?;
        }
        latencies.record(u64::try_from(written.elapsed().as_nanos())?, 1);
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers all but one of the unanswered messages, or the last one.
    struct Slow {
        unanswered: u64,
        most: u64,
    }

    impl Publisher for Slow {
        fn burst(&self) -> u64 {
            3
        }

        fn write(&mut self) -> Result<()> {
            self.unanswered += 3;
            self.most = self.most.max(self.unanswered);
            Ok(())
        }

        fn read(&mut self) -> Result<u64> {
            let answers = (self.unanswered - 1).max(1);
            self.unanswered -= answers;
            Ok(answers)
        }
    }

    #[test]
    fn everything_is_acknowledged_and_not_too_much_is_in_flight() {
        let mut slow = Slow { unanswered: 0, most: 0 };
        let mut announced = 0;
        let sent = publish(&mut slow, 8, Duration::from_millis(1), |total| announced = total).unwrap();
        assert_eq!((sent, slow.unanswered), (announced, 0));
        assert!(sent > 3);
        assert!(slow.most <= 8, "{}", slow.most);
    }
}
