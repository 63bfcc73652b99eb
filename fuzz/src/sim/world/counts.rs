//! How often things happened in a run.

/// How often things happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Events handled.
    pub events: u64,
    /// Connections opened.
    pub connections: u64,
    /// Connections frozen.
    pub freezes: u64,
    /// Connections reset.
    pub resets: u64,
    /// Connections that became silent.
    pub half_opens: u64,
    /// Clients that crashed.
    pub crashes: u64,
    /// Steps and jumps of the clock.
    pub clock_steps: u64,
    /// Brokers replaced.
    pub restarts: u64,
    /// Pauses of the broker, of a client, or of all of them.
    pub pauses: u64,
    /// Commits that a store took.
    pub commits: u64,
    /// Brokers that ended and were restored.
    pub recoveries: u64,
    /// Of them, those that lost commits and became another instance.
    pub losses: u64,
    /// Chunks of records that a broker read back.
    pub fetches: u64,
    /// Times that a store had no space but its reserve.
    pub fulls: u64,
    /// Brokers that were compared with the one that was restored from their rows.
    pub pairs: u64,
}

impl Counts {
    /// Adds the counts of another run.
    pub const fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.connections += other.connections;
        self.freezes += other.freezes;
        self.resets += other.resets;
        self.half_opens += other.half_opens;
        self.crashes += other.crashes;
        self.clock_steps += other.clock_steps;
        self.restarts += other.restarts;
        self.pauses += other.pauses;
        self.commits += other.commits;
        self.recoveries += other.recoveries;
        self.losses += other.losses;
        self.fetches += other.fetches;
        self.fulls += other.fulls;
        self.pairs += other.pairs;
    }
}
