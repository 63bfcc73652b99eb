//! Subscribers that read nothing, with a broker on async-std.
#![cfg(target_os = "linux")]

use std::alloc::System;

use cap::Cap;
use zaichik_async_std::AsyncStd;
use zaichik_parity::frozen::s9_a_thousand_frozen_subscribers_stay_within_the_budget;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

#[test]
fn s9_a_thousand_frozen_subscribers_on_async_std_stay_within_the_budget() {
    let test = s9_a_thousand_frozen_subscribers_stay_within_the_budget::<AsyncStd>(|| HEAP.allocated());
    async_std::task::block_on(test);
}
