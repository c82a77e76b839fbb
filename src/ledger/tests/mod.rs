//! Tests of the core as a whole.
//!
//! `model_tests` drives the pure core with random commands, clock steps, reboots and crashes of several processes,
//! and `naive` recounts after every entry what must hold. `committer_tests` and `fault_tests` do the same to the real
//! committer, on a log in memory that fails on demand. The rest looks closely at rules, rows and SQLite.

mod alert_tests;
mod ask_tests;
mod blocked_tests;
mod by_key_tests;
mod clock_tests;
mod committer_tests;
mod declare_tests;
mod delivered_tests;
mod doubt_tests;
mod fault_tests;
mod fold_tests;
mod growth_tests;
mod keys_tests;
mod learned_tests;
mod line_tests;
mod machine;
mod memory;
mod model_tests;
mod naive;
mod naive_tokens;
mod ops;
mod own_tests;
mod penalty_tests;
mod profile_rows;
mod remembered_tests;
mod reserve_tests;
mod row_tests;
mod rule_tests;
mod size_tests;
mod sqlite_tests;
mod world;

use std::sync::Arc;

use super::apply::apply;
use super::entry::Plain;
use super::{Row, State};

/// Set it to run the model longer, with other seeds each time.
const CASES: &str = "WECOM_LEDGER_MODEL_CASES";

fn plain(text: &str) -> Plain {
    Plain(Arc::new(text.to_owned().into()))
}

fn fold<'a>(rows: impl IntoIterator<Item = &'a Row>) -> State {
    let mut state = State::default();
    for row in rows {
        apply(&mut state, &row.entry().unwrap());
    }
    state
}

fn config(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    let more = std::env::var(CASES).ok().and_then(|cases| cases.parse().ok());
    Config {
        cases: more.unwrap_or(cases),
        rng_seed: if more.is_some() { RngSeed::Random } else { RngSeed::Fixed(20_151_024) },
        failure_persistence: None,
        max_shrink_iters: 4096,
        ..Config::default()
    }
}
