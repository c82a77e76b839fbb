//! What happened when WeCom said that a limit is used up: what we had counted, and who had spent it.
//!
//! The state keeps the numbers of the latest incidents alone; everything else is read from the entries when it is
//! asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Datelike as _;
use serde::{Deserialize, Serialize};

use crate::ledger::canonical::instant;
use crate::ledger::decide::until_midnight;
use crate::ledger::directory::Directory;
use crate::ledger::entry::{Blocks, Body, PenaltyLevel, PenaltyStarted, Scope};
use crate::ledger::penalties::Penalty;
use crate::ledger::{LedgerHandle, Row, Seq};
use crate::quota::{Dimension, Limit, Unit, Window};
use crate::store::sqlite::{Counted, Reader};

use super::params::{self, invalid, number};
use super::penalties::Phase;
use super::problem::{self, Problem};
use super::spenders::{self, Recount, Share};
use super::{HttpState, authenticate};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 200;

/// Looked at where no limit of ours is likely to be the one that WeCom means.
const WINDOWS_MS: [i64; 2] = [60_000, 3_600_000];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    before: Option<String>,
    limit: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct IncidentPage {
    pub incidents: Vec<Incident>,
    /// The `before` of the next page.
    pub next: Option<Seq>,
}

#[derive(Debug, Serialize)]
pub struct Incident {
    /// The `penalty.started` entry.
    pub seq: Seq,
    pub at: String,
    pub corp_id: Option<String>,
    pub agent_id: Option<String>,
    pub api: Option<String>,
    pub level: PenaltyLevel,
    pub blocks: Blocks,
    pub errcode: i64,
    /// The call or fetch that WeCom refused.
    pub call_seq: Seq,
    pub hint: Option<String>,
    pub from_ip: Option<String>,
    /// The limit that WeCom most likely means: the one that we had counted nearly full.
    pub limit: Option<String>,
    /// What we had counted at that moment.
    pub counted: Vec<Drift>,
    pub until: String,
    pub state: Phase,
    pub over: bool,
    pub summary: String,
    /// Only where one incident is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<Vec<Recount>>,
}

#[derive(Debug, Serialize)]
pub struct Drift {
    pub limit: String,
    pub used: u64,
    pub cap: u64,
    /// What WeCom must have counted that we did not see, if this is the limit.
    pub unseen: u64,
}

/// What of the state is needed besides the entries.
struct Known {
    /// Oldest first.
    incidents: Vec<Seq>,
    penalties: Vec<Penalty>,
    limits: Vec<Limit>,
    directory: Arc<Directory>,
    egress_ips: BTreeMap<String, Seq>,
    tick: i64,
}

async fn known(ledger: &LedgerHandle) -> Result<Known, Problem> {
    let known = ledger
        .read(|state, now| Known {
            incidents: state.penalties.incidents.iter().copied().collect(),
            penalties: state.penalties.iter().map(|(_, penalty)| penalty.clone()).collect(),
            limits: state.meters.limits().cloned().collect(),
            directory: Arc::clone(&state.directory),
            egress_ips: state.egress_ips.clone(),
            tick: now.tick,
        })
        .await?;
    Ok(known)
}

pub(super) async fn page(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Report)?;
    let params: Params = params::query(&request)?;
    let before = number("before", params.before.as_ref())?;
    let limit = number("limit", params.limit.as_ref())?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid(format!("limit must be 1 to {LIMIT_MAX}, not {limit}")));
    }
    let page = list(&state.ledger, &state.reader, before, limit, client.only_apps()).await?;
    Ok(HttpResponse::Ok().json(page))
}

pub(super) async fn get(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Report)?;
    let seq = params::seq(&request, "seq")?;
    let _place = state.slow().await?;
    let incident = one(&state.ledger, &state.reader, seq, client.only_apps()).await?;
    Ok(HttpResponse::Ok().json(incident))
}

/// The newest first. `only`: of these apps.
pub async fn list(
    ledger: &LedgerHandle,
    reader: &Reader,
    before: Option<Seq>,
    limit: usize,
    only: Option<&[Seq]>,
) -> Result<IncidentPage, Problem> {
    let known = known(ledger).await?;
    let earlier = |seq: &&Seq| before.is_none_or(|before| **seq < before);
    let mut incidents = Vec::new();
    for &seq in known.incidents.iter().rev().filter(earlier) {
        if incidents.len() > limit {
            break;
        }
        if let Some((row, x)) = started(reader, seq, only).await? {
            incidents.push(incident(&row, x, &known));
        }
    }
    let more = incidents.len() > limit;
    incidents.truncate(limit);
    let next = incidents.last().map(|last| last.seq).filter(|_| more);
    Ok(IncidentPage { incidents, next })
}

/// One incident, with who had spent what.
pub async fn one(
    ledger: &LedgerHandle,
    reader: &Reader,
    seq: Seq,
    only: Option<&[Seq]>,
) -> Result<Incident, Problem> {
    let known = known(ledger).await?;
    let not_found = || Problem::new(&problem::NOT_FOUND, format!("there is no incident {seq}"));
    let (row, x) = started(reader, seq, only).await?.ok_or_else(not_found)?;
    let spent = spent(reader, &known, &row, &x, only).await?;
    let mut incident = incident(&row, x, &known);
    incident.spent = Some(spent);
    Ok(incident)
}

/// The entry, if it is such a one and may be seen.
async fn started(
    reader: &Reader,
    seq: Seq,
    only: Option<&[Seq]>,
) -> Result<Option<(Row, PenaltyStarted)>, Problem> {
    let Some(row) = reader.entry(seq).await? else { return Ok(None) };
    let visible = only.is_none_or(|only| row.app.is_some_and(|app| only.contains(&app)));
    match row.entry().map_err(|error| Problem::internal(&error))?.body {
        Body::PenaltyStarted(x) if visible => Ok(Some((row, x))),
        _ => Ok(None),
    }
}

fn incident(row: &Row, x: PenaltyStarted, known: &Known) -> Incident {
    let directory = &known.directory;
    let api = row.api.and_then(|api| directory.apis.get(&api).cloned());
    let phase = Phase::of(known.penalties.iter().find(|it| it.started == row.seq), known.tick);
    let counted: Vec<Drift> = x
        .counted
        .into_iter()
        .map(|it| Drift {
            limit: it.limit,
            used: it.used,
            cap: it.cap,
            unseen: it.cap.saturating_sub(it.used),
        })
        .collect();
    let summary = summary(api.as_deref().unwrap_or_default(), x.level, x.limit.as_deref(), &counted);
    Incident {
        seq: row.seq,
        at: instant(row.at),
        corp_id: row.corp.and_then(|corp| Some(directory.corps.get(&corp)?.corp_id.clone())),
        agent_id: row.app.and_then(|app| Some(directory.apps.get(&app)?.agent_id.clone())),
        api,
        level: x.level,
        blocks: x.blocks,
        errcode: x.errcode,
        call_seq: x.call_seq,
        hint: x.hint,
        from_ip: x.from_ip,
        limit: x.limit,
        counted,
        until: instant(row.at.saturating_add(x.until_tick.saturating_sub(row.tick))),
        state: phase,
        over: phase == Phase::Over,
        summary,
        spent: None,
    }
}

/// "WeCom says full, we counted so many."
fn summary(api: &str, level: PenaltyLevel, limit: Option<&str>, counted: &[Drift]) -> String {
    if level == PenaltyLevel::Concurrent {
        return format!("WeCom says that too many calls of {api} run at the same time.");
    }
    let so_many = |it: &Drift| format!("{} of {} in {}", it.used, it.cap, it.limit);
    if let Some(meant) = limit.and_then(|limit| counted.iter().find(|it| it.limit == limit)) {
        return format!(
            "WeCom says that a limit of {api} is used up; we had counted {}, so that is most likely the one.",
            so_many(meant)
        );
    }
    if counted.is_empty() {
        return format!(
            "WeCom says that a limit of {api} is used up, and no limit of the profile is about it."
        );
    }
    let all: Vec<_> = counted.iter().map(so_many).collect();
    format!(
        "WeCom says that a limit of {api} is used up, but we had counted only {}: either somebody calls WeCom past \
         this service, or WeCom's limit is lower than the profile's.",
        all.join(", ")
    )
}

async fn spent(
    reader: &Reader,
    known: &Known,
    row: &Row,
    x: &PenaltyStarted,
    only: Option<&[Seq]>,
) -> Result<Vec<Recount>, Problem> {
    let directory = &known.directory;
    let meant = x.limit.as_ref().and_then(|name| known.limits.iter().find(|limit| *limit.name == **name));
    let Some(limit) = meant else {
        let of = Counted { corp: row.corp, app: None, api: row.api };
        let mut all = Vec::new();
        for window_ms in WINDOWS_MS {
            let share = Share { of, egress_ip: None, unit: Unit::Calls, window_ms };
            all.push(spenders::spent(reader, directory, share, row, |_| true, only).await?);
        }
        return Ok(all);
    };
    let part = |dimension, value: Option<Seq>| value.filter(|_| limit.scope.has(dimension));
    let of = Counted {
        corp: part(Dimension::Corp, row.corp),
        app: part(Dimension::App, row.app),
        api: part(Dimension::Api, row.api),
    };
    let per_ip = x.blocks == Blocks::EgressIp;
    let egress_ip =
        known.egress_ips.iter().find(|(_, seq)| **seq == x.whose && per_ip).map(|(ip, _)| ip.as_str());
    let window_ms = so_far(limit.window, row.at);
    let share = Share { of, egress_ip, unit: limit.unit, window_ms };
    let matches = |it: &Row| {
        let name = it.api.and_then(|api| directory.apis.get(&api)).map_or("", String::as_str);
        limit.matches(name)
    };
    Ok(vec![spenders::spent(reader, directory, share, row, matches, only).await?])
}

/// How long the window had lasted at a wall time.
fn so_far(window: Window, at: i64) -> i64 {
    const DAY_MS: i64 = 86_400_000;
    let of_day = DAY_MS - until_midnight(at);
    match window {
        Window::Sliding { ms } => ms,
        Window::Day => of_day,
        Window::Month => {
            // At the noon of that day in China it is the same day in UTC.
            let noon = chrono::DateTime::from_timestamp_millis(at - of_day + DAY_MS / 2).unwrap_or_default();
            i64::from(noon.day0()) * DAY_MS + of_day
        }
        // Of a window without a length, the last minute says most.
        Window::Concurrent | Window::Total => WINDOWS_MS[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_window_began_with_the_day_or_the_month_in_china() {
        let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
        let hour = 3_600_000;
        assert_eq!(so_far(Window::Day, at("2026-03-02T05:00:00+08:00")), 5 * hour);
        assert_eq!(so_far(Window::Month, at("2026-03-02T05:00:00+08:00")), 29 * hour);
        assert_eq!(so_far(Window::Month, at("2026-03-01T00:00:00+08:00")), 0);
        assert_eq!(so_far(Window::Month, at("2026-02-28T23:00:00+08:00")), (28 * 24 - 1) * hour);
    }
}
