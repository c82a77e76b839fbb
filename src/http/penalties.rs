//! WeCom's own blocks: which are in force, and their end by an operator who knows better.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::ledger::directory::Directory;
use crate::ledger::entry::{Blocks, PenaltyLevel, Scope};
use crate::ledger::penalties::{Blocked, Penalty};
use crate::ledger::{Command, LedgerHandle, Seq};

use super::act::act;
use super::params;
use super::present::Present;
use super::problem::Problem;
use super::{HttpState, authenticate};

#[derive(Debug, Serialize)]
pub struct PenaltyReport {
    pub penalties: Vec<PenaltyRow>,
}

#[derive(Debug, Serialize)]
pub struct PenaltyRow {
    /// The `penalty.started` entry, and the number of the incident.
    pub seq: Seq,
    pub api: Option<String>,
    pub blocks: Blocks,
    pub corp_id: Option<String>,
    pub agent_id: Option<String>,
    pub egress_ip: Option<String>,
    pub level: PenaltyLevel,
    pub errcode: i64,
    pub until: String,
    pub state: Phase,
    /// The call that tries whether the block is over.
    pub trying: Option<Seq>,
}

/// How far a block has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is sent.
    Blocked,
    /// Its time has passed; the next call tries whether it is over.
    WaitingForATry,
    /// One call tries; the others wait for what it finds.
    Trying,
    Over,
}

impl Phase {
    pub fn of(penalty: Option<&Penalty>, tick: i64) -> Self {
        match penalty {
            None => Self::Over,
            Some(penalty) if tick < penalty.until => Self::Blocked,
            Some(penalty) if penalty.trying(tick).is_some() => Self::Trying,
            Some(_) => Self::WaitingForATry,
        }
    }

    pub fn in_words(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::WaitingForATry => "waiting for a try",
            Self::Trying => "one call tries",
            Self::Over => "over",
        }
    }
}

pub(super) async fn get(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Report)?;
    let only = client.only_apps().map(<[Seq]>::to_vec);
    Ok(HttpResponse::Ok().json(report(&state.ledger, only.as_deref()).await?))
}

/// `only`: of calls of these apps.
pub async fn report(ledger: &LedgerHandle, only: Option<&[Seq]>) -> Result<PenaltyReport, Problem> {
    let (penalties, directory, egress_ips, present) = ledger
        .read(|state, now| {
            let penalties: Vec<(Blocked, Penalty)> =
                state.penalties.iter().map(|(key, penalty)| (*key, penalty.clone())).collect();
            let present = Present::of(state, now.tick);
            (penalties, std::sync::Arc::clone(&state.directory), state.egress_ips.clone(), present)
        })
        .await?;
    let ips: BTreeMap<Seq, String> = egress_ips.into_iter().map(|(name, seq)| (seq, name)).collect();
    let mut rows: Vec<_> = penalties
        .iter()
        .filter(|(key, _)| only.is_none_or(|only| only.iter().any(|&app| concerns(key, app, &directory))))
        .map(|(key, penalty)| row(key, penalty, &directory, &ips, present))
        .collect();
    rows.sort_by_key(|row| row.seq);
    Ok(PenaltyReport { penalties: rows })
}

/// Whether calls of an app can be held back by this.
fn concerns(key: &Blocked, app: Seq, directory: &Directory) -> bool {
    match key.blocks {
        Blocks::Corp => directory.apps.get(&app).is_some_and(|app| app.corp == key.whose),
        Blocks::App => key.whose == app,
        Blocks::EgressIp => true,
    }
}

fn row(
    key: &Blocked,
    penalty: &Penalty,
    directory: &Directory,
    ips: &BTreeMap<Seq, String>,
    present: Present,
) -> PenaltyRow {
    let app = directory.apps.get(&key.whose).filter(|_| key.blocks == Blocks::App);
    let corp = match key.blocks {
        Blocks::Corp => Some(key.whose),
        Blocks::App => app.map(|app| app.corp),
        Blocks::EgressIp => None,
    };
    PenaltyRow {
        seq: penalty.started,
        api: directory.apis.get(&key.api).cloned(),
        blocks: key.blocks,
        corp_id: corp.and_then(|corp| Some(directory.corps.get(&corp)?.corp_id.clone())),
        agent_id: app.map(|app| app.agent_id.clone()),
        egress_ip: ips.get(&key.whose).filter(|_| key.blocks == Blocks::EgressIp).cloned(),
        level: penalty.level,
        errcode: penalty.errcode(),
        until: present.instant(penalty.until),
        state: Phase::of(Some(penalty), present.tick),
        trying: penalty.trying(present.tick),
    }
}

pub(super) async fn clear(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Admin)?;
    let started = params::seq(&request, "seq")?;
    let (seq, _) = act(&state, &client, Command::ClearPenalty { started }).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({"seq": seq})))
}
