//! Functions on blocking sockets for every dialect.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};

/// A port of this machine on which no program listens.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// A connection to a broker on this machine, without Nagle's delay.
pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let socket =
        TcpStream::connect(("127.0.0.1", port)).with_context(|| format!("connecting to port {port}"))?;
    socket.set_nodelay(true).context("turning Nagle's delay off")?;
    Ok(socket)
}

/// Reads a line including its end, and no byte after it; at most `limit` bytes.
pub(crate) fn read_line(socket: &mut impl Read, limit: usize) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        ensure!(line.len() < limit, "a line of more than {limit} bytes");
        line.push(read_array::<1>(socket)?[0]);
    }
    Ok(line)
}

pub(crate) fn read_array<const N: usize>(socket: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes).context("reading an answer")?;
    Ok(bytes)
}

/// Reads the length of `expected`, and compares.
pub(crate) fn expect(socket: &mut impl Read, expected: &[u8]) -> Result<()> {
    let mut got = vec![0; expected.len()];
    socket.read_exact(&mut got).context("reading an answer")?;
    let text = String::from_utf8_lossy(&got);
    ensure!(got == expected, "expected {:?}, got {text:?}", String::from_utf8_lossy(expected));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_after_the_line_is_read() {
        let mut input = &b"one\ntwo"[..];
        assert_eq!(read_line(&mut input, 10).unwrap(), b"one\n");
        assert_eq!(input, b"two");
        assert!(read_line(&mut &b"too long\n"[..], 3).is_err());
    }

    #[test]
    fn a_different_answer_is_an_error() {
        assert!(expect(&mut &b"+OK"[..], b"+OK").is_ok());
        assert!(expect(&mut &b"-NO"[..], b"+OK").is_err());
    }
}
