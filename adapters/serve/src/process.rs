//! Runs a broker until a signal stops it.

use std::io;
use std::process::ExitCode;

use futures::Stream;
use zaichik_driver::{Clock, Runtime, Server, ServerError, Timestamp};

use crate::command::{WRONG_CONFIGURATION, check, fail, wrong};
use crate::config::Address;
use crate::http::{Build, Http};
use crate::plan::Plan;
use crate::ready::Ready;
use crate::{Options, Signal, descriptors, log, signals, usage};

/// An address can't be listened on.
const CANNOT_BIND: u8 = 3;

/// The commit that it was built from, for who sets it when building.
const COMMIT: Option<&str> = option_env!("GIT_COMMIT");

/// A process that is a broker.
#[derive(Debug)]
pub struct Process {
    command: &'static str,
    clock: Clock,
    started: Timestamp,
    plan: Plan,
    ready: Option<Ready>,
}

impl Process {
    /// The process of a command, which has just started: from here on it logs to stderr.
    ///
    /// Once per process, and before its runtime is there.
    ///
    /// # Errors
    /// With which code the process ends at once: the configuration is wrong, or was only to be checked.
    pub fn start(command: &'static str, options: &Options) -> Result<Self, ExitCode> {
        let clock = Clock::start();
        let started = clock.now();
        if options.check {
            return Err(check(command, options));
        }
        let ready = options.ready_fd.map(Ready::take).transpose();
        let ready = ready.map_err(|mistake| wrong(command, &[mistake]))?;
        let plan = Plan::make(options).map_err(|mistakes| wrong(command, &mistakes))?;
        log::start(plan.config.settings.log_format, options.verbose);
        Ok(Self { command, clock, started, plan, ready })
    }

    /// Runs a broker on `runtime`, which has so many `workers`; says with which code the process ends.
    ///
    /// The first of the `signals` drains the broker, the second one ends the process. Without signals it runs
    /// all the same, and says so.
    pub async fn serve<R: Runtime>(
        mut self,
        (runtime, workers): (&str, usize),
        signals: io::Result<impl Stream<Item = Signal> + Send + 'static>,
    ) -> ExitCode {
        match self.run::<R>((runtime, workers), signals).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error @ ServerError::Bind { .. }) => fail(
                self.command,
                CANNOT_BIND,
                format_args!(
                    "{error}; choose another with --port, --listen or --http, port 0 for any free one"
                ),
            ),
            Err(error @ ServerError::Config(_)) => fail(self.command, WRONG_CONFIGURATION, error),
            Err(error) => fail(self.command, 1, error),
        }
    }

    /// Ends without a runtime.
    #[must_use]
    pub fn without_runtime(self, error: &io::Error) -> ExitCode {
        fail(self.command, 1, format_args!("cannot start the runtime: {error}"))
    }

    async fn run<R: Runtime>(
        &mut self,
        (runtime, workers): (&str, usize),
        signals: io::Result<impl Stream<Item = Signal> + Send + 'static>,
    ) -> Result<(), ServerError> {
        let settings = &self.plan.config.settings;
        let mut config = self.plan.broker()?;
        config.max_connections = descriptors::connections(config.max_connections);
        let (connections, mebibytes) = (config.max_connections, config.memory_budget >> 20);
        let addresses: Vec<_> = settings.listen.iter().map(Address::as_str).collect();
        if settings.http.is_some() {
            // For the client that the metrics come from.
            config.max_connections = config.max_connections.saturating_add(1);
        }
        let server = Server::<R>::bind_all(&addresses, config).await?.busy_poll(settings.busy_poll);
        let http = Http::bind(&self.plan, &server, Build::new(runtime, COMMIT)).await?;
        let commit = COMMIT.map(|commit| format!("commit {commit}, ")).unwrap_or_default();
        tracing::info!(
            "zaichik {} ({commit}{runtime}, {workers} workers, at most {connections} connections and {mebibytes} MiB)",
            env!("CARGO_PKG_VERSION")
        );
        tracing::info!("config: {}", self.plan.config.sources());
        tracing::warn!("storage: memory only; messages are lost when this process exits");
        self.say_who_gets_in();
        for address in server.local_addrs() {
            tracing::info!("listening {}", address.url());
        }
        if let Some(http) = &http {
            http.announce();
        }
        R::spawn(usage::keep_reporting::<R>(server.handle()));
        match signals {
            Ok(signals) => R::spawn(signals::obey(signals, server.handle(), settings.drain)),
            Err(error) => {
                tracing::warn!(%error, "signals can't be handled; the process ends without draining");
            }
        }
        tracing::info!("ready in {} ms", self.clock.now().since(self.started).as_millis());
        if let Some(ready) = self.ready.take() {
            ready.tell(server.local_addrs(), http.as_ref().map(Http::address));
        }
        match http {
            Some(http) => http.beside(server.serve()).await?,
            None => server.serve().await?,
        }
        tracing::info!("stopped");
        Ok(())
    }

    fn say_who_gets_in(&self) {
        let file = self.plan.config.settings.token_file.as_deref().unwrap_or_else(|| "".as_ref()).display();
        match &self.plan.token {
            Some(token) => {
                tracing::info!("auth: the token in {file}");
                if token.is_exposed {
                    tracing::warn!("auth: other users can read {file}; protect it with: chmod o-rw {file}");
                }
            }
            None if self.plan.is_open => {
                tracing::warn!(
                    "auth: none; everybody who can connect reads and writes every topic (--insecure)"
                );
            }
            None => tracing::warn!("auth: none; listening on loopback only"),
        }
    }
}
