//! Runs the broker until a signal stops it.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use zaichik_tokio::{Clock, Server, ServerError, default_config};

use crate::Serve;
use crate::{descriptors, memory, signals};

/// How long connections may take to finish what they owe after the first signal.
const GRACE: Duration = Duration::from_secs(10);

/// The log's filter without `RUST_LOG`; the name is a prefix of the broker's crates.
const DEFAULT_FILTER: &str = "zaichik=info";

/// The port can't be listened on.
const CANNOT_BIND: u8 = 3;

/// Runs the broker and says with which code the process ends.
pub(crate) fn run(options: &Serve) -> ExitCode {
    let clock = Clock::start();
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(serve(options, clock)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ServerError::Bind { .. }) => fail(
            CANNOT_BIND,
            &format!("{error}; choose another port with --port or PORT, 0 for any free one"),
        ),
        Err(error) => fail(1, &error.to_string()),
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
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A line that can't be written is lost, and nothing else: telling stderr about it would panic.
        .log_internal_errors(false)
        .init();
    if let Some(mistake) = mistake {
        tracing::warn!("RUST_LOG={wanted:?} is ignored: {mistake}");
    }
}

async fn serve(options: &Serve, clock: Clock) -> Result<(), ServerError> {
    let started = clock.now();
    let mut config = default_config()?;
    config.server_name = format!("zaichik {}", env!("CARGO_PKG_VERSION"));
    config.memory_budget = memory::budget();
    config.max_connections = descriptors::connections(config.max_connections);
    let (connections, mebibytes) = (config.max_connections, config.memory_budget >> 20);
    let server = Server::bind(&format!("127.0.0.1:{}", options.port), config).await?;
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    tracing::info!(
        "zaichik {} (tokio, {workers} workers, at most {connections} connections and {mebibytes} MiB)",
        env!("CARGO_PKG_VERSION")
    );
    tracing::warn!("storage: memory only; messages are lost when this process exits");
    tracing::warn!("auth: none; listening on loopback only");
    tracing::info!("listening zaichik://{}", server.local_addr());
    signals::stop(server.handle(), GRACE);
    tracing::info!("ready in {} ms", clock.now().since(started).as_millis());
    server.serve().await?;
    tracing::info!("stopped");
    Ok(())
}

fn fail(code: u8, why: &str) -> ExitCode {
    // Whoever closed stderr still gets the code.
    let _ = writeln!(std::io::stderr(), "zaichik: {why}");
    ExitCode::from(code)
}
