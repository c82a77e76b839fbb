//! Entries about limits: which hold, what no call shows, how large things are, what WeCom blocks.

use crate::ledger::alerts::{About, Share};
use crate::ledger::entry::{
    AlertRaised, CapLearned, CapRestored, Entry, LimitsPut, OwnRule, PenaltyEnded, PenaltyStarted, Seq,
    SizeLearned, UsageDeclared,
};
use crate::ledger::learned::about;
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
        in_flight(state, None, Meters::give_back);
        let zone_minutes = state.meters.zone_minutes();
        let _ = state.meters.switch(&profile);
        if state.meters.zone_minutes() != zone_minutes {
            state.delivered.begin_anew(now.at);
        }
        in_flight(state, None, |meters, facets, cost| meters.take(facets, cost, now));
        state.learned.follow(&state.meters);
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

/// Every call in flight once more, or those of one API key.
fn in_flight(state: &mut State, of: Option<Seq>, change: impl Fn(&mut Meters, &Facets<'_>, &Cost)) {
    for pending in state.pendings.values().filter(|pending| of.is_none() || pending.api_key == of) {
        let name = api_name(&state.directory, pending.api);
        change(&mut state.meters, &pending.facets(name), &pending.cost);
    }
}

/// The rules of an API key, as far as they change.
pub(super) fn own<'a>(state: &mut State, entry: &Entry, rules: impl IntoIterator<Item = &'a OwnRule>) {
    let Some(api_key) = entry.refs.api_key else { return };
    let mut rules = rules.into_iter().peekable();
    if rules.peek().is_none() {
        return;
    }
    // What is in flight has to enter the counter of a rule that is new, so that it can leave it.
    in_flight(state, Some(api_key), Meters::give_back);
    for rule in rules {
        let _ = state.meters.set_own(api_key, &rule.limit, rule.own());
    }
    in_flight(state, Some(api_key), |meters, facets, cost| meters.take(facets, cost, moment(entry, 0)));
}

/// A key that was revoked calls no more: nothing has to be counted for it.
pub(super) fn disown(state: &mut State, entry: &Entry) {
    let api_key = entry.refs.api_key.unwrap_or(0);
    let none: Vec<OwnRule> =
        state.meters.owns_of(api_key).map(|(limit, _)| OwnRule::new(limit, None)).collect();
    own(state, entry, &none);
}

pub(super) fn declare(state: &mut State, entry: &Entry, x: &UsageDeclared) {
    let facets = Facets {
        corp: entry.refs.corp.unwrap_or(0),
        app: entry.refs.app.unwrap_or(0),
        api: entry.refs.api.unwrap_or(0),
        api_name: entry.refs.api.map_or("", |api| api_name(&state.directory, api)),
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
    state.penalties.start(entry.seq, key, x, entry.refs, entry.tick);
    let share = if x.told { Share::ApiKey } else { Share::Common };
    state.alerts.queue_up(entry.seq, share, entry.tick);
}

pub(super) fn unblock(state: &mut State, entry: &Entry, x: &PenaltyEnded) {
    if let (Some(drift), Some((blocked, penalty))) = (&x.drift, state.penalties.by_entry(x.started))
        && let Some(about) = about(&state.meters, &drift.limit, &penalty.first, blocked.api)
    {
        state.learned.drifted(about, drift.clone(), penalty.level, entry.tick);
    }
    state.penalties.end(x.started);
}

pub(super) fn lower(state: &mut State, entry: &Entry, x: &CapLearned) {
    let about = About::of(&x.limit, entry.refs);
    if state.meters.set_learned(&x.limit, &about.facets(), Some(x.cap)).is_ok() {
        state.learned.learn(about, entry.seq, entry.at, x);
    }
    state.alerts.queue_up(entry.seq, Share::Common, entry.tick);
}

pub(super) fn restore(state: &mut State, x: &CapRestored) {
    if let Some(about) = state.learned.restore(x.learned) {
        let _ = state.meters.set_learned(&about.limit, &about.facets(), None);
    }
}

pub(super) fn alert(state: &mut State, entry: &Entry, x: &AlertRaised) {
    let refs = entry.refs;
    let about = About {
        limit: x.limit.clone(),
        corp: refs.corp.unwrap_or(0),
        app: refs.app.unwrap_or(0),
        api: refs.api.unwrap_or(0),
        api_key: refs.api_key.unwrap_or(0),
        egress_ip: x.egress_ip,
        chat: x.chat,
        shadow: x.shadow,
    };
    let share = about.share();
    state.alerts.raise(about, x, entry.tick);
    state.alerts.queue_up(entry.seq, share, entry.tick);
}
