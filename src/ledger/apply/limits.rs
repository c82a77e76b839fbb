//! Entries about limits: which hold, what no call shows, how large things are, what WeCom blocks.

use crate::ledger::alerts::About;
use crate::ledger::entry::{AlertRaised, Entry, LimitsPut, PenaltyStarted, SizeLearned, UsageDeclared};
use crate::ledger::penalties::Blocked;
use crate::ledger::state::{Limits, Shadowed, State};
use crate::quota::{Cap, Cost, Declared, Facets, Meters, Mode, Moment};

use super::{api_name, moment};

pub(super) fn put(state: &mut State, now: Moment, x: &LimitsPut) {
    // A name that is not shipped can't be decided; what the meters refuse here was never in force.
    for own in &state.limits.overrides {
        let _ = state.meters.set_cap(&own.limit, own.corp, None);
    }
    for reserve in &state.limits.reserves {
        let _ = state.meters.set_reserve(reserve.limit.as_deref(), None);
    }
    let before = (&state.limits.profile, state.limits.operator, &state.limits.own_profile);
    let profile = match &x.own_profile {
        Some(own) => Some(own.for_operator(x.operator)),
        None => crate::quota::shipped(&x.profile, x.operator),
    };
    if before != (&x.profile, x.operator, &x.own_profile)
        && let Some(profile) = profile
    {
        // Counters of other limits than before start empty: what is in flight has to enter them, so that it can leave.
        in_flight(state, Meters::give_back);
        let zone_minutes = state.meters.zone_minutes();
        let _ = state.meters.switch(&profile);
        if state.meters.zone_minutes() != zone_minutes {
            state.delivered.begin_anew(now.at);
        }
        in_flight(state, |meters, facets, cost| meters.take(facets, cost, now));
    }
    for own in &x.overrides {
        let _ = state.meters.set_cap(&own.limit, own.corp, Some(Cap::Fixed(own.cap)));
    }
    for reserve in &x.reserves {
        let _ = state.meters.set_reserve(reserve.limit.as_deref(), Some(reserve.percent));
    }
    state.limits = Limits {
        profile: x.profile.clone(),
        operator: x.operator,
        overrides: x.overrides.clone(),
        alert_at: x.alert_at.clone(),
        own_profile: x.own_profile.clone(),
        reserves: x.reserves.clone(),
    };
    let tried = |name: &str| {
        let mut limits = state.meters.limits();
        limits.any(|limit| limit.mode == Mode::Shadow && *limit.name == *name)
    };
    state.shadowed.retain(|name, _| tried(name));
}

/// Limits in shadow mode that would have refused a call.
pub(super) fn shadow(state: &mut State, names: &[String], at: i64) {
    for name in names {
        let fresh = Shadowed { calls: 0, first_at: at, last_at: at };
        let shadowed = state.shadowed.entry(name.clone()).or_insert(fresh);
        shadowed.calls += 1;
        shadowed.last_at = at;
    }
}

/// Every call in flight once more.
fn in_flight(state: &mut State, change: impl Fn(&mut Meters, &Facets<'_>, &Cost)) {
    for pending in state.pendings.values() {
        let name = api_name(&state.directory, pending.api);
        change(&mut state.meters, &pending.facets(name), &pending.cost);
    }
}

pub(super) fn declare(state: &mut State, entry: &Entry, x: &UsageDeclared) {
    let facets = Facets {
        corp: entry.refs.corp.unwrap_or(0),
        app: entry.refs.app.unwrap_or(0),
        chat: x.article,
        ..Facets::default()
    };
    let cost = Cost::in_unit(x.unit, x.amount.unsigned_abs());
    let declared = if x.amount < 0 { Declared::Corrected } else { Declared::Used };
    state.meters.declare(&facets, &cost, declared, moment(entry, 0));
}

pub(super) fn learn(state: &mut State, entry: &Entry, x: &SizeLearned, declared: bool) {
    let Some(corp) = entry.refs.corp else { return };
    state.sizes.learn(corp, entry.refs.app.unwrap_or(0), &x.size, entry.tick, declared);
}

pub(super) fn block(state: &mut State, entry: &Entry, x: &PenaltyStarted) {
    let key = Blocked { api: entry.refs.api.unwrap_or(0), blocks: x.blocks, whose: x.whose };
    state.penalties.start(entry.seq, key, x, entry.tick);
    state.alerts.queue_up(entry.seq);
}

pub(super) fn alert(state: &mut State, entry: &Entry, x: &AlertRaised) {
    let refs = entry.refs;
    let about = About {
        limit: x.limit.clone(),
        corp: refs.corp.unwrap_or(0),
        app: refs.app.unwrap_or(0),
        api: refs.api.unwrap_or(0),
        shadow: x.shadow,
    };
    state.alerts.raise(about, x, entry.tick);
    state.alerts.queue_up(entry.seq);
}
