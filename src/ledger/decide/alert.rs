//! Says it aloud when a limit is nearly used up, once for each threshold and period.

use crate::ledger::alerts::About;
use crate::ledger::command::Now;
use crate::ledger::entry::{AlertRaised, Body, Draft, Refs};
use crate::ledger::state::State;
use crate::quota::{Cost, Dimension, Facets, Judgement, Mode, Reading, Unit};

use super::draft;

/// A threshold is not raised again within this time, however short the window is.
const QUIET_MS: i64 = 600_000;
const DAY_MS: i64 = 86_400_000;

/// Alerts that a call brings with it once it is admitted. Where the limits with the least share left are quiet, so are
/// all.
pub(super) fn raised(
    state: &State,
    facets: &Facets<'_>,
    cost: &Cost,
    judgement: &Judgement,
    now: Now,
) -> Vec<Draft> {
    let Judgement::Admitted { binding, shadowed, tried } = judgement else { return Vec::new() };
    let thresholds = &state.limits.alert_at;
    let loud = |reading: &Reading| reached(thresholds, reading.used, reading.cap).is_some();
    if shadowed.is_empty() && ![binding, tried].into_iter().flatten().any(loud) {
        return Vec::new();
    }
    let account_cap = state.directory.corps.get(&facets.corp).map_or(0, |corp| corp.account_cap);
    let readings = state.meters.readings(facets, cost, account_cap, now);
    readings.iter().filter_map(|reading| alert(state, facets, cost, reading, now)).collect()
}

/// Alerts that usage brings with it that no call shows.
pub(super) fn declared(state: &State, facets: &Facets<'_>, cost: &Cost, now: Now) -> Vec<Draft> {
    let account_cap = state.directory.corps.get(&facets.corp).map_or(0, |corp| corp.account_cap);
    let readings = state.meters.declared_readings(facets, cost, account_cap, now);
    readings.iter().filter_map(|reading| alert(state, facets, cost, reading, now)).collect()
}

fn alert(state: &State, facets: &Facets<'_>, cost: &Cost, reading: &Reading, now: Now) -> Option<Draft> {
    let limit = state.meters.limits().find(|limit| limit.name == reading.limit)?;
    let used = reading.used.saturating_add(cost.of(limit.unit)).min(reading.cap.max(reading.used));
    let percent = reached(&state.limits.alert_at, used, reading.cap)?;
    let part = |dimension, value| if limit.scope.has(dimension) { value } else { 0 };
    let about = About {
        limit: limit.name.to_string(),
        corp: part(Dimension::Corp, facets.corp),
        app: part(Dimension::App, facets.app),
        api: part(Dimension::Api, facets.api),
        shadow: limit.mode == Mode::Shadow,
    };
    if limit.unit == Unit::Reads || !state.alerts.is_news(&about, percent, now.tick) {
        return None;
    }
    let some = |value: u64| (value != 0).then_some(value);
    let refs = Refs { corp: some(about.corp), app: some(about.app), api: some(about.api), ..Refs::default() };
    // A window that never empties by itself is worth a word a day.
    let pause = reading.resets_at.map_or(DAY_MS, |resets_at| resets_at - now.tick);
    let again_tick = now.tick + pause.max(QUIET_MS);
    let About { limit, shadow, .. } = about;
    let body = AlertRaised { limit, percent, used, cap: reading.cap, again_tick, shadow };
    Some(draft(refs, Body::AlertRaised(body)))
}

/// The highest threshold that is reached.
fn reached(thresholds: &[u8], used: u64, cap: u64) -> Option<u8> {
    let reached = |percent: u8| used.saturating_mul(100) >= cap.saturating_mul(u64::from(percent));
    thresholds.iter().copied().filter(|&percent| reached(percent)).max()
}
