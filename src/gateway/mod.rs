//! The gateway: `/cgi-bin/…`, as SDKs know it.
//!
//! Reading order: this file (what comes in), `auth` (who calls), `spool` (the body), `call` (one call from its
//! admission to its outcome), `cost` (what it takes, and what its answer teaches), `relay` (the answer's way back),
//! `outgoing` (answers).

mod auth;
mod call;
mod cost;
mod gettoken;
pub mod outgoing;
mod own;
mod reconcile;
mod relay;
mod spool;
mod token;

pub use reconcile::{AT_ONCE, Asked, NotReconciled, OfApp};

pub(crate) use cost::{Hasher, Unsent, ask_of, shown_unsent};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::{Semaphore, oneshot};

use crate::admission::{Admission, Wait};
use crate::broker::Broker;
use crate::ledger::LedgerHandle;
use crate::ledger::command::Caller;
use crate::ledger::entry::Scope;
use crate::vault::Vault;
use crate::wecom::catalogue::{Api, Credential, Issues};
use crate::wecom::client::{Method, Timeouts, Upstream};
use crate::wecom::headers;
use crate::wecom::path::ApiName;
use crate::wecom::query::Query;
use crate::wecom::reply::Reply;

use auth::{Identity, Presented};
use call::Call;
use outgoing::Outgoing;
use spool::SpoolError;

/// Bodies too large for memory that are kept at the same time; one more waits.
const LARGE_BODIES_MAX: usize = 64;
/// Calls with such a body wait in line only while so many more would find a place.
const LARGE_BODIES_SPARE: usize = LARGE_BODIES_MAX / 2;

#[derive(Debug, Clone)]
pub struct Settings {
    pub timeouts: Timeouts,
    /// The whole of a call, with the transfer of its answer.
    pub total_timeout: Duration,
    pub body_max: u64,
    pub messages: Messages,
    /// Where large bodies are kept, without a name.
    pub spool_dir: PathBuf,
}

/// What of a message counts although the answer says that it did not arrive. WeCom does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Messages {
    /// A message that WeCom refused as a whole.
    pub failed_count: bool,
    pub invalid_recipients_count: bool,
}

pub struct Gateway {
    ledger: LedgerHandle,
    admission: Arc<Admission>,
    vault: Arc<Vault>,
    broker: Arc<Broker>,
    upstream: Upstream,
    settings: Settings,
    large_bodies: Arc<Semaphore>,
    /// Calls run here, detached from their connection: a client that hangs up cancels no ledger work.
    runtime: tokio::runtime::Handle,
    /// One clone for each call under way.
    under_way: Arc<()>,
}

impl Gateway {
    /// Calls that have begun and are not settled, whether or not their client still waits.
    pub fn calls_under_way(&self) -> usize {
        Arc::strong_count(&self.under_way) - 1
    }

    /// Calls run on the runtime that this is called on.
    pub fn new(
        ledger: LedgerHandle,
        admission: Arc<Admission>,
        vault: Arc<Vault>,
        broker: Arc<Broker>,
        upstream: Upstream,
        settings: Settings,
    ) -> Arc<Self> {
        let runtime = tokio::runtime::Handle::current();
        let large_bodies = Arc::new(Semaphore::new(LARGE_BODIES_MAX));
        Arc::new(Self {
            ledger,
            admission,
            vault,
            broker,
            upstream,
            settings,
            large_bodies,
            runtime,
            under_way: Arc::default(),
        })
    }
}

/// Registers every path below `/cgi-bin`.
pub fn configure(config: &mut ServiceConfig, gateway: &Arc<Gateway>) {
    config
        .app_data(Data::from(Arc::clone(gateway)))
        .service(web::scope("/cgi-bin").default_service(web::to(handle)));
}

async fn handle(gateway: Data<Gateway>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let gateway = gateway.into_inner();
    let outgoing = match answer(&gateway, &request, payload).await {
        Ok(outgoing) | Err(outgoing) => outgoing,
    };
    outgoing.into_response()
}

async fn answer(
    gateway: &Arc<Gateway>,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Outgoing, Outgoing> {
    let own = |reply: Reply| Outgoing::own(&reply);
    let invalid = |error: String| own(Reply::parameter_invalid(&error));
    let api = ApiName::parse(request.uri().path()).map_err(|error| invalid(error.to_string()))?;
    let query = Query::parse(request.query_string()).map_err(|error| invalid(error.to_string()))?;
    if api.as_str() == "gettoken" {
        return Ok(gettoken::answer(gateway, &query).await);
    }
    let method = Method::from_bytes(request.method().as_str().as_bytes())
        .ok()
        .filter(|method| matches!(*method, Method::GET | Method::POST))
        .ok_or_else(|| invalid(format!("WeCom's APIs take GET and POST, not {}", request.method())))?;
    let presented = Presented { bearer: bearer(request), app: header(request, "x-wecom-app") };
    let identity = auth::identify(&gateway.ledger, &gateway.vault, &query, &presented).await.map_err(own)?;
    auth::still_counts(&gateway.ledger, identity).await.map_err(own)?;
    let param = credential_param(gateway, identity, api.api()).map_err(own)?;
    let body = take_body(gateway, request, payload).await?;
    let names = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = headers::to_upstream(names)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect();
    let ask = cost::ask(gateway, identity, &api, &query, &body).await;
    let ask =
        ask.map_err(|error| own(Reply::try_again(&format!("the request body could not be read: {error}"))))?;
    let ticket = gateway.admission.ticket(preferred_wait(gateway, request, &body));
    let call = Call { identity, api, method, query, param, headers, body, ask, ticket };
    let (answer, answered) = oneshot::channel();
    let (gateway_too, under_way) = (Arc::clone(gateway), Arc::clone(&gateway.under_way));
    gateway.runtime.spawn(async move {
        call::run(gateway_too, call, answer).await;
        drop(under_way);
    });
    answered
        .await
        .map_err(|_| own(Reply::outcome_unknown("the gateway failed while it made this call; see its log")))
}

async fn take_body(
    gateway: &Gateway,
    request: &HttpRequest,
    payload: Payload,
) -> Result<spool::Spooled, Outgoing> {
    let declared = header(request, "content-length").and_then(|length| length.parse().ok());
    let Settings { body_max, spool_dir, .. } = &gateway.settings;
    let spooled = spool::spool(payload, declared, *body_max, spool_dir, &gateway.large_bodies).await;
    spooled.map_err(|error| {
        let reply = match &error {
            SpoolError::TooLong(_) | SpoolError::Client(_) => Reply::refused(&error.to_string()),
            SpoolError::Disk(_) | SpoolError::Full => Reply::try_again(&error.to_string()),
        };
        // The rest of the body was not read, so the connection can't carry another request.
        Outgoing { close: true, ..Outgoing::own(&reply) }
    })
}

/// How long the call may wait for room in a limit. Large bodies must not take all their places by waiting.
fn preferred_wait(gateway: &Gateway, request: &HttpRequest, body: &spool::Spooled) -> Option<Wait> {
    let wait = Wait::preferred(request.headers().get_all("prefer").map(HeaderValue::as_bytes))?;
    let spare = gateway.large_bodies.available_permits() >= LARGE_BODIES_SPARE;
    (spare || !body.is_large()).then_some(wait)
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = header(request, "authorization")?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The query parameter under which this API wants its credential; none if it wants none.
fn credential_param(
    gateway: &Gateway,
    identity: Identity,
    api: Option<&Api>,
) -> Result<Option<&'static str>, Reply> {
    let Some(api) = api else { return Ok(Some("access_token")) };
    match api.issues {
        None => {}
        Some(Issues::JsapiTicket | Issues::AgentTicket) if may_reveal(gateway, identity) => {}
        Some(Issues::JsapiTicket | Issues::AgentTicket) => {
            return Err(Reply::api_forbidden(
                "tickets are credentials: the API key needs the scope `reveal`",
            ));
        }
        Some(_) => {
            return Err(Reply::api_forbidden("this gateway does not hand out this kind of credential"));
        }
    }
    match api.credential {
        Credential::AccessToken => Ok(api.param),
        Credential::WebhookKey => Ok(None),
        Credential::SuiteAccessToken
        | Credential::ProviderAccessToken
        | Credential::Body
        | Credential::None => Err(Reply::api_forbidden(
            "this API takes a credential that this gateway does not hold for this app",
        )),
    }
}

fn may_reveal(gateway: &Gateway, identity: Identity) -> bool {
    match identity.caller {
        Caller::Key(key) => {
            gateway.ledger.directory().api_keys.get(&key).is_some_and(|key| key.has(Scope::Reveal))
        }
        // Whoever holds the app's secret can ask WeCom itself.
        Caller::Secret(_) => true,
    }
}
