//! Writes the log on a thread of its own, so that a reader that does not read cannot stop the broker.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Maximum lines that wait to be written; a line has a few hundred bytes at most, besides names. Further ones are dropped
/// and counted.
const LINES: usize = 1_024;

/// Maximum time to write the waiting lines when the process ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lines that wait to be written.
#[derive(Debug)]
pub(super) struct LogQueue {
    entries: SyncSender<Entry>,
    dropped: AtomicU64,
}

/// What the writing thread gets.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Dropped when all lines before it are written.
    Flush(#[expect(dead_code, reason = "its end is the signal")] SyncSender<()>),
}

/// A line that is queued when it is dropped.
#[derive(Debug)]
pub(super) struct Line<'a> {
    queue: &'a LogQueue,
    text: Vec<u8>,
}

/// The end of the queue that the thread reads.
#[derive(Debug)]
pub(super) struct Waiting(Receiver<Entry>);

impl LogQueue {
    /// An empty queue, and its other end.
    pub(super) fn new() -> (Self, Waiting) {
        let (entries, waiting) = sync_channel(LINES);
        (Self { entries, dropped: AtomicU64::new(0) }, Waiting(waiting))
    }

    /// The number of lines dropped that were not reported yet.
    pub(super) const fn dropped(&self) -> &AtomicU64 {
        &self.dropped
    }

    /// Waits until the lines are written, if that does not take too long.
    pub(super) fn flush(&self) {
        let (done, is_done) = sync_channel(0);
        if self.entries.try_send(Entry::Flush(done)).is_ok() {
            // Nothing is sent: either the sender is dropped, or the time is over.
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }

    fn push(&self, text: Vec<u8>) {
        if self.entries.try_send(Entry::Line(text)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Waiting {
    /// Writes the lines as they arrive, until the queue is gone. `report` logs the number of lines that were dropped, once there is room.
    pub(super) fn write_to(self, mut out: impl Write, dropped: &AtomicU64, report: impl Fn(u64)) {
        while let Ok(entry) = self.0.recv() {
            if let Entry::Line(text) = entry {
                // The log is the only place to report that it cannot be written.
                let _ = out.write_all(&text).and_then(|()| out.flush());
            }
            let count = dropped.swap(0, Ordering::Relaxed);
            if count > 0 {
                report(count);
            }
        }
    }
}

impl<'a> MakeWriter<'a> for &'static LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, text: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.queue.push(std::mem::take(&mut self.text));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_full_queue_drops_lines_and_reports_how_many() {
        let (queue, waiting) = LogQueue::new();
        for _ in 0..LINES + 3 {
            queue.push(b"x\n".to_vec());
        }
        let LogQueue { entries, dropped } = queue;
        // The thread ends when nobody can queue a line.
        drop(entries);
        let (mut out, reported) = (Vec::new(), RefCell::new(Vec::new()));
        waiting.write_to(&mut out, &dropped, |dropped| reported.borrow_mut().push(dropped));
        assert_eq!(out.len(), 2 * LINES);
        assert_eq!(*reported.borrow(), [3]);
    }
}
