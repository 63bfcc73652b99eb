//! The file of a Unix socket: replaced if an earlier broker could not remove it, and removed at the end.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The file of a Unix socket that this process listens on. Dropping it removes the file, unless it was replaced.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("zaichik-doc-{}.sock", std::process::id()));
/// use zaichik_driver::UnixSocket;
/// let (listener, file) = UnixSocket::bind(&path)?;
/// assert!(path.exists());
/// drop((listener, file));
/// assert!(!path.exists(), "it is removed");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixSocket {
    path: PathBuf,
    /// The device and the inode of the file.
    identity: Option<(u64, u64)>,
}

impl UnixSocket {
    /// Listens at `path`, without blocking. A socket file without a listener is replaced.
    ///
    /// # Errors
    /// Another listener uses the path, a file there is not a socket, or the directory does not permit it.
    pub fn bind(path: &Path) -> io::Result<(UnixListener, Self)> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            bound => bound,
        }?;
        listener.set_nonblocking(true)?;
        Ok((listener, Self { path: path.to_owned(), identity: identity(path) }))
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if self.identity.is_some() && self.identity == identity(&self.path) {
            // If the removal fails, the next broker replaces the file.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Whether the file is a socket without a listener.
fn is_abandoned(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path where there is no file.
    fn free(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("zaichik-{name}-{}.sock", std::process::id()))
    }

    #[test]
    fn an_abandoned_socket_is_replaced_and_one_in_use_is_not() {
        let path = free("abandoned");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the operating system does not remove it");
        let (listener, socket) = UnixSocket::bind(&path).unwrap();
        assert_eq!(UnixSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop((listener, socket));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_not_a_socket_stays() {
        let path = free("file");
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(UnixSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn another_brokers_socket_stays() {
        let path = free("successor");
        let (_listener, socket) = UnixSocket::bind(&path).unwrap();
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        let (_successor, _its_socket) = UnixSocket::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        std::fs::remove_file(path.with_extension("old")).unwrap();
    }
}
