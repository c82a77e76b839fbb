//! Problems (RFC 9457): every error of `/v1` has a stable type, says what is wrong and what to do.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError, web};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ledger::LedgerError;

/// A pool of connections that is full for long, or a disk that fails, is not better at once.
const READ_AGAIN_SECS: u64 = 5;

/// A kind of problem. The slug is a promise; the words may change.
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemType {
    pub slug: &'static str,
    pub status: u16,
    pub title: &'static str,
    pub advice: &'static str,
}

macro_rules! types {
    ($($name:ident = $slug:literal, $status:literal, $title:literal, $advice:literal;)*) => {
        $(pub static $name: ProblemType =
            ProblemType { slug: $slug, status: $status, title: $title, advice: $advice };)*

        /// All of them.
        pub static TYPES: &[&ProblemType] = &[$(&$name,)*];
    };
}

types! {
    INVALID_QUERY = "invalid-query", 400, "The query is not valid",
        "Correct the parameter that `detail` names.";
    INVALID_BODY = "invalid-body", 400, "The body is not valid",
        "Send a JSON object with the members that `detail` names.";
    INVALID_HEADER = "invalid-header", 400, "A header is not valid",
        "Correct or remove the header that `detail` names.";
    UNAUTHORIZED = "unauthorized", 401, "No valid API key",
        "Send `Authorization: Bearer <API key>`. Keys are made by `wecom-ledger key create`.";
    MISSING_SCOPE = "missing-scope", 403, "The API key lacks a scope",
        "Use a key that has the scope named in `scope`; make one with `wecom-ledger key create --scope …`.";
    NOT_ALLOWED = "not-allowed", 403, "The API key may not do this",
        "The key is limited to some apps or APIs. Use another key, or create one for this app and API.";
    NOT_FOUND = "not-found", 404, "Not found",
        "Check the path and the number in it.";
    UNKNOWN_APP = "unknown-app", 404, "The app is unknown",
        "Write it CORP_ID/AGENT_ID as `wecom-ledger app list` shows it, or add it with `wecom-ledger app add`.";
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, "The method is not allowed here",
        "Use a method that the `Allow` header names.";
    REQUEST_TIMEOUT = "request-timeout", 408, "The body came too slowly",
        "Send it without a pause of 30 s, and all of it within a minute. Nothing was done.";
    CALL_NOT_PENDING = "call-not-pending", 409, "The call is not pending",
        "It was settled before, has expired, or was reserved with another key. Its entries are at /v1/entries.";
    CALL_ENDED = "call-ended", 409, "The call of this Idempotency-Key has ended",
        "The key gave a permission once, and it is gone: `state` says how. To make the call again, use a new key.";
    CONFLICT = "conflict", 409, "It does not fit what is there",
        "Do what `detail` says, then try again.";
    BODY_TOO_LARGE = "body-too-large", 413, "The body is too large",
        "Bodies here are a few short members, 64 KiB at most; a list of calls, or an answer of WeCom's, has 1 MiB at most.";
    BLOCKED_BY_WECOM = "blocked-by-wecom", 429, "WeCom blocks this API for a time",
        "It said that a limit is used up. Nothing was sent. /v1/incidents shows who had used it; wait until `retry_at`.";
    KEY_REUSED = "idempotency-key-reused", 422, "The Idempotency-Key belongs to another request",
        "A key stands for one request, byte by byte, for 24 hours. Use a new key for a new request.";
    LIMIT_EXCEEDED = "limit-exceeded", 429, "A limit has no room for this call",
        "Nothing was taken. Wait until `retry_at`; /v1/usage shows who has used the limit.";
    INTERNAL = "internal", 500, "The service failed",
        "This is a mistake in the service; its log says more.";
    LEDGER_UNAVAILABLE = "ledger-unavailable", 503, "The ledger can't be written",
        "Nothing is sent while that is so. See /readyz and the log; mostly the disk is full or not writable.";
    LEDGER_UNREADABLE = "ledger-unreadable", 503, "The ledger can't be read at the moment",
        "Mostly others read much at the same time, or the disk is slow: try again after the time in `Retry-After`.";
    BUSY = "busy", 503, "Too much is under way",
        "Try again after the time in `Retry-After`.";
}

/// One occurrence.
#[derive(Debug)]
pub struct Problem {
    pub of: &'static ProblemType,
    pub detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub fn new(of: &'static ProblemType, detail: impl Into<String>) -> Self {
        Self { of, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    /// Adds a member that programs can read.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header; a value that no header can have is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, &seconds.to_string())
    }

    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(&UNAUTHORIZED, detail).header(header::WWW_AUTHENTICATE, "Bearer")
    }

    pub fn method_not_allowed(allow: &str) -> Self {
        Self::new(&METHOD_NOT_ALLOWED, format!("use {allow} here")).header(header::ALLOW, allow)
    }

    /// As a member of another answer.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(Body::from(self)).unwrap_or_default()
    }

    /// Something that can't happen, said without showing its inside to a client.
    pub fn internal(why: &dyn std::fmt::Display) -> Self {
        tracing::error!(%why, "a request failed");
        Self::new(&INTERNAL, "the service could not answer; its log says why")
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let of = match error {
            LedgerError::Busy => &BUSY,
            LedgerError::Unavailable(_) | LedgerError::Stopped => &LEDGER_UNAVAILABLE,
        };
        Self::new(of, error.to_string()).retry_after(1)
    }
}

impl From<crate::store::StoreError> for Problem {
    fn from(error: crate::store::StoreError) -> Self {
        match error {
            crate::store::StoreError::Damaged(_) => Self::internal(&error),
            error => {
                tracing::error!(%error, "a request could not be answered");
                Self::new(&LEDGER_UNREADABLE, "the ledger can't be read at the moment; the log says why")
                    .retry_after(READ_AGAIN_SECS)
            }
        }
    }
}

/// The standard members first, for people.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl<'a> From<&'a Problem> for Body<'a> {
    fn from(problem: &'a Problem) -> Self {
        let Problem { of, detail, members, .. } = problem;
        Self { r#type: format!("/problems/{}", of.slug), title: of.title, status: of.status, detail, members }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.of.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.of.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json");
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        response.body(serde_json::to_string(&Body::from(self)).unwrap_or_default())
    }
}

/// What a problem's `type` leads to.
pub(super) async fn describe(slug: web::Path<String>) -> Result<HttpResponse, Problem> {
    let Some(of) = TYPES.iter().find(|of| of.slug == slug.as_str()) else {
        let known: Vec<_> = TYPES.iter().map(|of| of.slug).collect();
        return Err(Problem::new(&NOT_FOUND, format!("the problems are {}", known.join(", "))));
    };
    let text = format!("{} ({})\n\n{}\n", of.title, of.status, of.advice);
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text))
}
