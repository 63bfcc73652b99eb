//! Standard input, if there is one.

use crate::failure::{Code, Failure};

/// Standard input.
///
/// # Errors
/// The command was started with its standard input closed. Reading would find an empty input instead, which is a message,
/// or the end of all requests.
pub(crate) fn open() -> Result<tokio::io::Stdin, Failure> {
    if is_closed() {
        return Err(Failure::new(Code::Usage, "standard input is closed; use < /dev/null for an empty one"));
    }
    Ok(tokio::io::stdin())
}

/// Whether it was closed when the process started: Rust then opens `/dev/null` in its place, for reading and writing, which
/// nobody else does for an input.
#[cfg(unix)]
fn is_closed() -> bool {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{OFlags, fcntl_getfl, fstat};
    let stdin = std::io::stdin();
    let is_writable = fcntl_getfl(&stdin).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    let null = std::fs::metadata("/dev/null").map(|null| (null.dev(), null.ino()));
    is_writable && fstat(&stdin).is_ok_and(|own| null.is_ok_and(|null| null == (own.st_dev, own.st_ino)))
}

#[cfg(not(unix))]
const fn is_closed() -> bool {
    false
}
