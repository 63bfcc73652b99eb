//! Shared subscriptions in a plan, and the clients that are their members; drawn from streams of their own.

use super::draw::draw_publishes;
use super::parts::{Limits, Role, Shares, Work};
use crate::sim::random::{Concern, Rng};
use crate::sim::{MILLI, SECOND};

/// In half of all plans, the clients that are members of one to three shared subscriptions.
pub(super) fn draw_members(seed: u64, limits: &Limits, topics: usize) -> Vec<Role> {
    let mut rng = Rng::new(seed, Concern::Members, 0);
    if !rng.once_in(2) {
        return Vec::new();
    }
    let groups: Vec<_> = (0..rng.between(1, 3)).map(|index| draw_group(&mut rng, topics, index)).collect();
    (0..rng.between(2, 5)).map(|who| draw_member(seed, who, limits, topics, &groups)).collect()
}

fn draw_group(rng: &mut Rng, topics: usize, index: u64) -> Shares {
    let topic = rng.index(topics);
    let attempts = u32::try_from(rng.between(1, 3)).unwrap_or(1);
    Shares {
        topic,
        name: format!("g{index}"),
        by_key: rng.once_in(2),
        deadline: rng.pick(&[100 * MILLI, SECOND, 30 * SECOND, u64::MAX]),
        max_span: u32::try_from(rng.pick(&[0, 0, 0, 1, 4, 20])).unwrap_or(0),
        dead_letter: rng.once_in(3).then(|| (attempts, "dead".to_owned())),
        is_late: rng.once_in(4),
        window: 1,
        window_bytes: 0,
        work: 0,
        stall: 0,
        nack: 0,
        extend: 0,
        leave: 0,
        seek: 0,
        into: None,
    }
}

fn draw_member(seed: u64, who: u64, limits: &Limits, topics: usize, groups: &[Shares]) -> Role {
    let mut rng = Rng::new(seed, Concern::Members, 16 + who);
    let joined = rng.between(1, groups.len() as u64);
    let skipped = groups.len() as u64 - joined;
    let from = usize::try_from(rng.below(skipped + 1)).unwrap_or(0);
    let joined = usize::try_from(joined).unwrap_or(1);
    let shares = groups[from..from + joined].iter().map(|group| draw_shares(&mut rng, limits, topics, group));
    let shares = shares.collect();
    // The first one, or two of them, also publish.
    let publishes = (who == 0 || rng.once_in(4)).then(|| draw_publishes(&mut rng, topics));
    Role::Honest(Work {
        publishes,
        consumes: Vec::new(),
        shares,
        has_producer: rng.once_in(2),
        max_in_flight: usize::try_from(rng.pick(&[1, 4, 64, 1_024])).unwrap_or(1),
        max_outbound: usize::try_from(rng.pick(&[64, 4_096, 1 << 20])).unwrap_or(64),
        buffer_bytes: usize::try_from(rng.pick(&[64, 4_096, 1 << 20])).unwrap_or(64),
        request_timeout: rng.pick(&[5, 30]) * SECOND,
        crashes: rng.once_in(3),
        is_curious: false,
    })
}

fn draw_shares(rng: &mut Rng, limits: &Limits, topics: usize, group: &Shares) -> Shares {
    let window = rng.pick(&[0, 1, 1, 3, 10, 64]).min(u64::from(limits.max_window));
    let has_dead_letter = window > 0;
    let mut often = |count: u64| if rng.once_in(3) { count } else { 0 };
    let (stall, nack, extend, leave, seek) = (often(5), often(4), often(4), often(60), often(100));
    let into = rng.once_in(3).then(|| rng.index(topics)).filter(|into| *into > group.topic);
    Shares {
        window: u32::try_from(window).unwrap_or(1),
        window_bytes: u32::try_from(rng.pick(&[0, 0, 0, 64])).unwrap_or(0),
        work: rng.pick(&[0, MILLI, 50 * MILLI, SECOND]),
        dead_letter: group.dead_letter.clone().filter(|_| has_dead_letter),
        stall,
        nack,
        extend,
        leave,
        seek,
        into,
        ..group.clone()
    }
}
