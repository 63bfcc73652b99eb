//! The suite over TCP on async-std.

use futures::executor::block_on;
use zaichik_async_std::AsyncStd;
use zaichik_conformance::Sockets;

zaichik_conformance::suite!(Sockets<AsyncStd>, block_on);
