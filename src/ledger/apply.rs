//! `apply`: what an entry does to the state. Pure and deterministic; never changes for a released kind.

mod credential;
mod delivered;
mod limits;

use std::sync::Arc;

use crate::quota::{Cost, KEYS, Moment};

use super::alerts::Share;
use super::command::RefusalKey;
use super::decide::STEP_MS;
use super::directory::{ApiKey, App, Corp, Credential, Directory};
use super::entry::{AppPut, Body, CallPosted, CallRefused, CorpPut, Entry, Seq, Target};
use super::remembered::Ended;
use super::state::{EXPIRY_MARGIN_MS, OTHER_API, Pending, PendingWhat, Process, State};
use credential::{begin_fetch, end_fetch, fail_fetch, mark_used, unblock, with_row};

/// How many fetches that an invalidation forced are remembered.
pub const FORCED_FETCHES_MAX: usize = 3;

/// WeCom gave the same string again: no early refresh for this long.
pub const SAME_TOKEN_PAUSE_MS: i64 = 60_000;

/// Entries between two rounds of forgetting idle counters: a round takes about 0.1 ms.
const PRUNE_EVERY: Seq = 128;

/// Why a call or fetch expired whose process is gone; says nothing about WeCom.
pub const PROCESS_DIED: &str = "process_died";

/// Brings the state to the moment after `entry`.
pub fn apply(state: &mut State, entry: &Entry) {
    debug_assert_eq!(entry.seq, state.head + 1, "entries are applied in order, without a gap");
    state.head = entry.seq;
    state.tick = entry.tick;
    if entry.at > state.at {
        // It is what the wall clock showed; where `at` stands still the clock was set back.
        state.meters.show(entry.tick, entry.at - entry.tick);
    }
    state.at = entry.at;
    state.clock.furthest_ahead_ms = state.clock.furthest_ahead_ms.max(entry.at - entry.tick);
    match &entry.body {
        Body::CallPending(x) => {
            let deadline = entry.tick + i64::from(x.timeout_ms);
            if let Some(credential) = x.credential {
                mark_used(state, entry.refs, credential);
            }
            limits::shadow(state, &x.shadowed, entry.at);
            let what = if x.reserved { PendingWhat::Reserved } else { PendingWhat::Call };
            take(state, entry, what, x.cost, Some(&x.target), deadline);
            if let (Some(once), Some(pending)) = (&x.once, state.pendings.get_mut(&entry.seq)) {
                pending.once = Some(once.key);
                state.remembered.keep(entry.refs.api_key.unwrap_or(0), once, entry.seq, entry.tick);
            }
        }
        Body::CallPosted(x) => {
            delivered::posted(state, entry, x);
            remember_end(state, x.pending, Ended::Posted);
            settle(state, entry, x.pending, Some((x.cost, x.errcode == Some(0))));
        }
        Body::CallExpired(x) => {
            delivered::expired(state, entry, x.pending);
            remember_end(state, x.pending, Ended::Expired);
            expire(state, entry, x.pending);
        }
        Body::CallVoided(x) => {
            remember_end(state, x.pending, Ended::Voided);
            void(state, x.pending);
        }
        Body::CallLate(CallPosted { pending, .. }) => {
            state.expired.remove(pending);
        }
        Body::CallRefused(x) => refused(state, entry, x),
        Body::CredentialPending(x) => {
            let deadline = entry.tick + i64::from(x.timeout_ms);
            take(state, entry, PendingWhat::Fetch, Cost::CALL, None, deadline);
            begin_fetch(state, entry);
        }
        Body::CredentialPosted(x) => {
            end_fetch(state, entry, x);
            settle(state, entry, x.pending, None);
        }
        Body::CredentialExpired(x) => {
            fail_fetch(state, entry, x.pending, None, &x.reason);
            expire(state, entry, x.pending);
        }
        Body::CredentialInvalidated(x) => {
            with_row(state, entry.refs, x.credential, |row| row.invalidated = true);
        }
        Body::CredentialIssued(x) => {
            let holder = entry.refs.api_key.unwrap_or(0);
            with_row(state, entry.refs, x.credential, |row| {
                row.used = true;
                row.issued_to.insert(holder);
            });
        }
        other => apply_rare(state, entry, other),
    }
    if entry.seq.is_multiple_of(PRUNE_EVERY) {
        state.meters.prune(moment(entry, 0));
        state.alerts.prune(entry.tick);
    }
}

fn apply_rare(state: &mut State, entry: &Entry, body: &Body) {
    match body {
        Body::LedgerCreated(x) => state.ledger_id.clone_from(&x.ledger_id),
        Body::ClockBooted(x) => {
            state.clock.boot_id.clone_from(&x.boot_id);
            state.clock.offset_ms = x.offset_ms;
            state.clock.wall_minus_tick_ms.get_or_insert(entry.at - entry.tick);
        }
        Body::ClockStepped(x) => {
            let before = state.clock.wall_minus_tick_ms.unwrap_or(entry.at - entry.tick);
            let wall_minus_tick_ms = before.saturating_add(x.step_ms);
            state.clock.wall_minus_tick_ms = Some(wall_minus_tick_ms);
            state.meters.show(entry.tick, wall_minus_tick_ms);
            if x.step_ms.saturating_abs() > STEP_MS {
                state.alerts.queue_up(entry.seq, Share::Common, entry.tick);
            }
        }
        Body::ProcessStarted(x) => {
            let egress_ip = *state.egress_ips.entry(x.egress_ip.clone()).or_insert(entry.seq);
            let (instance, learn_caps_after) = (x.instance.clone(), x.learn_caps_after);
            state.processes.insert(entry.seq, Process { instance, egress_ip, learn_caps_after });
            state.alerts.want(x.webhook);
        }
        Body::ProcessEnded(x) => {
            state.processes.remove(&x.ended);
        }
        Body::ApiNamed(x) => {
            let directory = Arc::make_mut(&mut state.directory);
            directory.apis.insert(entry.seq, x.name.clone());
            directory.api_by_name.insert(x.name.clone(), entry.seq);
            if !x.known && x.name != OTHER_API {
                state.unknown_apis += 1;
            }
        }
        Body::LimitsPut(x) => limits::put(state, moment(entry, 0), x),
        Body::UsageDeclared(x) => limits::declare(state, entry, x),
        Body::SizeLearned(x) => limits::learn(state, entry, x, false),
        Body::SizeDeclared(x) => limits::learn(state, entry, x, true),
        Body::PenaltyStarted(x) => limits::block(state, entry, x),
        Body::PenaltyEnded(x) | Body::PenaltyCleared(x) => limits::unblock(state, entry, x),
        Body::CapLearned(x) => limits::lower(state, entry, x),
        Body::CapRestored(x) => limits::restore(state, x),
        Body::AlertRaised(x) => limits::alert(state, entry, x),
        Body::WebhookDelivered(x) => state.alerts.delivered(x.through),
        Body::UsageReconciled(x) => delivered::reconciled(state, entry, x),
        _ => {
            delivered::follow(state, entry, body);
            apply_directory(Arc::make_mut(&mut state.directory), entry, body);
            match body {
                Body::ApiKeyCreated(x) => limits::own(state, entry, &x.own),
                Body::ApiKeySet(x) => limits::own(state, entry, &x.own),
                Body::ApiKeyRevoked => limits::disown(state, entry),
                _ => {}
            }
        }
    }
}

fn apply_directory(directory: &mut Directory, entry: &Entry, body: &Body) {
    match body {
        Body::CorpPut(x) => put_corp(directory, entry, x),
        Body::CorpRemoved => {
            if let Some(corp) = entry.refs.corp.and_then(|corp| directory.corps.get_mut(&corp)) {
                corp.removed = true;
            }
        }
        Body::AppPut(x) => put_app(directory, entry, x),
        Body::AppReset => with_app(directory, entry.refs.app, |app| {
            app.credential.forced.clear();
            unblock(&mut app.credential);
        }),
        Body::AppRemoved => with_app(directory, entry.refs.app, |app| {
            app.removed = true;
            app.credential.newest = None;
            app.credential.previous = None;
        }),
        Body::ApiKeyCreated(x) => {
            directory.api_key_by_fingerprint.insert(x.fingerprint, entry.seq);
            let key = ApiKey {
                name: x.name.clone(),
                scopes: x.scopes.clone(),
                apps: x.apps.clone(),
                apis: x.apis.clone(),
                fingerprint: x.fingerprint,
                created_at: entry.at,
                paused: false,
                revoked: false,
                priority: x.priority,
            };
            directory.api_keys.insert(entry.seq, key);
        }
        Body::ApiKeyRevoked => with_key(directory, entry, |key| key.revoked = true),
        Body::ApiKeyPaused => with_key(directory, entry, |key| key.paused = true),
        Body::ApiKeyResumed => with_key(directory, entry, |key| key.paused = false),
        Body::ApiKeySet(x) => with_key(directory, entry, |key| {
            key.priority = x.priority.unwrap_or(key.priority);
        }),
        _ => {}
    }
}

fn put_corp(directory: &mut Directory, entry: &Entry, x: &CorpPut) {
    let corp = entry.refs.corp.unwrap_or(entry.seq);
    directory.corp_by_id.insert(x.id.clone(), corp);
    let value = Corp { corp_id: x.id.clone(), account_cap: x.account_cap, removed: false };
    directory.corps.insert(corp, value);
}

fn put_app(directory: &mut Directory, entry: &Entry, x: &AppPut) {
    let (Some(corp), Some(seq)) = (entry.refs.corp, entry.refs.app) else { return };
    directory.app_by_id.insert((corp, x.id.clone()), seq);
    let app = directory.apps.entry(seq).or_insert_with(|| App {
        corp,
        agent_id: x.id.clone(),
        secret: entry.seq,
        secret_fingerprint: x.secret_fingerprint,
        removed: false,
        credential: Credential::default(),
    });
    app.secret = entry.seq;
    app.secret_fingerprint = x.secret_fingerprint;
    app.removed = false;
    // What was fetched with the secret before may be another app's.
    app.credential.newest = None;
    app.credential.previous = None;
    app.credential.forced.clear();
    unblock(&mut app.credential);
}

fn with_key(directory: &mut Directory, entry: &Entry, change: impl FnOnce(&mut ApiKey)) {
    if let Some(key) = entry.refs.api_key.and_then(|key| directory.api_keys.get_mut(&key)) {
        change(key);
    }
}

fn with_app(directory: &mut Directory, app: Option<Seq>, change: impl FnOnce(&mut App)) {
    if let Some(app) = app.and_then(|app| directory.apps.get_mut(&app)) {
        change(app);
    }
}

fn take(
    state: &mut State,
    entry: &Entry,
    what: PendingWhat,
    cost: Cost,
    target: Option<&Target>,
    deadline: i64,
) {
    let pending = Pending {
        what,
        corp: entry.refs.corp.unwrap_or(0),
        app: entry.refs.app.unwrap_or(0),
        api: entry.refs.api.unwrap_or(0),
        api_key: entry.refs.api_key,
        process: entry.process,
        egress_ip: state.egress_ip_of(entry.process),
        cost,
        target: target.filter(|target| **target != Target::default()).cloned().map(Box::new),
        tick: entry.tick,
        deadline,
        once: None,
    };
    let name = api_name(&state.directory, pending.api);
    state.meters.take(&pending.facets(name), &cost, moment(entry, 0));
    state.deadlines.insert((deadline, entry.seq));
    state.penalties.taken(entry.seq, &pending);
    *state.pendings_of.entry(pending.api_key.unwrap_or(0)).or_default() += 1;
    state.members_pending += pending.members();
    state.pendings.insert(entry.seq, Box::new(pending));
}

/// The moment of an entry, or a margin later.
fn moment(entry: &Entry, margin: i64) -> Moment {
    Moment { tick: entry.tick + margin, at: entry.at + margin }
}

fn remove_pending(state: &mut State, seq: Seq) -> Option<Box<Pending>> {
    let pending = state.pendings.remove(&seq)?;
    state.deadlines.remove(&(pending.deadline, seq));
    state.penalties.ended(seq, &pending);
    state.members_pending -= pending.members();
    let holder = pending.api_key.unwrap_or(0);
    if let Some(count) = state.pendings_of.get_mut(&holder) {
        *count -= 1;
        if *count == 0 {
            state.pendings_of.remove(&holder);
        }
    }
    Some(pending)
}

/// `posted`: what the call turned out to cost, and whether WeCom said that it was good; else it counts as reserved.
fn settle(state: &mut State, entry: &Entry, seq: Seq, posted: Option<(Cost, bool)>) {
    let Some(pending) = remove_pending(state, seq) else { return };
    let name = api_name(&state.directory, pending.api);
    let (spent, ok) = posted.unwrap_or((pending.cost, false));
    state.meters.settle(&pending.facets(name), &pending.cost, &spent, moment(entry, 0), ok);
}

fn expire(state: &mut State, entry: &Entry, seq: Seq) {
    let Some(pending) = remove_pending(state, seq) else { return };
    let name = api_name(&state.directory, pending.api);
    state.meters.expire(&pending.facets(name), &pending.cost, moment(entry, EXPIRY_MARGIN_MS));
    if pending.what != PendingWhat::Fetch {
        state.remember_expired(seq, &pending);
    }
}

/// Whoever sends the request again learns that what it was given is gone.
fn remember_end(state: &mut State, seq: Seq, how: Ended) {
    let Some(pending) = state.pendings.get(&seq) else { return };
    if let Some(key) = pending.once {
        state.remembered.end(pending.api_key.unwrap_or(0), key, seq, how);
    }
}

fn void(state: &mut State, seq: Seq) {
    let Some(pending) = remove_pending(state, seq) else { return };
    let name = api_name(&state.directory, pending.api);
    state.meters.give_back(&pending.facets(name), &pending.cost);
}

fn api_name(directory: &Directory, api: Seq) -> &str {
    directory.apis.get(&api).map_or("", String::as_str)
}

fn refused(state: &mut State, entry: &Entry, x: &CallRefused) {
    let second = entry.tick / 1000;
    state.refused.retain(|_, &mut seen| seen >= second);
    let key = RefusalKey {
        corp: entry.refs.corp.unwrap_or(0),
        app: entry.refs.app.unwrap_or(0),
        api: entry.refs.api,
        api_key: entry.refs.api_key,
        limit: x.limit.clone(),
        rule: x.rule,
    };
    state.refused.insert(key, second);
    if x.limit == KEYS {
        state.meters.make_room(moment(entry, 0));
    }
}
