//! The settings by name: one table for the file, the environment, the flags and the help texts.

use super::field::Field;
use super::settings::Settings;

/// The prefix of Zaichik's environment variables.
pub(crate) const PREFIX: &str = "ZAICHIK_";

/// The table of the file whose settings are also flags, without the table's name.
const LIMITS: &str = "limits";

/// The settings outside of `limits` that are flags although they have a table, and their flags.
const STORAGE: [(&str, &str); 2] = [("storage.dir", "data"), ("storage.sync", "sync")];

/// Maximum for the size of a message, in bytes: a frame's length has 32 bits, and a message is held in memory.
const MAX_MESSAGE_SIZE: u64 = 1 << 30;

/// Maximum for a connection's buffer, and for a window in bytes.
const MAX_BUFFER: u64 = 1 << 30;

/// Maximum for the memory of one connection, in bytes: the largest messages need some of their size.
const MAX_CONNECTION_BYTES: u64 = 8 << 30;

/// Maximum for the size of a file in the storage directory, in bytes.
const MAX_SEGMENT: u64 = 1 << 30;

/// Maximum records of a publish in the protocol.
const MAX_RECORDS: u32 = zaichik_driver::Limits::MAX_RECORDS;

/// A setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the file, with the name of its table and a dot before it.
    pub(crate) path: &'static str,
    /// What it does, without a full stop.
    pub(crate) help: &'static str,
    /// Its field in the settings.
    pub(crate) field: fn(&mut Settings) -> Field<'_>,
}

/// All settings, in the order of the file.
pub(crate) const KEYS: &[Key] = &[
    Key {
        path: "listen",
        help: "Addresses to listen on, as host:port or unix:/path; port 0 picks any free port",
        field: |to| Field::Addresses(&mut to.listen),
    },
    Key {
        path: "http",
        help: "HTTP address for /healthz, /readyz and /metrics, such as 127.0.0.1:8890; empty turns HTTP off",
        field: |to| Field::Address(&mut to.http),
    },
    Key {
        path: "token_file",
        help: "File with the token that clients must send; without one, only this machine can connect unless \
               --insecure is given",
        field: |to| Field::Path(&mut to.token_file),
    },
    Key {
        path: "log_format",
        help: "Format of the log: pretty, compact (without timestamps, for the systemd journal) or json",
        field: |to| Field::LogFormat(&mut to.log_format),
    },
    Key {
        path: "drain",
        help: "Maximum time for connections to finish their work after SIGTERM or SIGINT",
        field: |to| Field::Duration(&mut to.drain),
    },
    Key {
        path: "busy_poll",
        help: "How long a connection polls for more bytes before it sleeps, such as 50us; shortens round trips and \
               costs CPU time",
        field: |to| Field::Duration(&mut to.busy_poll),
    },
    Key {
        path: "storage.dir",
        help: "Directory that keeps everything over a restart; created if it is missing. Empty: memory only",
        field: |to| Field::Path(&mut to.storage_dir),
    },
    Key {
        path: "storage.sync",
        help: "When what is stored is synced to the disk: always, or \"interval 1s\": a second later, or at once for \
               durable publishes",
        field: |to| Field::Sync(&mut to.storage_sync),
    },
    Key {
        path: "storage.segment_size",
        help: "Size of a file in that directory; its space is freed as a whole. A full disk has a reserve of as much, up to \
               64MiB",
        field: |to| Field::Size(&mut to.storage_segment_size, MAX_SEGMENT),
    },
    Key {
        path: "limits.max_message_size",
        help: "Maximum size of a message: its key, headers and body together",
        field: |to| Field::Size(&mut to.max_message_size, MAX_MESSAGE_SIZE),
    },
    Key {
        path: "limits.max_records",
        help: "Maximum messages in one publish or batch",
        field: |to| Field::Count(&mut to.max_records, MAX_RECORDS),
    },
    Key {
        path: "limits.max_window",
        help: "Maximum window of a subscription, in messages",
        field: |to| Field::Count(&mut to.max_window, u32::MAX),
    },
    Key {
        path: "limits.max_window_size",
        help: "Maximum window of a subscription, in bytes",
        field: |to| Field::Size(&mut to.max_window_size, MAX_BUFFER),
    },
    Key {
        path: "limits.max_subscriptions",
        help: "Maximum subscriptions of one connection",
        field: |to| Field::Count(&mut to.max_subscriptions, u32::MAX),
    },
    Key {
        path: "limits.max_connections",
        help: "Maximum connections; lowered if the system does not allow enough open files",
        field: |to| Field::Count(&mut to.max_connections, u32::MAX),
    },
    Key {
        path: "limits.max_handshakes",
        help: "Maximum connections that have not completed their handshake",
        field: |to| Field::Count(&mut to.max_handshakes, u32::MAX),
    },
    Key {
        path: "limits.max_topics",
        help: "Maximum topics; topics cannot be deleted",
        field: |to| Field::Count(&mut to.max_topics, u32::MAX),
    },
    Key {
        path: "limits.max_patterns",
        help: "Maximum patterns of topics that connections are subscribed to",
        field: |to| Field::Count(&mut to.max_patterns, u32::MAX),
    },
    Key {
        path: "limits.max_durables",
        help: "Maximum durable subscriptions, attached or detached",
        field: |to| Field::Count(&mut to.max_durables, u32::MAX),
    },
    Key {
        path: "limits.max_producers",
        help: "Maximum producers remembered, so that the broker can recognize their retries",
        field: |to| Field::Count(&mut to.max_producers, u32::MAX),
    },
    Key {
        path: "limits.memory",
        help: "Memory budget for everything the broker holds: a share of the machine's or cgroup's memory, or a size",
        field: |to| Field::Memory(&mut to.memory),
    },
    Key {
        path: "limits.output_buffer",
        help: "Size of each of a connection's two output buffers, one for answers and one for deliveries",
        field: |to| Field::Size(&mut to.output_buffer, MAX_BUFFER),
    },
    Key {
        path: "limits.max_connection_bytes",
        help: "Maximum memory for the buffers of one connection; auto is three times the largest frame, both output \
               buffers and 192 KiB",
        field: |to| Field::SizeOrAuto(&mut to.max_connection_bytes, MAX_CONNECTION_BYTES),
    },
    Key {
        path: "limits.heartbeat",
        help: "Idle time after which the broker pings a client; after three times as long it closes the connection",
        field: |to| Field::Timeout(&mut to.heartbeat),
    },
    Key {
        path: "limits.handshake_timeout",
        help: "Maximum time for a handshake",
        field: |to| Field::Timeout(&mut to.handshake_timeout),
    },
    Key {
        path: "limits.write_timeout",
        help: "How long a client may take to accept the waiting output, or 16 KiB of it",
        field: |to| Field::Timeout(&mut to.write_timeout),
    },
    Key {
        path: "limits.frame_timeout",
        help: "How long a client may take to complete a frame that it has begun, or to send 16 KiB of it",
        field: |to| Field::Timeout(&mut to.frame_timeout),
    },
    Key {
        path: "limits.producer_ttl",
        help: "Idle time after which a producer is forgotten",
        field: |to| Field::Timeout(&mut to.producer_ttl),
    },
    Key {
        path: "topic_defaults.retention_ttl",
        help: "How long a message is kept, or forever; 0s keeps it only until existing subscriptions have committed it",
        field: |to| Field::DurationOrForever(&mut to.topic_defaults.retention_ttl_micros),
    },
    Key {
        path: "topic_defaults.compaction_window",
        help: "How long a key is remembered, so that another message with it is a duplicate; 0s turns this off",
        field: |to| Field::DurationOrForever(&mut to.topic_defaults.compaction_window_micros),
    },
    Key {
        path: "topic_defaults.compaction",
        help: "Which message of a key is kept: first or latest",
        field: |to| Field::Compaction(&mut to.topic_defaults.compaction),
    },
    Key {
        path: "topic_defaults.max_messages",
        help: "Maximum messages kept, or unlimited",
        field: |to| Field::CountOrUnlimited(&mut to.topic_defaults.max_messages),
    },
    Key {
        path: "topic_defaults.max_bytes",
        help: "Maximum bytes kept, or unlimited",
        field: |to| Field::SizeOrUnlimited(&mut to.topic_defaults.max_bytes),
    },
    Key {
        path: "topic_defaults.overflow",
        help: "What happens to a message above these limits: drop_oldest makes room for it, reject refuses it",
        field: |to| Field::Overflow(&mut to.topic_defaults.overflow),
    },
    Key {
        path: "topic_defaults.max_keys",
        help: "Maximum keys remembered, or unlimited",
        field: |to| Field::CountOrUnlimited(&mut to.topic_defaults.max_keys),
    },
    Key {
        path: "topic_defaults.tombstone_ttl",
        help: "How long a tombstone is kept, or forever",
        field: |to| Field::DurationOrForever(&mut to.topic_defaults.tombstone_ttl_micros),
    },
    Key {
        path: "subscription_defaults.inactive_ttl",
        help: "How long a durable subscription is kept while no connection holds it",
        field: |to| Field::Duration(&mut to.inactive_ttl),
    },
];

impl Key {
    /// The table of the file that it is in, if any, and its name there.
    pub(crate) fn table_and_name(&self) -> (Option<&'static str>, &'static str) {
        self.path.split_once('.').map_or((None, self.path), |(table, name)| (Some(table), name))
    }

    /// The name of its environment variable.
    pub(crate) fn env(&self) -> String {
        env_name(self.path)
    }

    /// Its flag without the dashes; defaults of topics and subscriptions have none.
    pub(crate) fn flag(&self) -> Option<String> {
        if let Some((_, flag)) = STORAGE.iter().find(|(path, _)| *path == self.path) {
            return Some((*flag).to_owned());
        }
        let (table, name) = self.table_and_name();
        table.is_none_or(|table| table == LIMITS).then(|| name.replace('_', "-"))
    }
}

/// The setting with this path in the file.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether the file has a table of this name.
pub(crate) fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| key.table_and_name().0 == Some(name))
}

/// The environment variable for a path in the file.
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
        let key = find("storage.dir").unwrap();
        assert_eq!((key.env().as_str(), key.flag().as_deref()), ("ZAICHIK_STORAGE_DIR", Some("data")));
        let key = find("storage.sync").unwrap();
        assert_eq!((key.env().as_str(), key.flag().as_deref()), ("ZAICHIK_STORAGE_SYNC", Some("sync")));
    }
}
