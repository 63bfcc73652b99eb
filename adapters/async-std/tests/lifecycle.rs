//! Servers on async-std start and stop.
#![cfg(target_os = "linux")]

use std::alloc::System;

use cap::Cap;
use zaichik_async_std::AsyncStd;
use zaichik_parity::lifecycle::a_thousand_servers_leave_nothing;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

#[test]
fn a_thousand_servers_on_async_std_leave_nothing() {
    async_std::task::block_on(a_thousand_servers_leave_nothing::<AsyncStd>(|| HEAP.allocated()));
}
