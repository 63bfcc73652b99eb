//! Reads the token that clients must send.

use std::io;
use std::path::Path;

use crate::config::Mistake;
use crate::planted::{Defect, is_planted};

/// Minimum length of a token, in bytes: long enough that even 32 digits cannot be guessed.
const MIN_LENGTH: usize = 32;

/// A token, and whether its file is protected.
pub(crate) struct Token {
    pub(crate) bytes: Vec<u8>,
    /// A warning if other users of this machine can read or change the file.
    pub(crate) warning: Option<String>,
}

impl std::fmt::Debug for Token {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("warning", &self.warning).finish_non_exhaustive()
    }
}

/// Reads the token from a file, without trailing white space.
///
/// # Errors
/// The file cannot be read, or the token is too short or too long. The message advises nothing that overwrites a file.
pub(crate) fn read(path: &Path) -> Result<Token, Mistake> {
    let shown = path.display();
    let mut bytes = std::fs::read(path).map_err(|error| {
        let advice = if error.kind() == io::ErrorKind::NotFound {
            format!("create it with: (umask 077; set -C; openssl rand -hex 32 > {shown})")
        } else {
            "name a file that the broker's user can read".to_owned()
        };
        Mistake(format!("token_file {shown}: cannot read the token: {error}; {advice}"))
    })?;
    bytes.truncate(bytes.trim_ascii_end().len());
    let (length, maximum) = (bytes.len(), zaichik_driver::Limits::MAX_TOKEN);
    if !(MIN_LENGTH..=maximum).contains(&length) {
        return Err(Mistake(format!(
            "token_file {shown}: the token has {length} bytes, the minimum is {MIN_LENGTH} and the maximum is \
             {maximum}; name a file with the output of: openssl rand -hex 32"
        )));
    }
    Ok(Token { bytes, warning: token_file_warning(path) })
}

/// A warning if other users of this machine can read or change a token's file.
#[must_use]
pub fn token_file_warning(path: &Path) -> Option<String> {
    let shown = path.display();
    let is_exposed = is_exposed(path) && !is_planted(Defect::ExposedToken);
    is_exposed.then(|| format!("other users can read {shown}; protect it with: chmod o-rw {shown}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_the_limits_and_advises_nothing_that_overwrites_the_file() {
        let path = std::env::temp_dir().join(format!("zaichik-token-{}", std::process::id()));
        let mistake = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).map(|token| token.bytes).map_err(|Mistake(message)| message)
        };
        for length in [0, 1, 31, 1_025, 4_096] {
            let message = mistake(&vec![b'x'; length]).expect_err("a wrong length");
            assert!(message.contains(&format!("the token has {length} bytes")), "{message}");
            assert!(message.contains("the minimum is 32 and the maximum is 1024"), "{message}");
            assert!(!message.contains('>'), "{message}");
        }
        for length in [32, 33, 1_024] {
            assert_eq!(mistake(&vec![b'x'; length]), Ok(vec![b'x'; length]));
        }
        let token = [b'x'; 32];
        assert_eq!(mistake(&[&token[..], b" \r\n\n"].concat()), Ok(token.to_vec()));
        for inner in [&b"\n"[..], b" ", b"\0"] {
            let two = [&token[..], inner, &token[..]].concat();
            assert_eq!(mistake(&two), Ok(two), "only the end is trimmed");
        }
        std::fs::remove_file(&path).unwrap();
        let Err(Mistake(message)) = read(&path) else { panic!("there is no file") };
        assert!(message.contains("set -C; openssl rand -hex 32 > "), "an existing file stays: {message}");
        let Err(Mistake(message)) = read(&std::env::temp_dir()) else { panic!("it is a directory") };
        assert!(!message.contains('>'), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_or_write_is_exposed() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("zaichik-exposed-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        for (mode, expected) in [(0o600, false), (0o640, false), (0o660, false), (0o644, true), (0o602, true)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(token_file_warning(&path).is_some(), expected, "{mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(token_file_warning(&path), None);
    }
}
