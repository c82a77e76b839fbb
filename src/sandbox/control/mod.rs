//! The control API, `/sandbox/…`: JSON in and out, and 400 with a reason for what it does not understand.
//!
//! | request | what it does |
//! |---|---|
//! | `GET requests?after=N&limit=M` | the request log, oldest first; `next` is the `after` of the next page or null |
//! | `DELETE requests` | forgets the records; their numbers go on |
//! | `GET stats`, `DELETE stats` | what was counted; see below |
//! | `DELETE counters` | forgets windows, budgets, penalties and bans |
//! | `GET messages?after=N&limit=M` | delivered messages; those of appchat/send have a `chatid` |
//! | `POST faults`, `GET faults`, `DELETE faults[/ID]` | injected faults, see `faults::Spec` |
//! | `POST revoke` | `{"corp_id","agent_id","errcode":40014}`: the app's tokens die |
//! | `POST secret` | `{"corp_id","agent_id","secret"}`: a new secret, and the app's tokens die |
//! | `GET clock`, `POST clock` | `{"advance_ms"}` |
//! | `GET settings`, `POST settings` | what of `Config` can change, each field optional; see below |
//! | `POST media` | `{"corp_id","filename","size"}`: a file that may be larger than an upload |
//!
//! Limits: `POST settings` with `{"preset":"wecom-2023"}` takes all the numbers of an era (`qyh-2015`, `wecom-2020`,
//! `wecom-2023`, `none`), with `"operator":"provider"` those of a third-party provider, and with `"limits":{…}` the
//! members of `Limits` that differ, null for one that is off. Counters go on; `DELETE counters` begins anew.
//!
//! A call that is counted at another time than it was sent: `POST faults` with
//! `{"kind":"late","path":"*","before_ms":200,"after_ms":100,"seed":7}`. It waits a random time before it is counted
//! (and logged), and another before its answer; meanwhile it is under way, if simultaneous calls have a cap.
//!
//! Stats: `over` is how many calls any limit refused, `over_by_row` how many each row of limits did (a call may be
//! refused by several), `dropped` how many members did not get a message. `windows` has every counter with its `row`,
//! `key` and `caps`, the most that it was ever asked for in one period (including what was too much), its `trips` and
//! the calls `refused` in the block after them; `members` the same of messages to single members, by app;
//! `concurrent` simultaneous calls.

mod records;
mod settings;
mod switches;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A refusal: status and reason.
type Refusal = (StatusCode, String);

pub(super) fn routes(app: &mut web::ServiceConfig) {
    let scope = web::scope("/sandbox")
        .route("/requests", web::get().to(records::requests))
        .route("/requests", web::delete().to(records::forget_requests))
        .route("/stats", web::get().to(records::stats))
        .route("/stats", web::delete().to(records::forget_stats))
        .route("/counters", web::delete().to(records::forget_counters))
        .route("/messages", web::get().to(records::messages))
        .route("/faults", web::get().to(switches::faults))
        .route("/faults", web::post().to(switches::add_fault))
        .route("/faults", web::delete().to(switches::remove_faults))
        .route("/faults/{id}", web::delete().to(switches::remove_fault))
        .route("/revoke", web::post().to(switches::revoke))
        .route("/secret", web::post().to(switches::secret))
        .route("/clock", web::get().to(switches::clock))
        .route("/clock", web::post().to(switches::advance))
        .route("/settings", web::get().to(settings::settings))
        .route("/settings", web::post().to(settings::change_settings))
        .route("/media", web::post().to(switches::media))
        .default_service(web::to(unknown));
    app.service(scope);
}

async fn unknown() -> HttpResponse {
    refuse((StatusCode::NOT_FOUND, "no such control path".to_owned()))
}

/// An app as requests name it.
#[derive(Debug, Deserialize)]
struct AppName {
    corp_id: String,
    agent_id: u32,
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| bad(&error.to_string()))
}

fn bad(reason: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, reason.to_owned())
}

fn missing(what: &str) -> Refusal {
    (StatusCode::NOT_FOUND, format!("no such {what}"))
}

fn refuse((status, reason): Refusal) -> HttpResponse {
    HttpResponse::build(status).json(json!({"error": reason}))
}

fn answer(result: Result<Value, Refusal>) -> HttpResponse {
    result.map_or_else(refuse, |value| HttpResponse::Ok().json(value))
}
