//! Servers on tokio start and stop.
#![cfg(target_os = "linux")]

use std::alloc::System;

use cap::Cap;
use zaichik_parity::lifecycle::a_thousand_servers_leave_nothing;
use zaichik_tokio::Tokio;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_servers_on_tokio_leave_nothing() {
    a_thousand_servers_leave_nothing::<Tokio>(|| HEAP.allocated()).await;
}
