//! Which messages members got and acknowledged.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Result, ensure};

/// A multiplier whose products are spread over all numbers (2^64 divided by the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What all members of a queue have done.
#[derive(Debug)]
pub(super) struct Tally {
    messages: u64,
    acknowledged: AtomicU64,
    is_over: AtomicBool,
    /// A bit for each message that was handed out.
    seen: Vec<AtomicU64>,
    /// The key of each message, repeatedly; empty without keys.
    keys: Vec<u64>,
    /// For each key, the message after the newest one that was handed out.
    newest: Vec<AtomicU64>,
    sockets: Vec<TcpStream>,
}

/// The keys of messages, drawn from this number of them; as many draws as there are keys.
pub(super) fn keys(count: u64) -> Vec<u64> {
    (0..count).map(|message| (message.wrapping_mul(SPREAD) >> 20) % count).collect()
}

impl Tally {
    /// Expects messages with these keys, repeatedly; the sockets of the members are closed when all are acknowledged.
    pub(super) fn new(messages: u64, keys: Vec<u64>, sockets: Vec<TcpStream>) -> Self {
        let zeros = |count: u64| (0..count).map(|_| AtomicU64::new(0)).collect();
        let (seen, newest) = (zeros(messages.div_ceil(64)), zeros(keys.len() as u64));
        let acknowledged = AtomicU64::new(0);
        Self { messages, acknowledged, is_over: AtomicBool::new(false), seen, keys, newest, sockets }
    }

    pub(super) const fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages that are acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether the members are to end.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// A member got consecutive messages: none for the second time, and none before an earlier one of its key.
    pub(super) fn got(&self, first: u64, count: u64) -> Result<()> {
        for message in first..first + count {
            ensure!(message < self.messages, "message {message} was never published");
            let bit = 1 << (message % 64);
            let before = self.seen[index(message / 64)].fetch_or(bit, Ordering::Relaxed);
            ensure!(before & bit == 0, "message {message} was handed out twice");
            if !self.keys.is_empty() {
                let key = self.keys[index(message % self.keys.len() as u64)];
                let newest = self.newest[index(key)].fetch_max(message + 1, Ordering::SeqCst);
                ensure!(newest <= message, "message {message} of key {key} came after message {newest}");
            }
        }
        Ok(())
    }

    /// A member has acknowledged more messages. The last one ends the run.
    pub(super) fn add(&self, count: u64) {
        if count > 0 && self.acknowledged.fetch_add(count, Ordering::Relaxed) + count >= self.messages {
            self.end();
        }
    }

    /// Ends the members.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        for socket in &self.sockets {
            // It may be closed already.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_handed_out_twice_is_noticed() {
        let tally = Tally::new(200, Vec::new(), Vec::new());
        tally.got(60, 10).unwrap();
        tally.got(0, 60).unwrap();
        assert!(tally.got(63, 1).is_err());
        assert!(tally.got(199, 2).is_err(), "there are only 200");
    }

    #[test]
    fn a_message_before_an_earlier_one_of_its_key_is_noticed() {
        let tally = Tally::new(9, vec![0, 1, 0], Vec::new());
        for message in [0, 2, 1, 3] {
            tally.got(message, 1).unwrap();
        }
        tally.got(6, 1).unwrap();
        assert!(tally.got(5, 1).is_err(), "message 6 has the same key");
        tally.got(4, 1).unwrap();
    }

    #[test]
    fn the_last_acknowledgement_ends_the_run() {
        let tally = Tally::new(10, Vec::new(), Vec::new());
        tally.add(9);
        assert!(!tally.is_over());
        tally.add(1);
        assert!(tally.is_over());
    }

    #[test]
    fn most_keys_are_drawn() {
        let mut keys = keys(1_000);
        assert!(keys.iter().all(|key| *key < 1_000));
        keys.sort_unstable();
        keys.dedup();
        assert!(keys.len() > 500, "{}", keys.len());
    }
}
