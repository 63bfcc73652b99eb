//! Topics that the program around the broker declares (rule T8).

use zaichik_proto::{Refusal, RefusalCode, Timestamp, TopicOptions, TopicStatus};

use super::Broker;
use super::topics::topic_name;
use crate::effects::Effects;

/// What a declaration of a topic did.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Declared, Effects, Seed, Timestamp};
/// use zaichik_proto::TopicOptions;
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
/// let options = TopicOptions::new().retain_forever();
/// assert_eq!(broker.declare_topic(now, "orders", &options, false, &mut effects), Ok(Declared::Created));
/// assert_eq!(broker.declare_topic(now, "orders", &options, false, &mut effects), Ok(Declared::Unchanged));
/// # Ok::<(), zaichik_engine::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// The topic existed with these settings.
    Unchanged,
    /// The topic is new.
    Created,
    /// The topic had been created by its first use, and has these settings now.
    Adopted,
    /// The topic had other settings, and has these now.
    Altered {
        /// A bit for each setting that was changed, as in docs/protocol.md §6.2.
        changed: u64,
    },
}

impl Broker {
    /// Creates or adopts a topic, or compares its settings, as `CreateTopic` does; with `alter`, settings that differ are
    /// changed as `AlterTopic` does (rule T8). Settings that are left out are the broker's defaults.
    ///
    /// For the start of a broker, before it accepts connections, although it may be called later. Cost: a search, and the
    /// deaths in this topic that have come and were not settled, which are none in a broker that was just created or
    /// restored.
    ///
    /// # Errors
    /// `SettingsDiffer` without `alter`, with the mask of the settings that differ; `InvalidTopic`, `InvalidSettings`,
    /// `TopicsFull`, `StorageFull` and `Busy` as for the requests. Then nothing was changed.
    pub fn declare_topic(
        &mut self,
        now: Timestamp,
        name: &str,
        options: &TopicOptions,
        alter: bool,
        effects: &mut Effects,
    ) -> Result<Declared, Refusal> {
        let now = self.tick(now);
        while self.end_expired(now) {}
        let declared = self.create_or_alter(now, name, options, alter);
        if self.readiness.has_woken() || self.topics.has_new() {
            effects.rearm();
        }
        self.notice_changes(effects);
        self.rearm(effects);
        declared
    }

    fn create_or_alter(
        &mut self,
        now: Timestamp,
        name: &str,
        options: &TopicOptions,
        alter: bool,
    ) -> Result<Declared, Refusal> {
        let name = topic_name(name.as_bytes())?;
        let Self { topics, memory, readiness, .. } = self;
        let known = topics.find(name);
        if let Some(id) = known {
            // Which records are live is known once all deaths are settled.
            while !topics[id].settle_keys(now, u64::MAX) {}
            topics.settle(id, memory);
        }
        match (topics.create(now, name, options, memory, readiness), known) {
            (Ok(TopicStatus::Created), _) => Ok(Declared::Created),
            (Ok(TopicStatus::Adopted), _) => Ok(Declared::Adopted),
            (Ok(TopicStatus::Unchanged), _) => Ok(Declared::Unchanged),
            (Ok(_), _) => Err(Refusal::new(RefusalCode::Unsupported)),
            (Err(Refusal { code: RefusalCode::SettingsDiffer, value, .. }), Some(id)) if alter => {
                let complete = topics.settings_with(options).to_options();
                topics.alter(now, id, &complete, memory, readiness)?;
                Ok(Declared::Altered { changed: value })
            }
            (Err(refusal), _) => Err(refusal),
        }
    }
}
