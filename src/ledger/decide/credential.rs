//! Credentials: one fetch at a time, compare-and-rotate, who was issued what.

use crate::ledger::apply::{FORCED_FETCHES_MAX, SAME_TOKEN_PAUSE_MS};
use crate::ledger::command::{
    Caller, FetchOutcome, FetchReason, Now, Refusal, Rejected, Reply, Unauthorized,
};
use crate::ledger::directory::{App, Credential};
use crate::ledger::entry::{
    Body, CallEnded, CredentialInvalidated, CredentialIssued, CredentialPending, CredentialPosted, Draft,
    Fetched, Refs, Scope, Seq,
};
use crate::ledger::penalties::{Penalty, keys};
use crate::ledger::state::{PendingWhat, State};
use crate::quota::{self, Cost, Facets, Judgement};
use crate::wecom::errcodes;

use super::call::judge;
use super::penalty::{self, Words};
use super::{Decision, api_ref, draft, refs_of};

/// The window in which at most [`FORCED_FETCHES_MAX`] fetches may be caused by invalidations.
const FORCED_WINDOW_MS: i64 = 60_000;

/// How long a token is trusted that WeCom gave again after the deadline that we knew for it.
const OVERDUE_TOKEN_MS: i64 = 60_000;

const ACCESS_TOKEN: &str = "access_token";
const GETTOKEN: &str = "gettoken";

pub(super) fn begin_fetch(
    state: &State,
    app_ref: Seq,
    why: FetchReason,
    timeout_ms: u32,
    now: Now,
    process: Option<Seq>,
) -> Decision {
    let Some(app) = state.directory.live_app(app_ref) else {
        return Decision::not_found("the app was removed");
    };
    let credential = &app.credential;
    let valid = credential.valid_row(now.tick);
    if let Some(row) = valid
        && (why == FetchReason::Demand || now.tick < row.refresh_tick)
    {
        return Decision::reply(Reply::Have { credential: row.seq });
    }
    if credential.fetch.is_some() {
        return Decision::reply(Reply::Wait);
    }
    if let Some(refusal) = not_now(credential, now) {
        return Decision::reply(Reply::Refused(refusal));
    }
    let (api, named) = api_ref(state, GETTOKEN);
    let egress_ip = state.egress_ip_of(process);
    if let Some((_, penalty)) = state.penalties.holding(keys(app.corp, app_ref, egress_ip, api), now.tick) {
        return Decision::reply(Reply::Refused(blocked(penalty, now)));
    }
    let facets =
        Facets { corp: app.corp, app: app_ref, api, api_name: GETTOKEN, egress_ip, ..Facets::default() };
    if let Judgement::Refused(refused) = judge(state, &facets, &Cost::CALL, now) {
        let quota::Refusal { reading, retry_at, .. } = refused;
        let reason =
            format!("limit {} of gettoken is used up ({} of {})", reading.limit, reading.used, reading.cap);
        let refusal = Refusal::CredentialUnavailable { errcode: Some(45009), reason, retry_at };
        return Decision::reply(Reply::Refused(refusal));
    }
    let pending = state.head + 1 + u64::from(named.is_some());
    let refs = Refs { corp: Some(app.corp), app: Some(app_ref), api: Some(api), api_key: None };
    let body = Body::CredentialPending(CredentialPending { credential: ACCESS_TOKEN.to_owned(), timeout_ms });
    let drafts: Vec<Draft> = named.into_iter().chain([draft(refs, body)]).collect();
    Decision { drafts, ..Decision::reply(Reply::Fetch { pending, secret: app.secret }) }
}

/// WeCom's own block holds the fetch back.
fn blocked(penalty: &Penalty, now: Now) -> Refusal {
    let level = penalty.level.name();
    let reason = format!(
        "WeCom blocks gettoken since it said that a limit per {level} is used up (entry {})",
        penalty.started
    );
    let retry_at = Some(penalty.retry_at(now.tick));
    Refusal::CredentialUnavailable { errcode: Some(penalty.errcode()), reason, retry_at }
}

/// Why nothing may be fetched at this moment, if so.
fn not_now(credential: &Credential, now: Now) -> Option<Refusal> {
    let last = credential.last_failure.as_ref();
    if let Some(errcode) = credential.blocked {
        let said = last.map_or("", |failure| failure.reason.as_str());
        let reason = format!(
            "WeCom rejected this app's secret ({errcode} {said}); store the right one (`app add`) or, if it is right, run `app reset`"
        );
        return Some(Refusal::CredentialUnavailable { errcode: Some(errcode), reason, retry_at: None });
    }
    if now.tick < credential.not_before {
        let reason = last.map_or_else(|| "fetching pauses".to_owned(), |failure| failure.reason.clone());
        let errcode = last.and_then(|failure| failure.errcode);
        return Some(Refusal::CredentialUnavailable {
            errcode,
            reason,
            retry_at: Some(credential.not_before),
        });
    }
    let forced = credential.newest.as_ref().is_some_and(|row| row.invalidated && now.tick < row.expires_tick);
    let next = forced_too_often(credential, now).filter(|_| forced)?;
    let reason = "WeCom keeps rejecting the tokens that it issues for this app".to_owned();
    Some(Refusal::CredentialUnavailable { errcode: None, reason, retry_at: Some(next) })
}

pub(super) fn end_fetch(
    state: &State,
    pending: Seq,
    outcome: FetchOutcome,
    now: Now,
    process: Option<Seq>,
) -> Decision {
    let Some(found) = state.pendings.get(&pending).filter(|found| found.what == PendingWhat::Fetch) else {
        return Decision::rejected(Rejected::Conflict(format!("fetch {pending} has expired")));
    };
    let refs = refs_of(found);
    let expired = |reason: String| {
        let body = Body::CredentialExpired(CallEnded { pending, reason });
        Decision::one(refs, body, Reply::Settled { seq: state.head + 1 })
    };
    match outcome {
        FetchOutcome::NotSent { reason } => expired(format!("not sent: {reason}")),
        FetchOutcome::Unknown { reason } => expired(reason),
        FetchOutcome::Refused { errcode, errmsg, hint, from_ip, http_status, latency_us } => {
            let fetched = Fetched::Error { errmsg };
            let posted =
                CredentialPosted { pending, errcode: Some(errcode), http_status, latency_us, fetched };
            let after = if errcodes::starts_penalty(errcode) {
                let words = Words { hint: hint.as_deref(), from_ip: from_ip.as_deref() };
                penalty::start(state, pending, found, errcode, &words, now).into_iter().collect()
            } else if penalty::lets_in(Some(errcode), http_status, true) {
                penalty::passed(state, found, now, process)
            } else {
                Vec::new()
            };
            let drafts = [draft(refs, Body::CredentialPosted(posted))].into_iter().chain(after).collect();
            Decision { drafts, ..Decision::reply(Reply::Settled { seq: state.head + 1 }) }
        }
        FetchOutcome::Token {
            token,
            fingerprint,
            expires_in_ms,
            refresh_after_ms,
            http_status,
            latency_us,
        } => {
            let app = state.directory.apps.get(&found.app);
            let before = app.and_then(|app| app.credential.newest.as_ref());
            // Counted from before the request left: WeCom can't have started the lifetime earlier.
            let mut expires_tick = found.tick.saturating_add(expires_in_ms);
            let mut refresh_tick = found.tick.saturating_add(refresh_after_ms);
            let same = before.is_some_and(|row| row.fingerprint == fingerprint);
            if let Some(row) = before.filter(|_| same) {
                expires_tick = if row.expires_tick > now.tick {
                    expires_tick.min(row.expires_tick)
                } else {
                    expires_tick.min(now.tick + OVERDUE_TOKEN_MS)
                };
                refresh_tick = now.tick + SAME_TOKEN_PAUSE_MS;
            }
            let fetched = Fetched::Token { fingerprint, expires_tick, refresh_tick, same };
            let posted = CredentialPosted { pending, errcode: Some(0), http_status, latency_us, fetched };
            let mut entry = draft(refs, Body::CredentialPosted(posted));
            // What comes back for an app that was removed meanwhile is on record, but nobody may ever use it.
            // The same goes for one whose secret changed: the token may be that of another app.
            entry.secret = app.filter(|app| !app.removed && app.secret < pending).map(|_| token);
            let erase = app.and_then(|app| app.credential.previous).into_iter().collect();
            let reply = Reply::Settled { seq: state.head + 1 };
            let after = penalty::passed(state, found, now, process);
            let drafts = [entry].into_iter().chain(after).collect();
            Decision { drafts, erase, ..Decision::reply(reply) }
        }
    }
}

/// When the next fetch may be forced by an invalidation, if that is not now.
fn forced_too_often(credential: &Credential, now: Now) -> Option<i64> {
    let oldest = credential.forced.first().filter(|_| credential.forced.len() >= FORCED_FETCHES_MAX)?;
    let next = oldest.saturating_add(FORCED_WINDOW_MS);
    (now.tick < next).then_some(next)
}

/// Compare and rotate: only the newest row can be invalidated, and only once.
pub(super) fn invalidate(
    state: &State,
    app: Seq,
    credential: Seq,
    errcode: i64,
    call: Option<Seq>,
    now: Now,
) -> Decision {
    let newest = |app: &App| app.credential.newest.as_ref().map(|row| (row.seq, row.invalidated));
    match state.directory.live_app(app) {
        Some(live) if newest(live) == Some((credential, false)) => {
            // So many rejections came in the last minute that the API is to blame (40014 also means a token of the
            // wrong kind) and not the token, which others can go on using.
            if forced_too_often(&live.credential, now).is_some() {
                return Decision::reply(Reply::Kept);
            }
            let refs = Refs { corp: Some(live.corp), app: Some(app), api: None, api_key: None };
            let body = Body::CredentialInvalidated(CredentialInvalidated { credential, errcode, call });
            Decision::one(refs, body, Reply::Done { seq: state.head + 1, changed: true })
        }
        _ => Decision::reply(Reply::Done { seq: credential, changed: false }),
    }
}

pub(super) fn issue(state: &State, app_ref: Seq, caller: Caller, now: Now) -> Decision {
    let refused = |refusal| Decision::reply(Reply::Refused(refusal));
    let Some(app) = state.app_of(caller, app_ref) else {
        return refused(Refusal::Unauthorized(Unauthorized::Ended));
    };
    if !state.key_has(caller, Scope::Call) {
        return refused(Refusal::Unauthorized(Unauthorized::NotAllowed));
    }
    let Some(row) = app.credential.valid_row(now.tick) else {
        return refused(Refusal::NoCredential);
    };
    let reply = Reply::Issued { credential: row.seq, expires_tick: row.expires_tick };
    if row.issued_to.contains(&caller.api_key().unwrap_or(0)) {
        return Decision::reply(reply);
    }
    let refs = Refs { corp: Some(app.corp), app: Some(app_ref), api: None, api_key: caller.api_key() };
    Decision::one(refs, Body::CredentialIssued(CredentialIssued { credential: row.seq }), reply)
}
