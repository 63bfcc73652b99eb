//! The address that a broker listens on.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The prefix of a Unix socket's address.
const UNIX: &str = "unix:";

/// An address that a broker listens on.
///
/// ```
/// use zaichik_driver::Endpoint;
/// let address = Endpoint::Tcp("127.0.0.1:8889".parse()?);
/// assert_eq!(address.url(), "zaichik://127.0.0.1:8889"); // the address for clients
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP address, with the real port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// The path of a Unix socket's address: `unix:/path`, or `unix:///path` as in a URL.
    #[must_use]
    pub fn unix_path(address: &str) -> Option<&Path> {
        let path = address.strip_prefix(UNIX)?;
        Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
    }

    /// The address as a URL, for clients.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Tcp(address) => format!("zaichik://{address}"),
            Self::Unix(path) if path.is_absolute() => format!("{UNIX}//{}", path.display()),
            Self::Unix(path) => format!("{UNIX}{}", path.display()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_path_of_the_socket() {
        for (path, url) in [("/run/z.sock", "unix:///run/z.sock"), ("z.sock", "unix:z.sock")] {
            let endpoint = Endpoint::Unix(path.into());
            assert_eq!(endpoint.url(), url);
            assert_eq!(Endpoint::unix_path(url), Some(Path::new(path)));
            assert_eq!(Endpoint::unix_path(&endpoint.to_string()), Some(Path::new(path)));
        }
        assert_eq!(Endpoint::unix_path("localhost:1"), None);
    }
}
