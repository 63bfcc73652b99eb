//! Runs a broker until a signal stops it.

use std::io;
use std::process::ExitCode;

use futures::Stream;
use zaichik_driver::{BrokerConfig, Clock, EmbeddedBroker, Runtime, Server, Timestamp};

use crate::command::{check, fail, wrong};
use crate::config::Address;
use crate::http::{BuildInfo, Http};
use crate::plan::Plan;
use crate::ready::ReadyDescriptor;
use crate::run_error::RunError;
use crate::storage::{self, Storage};
use crate::{Options, Signal, descriptors, exit_code, log, signals, topics, usage};

/// The commit that the command was built from, if the build sets it.
const COMMIT: Option<&str> = option_env!("GIT_COMMIT");

/// A broker process.
#[derive(Debug)]
pub struct Process {
    command: &'static str,
    clock: Clock,
    started: Timestamp,
    plan: Plan,
    ready: Option<ReadyDescriptor>,
}

impl Process {
    /// Reads the configuration and starts logging to stderr. `command` is the prefix of error messages.
    ///
    /// Call it once per process, before the runtime starts.
    ///
    /// # Errors
    /// The code to exit with immediately: the configuration is invalid, or was only to be checked.
    pub fn start(command: &'static str, options: &Options) -> Result<Self, ExitCode> {
        let clock = Clock::start();
        let started = clock.now();
        if options.check {
            return Err(check(command, options, false));
        }
        let ready = options.ready_fd.map(ReadyDescriptor::take).transpose();
        let ready = ready.map_err(|mistake| wrong(command, &[mistake]))?;
        let plan = Plan::make(options).map_err(|mistakes| wrong(command, &mistakes))?;
        log::start(plan.config.settings.log_format, options.verbose);
        Ok(Self { command, clock, started, plan, ready })
    }

    /// Runs a broker until it has stopped; returns the exit code. The name of the runtime and the number of its
    /// workers appear in the log.
    ///
    /// The first of the `signals` drains the broker, the second one ends the process. If signals are not available, a
    /// warning is logged and the broker runs without them.
    pub async fn serve<R: Runtime>(
        mut self,
        (runtime, workers): (&str, usize),
        signals: io::Result<impl Stream<Item = Signal> + Send + 'static>,
    ) -> ExitCode {
        let ended = self.run::<R>((runtime, workers), signals).await;
        log::flush();
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let dir = self.plan.config.settings.storage_dir.as_deref().unwrap_or_else(|| "".as_ref());
                fail(self.command, exit_code::of(&error), error.explain(dir))
            }
        }
    }

    /// Reports that the runtime did not start; returns the exit code.
    #[must_use]
    pub fn runtime_failed(self, error: &io::Error) -> ExitCode {
        log::flush();
        fail(self.command, exit_code::OTHER, format_args!("cannot start the runtime: {error}"))
    }

    async fn run<R: Runtime>(
        &mut self,
        runtime: (&str, usize),
        signals: io::Result<impl Stream<Item = Signal> + Send + 'static>,
    ) -> Result<(), RunError> {
        let settings = &self.plan.config.settings;
        let mut config = self.plan.broker();
        let listeners = settings.listen.len().saturating_add(usize::from(settings.http.is_some()));
        config.max_connections = descriptors::connection_limit(config.max_connections, listeners);
        let start = start_line(runtime, &config);
        let addresses: Vec<_> = settings.listen.iter().map(Address::as_str).collect();
        if settings.http.is_some() {
            // For the client that reads the metrics.
            config.max_connections = config.max_connections.saturating_add(1);
        }
        let mut signals = signals.map(Box::pin);
        let mut http = match &settings.http {
            Some(address) => Some(Http::bind(address, BuildInfo::new(runtime.0, COMMIT)).await?),
            None => None,
        };
        let (broker, meter) = if let Some(dir) = &settings.storage_dir {
            // It may take long.
            self.log_start(&start);
            http.iter().for_each(Http::announce);
            tracing::info!("storage: reading {}", dir.display());
            let storage = Storage {
                dir: dir.clone(),
                sync: settings.storage_sync,
                segment_size: settings.storage_segment_size,
                accepts_clock: self.plan.accepts_clock,
            };
            let recovery = storage.recover::<R>(config);
            let recovery = serve_during(http.as_mut(), recovery);
            let Some(recovered) = signals::unless_interrupted(signals.as_mut().ok(), recovery).await else {
                return Ok(());
            };
            let (broker, meter) = storage::start(recovered?, self.clock)?;
            (broker, Some(meter))
        } else {
            (EmbeddedBroker::<R>::start(config)?, None)
        };
        topics::declare(&broker, &self.plan.config.topics)?;
        let server = Server::listen(&addresses, broker).await?.busy_poll(settings.busy_poll);
        if meter.is_none() {
            self.log_start(&start);
            tracing::warn!(
                "storage: memory only; messages are lost when this process exits; keep them with --data DIR"
            );
        }
        self.log_authentication();
        for address in server.local_addrs() {
            tracing::info!("listening {}", address.url());
        }
        if let Some(http) = &http {
            if meter.is_none() {
                http.announce();
            }
            http.open(&self.plan, &server, meter.clone());
        }
        R::spawn(usage::keep_reporting::<R>(server.broker().handle(), meter));
        match signals {
            Ok(signals) => R::spawn(signals::shut_down_on(signals, server.broker().handle(), settings.drain)),
            Err(error) => {
                tracing::warn!(%error, "cannot handle signals; the process will end without draining");
            }
        }
        tracing::info!("ready in {} ms", self.clock.now().since(self.started).as_millis());
        if let Some(ready) = self.ready.take() {
            ready.notify(server.local_addrs(), http.as_ref().map(Http::address));
        }
        serve_during(http.as_mut(), server.serve()).await?;
        tracing::info!("stopped");
        Ok(())
    }

    fn log_start(&self, start: &str) {
        tracing::info!("{start}");
        tracing::info!("config: {}", self.plan.config.sources());
    }

    fn log_authentication(&self) {
        let file = self.plan.config.settings.token_file.as_deref().unwrap_or_else(|| "".as_ref()).display();
        match &self.plan.token {
            Some(token) => {
                tracing::info!("auth: token from {file}");
                if let Some(warning) = &token.warning {
                    tracing::warn!("auth: {warning}");
                }
            }
            None if self.plan.is_open => {
                tracing::warn!(
                    "auth: none; anyone who can connect can read and write every topic (--insecure)"
                );
            }
            None => tracing::warn!("auth: none; listening on loopback only"),
        }
    }
}

/// The first line of the log.
fn start_line((runtime, workers): (&str, usize), config: &BrokerConfig) -> String {
    let commit = COMMIT.map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    let (connections, mebibytes) = (config.max_connections, config.memory >> 20);
    format!(
        "zaichik {} ({commit}{runtime}, {workers} workers, maximum {connections} connections, {mebibytes} MiB)",
        env!("CARGO_PKG_VERSION")
    )
}

/// Serves HTTP, if it is configured, until `work` completes.
async fn serve_during<R: Runtime, T>(http: Option<&mut Http<R>>, work: impl Future<Output = T>) -> T {
    match http {
        Some(http) => http.serve_during(work).await,
        None => work.await,
    }
}
