//! The file of a Unix socket: replaced if an earlier broker could not remove it, and removed at the end.
//!
//! Replacing and removing happen under a lock, so that of several brokers that find the same abandoned file one gets the
//! path, and none removes the file of another.

mod lock;

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use lock::{PathLock, identity};

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
    /// Another listener uses the path or is about to, a file there is not a socket, or the directory does not permit it.
    pub fn bind(path: &Path) -> io::Result<(UnixListener, Self)> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => replace(path, error),
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
        // If another broker holds the lock, it replaces the file; if the removal fails, the next broker does.
        if let Ok(Some(_lock)) = PathLock::acquire(&self.path)
            && self.identity.is_some()
            && self.identity == identity(&self.path)
        {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Listens at a path whose file is abandoned; `in_use` is the error if it is not.
fn replace(path: &Path, in_use: io::Error) -> io::Result<UnixListener> {
    let Some(_lock) = PathLock::acquire(path)? else {
        return Err(in_use);
    };
    if !is_abandoned(path) {
        return Err(in_use);
    }
    std::fs::remove_file(path)?;
    UnixListener::bind(path)
}

/// Whether the file is a socket that no process holds; does not block.
///
/// Connecting a socket of another type fails at once: with one error if a process holds the file, with another one if
/// none does. Connecting a stream would wait for a process that does not accept.
fn is_abandoned(path: &Path) -> bool {
    let refuses = || UnixDatagram::unbound().and_then(|probe| probe.connect(path));
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
        && refuses().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

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

    /// A path with the file of a listener that is gone.
    fn stale(name: &str) -> PathBuf {
        let path = free(name);
        drop(UnixListener::bind(&path).unwrap());
        path
    }

    #[test]
    fn of_several_brokers_that_find_an_abandoned_socket_one_gets_the_path() {
        for _ in 0..200 {
            let path = stale("race");
            let start = std::sync::Barrier::new(3);
            let bound: Vec<_> = std::thread::scope(|scope| {
                let brokers = [(); 3].map(|()| {
                    scope.spawn(|| {
                        start.wait();
                        UnixSocket::bind(&path)
                    })
                });
                brokers.into_iter().map(|broker| broker.join().unwrap()).collect()
            });
            assert_eq!(bound.iter().filter(|bound| bound.is_ok()).count(), 1, "{bound:?}");
            UnixStream::connect(&path).expect("the file is the winner's");
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[test]
    fn an_abandoned_socket_stays_while_another_broker_replaces_it() {
        let path = stale("locked");
        let lock = PathLock::acquire(&path).unwrap().expect("nobody holds it");
        assert_eq!(UnixSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(lock);
        drop(UnixSocket::bind(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_holder_that_does_not_accept_does_not_block_another_broker() {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
        let path = free("hung");
        let holder = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&holder, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        assert_eq!(
            UnixSocket::bind(&path).unwrap_err().kind(),
            io::ErrorKind::AddrInUse,
            "it is about to listen"
        );
        listen(&holder, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        assert_eq!(UnixSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        std::fs::remove_file(&path).unwrap();
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
