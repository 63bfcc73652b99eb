//! Runs a broker until a signal stops it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use futures::Stream;
use tracing_subscriber::EnvFilter;
use zaichik_driver::{Clock, Runtime, Server, ServerError, Timestamp, default_config};

use crate::{Options, Signal, descriptors, memory, signals};

/// How long connections may take to finish what they owe after the first signal.
const GRACE: Duration = Duration::from_secs(10);

/// The log's filter without `RUST_LOG`; the name is a prefix of the broker's crates.
const DEFAULT_FILTER: &str = "zaichik=info";

/// The port can't be listened on.
const CANNOT_BIND: u8 = 3;

/// A process that is a broker.
#[derive(Debug)]
pub struct Process {
    command: &'static str,
    clock: Clock,
    started: Timestamp,
}

impl Process {
    /// The process of a command, which has just started: from here on it logs to stderr.
    ///
    /// Once per process.
    #[must_use]
    pub fn start(command: &'static str) -> Self {
        let clock = Clock::start();
        let started = clock.now();
        start_log();
        Self { command, clock, started }
    }

    /// Runs a broker on `runtime`, which has so many `workers`; says with which code the process ends.
    ///
    /// The first of the `signals` drains the broker, the second one ends the process. Without signals it runs
    /// all the same, and says so.
    pub async fn serve<R: Runtime>(
        self,
        options: &Options,
        (runtime, workers): (&str, usize),
        signals: io::Result<impl Stream<Item = Signal> + Send + 'static>,
    ) -> ExitCode {
        match self.run::<R>(options, (runtime, workers), signals).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error @ ServerError::Bind { .. }) => self.fail(
                CANNOT_BIND,
                format_args!("{error}; choose another port with --port or PORT, 0 for any free one"),
            ),
            Err(error) => self.fail(1, error),
        }
    }

    /// Ends without a runtime.
    #[must_use]
    pub fn without_runtime(self, error: &io::Error) -> ExitCode {
        self.fail(1, format_args!("cannot start the runtime: {error}"))
    }

    async fn run<R: Runtime>(
        &self,
        options: &Options,
        (runtime, workers): (&str, usize),
        signals: io::Result<impl Stream<Item = Signal> + Send + 'static>,
    ) -> Result<(), ServerError> {
        let mut config = default_config()?;
        config.server_name = format!("zaichik {}", env!("CARGO_PKG_VERSION"));
        config.memory_budget = memory::budget();
        config.max_connections = descriptors::connections(config.max_connections);
        let (connections, mebibytes) = (config.max_connections, config.memory_budget >> 20);
        let server = Server::<R>::bind(&format!("127.0.0.1:{}", options.port), config)
            .await?
            .busy_poll(options.busy_poll);
        tracing::info!(
            "zaichik {} ({runtime}, {workers} workers, at most {connections} connections and {mebibytes} MiB)",
            env!("CARGO_PKG_VERSION")
        );
        tracing::warn!("storage: memory only; messages are lost when this process exits");
        tracing::warn!("auth: none; listening on loopback only");
        tracing::info!("listening zaichik://{}", server.local_addr());
        match signals {
            Ok(signals) => R::spawn(signals::obey(signals, server.handle(), GRACE)),
            Err(error) => {
                tracing::warn!(%error, "signals can't be handled; the process ends without draining");
            }
        }
        tracing::info!("ready in {} ms", self.clock.now().since(self.started).as_millis());
        server.serve().await?;
        tracing::info!("stopped");
        Ok(())
    }

    fn fail(&self, code: u8, why: impl Display) -> ExitCode {
        // Nobody can be told that it can't be told.
        drop(writeln!(io::stderr(), "{}: {why}", self.command));
        ExitCode::from(code)
    }
}

/// Logs to stderr what `RUST_LOG` asks for.
fn start_log() {
    let wanted = std::env::var_os(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let wanted = wanted.to_string_lossy();
    let (filter, mistake) = match EnvFilter::try_new(&wanted) {
        Ok(filter) if !wanted.is_empty() => (filter, None),
        Ok(_) => (EnvFilter::new(DEFAULT_FILTER), None),
        Err(mistake) => (EnvFilter::new(DEFAULT_FILTER), Some(mistake)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // It would be reported to stderr, with a panic: who closes the log's reader is not to end the broker.
        .log_internal_errors(false)
        .init();
    if let Some(mistake) = mistake {
        tracing::warn!("RUST_LOG={wanted:?} is ignored: {mistake}");
    }
}
