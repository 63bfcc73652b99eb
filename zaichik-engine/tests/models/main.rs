//! The engine against a naive model of retention, compaction, windows and limits (semantics O, T, R, C, A).

#![expect(clippy::arithmetic_side_effects, reason = "a model that overflows fails its test")]

#[cfg(test)]
mod model;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod script;
#[cfg(test)]
mod topic;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(script in script::scripts()) {
        script::check(&script);
    }
}
