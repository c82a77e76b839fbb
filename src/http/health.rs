//! Whether this process lives, and whether it can do its work.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::ledger::LedgerError;

use super::HttpState;
use super::warnings::{self, Warning};

/// How long the ledger may take to show that it is alive.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    /// The newest entry.
    ledger: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    warnings: Vec<Warning>,
}

pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(serde_json::json!({"status": "ok"}))
}

/// 503 only where this service can't do its work: another one could.
pub(super) async fn readyz(state: web::Data<HttpState>) -> HttpResponse {
    let alive = tokio::time::timeout(PATIENCE, state.ledger.read(|_, _| ())).await;
    let reason = match alive {
        _ if state.is_draining() => Some("this process is draining".to_owned()),
        // Too much to do is not the same as not being able to.
        Ok(Ok(()) | Err(LedgerError::Busy)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the ledger does not answer".to_owned()),
    };
    let warnings = warnings(&state, reason.is_none()).await;
    let status = match (&reason, warnings.is_empty()) {
        (Some(_), _) => "unavailable",
        (None, true) => "ready",
        (None, false) => "ready_with_warnings",
    };
    let mut response = match reason {
        None => HttpResponse::Ok(),
        Some(_) => HttpResponse::ServiceUnavailable(),
    };
    response.insert_header(("cache-control", "no-store")).json(Readiness {
        status,
        ledger: state.ledger.head(),
        reason,
        warnings,
    })
}

/// Of a ledger that does not answer only what is known without it.
async fn warnings(state: &HttpState, answers: bool) -> Vec<Warning> {
    let known = || warnings::of_apps(&state.ledger.directory());
    if !answers {
        return known();
    }
    let looked = tokio::time::timeout(PATIENCE, state.looked.warnings(&state.ledger)).await;
    looked.ok().and_then(Result::ok).unwrap_or_else(known)
}
