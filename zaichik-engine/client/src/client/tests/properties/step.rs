//! The events that may happen to a client.

use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Publish,
    Create,
    Subscribe {
        window: u32,
        durable: bool,
    },
    Unsubscribe(prop::sample::Index),
    Deliver(prop::sample::Index),
    Take(prop::sample::Index),
    Commit,
    /// Publishes, and commits the last message taken with it.
    Batch,
    Nack {
        sub: prop::sample::Index,
        offset: u64,
    },
    Seek {
        sub: prop::sample::Index,
        offset: u64,
    },
    Write(usize),
    Answer {
        refuse: bool,
    },
    /// The connection breaks, perhaps after the broker has handled the bytes that it read next.
    Break {
        after: bool,
    },
    Connect {
        replaced: bool,
    },
    Fatal,
    Wait(u64),
    Deadline,
    Close,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => Just(Step::Publish),
        1 => Just(Step::Create),
        2 => (0..3u32, any::<bool>()).prop_map(|(window, durable)| Step::Subscribe { window, durable }),
        1 => index().prop_map(Step::Unsubscribe),
        6 => index().prop_map(Step::Deliver),
        6 => index().prop_map(Step::Take),
        3 => Just(Step::Commit),
        3 => Just(Step::Batch),
        2 => (index(), 0..4u64).prop_map(|(sub, offset)| Step::Nack { sub, offset }),
        1 => (index(), 0..4u64).prop_map(|(sub, offset)| Step::Seek { sub, offset }),
        2 => (0..200usize).prop_map(Step::Write),
        12 => any::<bool>().prop_map(|refuse| Step::Answer { refuse }),
        2 => any::<bool>().prop_map(|after| Step::Break { after }),
        4 => prop::bool::weighted(0.2).prop_map(|replaced| Step::Connect { replaced }),
        1 => Just(Step::Fatal),
        2 => (0..100_000_000u64).prop_map(Step::Wait),
        4 => Just(Step::Deadline),
        1 => Just(Step::Close),
    ]
}
