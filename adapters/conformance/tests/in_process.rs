//! The suite over a broker inside the program, without sockets.
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]

use std::future::Future;

use zaichik_conformance::InProcess;
use zaichik_tokio::Tokio;

fn run(case: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().expect("a runtime").block_on(case);
}

zaichik_conformance::suite!(InProcess<Tokio>, run);
