//! Administrative acts: each one that changes something is an entry.

use crate::ledger::command::{Command, Rejected, Reply};
use crate::ledger::directory::App;
use crate::ledger::entry::{
    AppPut, Body, CapOverride, CorpPut, Fingerprint, LimitsPut, Plain, Refs, Reserve, Seq,
};
use crate::ledger::state::{Limits, State};
use crate::quota;

use super::{Decision, draft, keys, unchanged};

/// Thresholds of alerts.
const ALERTS_MAX: usize = 10;
/// In place of a CORP_ID: the number holds for every corp that has none of its own, and for limits without a corp.
const EVERY_CORP: &str = "*";
const ACCOUNT_CAP_MAX: u64 = 10_000_000;

pub(super) fn decide(state: &State, command: Command) -> Decision {
    match command {
        Command::PutCorp { corp_id, account_cap } => put_corp(state, corp_id, account_cap),
        Command::RemoveCorp { corp_id } => remove_corp(state, &corp_id),
        Command::PutApp { corp_id, agent_id, secret, fingerprint } => {
            put_app(state, &corp_id, agent_id, secret, fingerprint)
        }
        Command::ResetApp { corp_id, agent_id } => change_app(state, &corp_id, &agent_id, Body::AppReset),
        Command::RemoveApp { corp_id, agent_id } => {
            let mut decision = change_app(state, &corp_id, &agent_id, Body::AppRemoved);
            if let Some((_, app)) = state.directory.app(&corp_id, &agent_id) {
                decision.erase = secrets_of(app);
            }
            decision
        }
        Command::CreateApiKey { terms, fingerprint } => keys::create(state, terms, fingerprint),
        Command::SetApiKey { api_key, change } => keys::change(state, api_key, change),
        Command::PutLimits { profile, operator, own } => use_profile(state, profile, operator, own),
        Command::PutReserve { limit, percent } => put_reserve(state, limit, percent),
        Command::PutCap { corp_id, limit, cap } => put_cap(state, &corp_id, limit, cap),
        Command::PutAlertAt { percents } => put_alert_at(state, percents),
        other => Decision::invalid(format!("not an administrative act: {other:?}")),
    }
}

/// Every sealed secret that an app still has.
fn secrets_of(app: &App) -> Vec<Seq> {
    let newest = app.credential.newest.as_ref().map(|row| row.seq);
    [Some(app.secret), newest, app.credential.previous].into_iter().flatten().collect()
}

/// Ids are what WeCom gives out: letters, digits, `_` and `-`.
fn check_id(what: &str, id: &str) -> Result<(), Decision> {
    let fits = (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fits {
        return Ok(());
    }
    Err(Decision::invalid(format!("{what} must be 1 to 64 letters, digits, `_` or `-`")))
}

fn put_corp(state: &State, corp_id: String, account_cap: u64) -> Decision {
    if let Err(decision) = check_id("CORP_ID", &corp_id) {
        return decision;
    }
    if !(1..=ACCOUNT_CAP_MAX).contains(&account_cap) {
        return Decision::invalid(format!("accounts must be 1 to {ACCOUNT_CAP_MAX} (the corp's 帐号上限数)"));
    }
    let directory = &state.directory;
    if let Some((seq, corp)) = directory.corp(&corp_id)
        && corp.account_cap == account_cap
    {
        return unchanged(seq);
    }
    let seq = directory.corp_by_id.get(&corp_id).copied().unwrap_or(state.head + 1);
    let refs = Refs { corp: Some(seq), ..Refs::default() };
    let body = Body::CorpPut(CorpPut { id: corp_id, account_cap });
    Decision::one(refs, body, Reply::Done { seq, changed: true })
}

fn unknown_corp(corp_id: &str) -> Decision {
    Decision::not_found(format!("corp `{corp_id}` is unknown; add it first: corp add {corp_id} --accounts N"))
}

fn remove_corp(state: &State, corp_id: &str) -> Decision {
    let directory = &state.directory;
    let Some((seq, _)) = directory.corp(corp_id) else { return unknown_corp(corp_id) };
    if let Some((_, app)) = directory.live_apps().find(|(_, app)| app.corp == seq) {
        let agent_id = &app.agent_id;
        let what =
            format!("corp `{corp_id}` still has app {corp_id}/{agent_id}; remove its apps first: app remove");
        return Decision::rejected(Rejected::Conflict(what));
    }
    let refs = Refs { corp: Some(seq), ..Refs::default() };
    Decision::one(refs, Body::CorpRemoved, Reply::Done { seq, changed: true })
}

fn put_app(
    state: &State,
    corp_id: &str,
    agent_id: String,
    secret: Plain,
    fingerprint: Fingerprint,
) -> Decision {
    let directory = &state.directory;
    let Some((corp, _)) = directory.corp(corp_id) else { return unknown_corp(corp_id) };
    if let Err(decision) = check_id("AGENT_ID", &agent_id) {
        return decision;
    }
    let existing = directory.app(corp_id, &agent_id);
    if let Some((seq, app)) = existing
        && app.secret_fingerprint == fingerprint
    {
        return unchanged(seq);
    }
    let known = directory.app_by_id.get(&(corp, agent_id.clone())).copied();
    let seq = known.unwrap_or(state.head + 1);
    let refs = Refs { corp: Some(corp), app: Some(seq), ..Refs::default() };
    let mut entry = draft(refs, Body::AppPut(AppPut { id: agent_id, secret_fingerprint: fingerprint }));
    entry.secret = Some(secret);
    let erase = existing.map(|(_, app)| secrets_of(app)).unwrap_or_default();
    Decision { drafts: vec![entry], erase, ..Decision::reply(Reply::Done { seq, changed: true }) }
}

fn change_app(state: &State, corp_id: &str, agent_id: &str, body: Body) -> Decision {
    let Some((seq, app)) = state.directory.app(corp_id, agent_id) else {
        return Decision::not_found(format!("app `{corp_id}/{agent_id}` is unknown; `app list` shows all"));
    };
    let refs = Refs { corp: Some(app.corp), app: Some(seq), ..Refs::default() };
    Decision::one(refs, body, Reply::Done { seq, changed: true })
}

fn put_cap(state: &State, corp_id: &str, limit: String, cap: Option<u64>) -> Decision {
    let corp = match state.directory.corp(corp_id) {
        Some((corp, _)) => Some(corp),
        None if corp_id == EVERY_CORP => None,
        None => return unknown_corp(corp_id),
    };
    let current = &state.limits;
    let fits: Vec<String> = state
        .meters
        .limits()
        .filter(|limit| corp.is_none() || limit.scope.has(quota::Dimension::Corp))
        .map(|limit| limit.name.to_string())
        .collect();
    if !fits.contains(&limit) {
        let what = if corp.is_some() { "a limit per corp" } else { "a limit" };
        return Decision::invalid(format!(
            "`{limit}` is not {what} of the active profile; use one of: {}",
            fits.join(", ")
        ));
    }
    if cap.is_some_and(|cap| cap > quota::limit::MAX_CAP) {
        return Decision::invalid(format!("a cap is at most {}", quota::limit::MAX_CAP));
    }
    let mut overrides = current.overrides.clone();
    overrides.retain(|own| (own.corp, &own.limit) != (corp, &limit));
    if let Some(cap) = cap {
        overrides.push(CapOverride { corp, limit, cap });
    }
    overrides.sort_by(|a, b| (a.corp, &a.limit).cmp(&(b.corp, &b.limit)));
    put_limits(state, LimitsPut { overrides, ..self::current(state) })
}

fn put_alert_at(state: &State, mut percents: Vec<u8>) -> Decision {
    percents.sort_unstable();
    percents.dedup();
    if percents.len() > ALERTS_MAX || percents.iter().any(|percent| !(1..=100).contains(percent)) {
        return Decision::invalid(format!("give at most {ALERTS_MAX} thresholds, each 1 to 100 percent"));
    }
    put_limits(state, LimitsPut { alert_at: percents, ..current(state) })
}

/// What is in force, to be changed in one point.
fn current(state: &State) -> LimitsPut {
    let Limits { profile, operator, overrides, alert_at, own_profile, reserves } = state.limits.clone();
    LimitsPut { profile, operator, overrides, alert_at, own_profile, reserves }
}

fn use_profile(
    state: &State,
    profile: String,
    operator: quota::Operator,
    own: Option<Box<quota::Profile>>,
) -> Decision {
    let ships = quota::shipped(&profile, operator).is_some();
    match &own {
        None if !ships => {
            let known = quota::shipped_names().join(", ");
            return Decision::invalid(format!(
                "unknown profile `{profile}`; use one of {known}, or give the file of your own"
            ));
        }
        // An auditor who reads the name takes it for the one that ships.
        Some(_) if quota::shipped_names().contains(&&*profile) => {
            return Decision::invalid(format!(
                "`{profile}` is the name of a profile that ships; choose another"
            ));
        }
        Some(own) => {
            if let Err(error) = own.for_operator(operator).check() {
                return Decision::invalid(error.to_string());
            }
        }
        None => {}
    }
    put_limits(state, LimitsPut { profile, operator, own_profile: own.map(|own| *own), ..current(state) })
}

fn put_reserve(state: &State, limit: Option<String>, percent: u8) -> Decision {
    if percent > 90 {
        return Decision::invalid("a reserve is at most 90 percent of a limit");
    }
    if let Some(limit) = limit.as_deref()
        && !state.meters.limits().any(|known| *known.name == *limit)
    {
        return Decision::invalid(format!(
            "`{limit}` is not a limit of the active profile; `limits list` shows all"
        ));
    }
    let mut reserves = state.limits.reserves.clone();
    reserves.retain(|reserve| reserve.limit != limit);
    if percent > 0 {
        reserves.push(Reserve { limit, percent });
    }
    reserves.sort_by(|a, b| a.limit.cmp(&b.limit));
    put_limits(state, LimitsPut { reserves, ..current(state) })
}

fn put_limits(state: &State, put: LimitsPut) -> Decision {
    if current(state) == put {
        return unchanged(0);
    }
    let done = Reply::Done { seq: state.head + 1, changed: true };
    Decision::one(Refs::default(), Body::LimitsPut(put), done)
}
