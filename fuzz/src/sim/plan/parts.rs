//! What a plan consists of: limits, topics, faults, and the participants' work.

use zaichik_proto::TopicOptions;

/// The broker's limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) memory_budget: u64,
    pub(crate) max_topics: u32,
    pub(crate) max_durables: u32,
    pub(crate) max_connections: u32,
    pub(crate) max_handshakes: u32,
    pub(crate) max_producers: u32,
    pub(crate) max_message: u32,
    pub(crate) max_records: u32,
    pub(crate) max_window: u32,
    pub(crate) max_window_size: u32,
    pub(crate) max_subscriptions: u32,
    pub(crate) output_buffer: usize,
    pub(crate) heartbeat_millis: u32,
    pub(crate) write_timeout: u64,
    pub(crate) inactive_ttl: u64,
    pub(crate) producer_ttl: u64,
    /// How long clients rely on the broker to remember their producer.
    pub(crate) resend_timeout: u64,
    pub(crate) first_offset: u64,
    pub(crate) default_ttl: u64,
    /// Whether attackers can exhaust limits that honest clients need.
    pub(crate) are_shared: bool,
}

impl Limits {
    /// Whether the broker may refuse requests for lack of memory.
    pub(crate) const fn may_lack_memory(&self) -> bool {
        self.memory_budget < 64 << 20
    }
}

/// A topic, and the settings that it is created with; `None` if its first use creates it.
#[derive(Debug, Clone)]
pub(crate) struct TopicPlan {
    pub(crate) name: String,
    pub(crate) options: Option<TopicOptions>,
}

/// What goes wrong with connections and clocks: mean times between two faults of a kind in microseconds, 0 for never,
/// unless documented otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Maximum latency of a segment.
    pub(crate) latency: u64,
    /// Maximum bytes of a segment.
    pub(crate) segment: u64,
    /// Maximum bytes accepted per write, 0 for no limit.
    pub(crate) partial: u64,
    /// Maximum bytes in flight in one direction.
    pub(crate) capacity: usize,
    pub(crate) freeze: u64,
    pub(crate) reset: u64,
    pub(crate) half_open: u64,
    /// One in N attempts to connect fails, 0 for none.
    pub(crate) refuse: u64,
    pub(crate) crash: u64,
    pub(crate) clock_back: u64,
    pub(crate) clock_jump: u64,
    /// Maximum delay of housekeeping.
    pub(crate) late: u64,
    /// The broker is replaced by another instance.
    pub(crate) restart: u64,
    /// The broker, a client, or all of them are stopped, and go on.
    pub(crate) pause: u64,
}

/// The broker's store, and when the broker ends and is restored from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storage {
    /// Maximum time that a commit takes, in microseconds.
    pub(crate) latency: u64,
    /// One in N commits takes up to ten seconds more, as without space; 0 for none.
    pub(crate) slow: u64,
    /// Mean time between two ends, in microseconds; 0 for never.
    pub(crate) crash: u64,
    /// One in N ends begins with an error of the store; 0 for none.
    pub(crate) fail: u64,
    /// Whether it is a journal on a disk that loses power.
    pub(crate) is_journal: bool,
    /// The longest time between two syncs of commits, in microseconds, if they are not synced one by one (rule B7).
    pub(crate) interval: Option<u64>,
    /// Bytes from which on records that are durable leave memory, if not the default.
    pub(crate) resident: Option<u64>,
}

/// The role of a client.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    Honest(Work),
    /// Sends well-formed but meaningless requests.
    Liar,
    /// Sends bytes that break the protocol.
    Attacker(Attack),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Frames with flipped bits.
    Mutate,
    /// Random bytes.
    Garbage,
    /// One byte at a time, or a frame that it does not complete, or answers that it does not read.
    Loris,
    /// Ever more topics and keys.
    Flood,
    /// Many short requests that are much work for the broker.
    Work,
}

/// The behaviour of an honest client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    pub(crate) publishes: Option<Publishes>,
    pub(crate) consumes: Vec<Consumes>,
    /// The shared subscriptions of which it is a member.
    pub(crate) shares: Vec<Shares>,
    pub(crate) has_producer: bool,
    pub(crate) max_in_flight: usize,
    pub(crate) max_outbound: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) request_timeout: u64,
    /// Whether it crashes from time to time, and another client takes its place.
    pub(crate) crashes: bool,
    /// Whether it also sends pings and requests about settings.
    pub(crate) is_curious: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Publishes {
    pub(crate) topics: Vec<usize>,
    /// Mean time between two publishes.
    pub(crate) every: u64,
    pub(crate) pipeline: usize,
    pub(crate) records: u64,
    pub(crate) body: u64,
    pub(crate) keys: u64,
    /// One in N, 0 for none; as the following ones.
    pub(crate) quiet: u64,
    pub(crate) batch: u64,
    pub(crate) mortal: u64,
    pub(crate) tombstone: u64,
    pub(crate) deadline: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Consumes {
    pub(crate) topic: usize,
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
    pub(crate) durable: Option<String>,
    pub(crate) start: u8,
    /// Commits after this many messages.
    pub(crate) commit_every: usize,
    pub(crate) quiet: bool,
    /// Maximum time to process a message.
    pub(crate) work: u64,
    pub(crate) nack: u64,
    pub(crate) seek: u64,
    pub(crate) leave: u64,
    pub(crate) dead_letter: Option<(u32, String)>,
    /// The topic to which it publishes a record for each message, in one batch with the commit.
    pub(crate) into: Option<usize>,
}

/// What a client does with a shared subscription.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    pub(crate) topic: usize,
    pub(crate) name: String,
    pub(crate) by_key: bool,
    /// How long it may hold a message, in microseconds.
    pub(crate) deadline: u64,
    pub(crate) max_span: u32,
    pub(crate) dead_letter: Option<(u32, String)>,
    /// Whether it begins at the end of the topic.
    pub(crate) is_late: bool,
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
    /// Maximum time to process a message.
    pub(crate) work: u64,
    /// One in N messages takes as long as the deadline and more, 0 for none; as the following ones, of what it settles.
    pub(crate) stall: u64,
    pub(crate) nack: u64,
    pub(crate) extend: u64,
    pub(crate) leave: u64,
    pub(crate) seek: u64,
    /// The topic to which it publishes a record for what it acknowledges, in one batch.
    pub(crate) into: Option<usize>,
}
