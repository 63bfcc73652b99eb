//! A reference model of everything that a broker does, except patterns (chapters O, T, R, C, A, D, G, P, X).
//!
//! It keeps every record, answers every question with a scan and shares no code with the engine. [`check`] runs a script
//! on the engine and on the model, and compares them step by step; [`scripts`] generates scripts. The
//! [simulator](crate::sim) compares what it observes at the broker with the same model.

pub(crate) mod action;
mod attach;
mod batch;
mod broker;
pub(crate) mod decode;
mod encode;
pub(crate) mod entry;
mod failure;
mod generate;
pub(crate) mod group;
mod keys;
mod members;
mod names;
mod observe;
mod peers;
mod producer;
mod receive;
mod restart;
pub(crate) mod script;
pub(crate) mod sharing;
mod subscription;
pub(crate) mod topic;
pub(crate) mod words;

#[cfg(test)]
mod regressions;
#[cfg(test)]
mod rows;

pub(crate) use self::broker::Model;
pub use self::generate::scripts;
pub(crate) use self::producer::Kind;
pub use self::script::{Script, check};

/// Runs the script that these bytes encode on the engine and on the model.
///
/// # Panics
/// As [`check`].
pub fn engine(data: &[u8]) {
    check(&Script::from_bytes(data));
}

/// Restarts the broker in the middle of the script that these bytes encode, and compares it with the one before.
///
/// # Panics
/// If the two differ, or as [`check`].
pub fn restart(data: &[u8]) {
    script::check_twins(&Script::from_bytes(data));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{check, scripts};
    use crate::model::script::check_twins;

    /// Number of scripts: `PROPTEST_CASES=1000000 cargo test --release -p zaichik-fuzz --lib the_engine_does`.
    fn cases() -> u32 {
        std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_engine_does_what_the_model_does(script in scripts()) {
            check(&script);
        }

        #[test]
        fn a_restored_broker_does_what_the_one_before_does(script in scripts()) {
            check_twins(&script);
        }
    }
}
