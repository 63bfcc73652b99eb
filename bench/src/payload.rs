//! What stands in a message, so that one that is missing is noticed.
//!
//! A publisher encodes a block of messages beforehand and writes it again and again. The first bytes of a payload, its
//! stamp, say the message's place in the block; those of the block's first message also say how often the block was
//! written before, and are the only ones that change.

use anyhow::{Result, ensure};

/// Bytes of a stamp: two numbers of four, the block's and the message's in it.
pub(crate) const STAMP: usize = 8;

/// The stamp of a message, of blocks of `block` messages.
pub(crate) fn stamp(message: u64, block: u64) -> [u8; STAMP] {
    let place = message % block;
    let number = if place == 0 { message / block } else { 0 };
    let mut stamp = [0; STAMP];
    stamp[..4].copy_from_slice(&low(number));
    stamp[4..].copy_from_slice(&low(place));
    stamp
}

/// Says whether a stamp is the message's.
pub(crate) fn check(got: [u8; STAMP], message: u64, block: u64) -> Result<()> {
    let due = stamp(message, block);
    ensure!(got == due, "message {message} is another one: {got:?} instead of {due:?}");
    Ok(())
}

/// The payload of a message, of `len` bytes.
pub(crate) fn payload(message: u64, block: u64, len: usize) -> Vec<u8> {
    let mut payload = vec![b'x'; len];
    payload[..STAMP].copy_from_slice(&stamp(message, block));
    payload
}

fn low(number: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = number.to_le_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_a_block_says_which_block() {
        assert_eq!(stamp(0, 10), [0; STAMP]);
        assert_eq!(stamp(20, 10), [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(stamp(23, 10), [0, 0, 0, 0, 3, 0, 0, 0]);
        assert!(check(stamp(23, 10), 23, 10).is_ok());
        assert!(check(stamp(33, 10), 23, 10).is_ok());
        assert!(check(stamp(30, 10), 20, 10).is_err());
    }
}
