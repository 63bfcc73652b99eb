//! Hints for first tries: what the command did may not be what its user expects.

use std::time::Duration;

use zaichik_tokio::{Client, TopicInfo};

use crate::printable::printable_line;

/// Maximum time to ask the broker for what a hint needs.
const PATIENCE: Duration = Duration::from_secs(2);

/// Characters between the parts of hierarchical names.
const SEPARATORS: [char; 2] = ['.', '/'];

/// Parts of a name that are wildcards in other systems.
const WILDCARDS: [&str; 4] = ["*", "#", ">", "+"];

/// A hint if the name of a single topic looks like a pattern.
pub(crate) fn wildcard(topic: &str) -> Option<String> {
    let part = topic.split(SEPARATORS).find(|part| WILDCARDS.contains(part))?;
    Some(format!(
        "topic {topic:?}: {part} stands for no other names here; sub and topic ls take patterns, in which * stands for one part \
         between dots and > at the end for one or more, such as orders.>"
    ))
}

/// A hint if the messages that were just published are gone already.
pub(crate) async fn kept_for_nobody(client: &Client, topic: &str) -> Option<String> {
    let info = ask(client, topic).await?;
    let is_gone = info.subscriptions == 0 && info.messages == 0;
    (is_gone && keeps_nothing(&info)).then(|| {
        format!(
            "topic {topic:?} kept the message for nobody: it has no subscription, and its retention is 0; \
             to keep messages for an hour: zaichik topic alter {} --retention-ttl 1h",
            argument(topic)
        )
    })
}

/// A hint if a topic has had messages, and a new subscription gets none of them because of the topic's retention.
pub(crate) async fn nothing_kept(client: &Client, topic: &str) -> Option<String> {
    let info = ask(client, topic).await?;
    (info.end > 0 && info.messages == 0 && keeps_nothing(&info)).then(|| {
        format!(
            "topic {topic:?} has no messages for a new subscription: its retention is 0, so it keeps them only for \
             subscriptions that exist when they are published; to keep messages for an hour: \
             zaichik topic alter {} --retention-ttl 1h",
            argument(topic)
        )
    })
}

/// A topic's name as a word for the shell.
pub(crate) fn argument(topic: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || "-_./:@%+=,".contains(char);
    if !topic.is_empty() && topic.chars().all(is_plain) {
        topic.to_owned()
    } else {
        format!("'{}'", printable_line(topic).replace('\'', "'\\''"))
    }
}

async fn ask(client: &Client, topic: &str) -> Option<TopicInfo> {
    tokio::time::timeout(PATIENCE, client.topic(topic)).await.ok()?.ok()
}

fn keeps_nothing(info: &TopicInfo) -> bool {
    info.settings.retention_ttl_micros == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_wildcard_as_a_part_look_like_patterns() {
        for topic in ["*", "#", ">", "orders.*", "orders/#", "orders.>", "*.new", "a/+/b", "a.*.b"] {
            assert!(wildcard(topic).is_some_and(|hint| hint.contains("no other names")), "{topic}");
        }
        for topic in ["orders", "orders*", "c#", "a>b", "a*b.c", "1+1", "", "a..b"] {
            assert_eq!(wildcard(topic), None, "{topic}");
        }
    }

    #[test]
    fn a_name_is_one_word_for_the_shell() {
        for (topic, expected) in [
            ("orders/new", "orders/new"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(argument(topic), expected);
        }
    }
}
