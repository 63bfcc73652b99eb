//! The log on stderr.

mod queue;

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::LogFormat;
use queue::LogQueue;

/// The lines that wait to be written, once the log has started.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

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
        .with_writer(writer())
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

/// Waits until the log is written, if its reader reads. Call it before the process ends, and before anything else is written
/// to stderr.
pub(crate) fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush();
    }
}

/// Starts the thread that writes the log; without a thread, lines are written where they are logged.
#[expect(clippy::disallowed_types, reason = "a runtime's threads must not wait for the reader of the log")]
fn writer() -> BoxMakeWriter {
    let (queue, waiting) = LogQueue::new();
    let queue = QUEUE.get_or_init(|| queue);
    let thread: io::Result<std::thread::JoinHandle<()>> =
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            waiting.write_to(io::stderr(), queue.dropped(), |count| {
                tracing::warn!("log: {count} lines were dropped, because they were not read in time");
            });
        });
    match thread {
        Ok(_) => BoxMakeWriter::new(queue),
        Err(_) => BoxMakeWriter::new(io::stderr),
    }
}

/// Whether the log has colors: on a terminal, unless `NO_COLOR` forbids them (<https://no-color.org>).
fn is_colored(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
