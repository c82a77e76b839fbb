//! Calls: permission, outcome, refusal.

use crate::ledger::command::{
    Admit, Ask, Caller, Hit, Now, Reach, Refusal, RefusalKey, Rejected, Reply, Standing, To, Unauthorized,
};
use crate::ledger::directory::{ApiKey, App};
use crate::ledger::entry::{Body, CallPending, CallRefused, Draft, Priority, Refs, Scope, Seq, Target, Told};
use crate::ledger::penalties::{self, Penalty};
use crate::ledger::remembered::{Before, Ended};
use crate::ledger::state::{MEMBERS_PENDING_MAX, PENDINGS_MAX, PENDINGS_OF_KEY_MAX, State};
use crate::quota::{self, Cost, Facets, Judgement, Reading, Rule};
use crate::wecom::cost::names_recipients;

use super::declare::CHAT_API;
use super::{Decision, Repeat, alert, api_ref, ask, draft};

/// The name that a refusal carries while WeCom blocks the API.
pub const BLOCKED: &str = "blocked_by_wecom";

/// The name that a refusal carries when a key may not do what it asked.
pub const NOT_ALLOWED: &str = "not_allowed";

/// A call that the client makes itself.
pub(super) fn reserve(state: &State, admit: Admit, now: Now, process: Option<Seq>) -> Decision {
    let known = state.app_of(admit.caller, admit.app).and(admit.once.as_ref());
    let before = known.map(|once| state.remembered.look(admit.caller.api_key().unwrap_or(0), once, now.tick));
    match before {
        Some(Before::Same(pending, ended)) => {
            // Overdue ones are expired some at a time.
            let overdue = state.pendings.get(&pending).is_some_and(|it| it.deadline <= now.tick);
            let ended = ended.or(overdue.then_some(Ended::Expired));
            Decision::reply(Reply::Remembered { pending, ended })
        }
        Some(Before::Other) => Decision::rejected(Rejected::Conflict(
            "this Idempotency-Key came before with another request; use a new one".to_owned(),
        )),
        Some(Before::Full(retry_at)) => {
            Decision::reply(Reply::Refused(Refusal::RemembersTooMuch { retry_at }))
        }
        Some(Before::New) | None => self::admit(state, admit, now, process, true),
    }
}

/// What would become of a reservation.
pub(super) fn check(state: &State, admit: Admit, now: Now, process: Option<Seq>) -> Decision {
    let (mut cost, mut readings) = (Cost::default(), Vec::new());
    if let Some(app) =
        state.app_of(admit.caller, admit.app).filter(|_| may_call(state, admit.caller, &admit.api))
    {
        let api = api_ref(state, &admit.api).0;
        let api_name = state.directory.apis.get(&api).map_or(admit.api.as_str(), String::as_str);
        let one_by_one = reaches_members(state, &admit.ask, api_name);
        let (asked, target) = ask::resolve(state, admit.app, app, &admit.ask, now.tick, one_by_one);
        let facets = facets(state, app, &admit, (api, api_name), &target, process);
        let account_cap = state.directory.corps.get(&app.corp).map_or(0, |corp| corp.account_cap);
        readings = state.meters.readings(&facets, &asked, account_cap, now);
        readings.extend(state.meters.own_readings(&facets, &asked, account_cap, now));
        cost = asked;
    }
    let would = Box::new(self::admit(state, admit, now, process, true).reply);
    Decision::reply(Reply::Checked { would, cost, readings })
}

/// The app that calls, if whoever asks may call this API for it.
fn app_for<'a>(state: &'a State, admit: &Admit, now: Now) -> Result<&'a App, Decision> {
    if state.app_of(admit.caller, admit.app).is_none() {
        return Err(unauthorized(state, admit, now));
    }
    let ended = || Decision::reply(Reply::Refused(Refusal::Unauthorized(Unauthorized::Ended)));
    let app = state.directory.live_app(admit.app).ok_or_else(ended)?;
    if may_call(state, admit.caller, &admit.api) { Ok(app) } else { Err(not_allowed(state, admit, app, now)) }
}

/// Whether a limit would not see a call because nobody says which group chat it goes to.
fn lacks_chat(state: &State, admit: &Admit) -> bool {
    admit.api == CHAT_API && admit.ask.chat == 0 && state.meters.tells_chats_apart(CHAT_API)
}

pub(super) fn admit(state: &State, admit: Admit, now: Now, process: Option<Seq>, reserved: bool) -> Decision {
    let refused = |refusal| Decision::reply(Reply::Refused(refusal));
    let app = match app_for(state, &admit, now) {
        Ok(app) => app,
        Err(decision) => return decision,
    };
    if reserved && lacks_chat(state, &admit) {
        return refused(Refusal::NeedsChat);
    }
    let held = state.pendings_of.get(&admit.caller.api_key().unwrap_or(0)).copied().unwrap_or(0);
    if state.pendings.len() >= PENDINGS_MAX || held >= PENDINGS_OF_KEY_MAX {
        return refused(Refusal::Busy);
    }
    let (api, named) = api_ref(state, &admit.api);
    let api_key = admit.caller.api_key();
    let refusal_key = |limit: &str, rule| RefusalKey {
        corp: app.corp,
        app: admit.app,
        api: Some(api),
        api_key,
        limit: limit.to_owned(),
        rule,
    };
    let keys = penalties::keys(app.corp, admit.app, state.egress_ip_of(process), api);
    if let Some(standing) = admit.line.standing.clone() {
        let standing = behind(state, app, &admit, (api, process), *standing, now);
        return held_back(state, refusal_key, standing, admit.line.waits, named, now);
    }
    let blocked = state.penalties.holding(keys, now.tick).map(|(key, it)| blocked(key, it, now));
    let credential = match credential_for(app, &admit, now) {
        Err(refusal) if blocked.is_none() => return refused(refusal),
        // What is held back needs no token.
        found => found.unwrap_or_default(),
    };
    let api_name = state.directory.apis.get(&api).map_or(admit.api.as_str(), String::as_str);
    let one_by_one = reaches_members(state, &admit.ask, api_name);
    let (cost, target) = ask::resolve(state, admit.app, app, &admit.ask, now.tick, one_by_one);
    if state.members_pending + target.members.len() > MEMBERS_PENDING_MAX {
        return refused(Refusal::Busy);
    }
    let facets = facets(state, app, &admit, (api, api_name), &target, process);
    let judgement = judge(state, &facets, &cost, now);
    let alerts = alert::raised(state, &facets, &cost, &judgement, now);
    match let_through(blocked, judgement) {
        Err(standing) => held_back(state, refusal_key, standing, admit.line.waits, named, now),
        Ok((binding, shadowed)) => {
            let pending = state.head + 1 + u64::from(named.is_some());
            let refs = Refs { corp: Some(app.corp), app: Some(admit.app), api: Some(api), api_key };
            let deadline = now.tick + i64::from(admit.timeout_ms);
            let body = Body::CallPending(CallPending {
                method: admit.method,
                cost,
                target,
                shadowed: shadowed.iter().map(|refusal| refusal.reading.limit.to_string()).collect(),
                credential,
                timeout_ms: admit.timeout_ms,
                request_bytes: admit.request_bytes,
                request_sha256: admit.request_sha256,
                reserved,
                retry_of: admit.retry_of,
                told: admit.once.as_ref().map(|_| told(binding.as_ref())),
                once: admit.once,
            });
            let drafts = named.into_iter().chain([draft(refs, body)]).chain(alerts).collect();
            let reply = Reply::Admitted { pending, credential, reading: binding, deadline };
            Decision { drafts, ..Decision::reply(reply) }
        }
    }
}

/// How a call is refused that stands behind others: by the same limit, but it needs what it needs itself, and passes after
/// them.
fn behind(
    state: &State,
    app: &App,
    admit: &Admit,
    (api, process): (Seq, Option<Seq>),
    standing: Standing,
    now: Now,
) -> Standing {
    let (Hit::Limit(reading), Some(after)) = (&standing.hit, standing.retry_at) else { return standing };
    let ahead = admit.line.ahead;
    if ahead == 0 {
        return standing;
    }
    let api_name = state.directory.apis.get(&api).map_or(admit.api.as_str(), String::as_str);
    let one_by_one = reaches_members(state, &admit.ask, api_name);
    let (cost, target) = ask::resolve(state, admit.app, app, &admit.ask, now.tick, one_by_one);
    let facets = facets(state, app, admit, (api, api_name), &target, process);
    let account_cap = state.directory.corps.get(&app.corp).map_or(0, |corp| corp.account_cap);
    let of = (&*reading.limit, reading.rule.is_of_api_key());
    let refusal = state.meters.refusal_behind((&facets, &cost, account_cap), of, (ahead, after), now);
    refusal.map_or(standing, of_limit)
}

fn of_limit(refusal: quota::Refusal) -> Standing {
    let quota::Refusal { reading, retry_at, scope, needed } = refusal;
    Standing { hit: Hit::Limit(reading), retry_at, needed, reach: Reach::of(scope) }
}

/// What holds a call back, or what the limits say of it. Of a block and a limit it is whatever does so longer; without a
/// time it is for ever.
fn let_through(
    blocked: Option<Standing>,
    judgement: Judgement,
) -> Result<(Option<Reading>, Vec<quota::Refusal>), Standing> {
    match (blocked, judgement) {
        (Some(block), Judgement::Refused(limit)) => {
            let longer = limit.retry_at.is_none_or(|at| block.retry_at < Some(at));
            Err(if longer { of_limit(limit) } else { block })
        }
        (Some(block), Judgement::Admitted { .. }) => Err(block),
        (None, Judgement::Refused(limit)) => Err(of_limit(limit)),
        (None, Judgement::Admitted { binding, shadowed, .. }) => Ok((binding, shadowed)),
    }
}

/// What the client is told of the limits, and is told again if it asks again.
fn told(reading: Option<&Reading>) -> Told {
    reading.map_or_else(Told::default, |it| Told {
        limit: it.limit.to_string(),
        used: it.used,
        cap: it.cap,
        remaining: it.remaining,
    })
}

/// Judges a call against every limit that it matches.
pub(super) fn judge(state: &State, facets: &Facets<'_>, cost: &Cost, now: Now) -> Judgement {
    let account_cap = state.directory.corps.get(&facets.corp).map_or(0, |corp| corp.account_cap);
    state.meters.judge(facets, cost, account_cap, now)
}

/// Whether a call counts for members one by one. A message without recipients reaches none; of an API whose recipients
/// nobody here knows to read, anybody may be reached.
fn reaches_members(state: &State, ask: &Ask, api_name: &str) -> bool {
    tells_members_apart(state, api_name) && (ask.to != To::Nobody || !names_recipients(api_name))
}

/// Whether a limit on this API counts for each member.
pub(super) fn tells_members_apart(state: &State, api_name: &str) -> bool {
    state.meters.tells_members_apart(api_name)
}

fn facets<'a>(
    state: &State,
    app: &App,
    admit: &Admit,
    (api, api_name): (Seq, &'a str),
    target: &'a Target,
    process: Option<Seq>,
) -> Facets<'a> {
    Facets {
        corp: app.corp,
        app: admit.app,
        api,
        api_name,
        egress_ip: state.egress_ip_of(process),
        api_key: admit.caller.api_key().unwrap_or(0),
        members: &target.members,
        broadcast: target.broadcast,
        chat: target.chat,
        critical: state.directory.priority(admit.caller) == Priority::Critical,
    }
}

fn may_call(state: &State, caller: Caller, api: &str) -> bool {
    match caller {
        Caller::Key(key) => {
            state.directory.api_keys.get(&key).is_some_and(|key| key.has(Scope::Call) && key.may_use_api(api))
        }
        Caller::Secret(_) => true,
    }
}

fn credential_for(app: &App, admit: &Admit, now: Now) -> Result<Option<Seq>, Refusal> {
    if !admit.needs_credential {
        return Ok(None);
    }
    let row = app.credential.valid_row(now.tick).filter(|row| Some(row.seq) != admit.not_credential);
    row.map(|row| Some(row.seq)).ok_or(Refusal::NoCredential)
}

/// A key that is alive but not for this app is refused on record; anything else has simply ended.
fn unauthorized(state: &State, admit: &Admit, now: Now) -> Decision {
    let alive = match admit.caller {
        Caller::Key(key) => state.directory.api_keys.get(&key).is_some_and(ApiKey::is_active),
        Caller::Secret(_) => false,
    };
    match state.directory.live_app(admit.app).filter(|_| alive) {
        Some(app) => not_allowed(state, admit, app, now),
        None => Decision::reply(Reply::Refused(Refusal::Unauthorized(Unauthorized::Ended))),
    }
}

fn not_allowed(state: &State, admit: &Admit, app: &App, now: Now) -> Decision {
    let key = RefusalKey {
        corp: app.corp,
        app: admit.app,
        api: state.directory.api(&admit.api),
        api_key: admit.caller.api_key(),
        limit: NOT_ALLOWED.to_owned(),
        rule: Rule::default(),
    };
    let mut decision = Decision::reply(Reply::Refused(Refusal::Unauthorized(Unauthorized::NotAllowed)));
    if recorded(state, &key, now) {
        decision.repeat = Some(Repeat { key, errcode: 48002, used: 0, cap: 0 });
    } else {
        decision.drafts.push(refusal_draft(key, 1, 48002, 0, 0));
    }
    decision
}

/// A limit, or a block of WeCom's, holds this call back. Whoever waits on is not refused yet, so there is no record.
fn held_back(
    state: &State,
    key: impl Fn(&str, Rule) -> RefusalKey,
    standing: Standing,
    waits: bool,
    named: Option<Draft>,
    now: Now,
) -> Decision {
    let (key, errcode, used, cap) = match &standing.hit {
        Hit::Limit(reading) => (key(&reading.limit, reading.rule), 45009, reading.used, reading.cap),
        Hit::Blocked { errcode, .. } => (key(BLOCKED, Rule::default()), *errcode, 0, 0),
    };
    let recorded = recorded(state, &key, now);
    let repeat = (recorded && !waits).then(|| Repeat { key: key.clone(), errcode, used, cap });
    let first = (!recorded && !waits).then(|| refusal_draft(key.clone(), 1, errcode, used, cap));
    let reply = Reply::Refused(standing.refusal(key, recorded));
    Decision { drafts: named.into_iter().chain(first).collect(), repeat, ..Decision::reply(reply) }
}

fn blocked(key: penalties::Blocked, penalty: &Penalty, now: Now) -> Standing {
    let hit = Hit::Blocked { penalty: penalty.started, level: penalty.level, errcode: penalty.errcode() };
    let (retry_at, reach) = (Some(penalty.retry_at(now.tick)), Reach::of_block(key.blocks));
    Standing { hit, retry_at, needed: 1, reach }
}

/// Whether this second already has an entry for such a refusal; then only the count grows.
fn recorded(state: &State, key: &RefusalKey, now: Now) -> bool {
    state.refused.get(key) == Some(&(now.tick / 1000))
}

fn refusal_draft(key: RefusalKey, count: u64, errcode: i64, used: u64, cap: u64) -> Draft {
    let refs = Refs { corp: Some(key.corp), app: Some(key.app), api: key.api, api_key: key.api_key };
    let RefusalKey { limit, rule, .. } = key;
    draft(refs, Body::CallRefused(CallRefused { limit, rule, errcode, used, cap, count }))
}

pub(super) fn flush_refusals(key: RefusalKey, count: u64, errcode: i64, used: u64, cap: u64) -> Decision {
    let mut decision = Decision::reply(Reply::Done { seq: 0, changed: true });
    decision.drafts.push(refusal_draft(key, count, errcode, used, cap));
    decision
}
