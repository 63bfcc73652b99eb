//! The suite over TCP on tokio, with one thread and with several.

#[cfg(test)]
mod multi_thread {
    use std::future::Future;

    use zaichik_conformance::Sockets;
    use zaichik_tokio::Tokio;

    fn run(case: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().expect("a runtime").block_on(case);
    }

    zaichik_conformance::suite!(Sockets<Tokio>, run);
}

#[cfg(test)]
mod current_thread {
    use std::future::Future;

    use zaichik_conformance::Sockets;
    use zaichik_tokio::Tokio;

    fn run(case: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().expect("a runtime").block_on(case);
    }

    zaichik_conformance::suite!(Sockets<Tokio>, run);
}
