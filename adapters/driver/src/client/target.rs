//! Where a client's broker is, and the byte streams to it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};

#[cfg(feature = "server")]
use crate::local::LocalIo;
use crate::runtime::{Io, Runtime};

/// Opens a byte stream to a broker in this program.
#[cfg(feature = "server")]
pub(crate) type OpenLocal = Arc<dyn Fn() -> io::Result<LocalIo> + Send + Sync>;

/// Where the broker is.
#[derive(Clone)]
pub(crate) enum Target {
    /// At a network address.
    Remote(Arc<str>),
    /// In this program.
    #[cfg(feature = "server")]
    Local(OpenLocal),
}

/// A byte stream to a broker.
#[derive(Debug)]
pub(crate) enum Stream<I> {
    Remote(I),
    #[cfg(feature = "server")]
    Local(LocalIo),
}

/// A byte stream that is being opened.
pub(crate) type Opening<R> = Pin<Box<dyn Future<Output = io::Result<Stream<<R as Runtime>::Io>>> + Send>>;

impl Target {
    /// Opens a byte stream to the broker.
    pub(crate) fn open<R: Runtime>(&self) -> Opening<R> {
        let target = self.clone();
        Box::pin(async move {
            match target {
                Self::Remote(address) => R::connect(&address).await.map(Stream::Remote),
                #[cfg(feature = "server")]
                Self::Local(open) => open().map(Stream::Local),
            }
        })
    }

    /// Whether a failed connect is final: a broker in this program does not come back.
    pub(crate) const fn is_gone_for_good(&self) -> bool {
        !matches!(self, Self::Remote(_))
    }

    /// A connect error that names the address.
    pub(crate) fn explain(&self, error: &io::Error) -> io::Error {
        match self {
            Self::Remote(address) => io::Error::new(error.kind(), format!("{address}: {error}")),
            #[cfg(feature = "server")]
            Self::Local(_) => io::Error::new(error.kind(), error.to_string()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(address) => f.write_str(address),
            #[cfg(feature = "server")]
            Self::Local(_) => f.write_str("local"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<I: Io> Io for Stream<I> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Remote(io) => io.poll_read(cx, into, limit),
            #[cfg(feature = "server")]
            Self::Local(io) => io.poll_read(cx, into, limit),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut impl Buf) -> Poll<io::Result<usize>> {
        match self {
            Self::Remote(io) => io.poll_write(cx, from),
            #[cfg(feature = "server")]
            Self::Local(io) => io.poll_write(cx, from),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Remote(io) => io.poll_shutdown(cx),
            #[cfg(feature = "server")]
            Self::Local(io) => io.poll_shutdown(cx),
        }
    }
}
