//! The name of an input: one command at a time publishes under it, and the broker knows how far it came.

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher24};
use zaichik_serve::planted::{Defect, is_planted};
use zaichik_tokio::{
    Client, ClientError, DurableOptions, ProducerIdentity, RefusalCode, RequestError, Start,
};

use super::progress::{self, PROGRESS_TOPIC, Progress};
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};

/// The maximum of a durable subscription's name.
const MAX_NAME: usize = 255;

/// A name that this command holds.
pub(super) struct Identity {
    pub(super) name: String,
    /// Publishes as the newest owner of the name: the broker refuses what older ones send.
    pub(super) client: Client,
    /// The broker's instance: messages of another one are gone.
    pub(super) instance: String,
    /// What was published before.
    pub(super) progress: Option<Progress>,
}

impl Identity {
    /// Takes over the name from any command that holds it, and reads how far these came.
    ///
    /// Each command attaches to one durable subscription, which raises its epoch. This becomes the epoch of the producer. The first request under it ends what older commands publish, and only then
    /// is their progress read.
    ///
    /// # Errors
    /// The name is invalid, the broker cannot be reached or refuses a request, or another command takes over the name at
    /// the same time.
    pub(super) async fn take_over(name: &str, server: &ServerArgs) -> Result<Self, Failure> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Failure::new(
                Code::Usage,
                format_args!("the name of --producer has {} bytes; use 1 to {MAX_NAME}", name.len()),
            ));
        }
        let epoch = new_epoch(name, server).await?;
        let producer = ProducerIdentity::new(producer_id(name)).epoch(epoch);
        let client = server.connect_with("zaichik pub", |builder| builder.producer(Some(producer))).await?;
        let first = client.transaction().publish(PROGRESS_TOPIC, progress::mark(name)).send().await;
        let receipt = first.map_err(|error| refused(name, error))?;
        // A command that took over the name before its epoch was read has the same one, and was first.
        let mark = receipt.publishes.first().filter(|_| !receipt.is_repeated());
        let mark = mark.and_then(|mark| mark.first_offset).ok_or_else(|| taken_over(name))?;
        let progress = progress::read(&client, name, mark).await?;
        let instance = instance(&client);
        Ok(Self { name: name.to_owned(), client, instance, progress })
    }

    /// An error if the broker is not the one that has the messages published so far.
    pub(super) fn check_instance(&self) -> Result<(), Failure> {
        if instance(&self.client) == self.instance { Ok(()) } else { Err(restarted(&self.name)) }
    }
}

/// An epoch above those of all earlier commands of the name, which the broker counts as long as it runs.
async fn new_epoch(name: &str, server: &ServerArgs) -> Result<u32, Failure> {
    let client = server.connect("zaichik pub").await?;
    progress::create_topic(&client).await?;
    let durable = DurableOptions::new(name).inactive_ttl(Duration::MAX);
    // It is held until its epoch is known.
    let _held = client.subscribe(PROGRESS_TOPIC).durable(durable).from(Start::Latest).await?;
    let epoch = client.subscription(PROGRESS_TOPIC, name).await?.epoch;
    Ok(if is_planted(Defect::EpochReused) { 1 } else { epoch })
}

/// The error of a request under a name.
pub(super) fn refused(name: &str, error: ClientError) -> Failure {
    let is_fenced = matches!(&error, ClientError::Request(RequestError::Refused { refusal, .. })
        if refusal.code == RefusalCode::ProducerFenced);
    if is_fenced { taken_over(name) } else { error.into() }
}

/// The error of a name whose messages were published to an instance of the broker that is gone.
pub(super) fn restarted(name: &str) -> Failure {
    Failure::new(
        Code::Refused,
        format_args!(
            "the broker was restarted while messages were published under the name {name:?}, and has lost the first of \
             them; to publish the whole input again, use another name for --producer"
        ),
    )
}

fn taken_over(name: &str) -> Failure {
    Failure::new(
        Code::Refused,
        format_args!(
            "another command publishes under the name {name:?} now; when it has ended, run this one again to publish \
             what is missing"
        ),
    )
}

fn instance(client: &Client) -> String {
    format!("{:032x}", client.instance().unwrap_or_default())
}

/// The producer id for a name: the same on every machine and in every version.
fn producer_id(name: &str) -> u128 {
    let mut hasher = SipHasher24::new_with_keys(0x7a61_6963_6869_6b20, 0x7072_6f64_7563_6572);
    hasher.write(name.as_bytes());
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_id_never_changes() {
        assert_eq!(producer_id("import-42"), 31_220_177_165_384_081_027_385_370_208_466_788_023);
        assert_ne!(producer_id("import-42"), producer_id("import-43"));
    }
}
