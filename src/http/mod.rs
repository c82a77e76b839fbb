//! The REST interface: health, entries, usage, and calls that clients make themselves.
//!
//! Nothing here decides: handlers check who asks, ask the ledger, and put its answer into HTTP.

mod act;
mod auth;
mod body;
mod calls;
pub mod declare;
mod entries;
pub mod forecast;
mod health;
pub mod incidents;
mod known;
pub mod limits;
mod many;
pub mod members;
mod once;
mod order;
mod params;
pub mod penalties;
pub mod present;
pub mod problem;
pub mod reconcile;
mod settle;
mod spenders;
pub mod usage;
mod warnings;

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod call_tests;
#[cfg(test)]
mod incident_tests;
#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod once_tests;
#[cfg(test)]
mod problem_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admission::Admission;
use crate::clock::Clock;
use crate::datadir::Opened;
use crate::gateway::Messages;
use crate::ledger::LedgerHandle;
use crate::store::sqlite::Reader;
use crate::vault::Vault;

pub use auth::{Client, authenticate};
pub use problem::Problem;

/// Requests that read much, at the same time: half of the reader's connections.
const SLOW_AT_ONCE: usize = 2;
/// How long such a request waits for its place.
const SLOW_WAIT: Duration = Duration::from_secs(10);

/// What handlers work with. A cheap clone; register it once, as `web::Data<HttpState>`.
#[derive(Clone)]
pub struct HttpState {
    pub ledger: LedgerHandle,
    pub admission: Arc<Admission>,
    pub reader: Reader,
    pub vault: Arc<Vault>,
    pub clock: Arc<dyn Clock>,
    messages: Messages,
    draining: Arc<AtomicBool>,
    /// Places for requests that reserve many calls.
    many: Arc<Semaphore>,
    /// Places for requests that read much: they must leave connections to those that read one entry.
    slow: Arc<Semaphore>,
    looked: warnings::Looked,
}

impl HttpState {
    pub fn new(opened: &Opened, admission: Arc<Admission>, messages: Messages) -> Self {
        Self {
            ledger: opened.ledger.clone(),
            admission,
            reader: opened.reader.clone(),
            vault: Arc::clone(&opened.vault),
            clock: Arc::clone(&opened.clock),
            messages,
            draining: Arc::default(),
            many: Arc::new(Semaphore::new(many::AT_ONCE)),
            slow: Arc::new(Semaphore::new(SLOW_AT_ONCE)),
            looked: warnings::Looked::default(),
        }
    }

    /// A place among those that read much, held until it is dropped.
    async fn slow(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let waiting = tokio::time::timeout(SLOW_WAIT, Arc::clone(&self.slow).acquire_owned());
        let place = waiting.await.ok().and_then(Result::ok);
        let busy = || Problem::new(&problem::BUSY, "other requests read much already").retry_after(1);
        place.ok_or_else(busy)
    }

    /// From now on `/readyz` asks for traffic to be sent elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// Everything but `/cgi-bin`; needs a `web::Data<HttpState>` in the application.
pub fn configure(cfg: &mut ServiceConfig) {
    // Routes are tried in order: the busiest first.
    cfg.service(
        web::scope("/v1")
            .wrap(DefaultHeaders::new().add(("cache-control", "no-store")))
            .service(only("/calls", "POST", web::post().to(calls::reserve)))
            .service(only("/calls/check", "POST", web::post().to(calls::check)))
            .service(only("/calls/{id}/post", "POST", web::post().to(settle::post)))
            .service(only("/calls/{id}/void", "POST", web::post().to(settle::void)))
            .service(only("/entries", "GET", web::get().to(entries::page)))
            .service(only("/entries/{seq}", "GET", web::get().to(entries::one)))
            .service(only("/incidents", "GET", web::get().to(incidents::page)))
            .service(only("/incidents/{seq}", "GET", web::get().to(incidents::get)))
            .service(only("/penalties", "GET", web::get().to(penalties::get)))
            .service(only("/penalties/{seq}/clear", "POST", web::post().to(penalties::clear)))
            .service(
                only("/members", "GET, POST", web::get().to(members::get))
                    .route(web::post().to(members::declare)),
            )
            .service(
                only("/limits", "GET, POST", web::get().to(limits::get))
                    .route(web::post().to(limits::change)),
            )
            .service(only("/usage", "GET", web::get().to(usage::get)))
            .service(only("/usage/forecast", "GET", web::get().to(forecast::get)))
            .service(only("/usage/reconciled", "GET", web::get().to(reconcile::list)))
            .service(only("/usage/reconcile", "POST", web::post().to(reconcile::request)))
            .service(only("/usage/declare", "POST", web::post().to(declare::declare)))
            .default_service(web::to(not_found)),
    )
    .service(
        only("/healthz", "GET, HEAD", web::get().to(health::healthz)).route(web::head().to(health::healthz)),
    )
    .service(
        only("/readyz", "GET, HEAD", web::get().to(health::readyz)).route(web::head().to(health::readyz)),
    )
    .service(only("/problems/{slug}", "GET", web::get().to(problem::describe)))
    .default_service(web::to(not_found));
}

/// A resource with one method; another one is a problem, not an empty 405.
fn only(path: &str, allow: &'static str, route: Route) -> Resource {
    let refuse = move || async move { Err::<HttpResponse, _>(Problem::method_not_allowed(allow)) };
    web::resource(path).route(route).default_service(web::to(refuse))
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::new(
        &problem::NOT_FOUND,
        "there is nothing at this path; WeCom's APIs are below /cgi-bin/, ours below /v1/",
    ))
}
