//! Subscribers that read nothing, with a broker on tokio.
#![cfg(target_os = "linux")]

use std::alloc::System;

use cap::Cap;
use zaichik_parity::frozen::s9_a_thousand_frozen_subscribers_stay_within_the_budget;
use zaichik_tokio::Tokio;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

#[tokio::test(flavor = "multi_thread")]
async fn s9_a_thousand_frozen_subscribers_on_tokio_stay_within_the_budget() {
    s9_a_thousand_frozen_subscribers_stay_within_the_budget::<Tokio>(|| HEAP.allocated()).await;
}
