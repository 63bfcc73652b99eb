//! Scripts: the events of a broker's life, as data that shrinks well, and a comparison of the engine and the model on
//! one.

use zaichik_proto::Version;

use crate::broken::{Broken, Verdict};
use crate::model::action::Action;
use crate::model::broker::Model;
use crate::model::encode::config;
use crate::model::peers::Peers;
use crate::model::receive::Seen;
use crate::model::words::{Answer, Bounds, Event, FOREVER, Request, Settings, Subscribe};

/// Number of connections of every script.
pub(crate) const PEERS: usize = 3;

/// Time at which every script begins.
const BEGIN: u64 = 1_000;

/// A broker's settings and everything that happens to it.
#[derive(Clone)]
pub struct Script {
    pub(crate) defaults: Settings,
    pub(crate) bounds: Bounds,
    pub(crate) output_buffer: usize,
    /// Whether connections are members of shared subscriptions; then all of them speak version 2.
    pub(crate) has_members: bool,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Time passes, or the clock moves backwards.
    Time(i64),
    /// A connection sends requests at once.
    Send(usize, Vec<Action>),
    /// A connection ends, and another one takes its place.
    Reconnect(usize),
    /// The broker ends, and another one is restored from its rows; every connection is replaced.
    Restart,
    /// The broker's store has no space, or has some again.
    Full(bool),
    Housekeep,
    Shrink,
}

impl std::fmt::Debug for Script {
    /// One line for each step, also in the alternate form.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}, {:?}, lanes of {}", self.defaults, self.bounds, self.output_buffer)?;
        self.steps.iter().enumerate().try_for_each(|(index, step)| writeln!(f, "{index:3} {step:?}"))
    }
}

/// Like [`check`]. From the first restart on, the broker that ended goes on beside the one that was restored from its rows,
/// and both must send the same to everybody.
///
/// # Panics
/// As [`check`], or if the two differ.
pub(crate) fn check_twins(script: &Script) {
    let mut script = script.clone();
    // What ends after some time gets all of it again only where there was a restart.
    (script.bounds.inactive_ttl, script.bounds.producer_ttl) = (FOREVER, FOREVER);
    for step in &mut script.steps {
        let Step::Send(_, actions) = step else { continue };
        // A restored broker counts attempts again (rule G10), so it divides what came back differently among members.
        actions.retain(|action| !action.is_of_members());
        for action in actions {
            if let Action::Subscribe { terms: Subscribe { durable: Some(durable), .. }, .. } = action {
                durable.inactive_ttl = 0;
            }
        }
    }
    script.steps.insert(script.steps.len() / 2, Step::Restart);
    run(&script, true);
}

/// Runs a script on the engine and on the model, and compares them step by step.
///
/// # Panics
/// If they differ, or if the engine contradicts itself.
pub fn check(script: &Script) {
    run(script, false);
}

fn run(script: &Script, has_twin: bool) {
    let mut model = Model::new(script.defaults, script.bounds);
    model.tick(BEGIN);
    let is_newer = |peer: &usize| Peers::version(*peer, script.has_members) > Version::One;
    model.newer.extend((0..PEERS).filter(is_newer).map(|peer| peer as u64));
    model.is_exact = true;
    let config = config(script.defaults, &script.bounds, script.output_buffer);
    let peers = Peers::new(config, PEERS, BEGIN, script.has_members);
    let (twin, refused_silently) = (None, [0; PEERS]);
    let mut both = Comparison { model, peers, has_twin, twin, now: BEGIN, request: 0, refused_silently };
    for (step, index) in script.steps.iter().zip(0..) {
        both.run(step, index);
    }
    // Some durable subscriptions are never forgotten.
    let exclusive = both.model.subscriptions.iter().map(|one| one.terms.inactive_ttl);
    let shared = both.model.groups.iter().map(|one| one.terms.inactive_ttl);
    let kept = exclusive.chain(shared).any(|ttl| ttl == u64::MAX);
    let broker = both.peers.finish();
    broker.verify().unwrap();
    let ledger = broker.ledger();
    assert_eq!((ledger.sessions, ledger.retired), (0, 0));
    assert!(kept || ledger.subscriptions == 0, "{ledger:?}");
}

/// The model and the engine.
struct Comparison {
    model: Model,
    peers: Peers,
    /// Whether a broker that was restarted goes on.
    has_twin: bool,
    twin: Option<Peers>,
    now: u64,
    request: u32,
    /// Refused publishes without acknowledgement that were not reported.
    refused_silently: [i64; PEERS],
}

impl Comparison {
    fn run(&mut self, step: &Step, index: usize) {
        let mut expected: [Vec<(u32, Answer)>; PEERS] = Default::default();
        match step {
            Step::Time(by) => {
                self.now = self.now.saturating_add_signed(*by);
                self.peers.set_time(self.now);
                self.twin.iter_mut().for_each(|twin| twin.set_time(self.now));
                // Timers with visible effects are punctual; all others may be late.
                if !self.model.is_due(self.now) {
                    return;
                }
                self.model.tick(self.now);
                self.model.housekeep();
                self.peers.housekeep();
                self.twin.iter_mut().for_each(Peers::housekeep);
            }
            Step::Send(peer, actions) => {
                self.model.tick(self.now);
                expected[*peer] = self.send(*peer, actions);
            }
            Step::Reconnect(peer) => {
                self.model.tick(self.now);
                self.model.disconnect(*peer as u64, false);
                self.peers.reconnect(*peer);
                self.twin.iter_mut().for_each(|twin| twin.reconnect(*peer));
                self.refused_silently[*peer] = 0;
            }
            Step::Restart => {
                self.model.tick(self.now);
                self.model.housekeep();
                self.peers.housekeep();
                for peer in 0..PEERS {
                    self.model.disconnect(peer as u64, false);
                }
                self.model.restart();
                let mut ended = self.peers.restart();
                ended.set_full(false);
                self.twin = Some(ended).filter(|_| self.has_twin);
                self.refused_silently = [0; PEERS];
            }
            Step::Full(is_full) => {
                self.model.tick(self.now);
                self.model.is_full = *is_full;
                self.peers.set_full(*is_full);
                self.twin.iter_mut().for_each(|twin| twin.set_full(*is_full));
            }
            Step::Housekeep => {
                self.model.tick(self.now);
                self.model.housekeep();
                self.peers.housekeep();
                self.twin.iter_mut().for_each(Peers::housekeep);
            }
            Step::Shrink => self.peers.shrink(),
        }
        let mut seen = Vec::new();
        for (peer, expected) in expected.iter().enumerate() {
            let what = || format!("to {peer} in step {index}: {step:?}");
            let received = self.peers.take(peer);
            if let Some(twin) = &mut self.twin {
                assert_eq!(received.sorted(), twin.take(peer).sorted(), "restored and not {}", what());
            }
            self.refused_silently[peer] -= i64::from(received.refused_silently);
            assert!(self.refused_silently[peer] >= 0, "more refusals reported than there were {}", what());
            compare(received.answers, expected, &what);
            seen.extend(received.events.into_iter().map(|one| (peer, one)));
        }
        // The order of all of them matters for shared subscriptions.
        seen.sort_by_key(|(_, one)| one.order);
        self.follow(&seen).unwrap_or_else(|broken| panic!("{broken}, in step {index}: {step:?}"));
        let (superseded, dead_letters_refused) = self.peers.counts();
        self.model.superseded_are(superseded);
        assert_eq!(dead_letters_refused, self.model.dead_letters_refused, "in step {index}");
        assert_eq!(superseded, self.model.superseded, "in step {index}");
        self.peers.verify();
    }

    /// The model follows what all connections received, and nothing more is due.
    fn follow(&mut self, seen: &[(usize, Seen)]) -> Verdict {
        for (peer, Seen { number, events, .. }) in seen {
            let at = |broken: Broken| broken.at(format!("subscription {number} of {peer}"));
            if let [Event::Record { .. }, ..] = &events[..] {
                self.model.check_run(*peer as u64, *number, events.len()).map_err(at)?;
            }
            for event in events {
                self.model.follow(*peer as u64, *number, event).map_err(at)?;
            }
        }
        (0..PEERS).try_for_each(|peer| self.model.check_drained(peer as u64))?;
        self.model.check_groups_drained()
    }

    /// Sends requests to both; returns the model's answers.
    fn send(&mut self, peer: usize, actions: &[Action]) -> Vec<(u32, Answer)> {
        let (mut requests, mut expected) = (Vec::new(), Vec::new());
        for action in actions {
            self.request += 1;
            let what = action.resolve(&self.model, peer as u64);
            let answer = self.model.request(peer as u64, &what);
            if what.wants(&answer) {
                expected.push((self.request, answer));
            } else if matches!(what, Request::Publish { .. }) {
                self.refused_silently[peer] += i64::from(answer.is_refusal());
            }
            requests.push((self.request, what));
        }
        self.peers.send(peer, &requests);
        self.twin.iter_mut().for_each(|twin| twin.send(peer, &requests));
        expected
    }
}

/// Compares answers, in the order of requests.
fn compare(mut answers: Vec<(u32, Answer)>, expected: &[(u32, Answer)], what: &dyn Fn() -> String) {
    answers.sort_by_key(|(request, _)| *request);
    let same = answers.len() == expected.len()
        && answers
            .iter()
            .zip(expected)
            .all(|(said, allowed)| said.0 == allowed.0 && allowed.1.allows(&said.1));
    assert!(same, "answers {}\n engine: {answers:?}\n  model: {expected:?}", what());
}
