//! Reads the token that clients must send.

use std::path::Path;

use crate::config::Mistake;

/// Minimum length of a token, in bytes: long enough that even 32 digits cannot be guessed.
const MIN_LENGTH: usize = 32;

/// A token, and whether its file is protected.
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

/// Reads the token from a file, without trailing white space.
///
/// # Errors
/// The file cannot be read, or the token is too short or too long.
pub(crate) fn read(path: &Path) -> Result<Token, Mistake> {
    let shown = path.display();
    let mistake = |what: String| {
        Mistake(format!("token_file {shown}: {what}; create a token with: openssl rand -hex 32 > {shown}"))
    };
    let mut bytes =
        std::fs::read(path).map_err(|error| mistake(format!("cannot read the token: {error}")))?;
    bytes.truncate(bytes.trim_ascii_end().len());
    let maximum = zaichik_driver::Limits::MAX_TOKEN;
    match bytes.len() {
        length @ ..MIN_LENGTH => {
            Err(mistake(format!("the token has {length} bytes, the minimum is {MIN_LENGTH}")))
        }
        length if length > maximum => {
            Err(mistake(format!("the token has {length} bytes, the maximum is {maximum}")))
        }
        _ => Ok(Token { bytes, is_exposed: is_exposed(path) }),
    }
}

#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    /// Permission to read or write for users other than the owner and the group.
    const OTHERS: u32 = 0o006;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & OTHERS != 0)
}

#[cfg(not(unix))]
fn is_exposed(_: &Path) -> bool {
    false
}
