//! Memory of the system for what a peer does not read, which no ledger of the broker counts.

use std::os::fd::AsFd;

/// Bytes that the system holds for a connection before it has sent them, roughly. More than a turn of the broker
/// writes, so that a peer that reads never waits for the broker.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 256 << 10;

/// Makes the system accept no more than about 256 KiB that it has not sent yet for an accepted TCP connection.
///
/// Without it Linux accepts up to 4 MiB (`net.ipv4.tcp_wmem`) for each peer that does not read, and drops packets of all
/// connections when that memory is used up. What was sent and is not acknowledged has no such limit, so throughput over
/// long distances is not affected. Does nothing on other systems, or if the system refuses.
pub fn limit_unsent(connection: &impl AsFd) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(connection).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = connection;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{ErrorKind, Result};
    use std::net::SocketAddr;

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// What the system accepts for a peer that reads nothing, in bytes.
    fn accepted(is_limited: bool) -> Result<usize> {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None);
        let (listener, peer) = (socket()?, socket()?);
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        listener.listen(1)?;
        peer.set_recv_buffer_size(4096)?;
        peer.connect(&listener.local_addr()?)?;
        let (connection, _) = listener.accept()?;
        if is_limited {
            limit_unsent(&connection);
        }
        connection.set_nonblocking(true)?;
        let mut accepted: usize = 0;
        loop {
            match connection.send(&[0; 16 << 10]) {
                Ok(count) => accepted = accepted.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(accepted),
                Err(error) => return Err(error),
            }
        }
    }

    #[test]
    fn s9_the_system_accepts_little_for_a_peer_that_does_not_read() {
        let limit = 2 * usize::try_from(UNSENT).expect("it is small");
        assert!(accepted(true).expect("sockets of this machine") < limit);
        assert!(accepted(false).expect("sockets of this machine") > limit, "the system has a smaller limit");
    }
}
