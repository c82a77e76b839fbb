//! Calls that a client makes itself: it reserves, calls WeCom, and says how that ended.
//!
//! The ledger has a command in its queue as soon as it is asked, so a client that hangs up cancels nothing: an outcome
//! is posted all the same, and a reservation whose number nobody has received expires at once, as spent.

use std::borrow::Cow;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::admission::Wait;
use crate::gateway::{Unsent, shown_unsent};
use crate::ledger::command::{Caller, Outcome, Refusal, Unauthorized};
use crate::ledger::entry::{AnswerNotes, Body as EntryBody, Scope};
use crate::ledger::{Command, Rejected, Reply, Seq};
use crate::quota::{Reading, Rule};
use crate::wecom::errmsg::ErrMsg;

use super::order::NewCall;
use super::params::{self, invalid_body};
use super::present::{self, Present};
use super::problem::{self, Problem};
use super::{Client, HttpState, authenticate, many, once};

const REASON_MAX: usize = 200;
const PREFERENCE_APPLIED: &str = "preference-applied";

type Body = Result<Bytes, actix_web::Error>;

/// WeCom's answer can be passed on as it is: other members are ignored.
#[derive(Deserialize)]
struct Posted<'a> {
    errcode: Option<i64>,
    #[serde(borrow)]
    errmsg: Option<Cow<'a, str>>,
    http_status: Option<u16>,
    #[serde(default)]
    latency_us: u64,
    #[serde(default)]
    response_bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Voided<'a> {
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

pub(super) async fn reserve(
    state: web::Data<HttpState>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let key = once::key(&request)?;
    let body = params::body(body)?;
    if many::is_list(&body) {
        return many::reserve(state, client, key, &body).await;
    }
    if body.len() > super::BODY_MAX {
        return Err(params::too_large());
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
    body: Body,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let body = params::body(body)?;
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
        Reply::Admitted { pending, reading, .. } => {
            let created = Created::new(pending, timeout_seconds, reading.as_ref());
            Ok(Reserved { created, replayed: false })
        }
        Reply::Remembered { pending } => {
            let created = told(state, pending, timeout_seconds).await?;
            Ok(Reserved { created, replayed: true })
        }
        Reply::Refused(refusal) => Err(refused(state, &refusal)),
        Reply::Rejected(rejected) => Err(Problem::new(&problem::KEY_REUSED, rejected.to_string())),
        _ => Err(Problem::internal(&"the ledger did not say whether a call is admitted")),
    }
}

/// What the client was told the first time.
async fn told(state: &HttpState, pending: Seq, timeout_seconds: u32) -> Result<Created, Problem> {
    let entry = state.reader.entry(pending).await?.map(|row| row.entry()).transpose();
    let entry = entry.map_err(|error| Problem::internal(&error))?;
    let Some(EntryBody::CallPending(x)) = entry.map(|entry| entry.body) else {
        return Err(Problem::internal(&"a remembered call has no entry"));
    };
    let mut created = Created::new(pending, timeout_seconds, None);
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
    limit: Option<String>,
    used: Option<u64>,
    cap: Option<u64>,
    remaining: Option<u64>,
}

impl Created {
    fn new(call_id: Seq, timeout_seconds: u32, reading: Option<&Reading>) -> Self {
        Self {
            call_id,
            timeout_seconds,
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
        Refusal::Limit { reading, retry_at, .. } => {
            present::refused(reading, *retry_at, Present::read(&state.ledger, &*state.clock))
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
        Refusal::Busy => Problem::new(&problem::BUSY, "too many calls are without an outcome").retry_after(1),
        Refusal::RemembersTooMuch => {
            let what = "too many requests with an Idempotency-Key are remembered, of 24 hours; without one it goes on";
            Problem::new(&problem::BUSY, what).retry_after(60)
        }
        Refusal::NoCredential | Refusal::CredentialUnavailable { .. } => {
            Problem::internal(&"a reservation was asked for a credential")
        }
    }
}

pub(super) async fn post(
    state: web::Data<HttpState>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let body = params::body(body)?;
    let Posted { errcode, errmsg, http_status, latency_us, response_bytes } = params::json(&body)?;
    let http_status = http_status.unwrap_or(200);
    if !(100..=599).contains(&http_status) {
        return Err(invalid_body(format!("http_status must be 100 to 599, not {http_status}")));
    }
    let answer = match errmsg {
        Some(errmsg) if errcode.is_some_and(|errcode| errcode != 0) => {
            let ErrMsg { text, hint, from_ip } = ErrMsg::parse(&errmsg);
            AnswerNotes { hint, from_ip, errmsg: Some(text), incomplete: None }
        }
        _ => AnswerNotes::default(),
    };
    let id = params::seq(&request, "id")?;
    let unsent = unsent(&state, &client, id, &body, errcode).await?;
    // SQLite's integers are signed.
    let bounded = |value: u64| value.min(i64::MAX as u64);
    let outcome = Outcome::Posted {
        not_sent: unsent.free,
        unreached: unsent.named,
        errcode,
        http_status,
        latency_us: bounded(latency_us),
        response_bytes: bounded(response_bytes),
        answer,
    };
    settle(&state, &client, id, outcome).await
}

/// What the answer shows as not sent.
async fn unsent(
    state: &HttpState,
    client: &Client,
    call: Seq,
    answer: &[u8],
    errcode: Option<i64>,
) -> Result<Unsent, Problem> {
    // Most answers name nobody, and a look at the entry of the call is saved.
    let says_nothing = match errcode {
        Some(0) => !names_somebody(answer),
        _ => state.messages.failed_count && state.messages.invalid_recipients_count,
    };
    if says_nothing {
        return Ok(Unsent::default());
    }
    let api = state.reader.entry(call).await?.and_then(|row| row.api);
    let api = api.and_then(|api| client.directory.apis.get(&api)).map_or("", String::as_str);
    Ok(shown_unsent(state.messages, api, answer, errcode))
}

/// Whether the answer has one of the fields for those who were not reached.
fn names_somebody(answer: &[u8]) -> bool {
    [b"invalid".as_slice(), b"unlicensed"].iter().any(|word| answer.windows(word.len()).any(|it| it == *word))
}

pub(super) async fn void(
    state: web::Data<HttpState>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let body = params::body(body)?;
    let Voided { reason } = if body.is_empty() { Voided { reason: None } } else { params::json(&body)? };
    let reason = reason.unwrap_or(Cow::Borrowed("not_sent"));
    if reason.is_empty() || reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(invalid_body(format!(
            "reason must be 1 to {REASON_MAX} bytes without control characters"
        )));
    }
    // Whatever a client writes here is kept for ever: no tokens.
    let reason = crate::wecom::errmsg::redacted(&reason);
    settle(&state, &client, params::seq(&request, "id")?, Outcome::Voided { reason }).await
}

async fn settle(
    state: &HttpState,
    client: &Client,
    pending: Seq,
    outcome: Outcome,
) -> Result<HttpResponse, Problem> {
    let caller = Some(Caller::Key(client.api_key));
    match state.ledger.decide(Command::Settle { pending, outcome, caller }).await? {
        Reply::Settled { seq } => Ok(HttpResponse::Ok()
            .content_type("application/json")
            .body(format!("{{\"call_id\":{pending},\"seq\":{seq}}}"))),
        Reply::Rejected(Rejected::NotFound(what)) => Err(Problem::new(&problem::NOT_FOUND, what)),
        Reply::Rejected(rejected) => Err(Problem::new(&problem::CALL_NOT_PENDING, rejected.to_string())),
        _ => Err(Problem::internal(&"the ledger did not say whether a call is settled")),
    }
}
