//! Says it aloud when a limit is nearly used up, once for each threshold and period.

use crate::ledger::alerts::About;
use crate::ledger::command::Now;
use crate::ledger::entry::{AlertRaised, Body, Draft};
use crate::ledger::state::State;
use crate::quota::{Cost, Dimension, Facets, Judgement, Limit, Mode, Reading, Unit, Window};

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
        api_key: part(Dimension::ApiKey, facets.api_key),
        egress_ip: part(Dimension::EgressIp, facets.egress_ip),
        chat: part(Dimension::Chat, facets.chat),
        shadow: limit.mode == Mode::Shadow,
    };
    if limit.unit == Unit::Reads || !state.alerts.is_news(&about, percent, now.tick) {
        return None;
    }
    // A window that never empties by itself is worth a word a day.
    let pause = reading.resets_at.map_or(DAY_MS, |resets_at| resets_at - now.tick).max(QUIET_MS);
    let again_tick = now.tick + pause.max(steady(state, limit, &about, percent, now));
    let refs = about.refs();
    let About { limit, shadow, egress_ip, chat, .. } = about;
    let body = AlertRaised { limit, percent, used, cap: reading.cap, again_tick, shadow, egress_ip, chat };
    Some(draft(refs, Body::AlertRaised(body)))
}

/// A window that stays where it is says so less and less often: each time the pause is twice as long, up to a day.
fn steady(state: &State, limit: &Limit, about: &About, percent: u8, now: Now) -> i64 {
    let slides = matches!(limit.window, Window::Sliding { .. } | Window::Concurrent);
    let before = state.alerts.kept_quiet(about, percent, now.tick).filter(|_| slides);
    before.map_or(0, |pause| pause.saturating_mul(2).min(DAY_MS))
}

/// The highest threshold that is reached.
fn reached(thresholds: &[u8], used: u64, cap: u64) -> Option<u8> {
    let reached = |percent: u8| used.saturating_mul(100) >= cap.saturating_mul(u64::from(percent));
    thresholds.iter().copied().filter(|&percent| reached(percent)).max()
}
