//! The directory in which a broker keeps its state.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use zaichik_driver::{BrokerConfig, Clock, EmbeddedBroker, Runtime, ServerError};
use zaichik_engine::{Broker, Restore, Seed};
use zaichik_store_journal::{Files, Journal, Options, Shown, Syncing};

use crate::error::StorageError;
use crate::journal_store::JournalStore;
use crate::recovered::{Continuity, Recovered};

/// How long the clock may be before the last commit, unless that is accepted.
const MAX_BEHIND: Duration = Duration::from_hours(1);

/// The most that is reserved for when the disk is full, in bytes.
const MAX_RESERVE: u64 = 64 << 20;

/// The length of a segment in bytes, unless another one is chosen.
const SEGMENT: u64 = 64 << 20;

/// A directory in which a broker keeps its state: topics with their records, durable subscriptions and producers (chapter B
/// of the rules).
///
/// What the broker has answered is in the directory, and after any end of the process it continues from there: for clients, a
/// restart is a broken connection. Each directory has one broker at a time.
#[derive(Debug, Clone)]
pub struct Storage<R> {
    dir: PathBuf,
    sync_every: Duration,
    segment_bytes: u64,
    accepts_clock: bool,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Storage<R> {
    /// A directory, which is created if it is missing.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let (sync_every, segment_bytes) = (Duration::ZERO, SEGMENT);
        Self { dir: dir.into(), sync_every, segment_bytes, accepts_clock: false, runtime: PhantomData }
    }

    /// How long a commit may wait to be synced to the disk. Default: 0, each is before it is answered.
    ///
    /// With more, the commits of this time may be lost when the *machine* ends, but not when only the process does; then the
    /// broker is another instance (rule B7). A publish that asks for `durable` is synced in any case.
    #[must_use]
    pub const fn sync_every(mut self, time: Duration) -> Self {
        self.sync_every = time;
        self
    }

    /// The length of a file in the directory, in bytes, from 1 KiB to 1 GiB; space comes back by whole files. The same number
    /// of bytes, but at most 64 MiB, is reserved for a full disk. Default: 64 MiB.
    #[must_use]
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Starts even if the clock is more than an hour before the last commit: then the broker's time stands still until the
    /// clock has caught up (rule B3).
    #[must_use]
    pub const fn accept_clock(mut self) -> Self {
        self.accepts_clock = true;
        self
    }

    /// Reads the directory, and starts a broker with what is there. It may take long; the runtime is not blocked.
    ///
    /// # Errors
    /// [`StorageError`], and nothing in the directory has changed.
    pub async fn start(self, config: BrokerConfig) -> Result<EmbeddedBroker<R>, StorageError> {
        let recovered = self.recover(config).await?;
        Ok(recovered.start()?)
    }

    /// Reads the directory, and says what is there before the broker starts.
    ///
    /// # Errors
    /// [`StorageError`], and nothing in the directory has changed.
    pub async fn recover(self, config: BrokerConfig) -> Result<Recovered<R>, StorageError> {
        let random = || R::random().map_err(ServerError::Random);
        let (options, seed) = (Options::new(random()?), Seed::new(random()?, random()?));
        let (done, recovered) = oneshot::channel();
        let builder = thread::Builder::new().name("zaichik-recovery".to_owned());
        let clock = Clock::of::<R>();
        let thread = builder.spawn(move || {
            // Nobody waits for it any more if the future was dropped.
            drop(done.send(self.read_back(config, options, seed, clock)));
        });
        drop(thread.map_err(ServerError::Thread)?);
        // The thread sends a result unless it panics.
        recovered.await.unwrap_or(Err(StorageError::Server(ServerError::Failed)))
    }

    fn read_back(
        self,
        config: BrokerConfig,
        options: Options,
        seed: Seed,
        clock: Clock,
    ) -> Result<Recovered<R>, StorageError> {
        let begun = clock.now();
        let syncing = if self.sync_every.is_zero() { Syncing::EachCommit } else { Syncing::OnDemand };
        let (segment_bytes, reserve_bytes) = (self.segment_bytes, self.segment_bytes.min(MAX_RESERVE));
        let options = Options { syncing, segment_bytes, reserve_bytes, ..options };
        let mut journal = Journal::open(&self.dir, options)?;
        let continuity = match (journal.is_backup(), journal.lacks_commits()) {
            (true, _) => Continuity::Backup,
            (false, true) => Continuity::LacksCommits,
            (false, false) => Continuity::Same,
        };
        let broker = self.restore(&mut journal, (config, seed), clock).inspect_err(|_| {
            // Nothing was changed, so the next start need not doubt that everything is durable.
            drop(journal.close(Duration::ZERO));
        })?;
        let took = clock.now().since(begun);
        let store = JournalStore::new(journal, self.dir, self.sync_every, clock);
        Ok(Recovered::new(broker, store, continuity, took))
    }

    /// A broker with the rows of the journal.
    fn restore(
        &self,
        journal: &mut Journal<Files>,
        (config, seed): (BrokerConfig, Seed),
        clock: Clock,
    ) -> Result<Broker, StorageError> {
        let restore = if journal.lacks_commits() { Restore::as_another } else { Restore::new };
        let mut restore = restore(config, seed).map_err(ServerError::Config)?;
        // Records stay in the directory, where that is possible, until somebody reads them.
        journal.read_back(|key, shown| {
            let is_taken = match shown {
                Shown::Head(head) => restore.head(key, head),
                Shown::Value(value) => restore.row(key, value).map(|()| true),
            };
            is_taken.map(|is_taken| !is_taken).map_err(StorageError::Rows)
        })?;
        let now = clock.now();
        let behind = restore.stored_at().map_or(Duration::ZERO, |stored_at| stored_at.since(now));
        if behind > MAX_BEHIND && !self.accepts_clock {
            return Err(StorageError::Clock { behind });
        }
        Ok(restore.finish(now)?)
    }
}
