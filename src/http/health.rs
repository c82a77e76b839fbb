//! Whether this process lives, and whether it can do its work.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::ledger::LedgerError;
use crate::ledger::directory::Directory;

use super::HttpState;

/// How long the ledger may take to show that it is alive.
const PATIENCE: Duration = Duration::from_secs(3);
/// Warnings that are listed, at most.
const WARNINGS_MAX: usize = 100;

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    /// The newest entry.
    ledger: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    warnings: Vec<Warning>,
}

/// An app's trouble with WeCom: somebody should look, but this service is fine.
#[derive(Serialize)]
struct Warning {
    app: String,
    #[serde(rename = "warning")]
    what: &'static str,
    errcode: Option<i64>,
    advice: String,
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
    let warnings = warnings(&state.ledger.directory());
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

fn warnings(directory: &Directory) -> Vec<Warning> {
    let trouble = directory.live_apps().filter_map(|(seq, app)| {
        let label = directory.app_label(seq)?;
        let credential = &app.credential;
        let (what, errcode, advice) = match (credential.blocked, &credential.last_failure) {
            (Some(errcode), _) => (
                "secret_rejected",
                Some(errcode),
                format!("WeCom rejects its secret; give the right one: wecom-ledger app add {label} --secret-file FILE"),
            ),
            (None, Some(failure)) if credential.failures > 0 => (
                "token_fetch_failing",
                failure.errcode,
                format!("{} token fetches in a row have failed; see its credential entries", credential.failures),
            ),
            _ => return None,
        };
        Some(Warning { app: label, what, errcode, advice })
    });
    trouble.take(WARNINGS_MAX).collect()
}
