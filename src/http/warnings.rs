//! What `/readyz` warns of: somebody should look, but this service is fine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;

use crate::ledger::command::Now;
use crate::ledger::directory::Directory;
use crate::ledger::{LedgerHandle, State};

use super::penalties::{self, PenaltyRow, Phase};
use super::problem::Problem;
use super::usage::{self, UsageRow};

/// Warnings that are listed, at most.
const WARNINGS_MAX: usize = 100;
/// Everybody may ask, without a key, and going through all counters is work: no oftener than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Serialize)]
pub(super) struct Warning {
    /// Null: it is not about one app.
    app: Option<String>,
    #[serde(rename = "warning")]
    what: &'static str,
    errcode: Option<i64>,
    advice: String,
}

/// The latest look at blocks and limits.
#[derive(Clone, Default)]
pub(super) struct Looked(Arc<Mutex<Option<Seen>>>);

type Seen = (Instant, Vec<Warning>);

impl Looked {
    /// Everything that there is to warn of.
    pub(super) async fn warnings(&self, ledger: &LedgerHandle) -> Result<Vec<Warning>, Problem> {
        let mut warnings = of_apps(&ledger.directory());
        let mut latest = self.0.lock().await;
        let fresh = latest.as_ref().filter(|(at, _)| at.elapsed() < LOOK_EVERY);
        let of_limits = match fresh {
            Some((_, warnings)) => warnings.clone(),
            None => latest.insert((Instant::now(), look(ledger).await?)).1.clone(),
        };
        warnings.extend(of_limits);
        warnings.truncate(WARNINGS_MAX);
        Ok(warnings)
    }
}

/// Apps without a token.
pub(super) fn of_apps(directory: &Directory) -> Vec<Warning> {
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
        Some(Warning { app: Some(label), what, errcode, advice })
    });
    trouble.take(WARNINGS_MAX).collect()
}

async fn look(ledger: &LedgerHandle) -> Result<Vec<Warning>, Problem> {
    let mut warnings = of_alerts(ledger).await?;
    warnings.extend(of_limits(ledger).await?);
    warnings.truncate(WARNINGS_MAX);
    Ok(warnings)
}

/// Alerts that nobody hears of.
async fn of_alerts(ledger: &LedgerHandle) -> Result<Vec<Warning>, Problem> {
    let look =
        |state: &State, now: Now| (state.alerts.dropped_lately(now.tick), state.alerts.is_full(now.tick));
    let (dropped, full) = ledger.read(look).await?;
    let warning = |what, advice: &str| Warning { app: None, what, errcode: None, advice: advice.to_owned() };
    let dropped = dropped.then(|| {
        warning("alerts_dropped", "within the last day more alerts waited for the webhook than it takes: some were not delivered; all are in the ledger: GET /v1/entries?kind=alert.raised")
    });
    let full = full.then(|| {
        warning("alerts_not_raised", "so many alerts are in force that further ones can't be remembered and are not raised; what they are about: GET /v1/entries?kind=alert.raised")
    });
    Ok(dropped.into_iter().chain(full).collect())
}

/// Calls that are refused for now: by WeCom's block, or because nothing is left.
async fn of_limits(ledger: &LedgerHandle) -> Result<Vec<Warning>, Problem> {
    let blocks = penalties::report(ledger, None).await?.penalties;
    let blocks = blocks.iter().filter(|row| matches!(row.state, Phase::Blocked | Phase::Trying));
    let used_up = usage::used_up(ledger, WARNINGS_MAX).await?;
    let keys = ledger.read(|state, _| state.meters.many_keys()).await.map_err(Problem::from)?;
    let warnings =
        keys.map(many_keys).into_iter().chain(blocks.map(blocked)).chain(used_up.iter().map(spent));
    Ok(warnings.take(WARNINGS_MAX).collect())
}

fn many_keys((kept, most): (usize, usize)) -> Warning {
    let advice = format!(
        "{kept} of {most} counters are in use; with all of them, calls that need a new one are refused: see docs/limits.md, \"How many keys\""
    );
    Warning { app: None, what: "many_keys", errcode: None, advice }
}

fn blocked(row: &PenaltyRow) -> Warning {
    let app = label(row.corp_id.as_deref(), row.agent_id.as_deref());
    let whose = app.clone().or(row.corp_id.clone()).or(row.egress_ip.clone()).unwrap_or_default();
    let api = row.api.as_deref().unwrap_or_default();
    let (until, seq, level) = (&row.until, row.seq, row.level.name());
    let advice = format!(
        "WeCom says that a limit per {level} is used up, so {api} of {whose} is held back until {until}; who had spent it: wecom-ledger incidents {seq}"
    );
    Warning { app, what: "blocked_by_wecom", errcode: Some(row.errcode), advice }
}

fn spent(row: &UsageRow) -> Warning {
    let UsageRow { limit, used, cap, .. } = row;
    let app = label(row.corp_id.as_deref(), row.agent_id.as_deref());
    let whose = [app.as_ref().or(row.corp_id.as_ref()), row.egress_ip.as_ref(), row.api.as_ref()];
    let whose: Vec<&str> = whose.into_iter().flatten().map(String::as_str).collect();
    let of = if whose.is_empty() { String::new() } else { format!(" of {}", whose.join(" ")) };
    let empty = row.resets_at.as_ref().map_or("never by itself".to_owned(), |at| format!("at {at}"));
    let advice =
        format!("{limit}{of} is used up, {used} of {cap}; empty {empty}: wecom-ledger usage --limit {limit}");
    Warning { app, what: "limit_used_up", errcode: None, advice }
}

fn label(corp_id: Option<&str>, agent_id: Option<&str>) -> Option<String> {
    Some(format!("{}/{}", corp_id?, agent_id?))
}
