//! Reports that the broker is ready, on a file descriptor that the parent process left open.

use std::io::{self, Write};

use serde_json::json;
use zaichik_driver::Endpoint;

use crate::config::Mistake;

/// A descriptor to which one line will be written.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "a descriptor of this process, to be written to once")]
pub(crate) struct ReadyDescriptor(std::fs::File);

/// Descriptors up to this one are not closed: other code writes to them, or relies on them being open.
const STDERR: u32 = 2;

impl ReadyDescriptor {
    /// Takes over a descriptor that the process inherited; call it before anything else is opened.
    ///
    /// # Errors
    /// There is no such descriptor, or it is a socket, which cannot be reopened.
    #[expect(clippy::disallowed_types, reason = "a descriptor of this process, to be written to once")]
    pub(crate) fn take(descriptor: u32) -> Result<Self, Mistake> {
        let mistake = |error| {
            Mistake(format!(
                "--ready-fd {descriptor}: cannot write to this descriptor: {error}; open a pipe or a file for it, \
                 such as {descriptor}>ready.json"
            ))
        };
        let file =
            std::fs::File::options().append(true).open(format!("/dev/fd/{descriptor}")).map_err(mistake)?;
        if descriptor > STDERR {
            close(descriptor).map_err(mistake)?;
        }
        Ok(Self(file))
    }

    /// Writes the line and closes the descriptor, so that its reader sees the end of the stream.
    pub(crate) fn notify(mut self, addresses: &[Endpoint], http: Option<&Endpoint>) {
        let line = json!({
            "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "http": http.map(ToString::to_string),
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        if let Err(error) = writeln!(self.0, "{line}") {
            tracing::warn!(%error, "cannot write to --ready-fd");
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
