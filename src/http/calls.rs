//! Calls that a client makes itself: it reserves, calls WeCom, and says how that ended.
//!
//! The ledger has a command in its queue as soon as it is asked, so a client that hangs up cancels nothing: an outcome
//! is posted all the same, and a reservation whose number nobody has received expires at once, as spent.

use std::borrow::Cow;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use crate::ledger::command::{Admit, Ask, Caller, NotSent, Outcome, Refusal, Unauthorized};
use crate::ledger::entry::{AnswerNotes, Scope};
use crate::ledger::{Command, Rejected, Reply, Seq};
use crate::quota::Reading;
use crate::wecom::catalogue;
use crate::wecom::errmsg::ErrMsg;
use crate::wecom::path::ApiName;

use super::params::{self, invalid_body, json};
use super::present::{self, Present};
use super::problem::{self, Problem};
use super::{Client, HttpState, authenticate};

const TIMEOUT_DEFAULT_SECS: u32 = 60;
const TIMEOUT_MAX_SECS: u32 = 3600;
const REASON_MAX: usize = 200;

type Body = Result<Bytes, actix_web::Error>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCall<'a> {
    #[serde(borrow)]
    app: Cow<'a, str>,
    #[serde(borrow)]
    api: Cow<'a, str>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    timeout_seconds: Option<u32>,
}

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
    // Whoever sends it counts on being able to repeat the request; ignored, it would take twice.
    if request.headers().contains_key("idempotency-key") {
        let what = "Idempotency-Key is not supported yet; remove the header";
        return Err(Problem::new(&problem::INVALID_HEADER, what));
    }
    let body = params::body(body)?;
    let call: NewCall<'_> = json(&body)?;
    let timeout = call.timeout_seconds.unwrap_or(TIMEOUT_DEFAULT_SECS);
    let admit = admit(&client, call, timeout)?;
    drop(client);
    match state.ledger.decide(Command::Reserve(admit)).await? {
        Reply::Admitted { pending, reading, .. } => Ok(created(pending, timeout, reading.as_ref())),
        Reply::Refused(refusal) => Err(refused(&state, &refusal)),
        _ => Err(Problem::internal(&"the ledger did not say whether a call is admitted")),
    }
}

fn admit(client: &Client, call: NewCall<'_>, timeout: u32) -> Result<Admit, Problem> {
    if !(1..=TIMEOUT_MAX_SECS).contains(&timeout) {
        return Err(invalid_body(format!("timeout_seconds must be 1 to {TIMEOUT_MAX_SECS}, not {timeout}")));
    }
    let Some((corp_id, agent_id)) = call.app.split_once('/') else {
        return Err(invalid_body("app must be CORP_ID/AGENT_ID"));
    };
    let Some((app, _)) = client.directory.app(corp_id, agent_id) else {
        let what = format!("app `{}` is unknown; add it with: wecom-ledger app add", call.app);
        return Err(Problem::new(&problem::UNKNOWN_APP, what));
    };
    let known = catalogue::lookup(&call.api);
    // A name that the ledger has seen before was checked then.
    if known.is_none() && client.directory.api(&call.api).is_none() {
        if let Some(name) = call.api.strip_prefix("/cgi-bin/").or(call.api.strip_prefix("cgi-bin/")) {
            return Err(invalid_body(format!("api: leave /cgi-bin/ out: {name}")));
        }
        ApiName::parse(&format!("/cgi-bin/{}", call.api))
            .map_err(|error| invalid_body(format!("api must be a name such as message/send: {error}")))?;
    }
    let method = match call.method.as_deref() {
        None => known.map_or("POST", |api| api.method),
        Some(method @ ("GET" | "POST")) => method,
        Some(other) => return Err(invalid_body(format!("method must be GET or POST, not `{other}`"))),
    };
    Ok(Admit {
        caller: Caller::Key(client.api_key),
        app,
        method: method.to_owned(),
        api: call.api.into_owned(),
        ask: Ask::default(),
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: timeout * 1000,
        request_bytes: 0,
        request_sha256: None,
    })
}

/// The limit with the least share left is shown, with this call in it.
#[derive(Serialize)]
struct Created<'a> {
    call_id: Seq,
    timeout_seconds: u32,
    limit: Option<&'a str>,
    used: Option<u64>,
    cap: Option<u64>,
    remaining: Option<u64>,
}

fn created(call_id: Seq, timeout_seconds: u32, reading: Option<&Reading>) -> HttpResponse {
    HttpResponse::Created().json(Created {
        call_id,
        timeout_seconds,
        limit: reading.map(|reading| &*reading.limit),
        used: reading.map(|reading| reading.used),
        cap: reading.map(|reading| reading.cap),
        remaining: reading.map(|reading| reading.remaining),
    })
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
    let Posted { errcode, errmsg, http_status, latency_us, response_bytes } = json(&body)?;
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
    // SQLite's integers are signed.
    let bounded = |value: u64| value.min(i64::MAX as u64);
    let outcome = Outcome::Posted {
        not_sent: NotSent::default(),
        errcode,
        http_status,
        latency_us: bounded(latency_us),
        response_bytes: bounded(response_bytes),
        answer,
    };
    settle(&state, &client, params::seq(&request, "id")?, outcome).await
}

pub(super) async fn void(
    state: web::Data<HttpState>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let body = params::body(body)?;
    let Voided { reason } = if body.is_empty() { Voided { reason: None } } else { json(&body)? };
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
