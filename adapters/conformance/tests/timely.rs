//! The cases that let hours pass, in simulated time and in tokio's paused time.

#[cfg(test)]
mod simulated {
    use std::future::Future;
    use std::time::Duration;

    use zaichik_simulated::{Simulated, Simulation};

    /// Each seed is another order of tasks.
    const SEEDS: u64 = 5;

    fn run<T: Future<Output = ()>>(case: impl Fn() -> T) {
        for seed in 0..SEEDS {
            Simulation::with_seed(seed).run(case());
        }
    }

    zaichik_conformance::timely_suite!(Simulated, Duration::from_micros(1), run);
}

#[cfg(test)]
mod tokio_paused {
    use std::future::Future;
    use std::time::Duration;

    use zaichik_tokio::Tokio;

    fn run<T: Future<Output = ()>>(case: impl Fn() -> T) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(case());
    }

    zaichik_conformance::timely_suite!(Tokio, Duration::from_millis(1), run);
}
