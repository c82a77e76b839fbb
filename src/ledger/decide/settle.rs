//! How a call ended, and what it turned out to take.

use crate::ledger::command::{Caller, NotSent, Now, Outcome, Refusal, Rejected, Reply, Unauthorized};
use crate::ledger::directory::ApiKey;
use crate::ledger::entry::{Body, CallEnded, CallPosted, Draft, Seq, Size};
use crate::ledger::state::{Pending, PendingWhat, State};
use crate::quota::Cost;
use crate::wecom::catalogue::Credential;
use crate::wecom::errcodes::{self, BUSY};

use super::penalty::{self, Words};
use super::{Decision, doubt, draft, refs_of};

/// `caller` is given where a client names the call, so that it can settle only its own, and only one that it makes
/// itself: voiding a call that the gateway has under way would give back what WeCom has counted.
pub(super) fn settle(
    state: &State,
    pending: Seq,
    outcome: &Outcome,
    caller: Option<Caller>,
    taught: Option<Vec<Size>>,
    now: Now,
    process: Option<Seq>,
) -> Decision {
    let (found, late) = match (state.pendings.get(&pending), state.expired.get(&pending)) {
        (Some(found), _) if found.what != PendingWhat::Fetch => (&**found, false),
        (_, Some(found)) => (found, true),
        _ => return Decision::rejected(no_such_pending(state, pending)),
    };
    let ended = |caller| match caller {
        Caller::Key(key) => !state.directory.api_keys.get(&key).is_some_and(ApiKey::is_active),
        // One that has changed is not the call's any more.
        Caller::Secret(_) => false,
    };
    if caller.is_some_and(ended) {
        return Decision::reply(Reply::Refused(Refusal::Unauthorized(Unauthorized::Ended)));
    }
    let own = |caller| match caller {
        Caller::Key(key) => found.api_key == Some(key),
        Caller::Secret(secret) => {
            let app = state.directory.apps.get(&found.app);
            found.api_key.is_none() && app.is_some_and(|app| app.secret == secret)
        }
    };
    if caller.is_some_and(|caller| !own(caller) || found.what != PendingWhat::Reserved) {
        return Decision::rejected(no_such_pending(state, pending));
    }
    let posted = || match outcome.clone() {
        Outcome::Posted { not_sent, unreached, errcode, http_status, latency_us, response_bytes, answer } => {
            let cost = if late { found.cost } else { spent(found, &not_sent, errcode) };
            let unreached = if errcode == Some(0) && !late {
                found.cost.person_times - reached(found, &unreached)
            } else {
                0
            };
            Some(CallPosted {
                pending,
                cost,
                unreached,
                errcode,
                http_status,
                latency_us,
                response_bytes,
                answer,
            })
        }
        Outcome::Voided { .. } | Outcome::Expired { .. } => None,
    };
    let body = match (outcome, late) {
        (Outcome::Posted { .. }, false) => posted().map(Body::CallPosted),
        (Outcome::Posted { .. }, true) => posted().map(Body::CallLate),
        (Outcome::Voided { reason }, false) => {
            Some(Body::CallVoided(CallEnded { pending, reason: reason.clone() }))
        }
        (Outcome::Expired { reason }, false) => {
            Some(Body::CallExpired(CallEnded { pending, reason: reason.clone() }))
        }
        (Outcome::Voided { .. } | Outcome::Expired { .. }, true) => None,
    };
    let reply = Reply::Settled { seq: state.head + 1 };
    match body {
        Some(body) => {
            let mut drafts = vec![draft(refs_of(found), body)];
            if !late {
                drafts.extend(after(state, pending, found, outcome, now, process));
                drafts.extend(doubt::after(state, pending, found, outcome, taught, now.tick));
            }
            Decision { drafts, ..Decision::reply(reply) }
        }
        None => Decision::rejected(Rejected::Conflict(format!(
            "call {pending} has expired and counts as spent; that is final"
        ))),
    }
}

/// What else an outcome means: that WeCom blocks now, or does no more.
fn after(
    state: &State,
    seq: Seq,
    pending: &Pending,
    outcome: &Outcome,
    now: Now,
    process: Option<Seq>,
) -> Vec<Draft> {
    let Outcome::Posted { errcode, http_status, answer, .. } = outcome else { return Vec::new() };
    if let Some(errcode) = errcode.filter(|&errcode| errcodes::starts_penalty(errcode)) {
        let words = Words { hint: answer.hint.as_deref(), from_ip: answer.from_ip.as_deref() };
        return penalty::start(state, seq, pending, errcode, &words, now).into_iter().collect();
    }
    let whole = answer.incomplete.is_none();
    if penalty::lets_in(*errcode, *http_status, whole) {
        penalty::passed(state, pending, now, process)
    } else {
        Vec::new()
    }
}

/// What a call turned out to take, of what was reserved.
fn spent(pending: &Pending, not_sent: &NotSent, errcode: Option<i64>) -> Cost {
    let reserved = pending.cost;
    // A call that was not let in has sent nothing, and made nothing.
    let let_in = errcode.is_none_or(|errcode| {
        !errcodes::starts_penalty(errcode)
            && !errcodes::refreshes_credential(errcode, Credential::AccessToken)
    });
    if !let_in {
        return Cost { calls: reserved.calls, ..Cost::default() };
    }
    // Where WeCom was busy, nobody knows whether it was done.
    let failed = errcode.is_some_and(|errcode| errcode != 0 && errcode != BUSY);
    let accounts = if failed { 0 } else { reserved.accounts };
    let domains = if failed { 0 } else { reserved.domains };
    let person_times = if not_sent.all { 0 } else { reached(pending, not_sent) };
    Cost { person_times, accounts, domains, ..reserved }
}

/// The upper bound once more, without those whom the answer names as not reached.
fn reached(pending: &Pending, not_sent: &NotSent) -> u64 {
    let reserved = pending.cost.person_times;
    let people = pending.target.as_ref().and_then(|target| target.people.as_ref());
    let Some(people) = people else { return reserved };
    if *not_sent == NotSent::default() {
        return reserved;
    }
    let left = |groups: &[(u64, u64)], not: &[u64]| -> u64 {
        groups.iter().filter(|(id, _)| !not.contains(id)).map(|(_, size)| *size).fold(0, u64::saturating_add)
    };
    people
        .users
        .saturating_sub(not_sent.users)
        .saturating_add(left(&people.parties, &not_sent.parties))
        .saturating_add(left(&people.tags, &not_sent.tags))
        .saturating_add(people.unreadable)
        .min(reserved)
}

fn no_such_pending(state: &State, pending: Seq) -> Rejected {
    if pending <= state.head {
        Rejected::Conflict(format!("call {pending} is not pending: it was settled before, or is not yours"))
    } else {
        Rejected::NotFound(format!("there is no call {pending}"))
    }
}
