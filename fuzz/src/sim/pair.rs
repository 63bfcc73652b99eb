//! A broker that ended in order and goes on, and the one that was restored from the rows of its store: both get the same
//! inputs, and must send the same bytes (rule B1).
//!
//! What a restart may change is made equal before, or left out:
//!
//! - All connections of the broker that goes on end first, and all that has changed is committed. So attempts count, and
//!   the end of a connection is a failure, for both.
//! - It hears every producer at that time, as the restored one does.
//! - A durable subscription that was detached before gets its `inactive_ttl` again only from the restart, so time does not
//!   pass beyond the end of the first one.
//! - What a broker counts, the memory it uses, and when a subscription would end are not compared.
//! - How records are divided among the frames of one subscription is that of parts of the log, and so is the order of
//!   several subscriptions' frames. How accepted publishes are divided among runs is that of exchanges, so each is compared
//!   with its own offset.
//! - Which records are only in the store differs, so if some may be, the reasons of Gaps, what a page says about
//!   contents, and ends of connections with dead letters are left out (rule B8).
//! - If there may be too little memory, the brokers are not compared: what rows need in memory differs.

mod inputs;
mod publishing;
mod seen;
mod side;

use zaichik_engine::Timestamp;
use zaichik_engine::store::Row;
use zaichik_testkit::requests;

use self::inputs::{Input, Inputs, PEERS};
pub(super) use self::side::Side;
use super::check::{Broken, Verdict};
use super::random::Rng;

/// Inputs after which a pair is not compared any more.
const INPUTS: u64 = 60;

/// Compares a broker without connections with one that `restore` makes from its rows at a time.
///
/// # Errors
/// What the restored one does otherwise.
pub(super) fn compare(
    mut live: Side,
    restore: impl FnOnce(&Side) -> Result<Side, Broken>,
    mut rng: Rng,
) -> Verdict {
    live.hear_producers()?;
    live.commit_all()?;
    let until = live.first_end()?;
    let mut restored = restore(&live)?;
    let mut inputs = Inputs::new(rng.clone(), live.rows(), live.may_be_cold(), until.as_micros());
    for side in [&mut live, &mut restored] {
        side.connect(PEERS)?;
    }
    let mut done = Vec::new();
    for _ in 0..rng.between(1, INPUTS) {
        let input = inputs.draw(live.now().as_micros());
        for side in [&mut live, &mut restored] {
            run(side, &input)?;
        }
        done.push(input);
        for peer in 0..PEERS {
            let (before, after) = (live.take(peer), restored.take(peer));
            inputs.sees(peer, &before);
            if let Some([was, is]) = before.difference(&after, |request| inputs.records_of(request)) {
                let text = format!(
                    "connection {peer} receives {is} from a restored broker, and {was} from the one before; {done:?}"
                );
                return Broken::because("B1", text);
            }
        }
    }
    live.commit_all()?;
    restored.commit_all()
}

fn run(side: &mut Side, input: &Input) -> Verdict {
    match input {
        Input::Send { peer, bytes } => side.send(*peer, bytes),
        Input::Reconnect(peer) => side.reconnect(*peer),
        Input::Time(now) => side.set_time(Timestamp::from_micros(*now)),
    }
}

impl Side {
    /// Every producer is heard, and nothing else changes: a request far ahead is refused.
    fn hear_producers(&mut self) -> Verdict {
        let rows: Vec<_> = self.rows().cloned().collect();
        let hear = requests(|client| {
            client.hello(b"");
            for row in &rows {
                if let Row::Producer(row) = row {
                    publishing::publish_far_ahead(client, row);
                }
            }
        });
        self.ask(&hear, |_| {})
    }
}
