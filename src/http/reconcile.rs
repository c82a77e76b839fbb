//! WeCom's own count of messages next to ours: what was compared, and to have it compared now.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use crate::gateway::{Asked, Gateway, OfApp};
use crate::ledger::canonical::instant;
use crate::ledger::delivered::{TRIES_MAX, Which, is_named};
use crate::ledger::directory::Directory;
use crate::ledger::entry::{Body, Entry, Reconciled, Scope, UsageReconciled};
use crate::ledger::{LedgerHandle, Seq};
use crate::quota::Day;
use crate::store::sqlite::Reader;

use super::params::{self, invalid, invalid_body, number};
use super::problem::{self, Problem};
use super::{HttpState, authenticate, body, known};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 200;
/// Apps that one request asks WeCom about.
const APPS_MAX: usize = 100;

/// What is to be listed; what is not given matches everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconciledQuery {
    pub corp: Option<String>,
    /// `CORP_ID/AGENT_ID`.
    pub app: Option<String>,
    /// `next` of the page before.
    pub before: Option<String>,
    pub limit: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ReconciledPage {
    pub reconciled: Vec<ReconciledRow>,
    /// The `before` of the next page.
    pub next: Option<Seq>,
}

/// What came of a request.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub reconciled: Vec<ReconciledRow>,
    pub failed: Vec<FailedRow>,
}

/// One day of one app: either the counts, or why there are none.
#[derive(Debug, Serialize)]
pub struct ReconciledRow {
    /// The `usage.reconciled` entry.
    pub seq: Seq,
    pub at: String,
    pub corp_id: Option<String>,
    pub agent_id: Option<String>,
    pub day: Day,
    pub so_far: bool,
    pub wecom: Option<u64>,
    pub counted: Option<u64>,
    pub at_least: Option<u64>,
    pub at_most: Option<u64>,
    pub difference: Option<i64>,
    pub unexplained: Option<i64>,
    pub failed: Option<String>,
    /// When it is tried again; null: no more.
    pub again_at: Option<String>,
    pub summary: String,
}

#[derive(Debug, Serialize)]
pub struct FailedRow {
    pub corp_id: Option<String>,
    pub agent_id: Option<String>,
    pub reason: String,
}

pub(super) async fn list(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Report)?;
    let query: ReconciledQuery = params::query(&request)?;
    let only = client.only_apps().map(<[Seq]>::to_vec);
    Ok(HttpResponse::Ok().json(page(&state.ledger, &state.reader, query, only).await?))
}

/// The newest first. `only`: of these apps.
pub async fn page(
    ledger: &LedgerHandle,
    reader: &Reader,
    query: ReconciledQuery,
    only: Option<Vec<Seq>>,
) -> Result<ReconciledPage, Problem> {
    let limit = number("limit", query.limit.as_ref())?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid(format!("limit must be 1 to {LIMIT_MAX}, not {limit}")));
    }
    let before: Option<Seq> = number("before", query.before.as_ref())?;
    let (corp, app) = (query.corp, query.app);
    let (seqs, directory) = ledger
        .read(move |state, _| {
            let directory = std::sync::Arc::clone(&state.directory);
            let wanted = wanted(&state.directory, corp.as_deref(), app.as_deref(), only.as_deref())?;
            let earlier = |seq: Seq| before.is_none_or(|before| seq < before);
            let found = state.delivered.recent().filter(|&(seq, app)| earlier(seq) && wanted(app));
            let seqs: Vec<Seq> = found.map(|(seq, _)| seq).take(limit + 1).collect();
            Ok::<_, Problem>((seqs, directory))
        })
        .await??;
    let reconciled = rows(reader, &directory, seqs.iter().take(limit)).await?;
    let next = (seqs.len() > limit).then(|| seqs.get(limit - 1).copied()).flatten();
    Ok(ReconciledPage { reconciled, next })
}

async fn rows(
    reader: &Reader,
    directory: &Directory,
    seqs: impl Iterator<Item = &Seq>,
) -> Result<Vec<ReconciledRow>, Problem> {
    let mut rows = Vec::new();
    for &seq in seqs {
        let Some(found) = reader.entry(seq).await? else { continue };
        let entry = found.entry().map_err(|error| Problem::internal(&error))?;
        if let Body::UsageReconciled(x) = &entry.body {
            rows.push(row(&entry, x, directory));
        }
    }
    Ok(rows)
}

/// Which apps are meant.
fn wanted<'a>(
    directory: &'a Directory,
    corp: Option<&str>,
    app: Option<&str>,
    only: Option<&'a [Seq]>,
) -> Result<impl Fn(Seq) -> bool + use<'a>, Problem> {
    let corp = corp.map(|corp_id| known::corp(directory, corp_id)).transpose()?;
    let app = app.map(|label| known::app(directory, label)).transpose()?;
    Ok(move |it: Seq| {
        app.is_none_or(|app| app == it)
            && corp.is_none_or(|corp| directory.apps.get(&it).is_some_and(|app| app.corp == corp))
            && only.is_none_or(|only| only.contains(&it))
    })
}

/// Apps that WeCom can be asked about: one that is named, or all whose id WeCom knows.
pub fn apps(
    directory: &Directory,
    corp: Option<&str>,
    app: Option<&str>,
    only: Option<&[Seq]>,
) -> Result<Vec<Seq>, Problem> {
    let wanted = wanted(directory, corp, app, only)?;
    let live = directory.live_apps().filter(|(_, it)| app.is_some() || is_named(&it.agent_id));
    Ok(live.map(|(app, _)| app).filter(|&app| wanted(app)).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// None: every corp.
    corp_id: Option<String>,
    /// None: every app.
    agent_id: Option<String>,
    #[serde(default)]
    day: Which,
}

pub(super) async fn request(
    state: web::Data<HttpState>,
    gateway: web::Data<Gateway>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Admin)?;
    let body = body::read(payload, body::SHORT).await?;
    let Wanted { corp_id, agent_id, day } = params::json(if body.is_empty() { b"{}" } else { &body })?;
    let app = match (&corp_id, agent_id) {
        (Some(corp_id), Some(agent_id)) => Some(format!("{corp_id}/{agent_id}")),
        (None, Some(_)) => return Err(invalid_body("agent_id needs corp_id")),
        (_, None) => None,
    };
    let apps = apps(&client.directory, corp_id.as_deref(), app.as_deref(), client.only_apps())
        .map_err(|problem| Problem::new(&problem::NOT_FOUND, problem.detail))?;
    if apps.len() > APPS_MAX {
        let what = format!("these are {} apps, and {APPS_MAX} can be asked about at once", apps.len());
        return Err(invalid_body(format!("{what}; choose with corp_id and agent_id")));
    }
    let results =
        gateway.into_inner().reconcile_each(apps, day, Asked::Requested(Some(client.api_key))).await;
    Ok(HttpResponse::Ok().json(report(&state.reader, &client.directory, results).await?))
}

/// What came of asking about these apps.
pub async fn report(reader: &Reader, directory: &Directory, results: Vec<OfApp>) -> Result<Report, Problem> {
    let (mut written, mut failed) = (Vec::new(), Vec::new());
    for (app, result) in results {
        match result {
            Ok(done) => written.extend(done.map(|(seq, _)| seq)),
            Err(error) => {
                let (corp_id, agent_id) = label(Some(app), directory);
                failed.push(FailedRow { corp_id, agent_id, reason: error.to_string() });
            }
        }
    }
    Ok(Report { reconciled: rows(reader, directory, written.iter()).await?, failed })
}

fn label(app: Option<Seq>, directory: &Directory) -> (Option<String>, Option<String>) {
    let Some(app) = app.and_then(|app| directory.apps.get(&app)) else { return (None, None) };
    (directory.corps.get(&app.corp).map(|corp| corp.corp_id.clone()), Some(app.agent_id.clone()))
}

fn row(entry: &Entry, x: &UsageReconciled, directory: &Directory) -> ReconciledRow {
    let (corp_id, agent_id) = label(entry.refs.app, directory);
    let (compared, failed) = match &x.outcome {
        Reconciled::Compared(compared) => (Some(compared), None),
        Reconciled::Failed(failed) => (None, Some(failed)),
    };
    let again = failed.filter(|it| it.tries < TRIES_MAX).map(|it| it.again_tick);
    ReconciledRow {
        seq: entry.seq,
        at: instant(entry.at),
        corp_id,
        agent_id,
        day: x.day,
        so_far: compared.is_some_and(|it| it.so_far),
        wecom: compared.map(|it| it.wecom),
        counted: compared.map(|it| it.counted),
        at_least: compared.map(|it| it.at_least),
        at_most: compared.and_then(|it| it.at_most),
        difference: compared.map(|it| it.difference),
        unexplained: compared.map(|it| it.unexplained),
        failed: failed.map(|it| it.failed.clone()),
        again_at: again.map(|tick| instant(entry.at.saturating_add(tick.saturating_sub(entry.tick)))),
        summary: x.in_words(),
    }
}
