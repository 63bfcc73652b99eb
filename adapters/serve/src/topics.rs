//! Declared topics: checked with the configuration, and created when the broker starts (rule T8).

use thiserror::Error;
use zaichik_driver::{
    BrokerConfig, Declared, EmbeddedBroker, Refusal, RefusalCode, Runtime, ServerError, Timestamp,
};
use zaichik_engine::{Broker, Effects, Seed};
use zaichik_proto::SettingNames;

use crate::config::{DeclaredTopic, Mistake};

/// Why a broker cannot start with its declared topics.
#[derive(Debug, Error)]
pub(crate) enum TopicError {
    /// A topic cannot be created.
    #[error("{0}")]
    Refused(Mistake),
    /// The broker failed.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Checks that a broker with this configuration and nothing else has room for the topics.
///
/// # Errors
/// The first topic that it refuses, with its line.
pub(crate) fn check(config: BrokerConfig, topics: &[DeclaredTopic]) -> Result<(), Mistake> {
    let mut broker = Broker::new(config, Seed::new(0, 0)).map_err(|error| Mistake(error.to_string()))?;
    let mut effects = Effects::new();
    for topic in topics {
        let options = topic.settings.to_options();
        let declared = broker.declare_topic(Timestamp::ZERO, &topic.name, &options, false, &mut effects);
        declared.map_err(|refusal| refused(topic, refusal))?;
    }
    Ok(())
}

/// Creates the topics that do not exist, and changes those that are to be changed. One that exists with other settings is
/// reported in the log.
///
/// # Errors
/// A topic that cannot be created, with its line.
pub(crate) fn declare<R: Runtime>(
    broker: &EmbeddedBroker<R>,
    topics: &[DeclaredTopic],
) -> Result<(), TopicError> {
    if topics.is_empty() {
        return Ok(());
    }
    let mut created = 0_usize;
    for topic in topics {
        let DeclaredTopic { name, origin, .. } = topic;
        match broker.declare_topic(name, topic.settings.to_options(), topic.alter) {
            Ok(Declared::Unchanged) => {}
            Ok(Declared::Created) => created = created.saturating_add(1),
            Ok(Declared::Adopted) => {
                tracing::info!(
                    "topic {name:?} was created by its first use, and has the settings of {origin} now"
                );
            }
            Ok(Declared::Altered { changed }) => {
                tracing::info!("topic {name:?} is altered as in {origin}: {}", SettingNames(changed));
            }
            Err(ServerError::Topic { refusal, .. }) => match difference(topic, refusal) {
                Some(difference) => tracing::warn!("{difference}"),
                None => return Err(TopicError::Refused(refused(topic, refusal))),
            },
            Err(error) => return Err(error.into()),
        }
    }
    tracing::info!("topics: {} declared, {created} of them new", topics.len());
    Ok(())
}

/// How an existing topic differs from its declaration; `None` if that is not why the declaration was refused.
fn difference(DeclaredTopic { name, origin, .. }: &DeclaredTopic, refusal: Refusal) -> Option<String> {
    let settings = SettingNames(refusal.value);
    if refusal.code == RefusalCode::SettingsDiffer {
        return Some(format!(
            "{origin}: topic {name:?} exists with other settings and keeps them; these differ: {settings}; alter = true \
             applies those of the file"
        ));
    }
    (refusal.code == RefusalCode::InvalidSettings).then(|| {
        format!(
            "{origin}: topic {name:?} keeps its settings, because this one can't change while it holds messages: \
             {settings}"
        )
    })
}

/// The line about a topic that cannot be created.
fn refused(DeclaredTopic { name, origin, .. }: &DeclaredTopic, refusal: Refusal) -> Mistake {
    Mistake(if refusal.code == RefusalCode::Busy {
        format!("{origin}: topic {name:?} has no room in limits.memory; raise it, or declare fewer topics")
    } else {
        format!("{origin}: topic {name:?} can't be created: {refusal}")
    })
}
