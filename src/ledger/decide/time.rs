//! Ledger time: `tick` follows the machine's monotonic clock, `at` the wall clock, and neither ever goes back.

use crate::ledger::command::Now;
use crate::ledger::entry::{Body, ClockBooted, ClockStepped, Draft, Refs};
use crate::ledger::state::State;

/// A wall clock that moved further than this against the monotonic clock was set by somebody.
pub(in crate::ledger) const STEP_MS: i64 = 60_000;

/// While `at` stands still nothing else says what the clock shows, so smaller steps are noted: not those that clocks make
/// by themselves.
const SMALL_STEP_MS: i64 = 5_000;

/// What the machine's clocks say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockReading {
    /// Names the boot; CLOCK_BOOTTIME of two boots can't be compared.
    pub boot_id: std::sync::Arc<str>,
    pub boottime_ms: i64,
    pub wall_ms: i64,
}

/// The time of a decision that is taken at `reading`.
pub fn now(state: &State, reading: &ClockReading) -> Now {
    let at = reading.wall_ms.max(state.at);
    let tick = if *state.clock.boot_id == *reading.boot_id {
        reading.boottime_ms.saturating_add(state.clock.offset_ms)
    } else {
        // The first decision after a boot: the machine was off for as long as the wall clock says, counted from the
        // latest that it can have shown before. Had it been set back meanwhile, `at` alone would be too early, and
        // time would pass twice.
        let shown = state.at.max(state.tick.saturating_add(state.clock.furthest_ahead_ms));
        state.tick.saturating_add(reading.wall_ms.saturating_sub(shown).max(0))
    };
    Now { tick: tick.max(state.tick), at }
}

/// Entries that note a boot or a moved wall clock; they come before all others of a batch.
pub fn decide_time(state: &State, reading: &ClockReading) -> Vec<Draft> {
    let now = now(state, reading);
    let mut bodies = Vec::new();
    let mut before = state.clock.wall_minus_tick_ms;
    if *state.clock.boot_id != *reading.boot_id {
        let offset_ms = now.tick - reading.boottime_ms;
        bodies.push(Body::ClockBooted(ClockBooted { boot_id: reading.boot_id.to_string(), offset_ms }));
        // A clock that woke up behind is a step as well, or this batch would be counted by `at`, which stands still.
        before = before.or(Some(now.at - now.tick));
    }
    let step_ms = before.map_or(0, |before| reading.wall_ms.saturating_sub(now.tick).saturating_sub(before));
    let unseen = if reading.wall_ms < state.at { SMALL_STEP_MS } else { STEP_MS };
    if step_ms.saturating_abs() > unseen {
        bodies.push(Body::ClockStepped(ClockStepped { step_ms }));
    }
    bodies.into_iter().map(|body| Draft { refs: Refs::default(), body, secret: None }).collect()
}
