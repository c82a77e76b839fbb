//! How a call ended that a client has made itself. A client that hangs up cancels nothing: its outcome is posted all the
//! same.

use std::borrow::Cow;

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use crate::gateway::{Unsent, shown_unsent};
use crate::ledger::command::{Caller, Outcome, Refusal};
use crate::ledger::entry::{AnswerNotes, Scope};
use crate::ledger::{Command, Rejected, Reply, Seq};
use crate::wecom::errmsg::ErrMsg;

use super::act::key_ended;
use super::params::{self, invalid_body};
use super::problem::{self, Problem};
use super::{Client, HttpState, authenticate, body};

const REASON_MAX: usize = 200;

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

pub(super) async fn post(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let body = body::read(payload, body::LONG).await?;
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
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Call)?;
    let body = body::read(payload, body::SHORT).await?;
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
        Reply::Refused(Refusal::Unauthorized(_)) => Err(key_ended()),
        Reply::Rejected(Rejected::NotFound(what)) => Err(Problem::new(&problem::NOT_FOUND, what)),
        Reply::Rejected(rejected) => Err(Problem::new(&problem::CALL_NOT_PENDING, rejected.to_string())),
        _ => Err(Problem::internal(&"the ledger did not say whether a call is settled")),
    }
}
