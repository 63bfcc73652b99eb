//! The log on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging to stderr, at the level of `RUST_LOG` or, without it, of that many `-v` flags. Call it once per
/// process.
pub(crate) fn start(format: LogFormat, verbose: u8) {
    // The names of all of Zaichik's crates begin with it.
    let default = match verbose {
        0 => "zaichik=info",
        1 => "zaichik=debug",
        _ => "zaichik=trace",
    };
    let wanted = std::env::var_os(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let wanted = wanted.to_string_lossy();
    let (filter, mistake) = match EnvFilter::try_new(&wanted) {
        Ok(filter) if !wanted.is_empty() => (filter, None),
        Ok(_) => (EnvFilter::new(default), None),
        Err(mistake) => (EnvFilter::new(default), Some(mistake)),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(io::stderr)
        // They would be reported on stderr with a panic: closing the log's reader must not end the broker.
        .log_internal_errors(false);
    match format {
        LogFormat::Pretty => log.with_ansi(is_colored(io::stderr().is_terminal())).init(),
        LogFormat::Compact => log.with_ansi(false).without_time().compact().init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if let Some(mistake) = mistake {
        tracing::warn!("RUST_LOG={wanted:?} is ignored: {mistake}");
    }
}

/// Whether the log has colors: on a terminal, unless `NO_COLOR` forbids them (<https://no-color.org>).
fn is_colored(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
