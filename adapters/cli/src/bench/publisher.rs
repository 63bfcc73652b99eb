//! One publisher: sends messages, on a schedule or as fast as possible, and measures the latency of the answers.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::SinkExt;
use zaichik_measure::payload::{Kind, Payloads};
use zaichik_measure::{Latencies, Schedule};
use zaichik_tokio::{Client, ClientError, Outgoing, PublishReceipt, Timestamp};

use super::alarm::Alarm;
use super::keys::Keys;
use super::latency;
use super::options::Ack;
use super::plan::Plan;
use super::request_failure;
use super::run_state::RunState;
use crate::failure::Failure;

/// Bytes after which a publisher yields to other tasks of its thread, above all its connection.
const YIELD_BYTES: usize = 64 << 10;

/// How long a broker may delay the report of refused messages without acknowledgement: 1 s (rule P1).
const REFUSAL_INTERVAL: Duration = Duration::from_millis(1_100);

/// The results of a publisher.
#[derive(Debug)]
pub(crate) struct Published {
    /// The publisher's number.
    pub(crate) publisher: u64,
    /// All its messages, including the warm-up.
    pub(crate) total: u64,
    /// Measured messages: answered, or sent without acknowledgement.
    pub(crate) messages: u64,
    /// When the first of them was sent or due, and when the last answer arrived.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    pub(crate) latencies: Latencies,
    /// Publishes without acknowledgement that the broker refused.
    pub(crate) refused: u64,
}

/// A connection that publishes.
pub(crate) struct Publisher {
    client: Client,
    state: Arc<RunState>,
    topic: Arc<str>,
    payloads: Payloads,
    keys: Option<Keys>,
    schedule: Option<Schedule>,
    /// Messages before the measured ones.
    warmup: u64,
    /// All messages; `None` if the duration decides.
    total: Option<u64>,
    duration: Option<Duration>,
    batch: u64,
    max_in_flight: usize,
    timeout: Duration,
    ack_mode: AckMode,
    unyielded_bytes: usize,
    done: Published,
}

/// Whether publishes are answered.
enum AckMode {
    Answered(VecDeque<PendingPublish>),
    Unanswered(Box<zaichik_tokio::Publisher>),
}

/// A publish whose answer is outstanding.
struct PendingPublish {
    answer: Pin<Box<dyn Future<Output = Result<PublishReceipt, ClientError>> + Send>>,
    kind: Kind,
    /// The moments from which latencies count.
    start_times: StartTimes,
}

/// The moments from which the latencies of a batch's messages count.
#[derive(Debug, Clone, Copy)]
enum StartTimes {
    /// The same moment, for a number of messages.
    Same(Timestamp, u64),
    /// When messages are due: their schedule, its beginning, the first message's number, and the number of messages.
    Due(Schedule, Timestamp, u64, u64),
}

impl Publisher {
    /// Publisher `index` of a plan.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn new(
        client: Client,
        state: &Arc<RunState>,
        plan: &Plan,
        index: u32,
    ) -> Result<Self, Failure> {
        let publisher = plan.publisher(index);
        let payloads = Payloads::new(publisher, plan.size.unwrap_or_default());
        let warmup = plan.share(plan.warmup.unwrap_or_default(), index);
        let total = plan.messages().map(|messages| plan.share(messages, index).saturating_add(warmup));
        let ack = plan.ack.unwrap_or(Ack::Accepted);
        let ack_mode = match ack {
            Ack::Accepted => AckMode::Answered(VecDeque::new()),
            Ack::None => {
                AckMode::Unanswered(Box::new(client.publisher(&plan.topic).deadline(plan.timeout).no_ack()))
            }
        };
        Ok(Self {
            client,
            state: Arc::clone(state),
            topic: plan.topic.as_str().into(),
            payloads,
            keys: plan.keys(publisher),
            schedule: plan.rate.map(|rate| Schedule::new(rate, plan.pubs, index)),
            warmup,
            total,
            duration: plan.duration,
            batch: plan.batch.unwrap_or(1).into(),
            max_in_flight: plan.in_flight.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(1),
            timeout: plan.timeout,
            ack_mode,
            unyielded_bytes: 0,
            done: Published {
                publisher,
                total: 0,
                messages: 0,
                span: None,
                latencies: Latencies::in_microseconds()?,
                refused: 0,
            },
        })
    }

    /// Publishes every message and the end; `alarm` wakes the thread when a message is due.
    ///
    /// # Errors
    /// The broker is unreachable, or refuses a publish.
    pub(crate) async fn run(mut self, alarm: Option<&Alarm>) -> Result<Published, Failure> {
        self.state.begin();
        match self.publish(alarm).await {
            Ok(()) => {
                drop(self.client.close().await);
                Ok(self.done)
            }
            Err(error) => Err(request_failure(&self.client, error).await),
        }
    }

    async fn publish(&mut self, alarm: Option<&Alarm>) -> Result<(), ClientError> {
        loop {
            let count = match (self.schedule, alarm) {
                (Some(schedule), Some(alarm)) => self.due(schedule, alarm).await?,
                _ => self.next(),
            };
            if count == 0 {
                break;
            }
            self.room(count).await?;
            if self.state.is_stopped() {
                break;
            }
            self.send(count).await?;
        }
        self.finish().await
    }

    /// Messages that may be sent together next; 0 after the last one.
    fn next(&self) -> u64 {
        let number = self.done.total;
        let remaining = self.total.map_or(u64::MAX, |total| total.saturating_sub(number));
        let is_over = || {
            let (Some(duration), Some((first, _))) = (self.duration, self.done.span) else { return false };
            self.state.is_over(first, duration)
        };
        if self.state.is_stopped() || (self.total.is_none() && is_over()) {
            return 0;
        }
        // A batch is either warm-up or measured.
        let until = self.warmup.checked_sub(number).filter(|until| *until > 0).unwrap_or(u64::MAX);
        self.batch.min(remaining).min(until)
    }

    /// Waits until at least one message is due, and returns the number of messages that are; handles answers until then.
    async fn due(&mut self, schedule: Schedule, alarm: &Alarm) -> Result<u64, ClientError> {
        let state = Arc::clone(&self.state);
        let begin = state.begin();
        let mut stopped = pin!(state.stopped());
        poll_fn(|cx| {
            while self.poll_answer(cx)?.is_ready() {}
            let max = self.next();
            if max == 0 || stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(0));
            }
            let (number, now) = (self.done.total, state.clock.now());
            let is_due = |place: u64| due_at(schedule, begin, number.saturating_add(place)) <= now;
            if is_due(0) {
                let more = (1..max).find(|place| !is_due(*place));
                return Poll::Ready(Ok(more.unwrap_or(max)));
            }
            alarm.set(due_at(schedule, begin, number));
            Poll::Pending
        })
        .await
    }

    /// Waits until `count` messages may be sent; handles answers until then.
    async fn room(&mut self, count: u64) -> Result<(), ClientError> {
        let state = Arc::clone(&self.state);
        let mut room = pin!(state.wait_for_room(count));
        poll_fn(|cx| {
            while self.poll_answer(cx)?.is_ready() {}
            room.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    async fn send(&mut self, count: u64) -> Result<(), ClientError> {
        while self.pending() >= self.max_in_flight {
            poll_fn(|cx| self.poll_answer(cx)).await?;
        }
        let (number, now) = (self.done.total, self.state.clock.now());
        let kind = if number < self.warmup { Kind::WarmUp } else { Kind::Measured };
        let start_times = match self.schedule {
            Some(schedule) => StartTimes::Due(schedule, self.state.begin(), number, count),
            None => StartTimes::Same(now, count),
        };
        let payloads = self.payloads.build(kind, number, start_times.all().map(Timestamp::as_micros));
        let keys = self.keys;
        let messages: Vec<Outgoing> = payloads
            .zip(number..)
            .map(|(payload, number)| match keys {
                None => Outgoing::from(payload),
                Some(keys) => Outgoing::from(payload).key(keys.bytes(number)),
            })
            .collect();
        if kind == Kind::Measured && self.done.span.is_none() {
            let first = start_times.all().next().unwrap_or(now);
            self.done.span = Some((first, first));
        }
        self.done.total = number.saturating_add(count);
        match &mut self.ack_mode {
            AckMode::Answered(pending) => {
                let (client, topic, deadline) = (self.client.clone(), Arc::clone(&self.topic), self.timeout);
                let answer =
                    Box::pin(async move { client.publish_all(&topic, messages).deadline(deadline).await });
                let mut publish = PendingPublish { answer, kind, start_times };
                // The first poll sends it. The client has room for it, as its limits are above this publisher's.
                let no_waker = &mut Context::from_waker(Waker::noop());
                match publish.answer.as_mut().poll(no_waker) {
                    Poll::Pending => pending.push_back(publish),
                    Poll::Ready(answer) => {
                        answer?;
                    }
                }
            }
            AckMode::Unanswered(publisher) => {
                for message in messages {
                    publisher.feed(message).await?;
                }
                publisher.flush().await?;
                self.count(kind, start_times, None);
            }
        }
        self.state.add_published(count);
        self.yield_now_and_then(count).await;
        Ok(())
    }

    /// Waits for every answer, and publishes the end.
    async fn finish(&mut self) -> Result<(), ClientError> {
        while self.pending() > 0 {
            poll_fn(|cx| self.poll_answer(cx)).await?;
        }
        let end = self.payloads.end(self.done.total, self.state.clock.now().as_micros());
        self.client.publish(&self.topic, end).deadline(self.timeout).await?;
        if let AckMode::Unanswered(_) = self.ack_mode {
            // The broker processes a connection's requests in order, so it has accepted or refused every message.
            if let Some((_, last)) = &mut self.done.span {
                *last = self.state.clock.now();
            }
            self.done.refused = self.refused().await;
        }
        Ok(())
    }

    /// Counts refused publishes without acknowledgement. The broker reports the first one at once, and later ones with a
    /// delay.
    async fn refused(&mut self) -> u64 {
        let mut refused = 0u64;
        while let Some((publishes, _)) = self.client.take_refused() {
            refused = refused.saturating_add(publishes);
            tokio::time::sleep(REFUSAL_INTERVAL).await;
        }
        refused
    }

    /// Handles the oldest outstanding answer; pending if there is none.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let AckMode::Answered(pending) = &mut self.ack_mode else { return Poll::Pending };
        let Some(publish) = pending.front_mut() else { return Poll::Pending };
        ready!(publish.answer.as_mut().poll(cx))?;
        if let Some(PendingPublish { kind, start_times, .. }) = pending.pop_front() {
            self.count(kind, start_times, Some(self.state.clock.now()));
        }
        Poll::Ready(Ok(()))
    }

    fn count(&mut self, kind: Kind, start_times: StartTimes, answered: Option<Timestamp>) {
        if kind != Kind::Measured {
            return;
        }
        let done = &mut self.done;
        done.messages = done.messages.saturating_add(start_times.count());
        let Some(now) = answered else { return };
        if let Some((_, last)) = &mut done.span {
            *last = now;
        }
        match start_times {
            StartTimes::Same(since, count) => latency::record(&mut done.latencies, since, now, count),
            StartTimes::Due(..) => {
                start_times.all().for_each(|since| latency::record(&mut done.latencies, since, now, 1));
            }
        }
    }

    fn pending(&self) -> usize {
        match &self.ack_mode {
            AckMode::Answered(pending) => pending.len(),
            AckMode::Unanswered(_) => 0,
        }
    }

    /// Yields to other tasks of the thread after every [`YIELD_BYTES`].
    async fn yield_now_and_then(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.unyielded_bytes =
            self.unyielded_bytes.saturating_add(count.saturating_mul(self.payloads.size()));
        if self.unyielded_bytes < YIELD_BYTES {
            return;
        }
        self.unyielded_bytes = 0;
        let mut is_second = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_second, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl StartTimes {
    const fn count(&self) -> u64 {
        match self {
            Self::Same(_, count) | Self::Due(.., count) => *count,
        }
    }

    fn all(self) -> impl ExactSizeIterator<Item = Timestamp> {
        let count = usize::try_from(self.count()).unwrap_or(usize::MAX);
        (0..count).map(move |place| match self {
            Self::Same(moment, _) => moment,
            Self::Due(schedule, begin, first, _) => {
                due_at(schedule, begin, first.saturating_add(u64::try_from(place).unwrap_or(u64::MAX)))
            }
        })
    }
}

fn due_at(schedule: Schedule, begin: Timestamp, number: u64) -> Timestamp {
    begin.plus_micros(u64::try_from(schedule.due(number).as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latency_of_a_late_message_starts_when_it_was_due() {
        let begin = Timestamp::from_micros(5_000);
        let schedule = Schedule::new(1_000, 1, 0);
        let start_times: Vec<u64> =
            StartTimes::Due(schedule, begin, 2, 3).all().map(Timestamp::as_micros).collect();
        assert_eq!(start_times, [7_000, 8_000, 9_000]);
        let now = Timestamp::from_micros(60_000_000);
        assert_eq!(StartTimes::Same(now, 2).all().collect::<Vec<_>>(), [now, now], "without a schedule");
    }
}
