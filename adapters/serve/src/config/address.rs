//! The addresses that a broker listens on.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The prefix of the path of a Unix socket.
const UNIX: &str = "unix:";

/// An address to listen on: `host:port`, or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(String);

impl Address {
    /// A port on 127.0.0.1.
    pub(crate) fn loopback(port: u16) -> Self {
        Self(format!("127.0.0.1:{port}"))
    }

    /// Parses an address.
    ///
    /// # Errors
    /// The text is not an address; the message says what to use.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_address = match text.strip_prefix(UNIX) {
            Some(path) => cfg!(unix) && !path.trim_start_matches('/').is_empty(),
            None => {
                text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
            }
        };
        if is_address {
            return Ok(Self(text.to_owned()));
        }
        let port = text.trim_start_matches(':').parse::<u16>();
        let example = port.map_or_else(|_| Self::loopback(8889), Self::loopback);
        Err(format!(
            "use host:port, such as \"{example}\"{}",
            if cfg!(unix) { ", or unix:/path" } else { "" }
        ))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only this machine can connect to it. A host name other than `localhost` counts as not.
    pub(crate) fn is_loopback(&self) -> bool {
        if self.0.starts_with(UNIX) {
            return true;
        }
        let canonical = |address: SocketAddr| -> IpAddr { address.ip().to_canonical() };
        match self.0.parse() {
            Ok(address) => canonical(address).is_loopback(),
            Err(_) => self.0.rsplit_once(':').is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost")),
        }
    }
}

/// Whether a text may be the name or the address of a host; an IPv6 address is in brackets.
fn is_host(host: &str) -> bool {
    let is_part = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|char| char.is_alphanumeric() || more.contains(char))
    };
    match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').is_some_and(|inner| is_part(inner, ":.%-_")),
        None => is_part(host, ".-_"),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_only_this_machine_reaches_are_loopback() {
        for text in ["127.0.0.1:1", "127.9.9.9:0", "[::1]:1", "[::ffff:127.0.0.1]:1", "LocalHost:1"] {
            assert!(Address::parse(text).unwrap().is_loopback(), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1", "localhost.example.org:1"] {
            assert!(!Address::parse(text).unwrap().is_loopback(), "{text}");
        }
    }

    #[test]
    fn an_error_suggests_an_address() {
        for (text, instead) in
            [("9000", "127.0.0.1:9000"), (":9000", "127.0.0.1:9000"), ("", "127.0.0.1:8889")]
        {
            assert!(Address::parse(text).unwrap_err().contains(instead), "{text}");
        }
        for text in [
            "host",
            "host:many",
            "host:70000",
            "host:1x",
            "host:1 ",
            "host:1/",
            "zaichik://host:1",
            "host:1,host:2",
            "host:",
            "host:1:2",
            "::1:1",
            "[::1:1",
            "::1]:1",
            "[]:1",
            "a b:1",
            "unix:",
            "unix:/",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_is_loopback() {
        assert!(Address::parse("unix:/run/zaichik.sock").unwrap().is_loopback());
    }
}
