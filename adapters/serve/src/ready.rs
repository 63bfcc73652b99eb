//! Tells whoever started the broker that it is ready, on a descriptor that it left open.

use std::io::{self, Write};

use serde_json::json;
use zaichik_driver::Endpoint;

use crate::config::Mistake;

/// A descriptor that waits for one line.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "a descriptor of this process, to be written to once")]
pub(crate) struct Ready(std::fs::File);

/// Descriptors up to here are not closed: others write there too, or expect somebody to hold them.
const STDERR: u32 = 2;

impl Ready {
    /// Takes a descriptor over, which has to be there since the process began; call it before anything is opened.
    ///
    /// # Errors
    /// There is no such descriptor, or it is a socket, which can't be opened anew.
    #[expect(clippy::disallowed_types, reason = "a descriptor of this process, to be written to once")]
    pub(crate) fn take(descriptor: u32) -> Result<Self, Mistake> {
        let mistake = |error| {
            Mistake(format!(
                "--ready-fd {descriptor}: cannot be written to: {error}; leave a pipe or a file open there, such as \
                 {descriptor}>ready.json"
            ))
        };
        let file =
            std::fs::File::options().append(true).open(format!("/dev/fd/{descriptor}")).map_err(mistake)?;
        if descriptor > STDERR {
            close(descriptor).map_err(mistake)?;
        }
        Ok(Self(file))
    }

    /// Writes the line and closes the descriptor; its reader finds the end behind it.
    pub(crate) fn tell(mut self, addresses: &[Endpoint], http: Option<&Endpoint>) {
        let line = json!({
            "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "http": http.map(ToString::to_string),
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        if let Err(error) = writeln!(self.0, "{line}") {
            tracing::warn!(%error, "nobody reads at --ready-fd");
        }
    }
}

#[cfg(unix)]
fn close(descriptor: u32) -> io::Result<()> {
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    nix::unistd::close(descriptor).map_err(io::Error::from)
}

#[cfg(not(unix))]
fn close(_: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
