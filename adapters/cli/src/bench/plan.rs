//! The parameters of a run.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::keys::Keys;
use super::number::grouped;
use super::options::{Ack, Common, Load, Publishing, Subscribing, Working};
use super::verify::PUBLISHER_BITS;
use crate::failure::{Code, Failure};

/// Every parameter of a run; those that a command does not have are `None`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    pub(crate) command: &'static str,
    pub(crate) server: String,
    pub(crate) topic: String,
    /// Measured messages of all publishers together.
    pub(crate) msgs: Option<u64>,
    #[serde(rename = "duration_s", serialize_with = "optional_seconds")]
    pub(crate) duration: Option<Duration>,
    pub(crate) size: Option<usize>,
    pub(crate) pubs: u32,
    pub(crate) subs: u32,
    /// Members of a shared subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<u32>,
    /// The number of keys of each publisher, if messages of one key are handed out one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<u64>,
    pub(crate) window: Option<u32>,
    #[serde(serialize_with = "ack_name")]
    pub(crate) ack: Option<Ack>,
    pub(crate) batch: Option<u32>,
    pub(crate) in_flight: Option<u32>,
    /// Messages per second; `None` for as fast as possible.
    pub(crate) rate: Option<u64>,
    pub(crate) warmup: Option<u64>,
    #[serde(rename = "timeout_s", serialize_with = "seconds")]
    pub(crate) timeout: Duration,
    /// The high bits of the numbers of this run's publishers.
    #[serde(skip)]
    pub(crate) run: u64,
}

impl Plan {
    /// A run without publishers and subscribers.
    ///
    /// # Errors
    /// The server's address is invalid, or the system has no random numbers.
    pub(crate) fn new(command: &'static str, common: &Common) -> Result<Self, Failure> {
        let random = getrandom::u64();
        let random =
            random.map_err(|error| Failure::new(Code::Other, format_args!("no random numbers: {error}")))?;
        let run = random >> PUBLISHER_BITS;
        Ok(Self {
            command,
            server: common.server.address()?,
            topic: common.topic.clone(),
            msgs: None,
            duration: None,
            size: None,
            pubs: 0,
            subs: 0,
            members: None,
            keys: None,
            window: None,
            ack: None,
            batch: None,
            in_flight: None,
            rate: None,
            warmup: None,
            timeout: common.timeout,
            run,
        })
    }

    /// Adds publishers; `fallback` is the amount and the warm-up where `load` has none.
    ///
    /// # Errors
    /// More bytes would be in flight than allowed.
    pub(crate) fn with_publishers(
        mut self,
        publishing: &Publishing,
        load: &Load,
        fallback: (Amount, u64),
    ) -> Result<Self, Failure> {
        self.batch = Some(publishing.batch(load.size)?);
        self.pubs = publishing.pubs;
        self.ack = Some(publishing.ack);
        self.in_flight = Some(publishing.in_flight).filter(|_| publishing.ack != Ack::None);
        self.rate = publishing.rate;
        Ok(self.with_load(load, fallback))
    }

    /// Adds messages to publish; `fallback` is the amount and the warm-up where `load` has none.
    pub(crate) fn with_load(mut self, load: &Load, fallback: (Amount, u64)) -> Self {
        let (amount, warmup) = fallback;
        let amount = match (load.msgs, load.duration) {
            (Some(msgs), _) => Amount::Messages(msgs),
            (None, Some(duration)) => Amount::Time(duration),
            (None, None) => amount,
        };
        match amount {
            Amount::Messages(messages) => self.msgs = Some(messages),
            Amount::Time(duration) => self.duration = Some(duration),
        }
        self.size = Some(load.size);
        self.warmup = Some(load.warmup.unwrap_or(warmup));
        self
    }

    /// Adds subscribers.
    pub(crate) const fn with_subscribers(mut self, subscribing: &Subscribing) -> Self {
        self.subs = subscribing.subs;
        self.window = Some(subscribing.window);
        self
    }

    /// Adds members of a shared subscription.
    pub(crate) const fn with_members(mut self, working: &Working) -> Self {
        self.members = Some(working.members);
        self.window = Some(working.window);
        self.keys = if working.by_key { Some(working.keys) } else { None };
        self
    }

    /// The keys of a publisher's messages, if they have any.
    pub(crate) fn keys(&self, publisher: u64) -> Option<Keys> {
        self.keys.map(|count| Keys { publisher, count })
    }

    /// The number of a publisher, unique among all runs.
    pub(crate) fn publisher(&self, index: u32) -> u64 {
        (self.run << PUBLISHER_BITS) | u64::from(index)
    }

    /// Messages to publish, if known in advance: from a number, or a rate and a duration.
    pub(crate) fn messages(&self) -> Option<u64> {
        self.msgs.or_else(|| {
            let (duration, rate) = (self.duration?, self.rate?);
            let messages = duration.as_micros().saturating_mul(rate.into()).checked_div(1_000_000)?;
            u64::try_from(messages).ok()
        })
    }

    /// One publisher's share of `messages`; the first publishers take the remainder.
    pub(crate) fn share(&self, messages: u64, index: u32) -> u64 {
        let publishers = u64::from(self.pubs.max(1));
        let each = messages.checked_div(publishers).unwrap_or(0);
        let remainder = messages.checked_rem(publishers).unwrap_or(0);
        each.saturating_add(u64::from(u64::from(index) < remainder))
    }
}

/// How much to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    Messages(u64),
    Time(Duration),
}

/// The line of parameters in front of the results.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, server, topic, size, pubs, subs, .. } = self;
        write!(f, "bench {command} server={server} topic={topic}")?;
        if let Some(messages) = self.msgs {
            write!(f, " msgs={}", grouped(messages))?;
        }
        if let Some(duration) = self.duration {
            write!(f, " duration={}", humantime::format_duration(duration))?;
        }
        if let Some(size) = size {
            write!(f, " size={size}B")?;
        }
        write!(f, " pubs={pubs}")?;
        if *subs > 0 {
            write!(f, " subs={subs}")?;
        }
        if let Some(members) = self.members {
            write!(f, " members={members}")?;
        }
        if let Some(keys) = self.keys {
            write!(f, " by-key keys={}", grouped(keys))?;
        }
        if let Some(window) = self.window {
            write!(f, " window={window}")?;
        }
        if let Some(ack) = self.ack {
            write!(f, " ack={}", ack.name())?;
        }
        if let Some(batch) = self.batch {
            write!(f, " batch={batch}")?;
        }
        if let Some(in_flight) = self.in_flight {
            write!(f, " in-flight={in_flight}")?;
        }
        match self.rate {
            Some(rate) => write!(f, " rate={}/s", grouped(rate))?,
            None if self.batch.is_some() => f.write_str(" rate=max")?,
            None => {}
        }
        if let Some(warmup) = self.warmup {
            write!(f, " warmup={}", grouped(warmup))?;
        }
        write!(f, " timeout={}", humantime::format_duration(self.timeout))
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference to the field"
)]
fn ack_name<S: Serializer>(ack: &Option<Ack>, serializer: S) -> Result<S::Ok, S::Error> {
    ack.map(Ack::name).serialize(serializer)
}
