//! Fetches credentials. Every kind is one small JSON answer with a value and its life in seconds; they differ only in
//! where the request's secrets go and how the value is called.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{self, Kind},
    client::{BodyError, Method, Request, RequestBody, Response, SendError, Timeouts, Upstream},
    errmsg::ErrMsg,
    path::ApiName,
    query,
};

/// No credential is longer, by WeCom's documentation.
pub const MAX_CREDENTIAL_LEN: usize = 512;
/// All credentials live for 7200 s. A longer life is cut to this: believing a wrong one costs failed calls for as long
/// as it lasts, doubting a right one costs one fetch a day.
pub const MAX_EXPIRES_IN: i64 = 86_400;

const MAX_ANSWER: usize = 64 * 1024;

/// A credential to ask for, with what it takes to get it.
#[derive(Debug, Clone)]
pub enum CredentialRequest {
    AccessToken { corp_id: String, secret: SecretString },
    JsapiTicket { access_token: SecretString },
    AgentTicket { access_token: SecretString },
    SuiteToken { suite_id: String, suite_secret: SecretString, suite_ticket: SecretString },
    ProviderToken { corp_id: String, provider_secret: SecretString },
    CorpToken { suite_access_token: SecretString, auth_corp_id: String, permanent_code: SecretString },
}

/// What became of a fetch.
#[derive(Debug, Clone)]
pub enum FetchOutcome {
    Issued {
        token: SecretString,
        /// Seconds, within 1..=[`MAX_EXPIRES_IN`].
        expires_in: i64,
    },
    /// WeCom said no.
    Refused { errcode: i64, message: ErrMsg, http_status: u16 },
    /// No byte of the request was written.
    NotSent { reason: String },
    /// Anything else; the fetch may have counted.
    Unknown { reason: String, timed_out: bool },
}

/// Where credentials come from: WeCom, or a stand-in in tests.
pub trait TokenSource: Send + Sync {
    fn fetch<'a>(&'a self, request: &'a CredentialRequest, timeout: Duration) -> BoxFuture<'a, FetchOutcome>;
}

impl TokenSource for Upstream {
    fn fetch<'a>(&'a self, request: &'a CredentialRequest, timeout: Duration) -> BoxFuture<'a, FetchOutcome> {
        self.fetch_credential(request, timeout).boxed()
    }
}

impl Upstream {
    pub async fn gettoken(&self, corp_id: &str, secret: &SecretString, timeout: Duration) -> FetchOutcome {
        let request = CredentialRequest::AccessToken { corp_id: corp_id.to_owned(), secret: secret.clone() };
        self.fetch_credential(&request, timeout).await
    }

    /// Fetches one credential; `timeout` bounds the whole of it.
    pub async fn fetch_credential(&self, request: &CredentialRequest, timeout: Duration) -> FetchOutcome {
        match tokio::time::timeout(timeout, self.exchange(request, timeout)).await {
            Ok(outcome) => outcome,
            Err(_) => unknown(format!("no whole answer within {timeout:?}"), true),
        }
    }

    async fn exchange(&self, request: &CredentialRequest, timeout: Duration) -> FetchOutcome {
        let wire = request.wire();
        let api = match ApiName::parse(wire.path) {
            Ok(api) => api,
            Err(error) => return FetchOutcome::NotSent { reason: error.to_string() },
        };
        let json: &[(&str, &[u8])] = &[("content-type", b"application/json")];
        let (method, headers, body) = match wire.body {
            None => (Method::GET, Vec::new(), RequestBody::Empty),
            Some(body) => (Method::POST, json.to_vec(), RequestBody::Bytes(body)),
        };
        let timeouts = Timeouts { head: timeout, idle: timeout };
        let sent = self.send(Request { method, api: &api, query: wire.query, headers, body, timeouts }).await;
        match sent {
            Ok(response) => read_answer(response, wire.field).await,
            Err(SendError::NotSent { reason }) => FetchOutcome::NotSent { reason },
            Err(SendError::Unknown { reason, timed_out }) => unknown(reason, timed_out),
        }
    }
}

/// A request as it goes over the wire.
struct Wire {
    path: &'static str,
    query: SecretString,
    /// JSON; without one the request is a GET.
    body: Option<Bytes>,
    /// The name of the credential in the answer.
    field: Field,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    AccessToken,
    Ticket,
    SuiteAccessToken,
    ProviderAccessToken,
}

impl CredentialRequest {
    /// The API that issues it.
    pub fn api(&self) -> &'static str {
        let path = self.wire().path;
        path.strip_prefix("/cgi-bin/").unwrap_or(path)
    }

    fn wire(&self) -> Wire {
        match self {
            Self::AccessToken { corp_id, secret } => {
                let query = format!("corpid={}&corpsecret={}", query::encode(corp_id), encoded(secret));
                get("/cgi-bin/gettoken", query, Field::AccessToken)
            }
            Self::JsapiTicket { access_token } => {
                let query = format!("access_token={}", encoded(access_token));
                get("/cgi-bin/get_jsapi_ticket", query, Field::Ticket)
            }
            Self::AgentTicket { access_token } => {
                let query = format!("access_token={}&type=agent_config", encoded(access_token));
                get("/cgi-bin/ticket/get", query, Field::Ticket)
            }
            Self::SuiteToken { suite_id, suite_secret, suite_ticket } => {
                let (secret, ticket) = (suite_secret.expose_secret(), suite_ticket.expose_secret());
                let body = json!({"suite_id": suite_id, "suite_secret": secret, "suite_ticket": ticket});
                post("/cgi-bin/service/get_suite_token", String::new(), &body, Field::SuiteAccessToken)
            }
            Self::ProviderToken { corp_id, provider_secret } => {
                let body = json!({"corpid": corp_id, "provider_secret": provider_secret.expose_secret()});
                post("/cgi-bin/service/get_provider_token", String::new(), &body, Field::ProviderAccessToken)
            }
            Self::CorpToken { suite_access_token, auth_corp_id, permanent_code } => {
                let query = format!("suite_access_token={}", encoded(suite_access_token));
                let body =
                    json!({"auth_corpid": auth_corp_id, "permanent_code": permanent_code.expose_secret()});
                post("/cgi-bin/service/get_corp_token", query, &body, Field::AccessToken)
            }
        }
    }
}

fn get(path: &'static str, query: String, field: Field) -> Wire {
    Wire { path, query: query.into(), body: None, field }
}

fn post(path: &'static str, query: String, body: &Value, field: Field) -> Wire {
    Wire { path, query: query.into(), body: Some(body.to_string().into()), field }
}

fn encoded(secret: &SecretString) -> String {
    query::encode(secret.expose_secret())
}

async fn read_answer(response: Response, field: Field) -> FetchOutcome {
    let status = response.status;
    let headers = response.headers.clone();
    let body = match response.body.read_all(MAX_ANSWER).await {
        Ok(body) => body,
        Err(error) => return unknown(error.to_string(), matches!(error, BodyError::TimedOut(_))),
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let head = answer::Head {
        status: status.as_u16(),
        content_type: text("content-type"),
        error_code: text("error-code"),
        attachment: false,
    };
    let answer = answer::inspect(&head, &body, true);
    match (answer.kind, answer.errcode) {
        (Kind::Json, Some(0)) if status.is_success() => issued(&body, field),
        (Kind::Json, Some(errcode)) if errcode != 0 => {
            let message = ErrMsg { text: answer.errmsg, hint: answer.hint, from_ip: answer.from_ip };
            FetchOutcome::Refused { errcode, message, http_status: status.as_u16() }
        }
        _ => unknown(format!("HTTP {} without an answer of WeCom", status.as_u16()), false),
    }
}

#[derive(Deserialize)]
struct Issued {
    access_token: Option<String>,
    ticket: Option<String>,
    suite_access_token: Option<String>,
    provider_access_token: Option<String>,
    expires_in: Option<Value>,
}

fn issued(body: &[u8], field: Field) -> FetchOutcome {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    // The parser's own message could quote the value.
    let Ok(found) = serde_json::from_slice::<Issued>(body) else {
        return unknown("the answer's fields have unexpected types".to_owned(), false);
    };
    let token = match field {
        Field::AccessToken => found.access_token,
        Field::Ticket => found.ticket,
        Field::SuiteAccessToken => found.suite_access_token,
        Field::ProviderAccessToken => found.provider_access_token,
    };
    let Some(token) = token.filter(|token| is_plausible(token)) else {
        return unknown("the answer holds no usable credential".to_owned(), false);
    };
    let seconds = match found.expires_in {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    match seconds {
        Some(seconds) if seconds > 0 => {
            FetchOutcome::Issued { token: token.into(), expires_in: seconds.min(MAX_EXPIRES_IN) }
        }
        _ => unknown("the answer holds no usable expires_in".to_owned(), false),
    }
}

fn is_plausible(token: &str) -> bool {
    (1..=MAX_CREDENTIAL_LEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
}

fn unknown(reason: String, timed_out: bool) -> FetchOutcome {
    FetchOutcome::Unknown { reason, timed_out }
}

#[cfg(test)]
#[path = "issue_tests.rs"]
mod tests;
