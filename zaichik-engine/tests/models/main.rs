//! The engine against a naive model of everything that a broker does (semantics O, T, R, C, A, D, P, X).

#![expect(clippy::arithmetic_side_effects, reason = "a model that overflows fails its test")]

#[cfg(test)]
mod action;
#[cfg(test)]
mod attach;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod encode;
#[cfg(test)]
mod failure;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod producer;
#[cfg(test)]
mod receive;
#[cfg(test)]
mod regressions;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod script;
#[cfg(test)]
mod subscription;
#[cfg(test)]
mod topic;
#[cfg(test)]
mod words;

use proptest::prelude::*;

#[cfg(test)]
use self::generate::Kind;

/// What the engine can do beyond publish, subscribe and commit.
#[cfg(test)]
const KINDS: &[Kind] =
    &[Kind::Nack, Kind::Seek, Kind::Durable, Kind::DeadLetter, Kind::Producer, Kind::Batch, Kind::Latest];

/// How many scripts: `PROPTEST_CASES=1000000 cargo test --release -p zaichik-engine --test models the_engine`.
#[cfg(test)]
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(script in generate::scripts(KINDS)) {
        script::check(&script);
    }
}
