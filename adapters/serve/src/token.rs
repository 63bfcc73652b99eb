//! The token that clients must send, from a file.

use std::path::Path;

use crate::config::Mistake;

/// Shortest token: 32 bytes of anything can't be guessed, even if they are digits only.
const SHORTEST: usize = 32;

/// A token, and what is to be said about its file.
pub(crate) struct Token {
    pub(crate) bytes: Vec<u8>,
    /// Whether other users of this machine can read the file.
    pub(crate) is_exposed: bool,
}

impl std::fmt::Debug for Token {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("is_exposed", &self.is_exposed).finish_non_exhaustive()
    }
}

/// Reads the token in a file; white space at its end is not part of it.
///
/// # Errors
/// The file can't be read, or what it holds is too short or too long.
pub(crate) fn read(path: &Path) -> Result<Token, Mistake> {
    let shown = path.display();
    let mistake = |what: String| {
        Mistake(format!("token_file {shown}: {what}; make one with: openssl rand -hex 32 > {shown}"))
    };
    let mut bytes = std::fs::read(path).map_err(|error| mistake(format!("cannot be read: {error}")))?;
    bytes.truncate(bytes.trim_ascii_end().len());
    let most = zaichik_driver::Limits::MAX_TOKEN;
    match bytes.len() {
        length @ ..SHORTEST => {
            Err(mistake(format!("the token has {length} bytes, {SHORTEST} at least are needed")))
        }
        length if length > most => {
            Err(mistake(format!("the token has {length} bytes, {most} at most are allowed")))
        }
        _ => Ok(Token { bytes, is_exposed: is_exposed(path) }),
    }
}

#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    /// Reading and writing, by those who are neither the owner nor of the group.
    const OTHERS: u32 = 0o006;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & OTHERS != 0)
}

#[cfg(not(unix))]
fn is_exposed(_: &Path) -> bool {
    false
}
