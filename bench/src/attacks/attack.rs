//! The attacks: their names, and what the attackers do.

use anyhow::{Context, Result};
use zaichik_proto::Start;

use crate::attacks::crowd::{Crowd, Done, Reading};
use crate::attacks::signals::Signals;
use crate::attacks::{frames, script};
use crate::dialect::zaichik::Client;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    None,
    Unfinished,
    Leftovers,
    Descriptions400,
    Descriptions1000,
    Subscriptions400,
    Subscriptions50,
    SlowReaders,
    SeekRecords,
    SeekHoles,
    Alter,
    Bury,
    Publishers,
}

impl Attack {
    /// All attacks, in the order of the table.
    pub(super) const ALL: [Self; 13] = [
        Self::None,
        Self::Unfinished,
        Self::Leftovers,
        Self::Descriptions400,
        Self::Descriptions1000,
        Self::Subscriptions400,
        Self::Subscriptions50,
        Self::SlowReaders,
        Self::SeekRecords,
        Self::SeekHoles,
        Self::Alter,
        Self::Bury,
        Self::Publishers,
    ];

    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unfinished => "unfinished",
            Self::Leftovers => "leftovers",
            Self::Descriptions400 => "describe-400",
            Self::Descriptions1000 => "describe-1000",
            Self::Subscriptions400 => "subscribe-400",
            Self::Subscriptions50 => "subscribe-50",
            Self::SlowReaders => "slow-readers",
            Self::SeekRecords => "seek-records",
            Self::SeekHoles => "seek-holes",
            Self::Alter => "alter",
            Self::Bury => "bury",
            Self::Publishers => "publishers",
        }
    }

    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::None => "the honest client alone",
            Self::Unfinished => "300 connections send all but the last byte of a frame of 1 MiB",
            Self::Leftovers => "300 connections send two publishes of 1.03 MB and one byte of a third",
            Self::Descriptions400 => "400 connections send Describe and read nothing",
            Self::Descriptions1000 => "1,000 connections send Describe and read nothing",
            Self::Subscriptions400 => "400 connections send Subscribe and Unsubscribe and read nothing",
            Self::Subscriptions50 => "50 connections send Subscribe and Unsubscribe and read nothing",
            Self::SlowReaders => "200 subscribers of a busy topic read 3 bytes a second",
            Self::SeekRecords => "one connection sends Seeks in a topic of 4,000 records",
            Self::SeekHoles => "one connection sends Seeks across 5,000 parts of a log whose records died",
            Self::Alter => "AlterTopic kills the records of 500,000 keys",
            Self::Bury => "one publish buries a million superseded records",
            Self::Publishers => "100 publishers read no answers",
        }
    }

    /// Attacks until the measurement is over, and reports when the attack is prepared.
    pub(super) fn run(self, port: u16, budget: u64, signals: &Signals) -> Result<Done> {
        let mut client = Client::connect(port).context("the attacker")?;
        match self {
            Self::None => {
                signals.prepared();
                Ok(Done::default())
            }
            Self::Alter => script::alter(&mut client, budget, signals).map(|()| Done::default()),
            Self::Bury => script::bury(&mut client, signals).map(|()| Done::default()),
            Self::SlowReaders => std::thread::scope(|scope| {
                let feeding = scope.spawn(move || script::feed(&mut client, signals));
                let done = self.crowd().run(port, signals);
                // A feeder that fails has not reported that the attack is prepared, unless the broker has ended.
                drop(feeding.join());
                done
            }),
            Self::SeekRecords => {
                script::stored(&mut client)?;
                self.attack(port, signals)
            }
            Self::SeekHoles => {
                script::holes(&mut client)?;
                self.attack(port, signals)
            }
            Self::Unfinished
            | Self::Leftovers
            | Self::Descriptions400
            | Self::Descriptions1000
            | Self::Subscriptions400
            | Self::Subscriptions50
            | Self::Publishers => self.attack(port, signals),
        }
    }

    fn attack(self, port: u16, signals: &Signals) -> Result<Done> {
        signals.prepared();
        self.crowd().run(port, signals)
    }

    /// Its connections besides the one that prepares it.
    fn crowd(self) -> Crowd {
        let once = |connections, opening| Crowd {
            connections,
            opening,
            repeated: Vec::new(),
            reading: Reading::Nothing,
        };
        let unread = |connections, repeated| Crowd { repeated, ..once(connections, Vec::new()) };
        let seeking = |topic, to| Crowd {
            connections: 1,
            opening: frames::subscribe(topic, Start::Earliest, 1),
            repeated: frames::seeks(to),
            reading: Reading::Everything,
        };
        match self {
            Self::None | Self::Alter | Self::Bury => once(0, Vec::new()),
            Self::Unfinished => once(300, frames::unfinished()),
            Self::Leftovers => once(300, frames::leftover()),
            Self::Descriptions400 => unread(400, frames::descriptions()),
            Self::Descriptions1000 => unread(1_000, frames::descriptions()),
            Self::Subscriptions400 => unread(400, frames::subscriptions()),
            Self::Subscriptions50 => unread(50, frames::subscriptions()),
            Self::SlowReaders => {
                Crowd { reading: Reading::Trickle, ..once(200, frames::subscribe("fed", Start::Earliest, 0)) }
            }
            Self::SeekRecords => seeking("stored", Start::Offset(u64::from(script::STORED) - 100)),
            Self::SeekHoles => seeking("holes", Start::Offset(1)),
            Self::Publishers => unread(100, frames::publishes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different() {
        for attack in Attack::ALL {
            assert_eq!(Attack::ALL.iter().filter(|other| other.name() == attack.name()).count(), 1);
        }
    }
}
