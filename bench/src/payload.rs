//! The numbers of messages, which make missing ones noticeable.
//!
//! A publisher encodes a block of messages beforehand and writes it again and again. A message carries its place in the
//! block, except that the first one of a block carries its number in the whole run. Only that one changes.

use anyhow::{Context, Result, ensure};
pub(crate) use zaichik_measure::payload::HEAD;
use zaichik_measure::payload::{Kind, Payloads, Stamp, read_head};

/// The stamp of a message, in blocks of `block` messages.
pub(crate) const fn stamp(message: u64, block: u64) -> Stamp {
    let place = message % block;
    let number = if place == 0 { message } else { place };
    Stamp { kind: Kind::Measured, publisher: 0, number, since: 0 }
}

/// Checks that a payload, of which at least the head is there, is the message's.
pub(crate) fn check(payload: &[u8], message: u64, block: u64) -> Result<()> {
    let (found, expected) = (read_head(payload).context("a payload without a stamp")?, stamp(message, block));
    ensure!(
        found == expected,
        "message {message} carries number {} instead of {}",
        found.number,
        expected.number
    );
    Ok(())
}

/// The payload of a message, of `size` bytes.
pub(crate) fn payload(message: u64, block: u64, size: usize) -> Vec<u8> {
    let Stamp { kind, publisher, number, since } = stamp(message, block);
    Payloads::new(publisher, size).build(kind, number, [since].into_iter()).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_message_of_a_block_shows_which_block_it_is() {
        let numbers = [0, 1, 20, 23].map(|message| stamp(message, 10).number);
        assert_eq!(numbers, [0, 1, 20, 3]);
        assert!(check(&payload(23, 10, 40), 23, 10).is_ok());
        assert!(check(&payload(33, 10, 40), 23, 10).is_ok());
        assert!(check(&payload(30, 10, 40), 20, 10).is_err());
        assert!(check(&[b'x'; 40], 20, 10).is_err());
    }
}
