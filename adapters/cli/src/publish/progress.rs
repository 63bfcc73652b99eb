//! What was published under a name: one record in the broker, which changes in the same step as the messages' topic.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zaichik_tokio::{
    Client, ClientError, CompactionMode, Delivery, Event, Outgoing, RefusalCode, RequestError, Start,
    Subscription, TopicOptions,
};

use super::fingerprint::Fingerprint;
use crate::failure::{Code, Failure};

/// The topic with the progress of every name: the newest record of each key is kept, and the key is the name.
pub(super) const PROGRESS_TOPIC: &str = "zaichik.producers";

/// How long the record is kept that marks where reading ends: longer than reading takes.
const MARK_TTL: Duration = Duration::from_mins(1);

/// What was published under a name. Its JSON is the body of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The topic of the messages.
    pub(super) topic: String,
    /// The number of messages, from the first one of the input on.
    pub(super) messages: u64,
    /// The [`Fingerprint`] of these messages.
    pub(super) fingerprint: String,
    /// The instance of the broker in which the first of them were published.
    pub(super) instance: String,
}

impl Progress {
    pub(super) fn new(topic: &str, messages: u64, fingerprint: &Fingerprint, instance: &str) -> Self {
        let (topic, instance) = (topic.to_owned(), instance.to_owned());
        Self { topic, messages, fingerprint: fingerprint.to_string(), instance }
    }

    /// The record for a name.
    pub(super) fn record(&self, name: &str) -> Result<Outgoing, Failure> {
        let body = serde_json::to_vec(self).map_err(|error| Failure::new(Code::Other, error))?;
        Ok(Outgoing::new(body).key(name.as_bytes().to_vec()))
    }
}

/// The record that marks where reading ends.
pub(super) fn mark(name: &str) -> Outgoing {
    Outgoing::new(format!("{name} is published from now on by another command")).ttl(MARK_TTL)
}

/// Creates the topic, unless it exists.
///
/// # Errors
/// The broker refuses it, or it exists with settings under which progress would be lost.
pub(super) async fn create_topic(client: &Client) -> Result<(), Failure> {
    let options = TopicOptions::new()
        .retain_forever()
        .compaction(CompactionMode::Latest)
        .compaction_window(Duration::ZERO)
        .max_messages(u64::MAX)
        .max_bytes(u64::MAX);
    match client.create_topic(PROGRESS_TOPIC, options).await {
        Ok(_) => return Ok(()),
        Err(ClientError::Request(RequestError::Refused { refusal, .. }))
            if refusal.code == RefusalCode::SettingsDiffer => {}
        Err(error) => return Err(error.into()),
    }
    let settings = client.topic(PROGRESS_TOPIC).await?.settings;
    let is_kept = settings.retention_ttl_micros == Some(u64::MAX)
        && settings.compaction == Some(CompactionMode::Latest)
        && settings.max_messages == Some(u64::MAX)
        && settings.max_bytes == Some(u64::MAX);
    if is_kept {
        return Ok(());
    }
    Err(Failure::new(
        Code::Refused,
        format_args!(
            "topic {PROGRESS_TOPIC:?}, which remembers what --producer has published, does not keep it; restore its \
             settings: zaichik topic alter {PROGRESS_TOPIC} --retention-ttl forever --compaction latest \
             --max-messages unlimited --max-bytes unlimited"
        ),
    ))
}

/// The progress under a name, from the records before the offset `mark`; `None` if there is none.
///
/// # Errors
/// The broker cannot be asked, or the record is not one of this command.
pub(super) async fn read(client: &Client, name: &str, mark: u64) -> Result<Option<Progress>, Failure> {
    let mut records = client.subscribe(PROGRESS_TOPIC).window(0).from(Start::Earliest).await?;
    let mut newest = None;
    while let Some(event) = before(&mut records, mark).await? {
        if let Ok(record) = event.into_message()
            && record.key.as_deref() == Some(name.as_bytes())
        {
            newest = (!record.tombstone).then(|| record.body.clone());
        }
    }
    let Some(body) = newest else { return Ok(None) };
    serde_json::from_slice(&body).map(Some).map_err(|error| {
        Failure::new(
            Code::Refused,
            format_args!(
                "topic {PROGRESS_TOPIC:?} has a record for {name:?} that is not one of this command: {error}"
            ),
        )
    })
}

/// The next event before the offset `mark`; `None` at or after it.
async fn before(records: &mut Subscription, mark: u64) -> Result<Option<Event<Delivery>>, ClientError> {
    let Some(event) = records.next_event().await? else { return Ok(None) };
    if matches!(event, Event::Restarted { .. }) {
        return Err(RequestError::Disconnected { topic: PROGRESS_TOPIC.into() }.into());
    }
    let is_before = if let Event::Message(record) = &event {
        record.offset < mark
    } else {
        event.lost_offsets().is_none_or(|lost| lost.end <= mark)
    };
    Ok(Some(event).filter(|_| is_before))
}
