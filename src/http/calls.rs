//! Calls that a client makes itself: it reserves, calls WeCom, and says how that ended (`settle`).
//!
//! The ledger has a command in its queue as soon as it is asked, so a client that hangs up cancels nothing: a
//! reservation whose number nobody has received expires at once, as spent.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::{Value, json};

use crate::admission::Wait;
use crate::ledger::command::{Refusal, Unauthorized};
use crate::ledger::entry::{Body as EntryBody, Scope};
use crate::ledger::remembered::Ended;
use crate::ledger::{Command, Reply, Seq};
use crate::quota::{Reading, Rule};

use super::order::NewCall;
use super::params::{self, invalid_body};
use super::present::{self, Present};
use super::problem::{self, Problem};
use super::{HttpState, authenticate, body, many, once};

const PREFERENCE_APPLIED: &str = "preference-applied";

pub(super) async fn reserve(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let key = once::key(&request)?;
    let body = body::read(payload, body::LONG).await?;
    if many::is_list(&body) {
        return Box::pin(many::reserve(state, client, key, &body)).await;
    }
    if body.len() > body::SHORT {
        return Err(body::too_large());
    }
    let call: NewCall<'_> = params::json(&body)?;
    let admit = call.admit(&state, &client, key.map(|key| once::of(key, &body, 0)))?;
    drop(client);
    let timeout = admit.timeout_ms / 1000;
    let ticket = state.admission.ticket(preferred_wait(&request));
    // A client that hangs up takes this handler with it, and so gives up its place in line.
    let answer = state.admission.ask(Command::Reserve, admit, &ticket, std::future::pending()).await?;
    let (wait, note) = (answer.applied(), answer.note());
    let reserved = reserved(&state, answer.reply, timeout).await;
    let reserved = reserved.map_err(|problem| waited(problem, wait, note))?;
    let mut response = HttpResponse::Created();
    if let Some(wait) = wait {
        response.insert_header((PREFERENCE_APPLIED, wait.applied()));
    }
    if reserved.replayed {
        response.insert_header((once::REPLAYED, "true"));
    }
    Ok(response.json(reserved.created))
}

/// What would become of a reservation; nothing is taken.
pub(super) async fn check(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let body = body::read(payload, body::SHORT).await?;
    let call: NewCall<'_> = params::json(&body)?;
    let admit = state.admission.behind_others(call.admit(&state, &client, None)?);
    match state.ledger.decide(Command::Check(admit)).await? {
        Reply::Checked { would, cost, readings } => {
            let present = Present::read(&state.ledger, &*state.clock);
            let limits = readings.iter().map(|reading| Checked::of(reading, present)).collect::<Vec<_>>();
            let problem = match *would {
                Reply::Refused(refusal) => refused(&state, &refusal).to_value(),
                _ => Value::Null,
            };
            let would = if problem.is_null() { "admit" } else { "refuse" };
            let answer = json!({"would": would, "cost": cost, "limits": limits, "problem": problem});
            Ok(HttpResponse::Ok().json(answer))
        }
        _ => Err(Problem::internal(&"the ledger did not say what would become of a call")),
    }
}

/// A limit as it stands without the call.
#[derive(Serialize)]
struct Checked<'a> {
    limit: &'a str,
    /// Whose number `cap` is.
    rule: Rule,
    used: u64,
    cap: u64,
    remaining: u64,
    window: String,
    /// Null: never by itself.
    resets_at: Option<String>,
}

impl<'a> Checked<'a> {
    fn of(reading: &'a Reading, present: Present) -> Self {
        Self {
            limit: &reading.limit,
            rule: reading.rule,
            used: reading.used,
            cap: reading.cap,
            remaining: reading.remaining,
            window: reading.window.to_string(),
            resets_at: reading.resets_at.map(|tick| present.instant(tick)),
        }
    }
}

/// A call that was admitted, now or before.
pub(super) struct Reserved {
    pub(super) created: Created,
    pub(super) replayed: bool,
}

pub(super) async fn reserved(
    state: &HttpState,
    reply: Reply,
    timeout_seconds: u32,
) -> Result<Reserved, Problem> {
    match reply {
        Reply::Admitted { pending, reading, deadline, .. } => {
            let expires_at = Present::read(&state.ledger, &*state.clock).instant(deadline);
            let created = Created::new(pending, timeout_seconds, expires_at, reading.as_ref());
            Ok(Reserved { created, replayed: false })
        }
        Reply::Remembered { pending, ended: None } => {
            let created = Box::pin(told(state, pending, timeout_seconds)).await?;
            Ok(Reserved { created, replayed: true })
        }
        Reply::Remembered { pending, ended: Some(ended) } => Err(gone(pending, ended)),
        Reply::Refused(refusal) => Err(refused(state, &refusal)),
        Reply::Rejected(rejected) => Err(Problem::new(&problem::KEY_REUSED, rejected.to_string())),
        _ => Err(Problem::internal(&"the ledger did not say whether a call is admitted")),
    }
}

/// Whoever takes this for a permission would call WeCom without being counted.
fn gone(pending: Seq, ended: Ended) -> Problem {
    let what = match ended {
        Ended::Posted => "was made, and its answer is posted; only to make it once more use a new key",
        Ended::Voided => "was voided; use a new key",
        Ended::Expired => "has expired and counts as spent; use a new key",
    };
    Problem::new(&problem::CALL_ENDED, format!("call {pending} of this Idempotency-Key {what}"))
        .with("call_id", pending)
        .with("state", serde_json::to_value(ended).unwrap_or_default())
}

/// What the client was told the first time.
async fn told(state: &HttpState, pending: Seq, timeout_seconds: u32) -> Result<Created, Problem> {
    let entry = state.reader.entry(pending).await?.map(|row| row.entry()).transpose();
    let entry = entry.map_err(|error| Problem::internal(&error))?;
    let Some((tick, EntryBody::CallPending(x))) = entry.map(|entry| (entry.tick, entry.body)) else {
        return Err(Problem::internal(&"a remembered call has no entry"));
    };
    let present = Present::read(&state.ledger, &*state.clock);
    let expires_at = present.instant(tick.saturating_add(i64::from(x.timeout_ms)));
    let mut created = Created::new(pending, timeout_seconds, expires_at, None);
    if let Some(told) = x.told.filter(|told| !told.limit.is_empty()) {
        created.limit = Some(told.limit);
        created.used = Some(told.used);
        created.cap = Some(told.cap);
        created.remaining = Some(told.remaining);
    }
    Ok(created)
}

/// The limit with the least share left is shown, with this call in it.
#[derive(Serialize)]
pub(super) struct Created {
    call_id: Seq,
    timeout_seconds: u32,
    /// From then on it counts as spent, and WeCom must not be called any more.
    expires_at: String,
    limit: Option<String>,
    used: Option<u64>,
    cap: Option<u64>,
    remaining: Option<u64>,
}

impl Created {
    fn new(call_id: Seq, timeout_seconds: u32, expires_at: String, reading: Option<&Reading>) -> Self {
        Self {
            call_id,
            timeout_seconds,
            expires_at,
            limit: reading.map(|reading| reading.limit.to_string()),
            used: reading.map(|reading| reading.used),
            cap: reading.map(|reading| reading.cap),
            remaining: reading.map(|reading| reading.remaining),
        }
    }
}

/// How long a client would rather wait than be refused.
fn preferred_wait(request: &HttpRequest) -> Option<Wait> {
    Wait::preferred(request.headers().get_all("prefer").map(HeaderValue::as_bytes))
}

/// A refusal, with what there is to say about a wait for room.
fn waited(mut problem: Problem, wait: Option<Wait>, note: Option<String>) -> Problem {
    if let Some(note) = note {
        problem.detail = format!("{}; {note}", problem.detail);
    }
    match wait {
        Some(wait) => problem.header(HeaderName::from_static(PREFERENCE_APPLIED), &wait.applied()),
        None => problem,
    }
}

fn refused(state: &HttpState, refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Limit { reading, retry_at, needed, .. } => {
            present::refused(reading, *retry_at, *needed, Present::read(&state.ledger, &*state.clock))
        }
        Refusal::Blocked { penalty, level, retry_at, .. } => {
            let present = Present::read(&state.ledger, &*state.clock);
            present::blocked(*penalty, *level, *retry_at, present)
        }
        Refusal::Unauthorized(Unauthorized::Ended) => {
            Problem::unauthorized("this API key was revoked or paused, or the app was removed, just now")
        }
        Refusal::Unauthorized(Unauthorized::NotAllowed) => {
            Problem::new(&problem::NOT_ALLOWED, "this API key may not call this API for this app")
        }
        Refusal::NeedsChat => invalid_body(
            "a limit counts appchat/send for each group chat: say which one, its chatid, as chat in recipients or in cost",
        ),
        Refusal::Busy => Problem::new(&problem::BUSY, "too many calls are without an outcome").retry_after(1),
        Refusal::RemembersTooMuch { retry_at } => {
            let what = "too many requests with an Idempotency-Key are remembered, of 24 hours; without one it goes on";
            let wait = Present::read(&state.ledger, &*state.clock).seconds_until(*retry_at).max(1);
            Problem::new(&problem::BUSY, what).retry_after(wait)
        }
        Refusal::NoCredential | Refusal::CredentialUnavailable { .. } => {
            Problem::internal(&"a reservation was asked for a credential")
        }
    }
}
