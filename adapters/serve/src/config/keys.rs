//! The settings by name: one table for the file, the environment, the flags and their help.

use super::field::Field;
use super::settings::Settings;

/// What every variable of Zaichik's begins with.
pub(crate) const PREFIX: &str = "ZAICHIK_";

/// The table of the file whose settings are flags without its name.
const LIMITS: &str = "limits";

/// Largest message that can be allowed: a frame's length has 32 bits, and somebody has to hold it in memory.
const LARGEST_MESSAGE: u64 = 1 << 30;

/// Largest buffer of a connection, and largest window in bytes.
const LARGEST_BUFFER: u64 = 1 << 30;

/// Most records of a publish that the protocol has room for.
const MOST_RECORDS: u32 = zaichik_driver::Limits::MAX_RECORDS;

/// A setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the file, after the name of its table.
    pub(crate) path: &'static str,
    /// What it is, in a sentence or two.
    pub(crate) help: &'static str,
    /// Where it is in the settings.
    pub(crate) field: fn(&mut Settings) -> Field<'_>,
}

/// All of them, in the order of the file.
pub(crate) const KEYS: &[Key] = &[
    Key {
        path: "listen",
        help: "Addresses to listen on: host:port or unix:/path. Port 0 takes any free one",
        field: |to| Field::Addresses(&mut to.listen),
    },
    Key {
        path: "http",
        help: "Address for /healthz, /readyz and /metrics, such as 127.0.0.1:8890. Empty: none",
        field: |to| Field::Address(&mut to.http),
    },
    Key {
        path: "token_file",
        help: "File with the token that clients must send. Empty: none, and only this machine may connect",
        field: |to| Field::Path(&mut to.token_file),
    },
    Key {
        path: "log_format",
        help: "Lines of the log: pretty, compact (without the time, for a journal) or json",
        field: |to| Field::LogFormat(&mut to.log_format),
    },
    Key {
        path: "drain",
        help: "How long connections may take to finish what they owe after SIGTERM or SIGINT",
        field: |to| Field::Span(&mut to.drain),
    },
    Key {
        path: "busy_poll",
        help: "How long a connection spins for more bytes before it sleeps, such as 50us: shorter round trips for \
               processor time",
        field: |to| Field::Span(&mut to.busy_poll),
    },
    Key {
        path: "limits.max_message_size",
        help: "Largest key, headers and body of a message together",
        field: |to| Field::Size(&mut to.max_message_size, LARGEST_MESSAGE),
    },
    Key {
        path: "limits.max_records",
        help: "Most messages in one publish or batch",
        field: |to| Field::Count(&mut to.max_records, MOST_RECORDS),
    },
    Key {
        path: "limits.max_window",
        help: "Largest window of a subscription, in messages",
        field: |to| Field::Count(&mut to.max_window, u32::MAX),
    },
    Key {
        path: "limits.max_window_size",
        help: "Largest window of a subscription, in bytes",
        field: |to| Field::Size(&mut to.max_window_size, LARGEST_BUFFER),
    },
    Key {
        path: "limits.max_subscriptions",
        help: "Most subscriptions of one connection",
        field: |to| Field::Count(&mut to.max_subscriptions, u32::MAX),
    },
    Key {
        path: "limits.max_connections",
        help: "Most connections; fewer where the system permits fewer open files",
        field: |to| Field::Count(&mut to.max_connections, u32::MAX),
    },
    Key {
        path: "limits.max_handshakes",
        help: "Most connections whose handshake is not done",
        field: |to| Field::Count(&mut to.max_handshakes, u32::MAX),
    },
    Key {
        path: "limits.max_topics",
        help: "Most topics; they can't be deleted",
        field: |to| Field::Count(&mut to.max_topics, u32::MAX),
    },
    Key {
        path: "limits.max_durables",
        help: "Most durable subscriptions, attached or not",
        field: |to| Field::Count(&mut to.max_durables, u32::MAX),
    },
    Key {
        path: "limits.max_producers",
        help: "Most producers whose answers are remembered for their retries",
        field: |to| Field::Count(&mut to.max_producers, u32::MAX),
    },
    Key {
        path: "limits.memory",
        help: "Most memory for everything that the broker holds: a share of the machine's or cgroup's, or a size",
        field: |to| Field::Memory(&mut to.memory),
    },
    Key {
        path: "limits.output_buffer",
        help: "Bytes that may wait for each connection, twice: answers and deliveries",
        field: |to| Field::Size(&mut to.output_buffer, LARGEST_BUFFER),
    },
    Key {
        path: "limits.heartbeat",
        help: "Silence after which a peer is asked for a sign of life; after three it is gone",
        field: |to| Field::Timeout(&mut to.heartbeat),
    },
    Key {
        path: "limits.handshake_timeout",
        help: "How long a handshake may take",
        field: |to| Field::Timeout(&mut to.handshake_timeout),
    },
    Key {
        path: "limits.write_timeout",
        help: "How long a peer may take nothing of what waits for it",
        field: |to| Field::Timeout(&mut to.write_timeout),
    },
    Key {
        path: "limits.producer_ttl",
        help: "Silence after which a producer's answers are forgotten",
        field: |to| Field::Timeout(&mut to.producer_ttl),
    },
    Key {
        path: "topic_defaults.retention_ttl",
        help: "How long a message is kept, or forever; 0s keeps it for those who are subscribed",
        field: |to| Field::Lifetime(&mut to.topic_defaults.retention_ttl_micros),
    },
    Key {
        path: "topic_defaults.compaction_window",
        help: "How long a key is remembered, so that another message with it is a duplicate; 0s is not at all",
        field: |to| Field::Lifetime(&mut to.topic_defaults.compaction_window_micros),
    },
    Key {
        path: "topic_defaults.compaction",
        help: "Which message of a key stays: first or latest",
        field: |to| Field::Compaction(&mut to.topic_defaults.compaction),
    },
    Key {
        path: "topic_defaults.max_messages",
        help: "Most messages kept, or unlimited",
        field: |to| Field::Amount(&mut to.topic_defaults.max_messages),
    },
    Key {
        path: "topic_defaults.max_bytes",
        help: "Most bytes kept, or unlimited",
        field: |to| Field::Volume(&mut to.topic_defaults.max_bytes),
    },
    Key {
        path: "topic_defaults.overflow",
        help: "What happens at these limits: drop_oldest or reject",
        field: |to| Field::Overflow(&mut to.topic_defaults.overflow),
    },
    Key {
        path: "topic_defaults.max_keys",
        help: "Most keys remembered, or unlimited",
        field: |to| Field::Amount(&mut to.topic_defaults.max_keys),
    },
    Key {
        path: "topic_defaults.tombstone_ttl",
        help: "How long a tombstone is kept, or forever",
        field: |to| Field::Lifetime(&mut to.topic_defaults.tombstone_ttl_micros),
    },
    Key {
        path: "subscription_defaults.inactive_ttl",
        help: "How long a durable subscription is kept while nobody has it",
        field: |to| Field::Span(&mut to.inactive_ttl),
    },
];

impl Key {
    /// The table of the file that it is in, and its name there.
    pub(crate) fn table_and_name(&self) -> (Option<&'static str>, &'static str) {
        self.path.split_once('.').map_or((None, self.path), |(table, name)| (Some(table), name))
    }

    /// Its name in the environment.
    pub(crate) fn env(&self) -> String {
        env_name(self.path)
    }

    /// Its name on the command line without the dashes; what a topic or a subscription defaults to has none.
    pub(crate) fn flag(&self) -> Option<String> {
        let (table, name) = self.table_and_name();
        table.is_none_or(|table| table == LIMITS).then(|| name.replace('_', "-"))
    }
}

/// The setting with that name in the file.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether it is the name of a table.
pub(crate) fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| key.table_and_name().0 == Some(name))
}

/// The variable for a setting.
pub(crate) fn env_name(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_names_of_a_setting() {
        let key = find("limits.max_message_size").unwrap();
        assert_eq!(key.env(), "ZAICHIK_LIMITS_MAX_MESSAGE_SIZE");
        assert_eq!(key.flag().as_deref(), Some("max-message-size"));
        assert_eq!(find("topic_defaults.compaction").unwrap().flag(), None);
    }
}
