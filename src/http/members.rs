//! How many members departments, tags and apps have, as far as the ledger knows; and to tell it.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use crate::ledger::directory::Directory;
use crate::ledger::entry::{Scope, Size};
use crate::ledger::sizes::Of;
use crate::ledger::{Command, LedgerHandle, Rejected, Reply, Seq};

use super::params::{self, invalid, invalid_body};
use super::present::Present;
use super::problem::{self, Problem};
use super::{HttpState, authenticate, body, known};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Which sizes are wanted; what is not given matches everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembersQuery {
    pub corp: Option<String>,
    /// `CORP_ID/AGENT_ID`: what this app sees, and what was declared for every app of its corp.
    pub app: Option<String>,
    /// `next` of the page before.
    pub after: Option<String>,
    pub limit: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct MembersReport {
    pub members: Vec<MembersRow>,
    pub next: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct MembersRow {
    pub corp_id: String,
    /// None: declared for every app of the corp.
    pub agent_id: Option<String>,
    /// `department`, `tag` or `everyone`.
    pub of: &'static str,
    pub id: Option<u64>,
    /// What a message to it counts; null: not enough is known, and it counts the whole account cap.
    pub members: Option<u64>,
    pub declared: Option<u64>,
    pub learned_at: Option<String>,
}

/// Where a page begins: after this one.
type Place = (Seq, Seq, Of);

pub(super) async fn get(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Report)?;
    let query: MembersQuery = params::query(&request)?;
    let only = client.only_apps().map(<[Seq]>::to_vec);
    Ok(HttpResponse::Ok().json(report(&state.ledger, query, only).await?))
}

/// Asks the ledger; `only`: the apps that the viewer may see.
pub async fn report(
    ledger: &LedgerHandle,
    query: MembersQuery,
    only: Option<Vec<Seq>>,
) -> Result<MembersReport, Problem> {
    let limit = params::number("limit", query.limit.as_ref())?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid(format!("limit must be 1 to {LIMIT_MAX}, not {limit}")));
    }
    let after = query.after.as_deref().map(place).transpose()?;
    ledger
        .read(move |state, now| {
            let directory = &state.directory;
            let present = Present::of(state, now.tick);
            let corp = query.corp.as_deref().map(|corp_id| known::corp(directory, corp_id)).transpose()?;
            let app = query.app.as_deref().map(|label| known::app(directory, label)).transpose()?;
            let wanted = |&(of_corp, of_app, _): &Place| {
                let sees =
                    |app: &Seq| of_app == *app || of_app == 0 && corp_of(directory, *app) == Some(of_corp);
                corp.is_none_or(|corp| corp == of_corp)
                    && app.as_ref().is_none_or(sees)
                    && only.as_ref().is_none_or(|only| only.iter().any(sees))
            };
            let mut places =
                state.sizes.iter().filter(|place| after.is_none_or(|after| *place > after)).filter(wanted);
            let page: Vec<Place> = places.by_ref().take(limit).collect();
            let next = places.next().and_then(|_| page.last()).map(cursor);
            let row = |&(corp, app, of): &Place| {
                let shown = state.sizes.show(corp, app, of, now.tick)?;
                let (of, id) = word(of);
                Some(MembersRow {
                    corp_id: directory.corps.get(&corp)?.corp_id.clone(),
                    agent_id: directory.apps.get(&app).map(|app| app.agent_id.clone()),
                    of,
                    id,
                    members: shown.members,
                    declared: shown.declared,
                    learned_at: shown.learned.map(|tick| present.instant(tick)),
                })
            };
            Ok(MembersReport { members: page.iter().filter_map(row).collect(), next })
        })
        .await?
}

fn corp_of(directory: &Directory, app: Seq) -> Option<Seq> {
    Some(directory.apps.get(&app)?.corp)
}

fn word(of: Of) -> (&'static str, Option<u64>) {
    match of {
        Of::Everyone => ("everyone", None),
        Of::Department(id) => ("department", Some(id)),
        Of::Tag(id) => ("tag", Some(id)),
    }
}

fn cursor(&(corp, app, of): &Place) -> String {
    let (of, id) = word(of);
    format!("{corp}.{app}.{of}.{}", id.unwrap_or(0))
}

fn place(cursor: &str) -> Result<Place, Problem> {
    let parse = || {
        let mut parts = cursor.split('.');
        let (corp, app) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (of, id) = (parts.next()?, parts.next()?.parse().ok()?);
        let of = match of {
            "everyone" => Of::Everyone,
            "department" => Of::Department(id),
            "tag" => Of::Tag(id),
            _ => return None,
        };
        Some((corp, app, of))
    };
    parse().ok_or_else(|| invalid("after must be `next` of another page"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    corp_id: String,
    /// None: for every app of the corp.
    agent_id: Option<String>,
    of: String,
    id: Option<u64>,
    members: u64,
}

/// What was written down.
#[derive(Serialize)]
struct Done {
    seq: Seq,
}

pub(super) async fn declare(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Admin)?;
    let body = body::read(payload, body::SHORT).await?;
    let Declared { corp_id, agent_id, of, id, members } = params::json(&body)?;
    let size = match (of.as_str(), id) {
        ("department", Some(id)) => Size::Department { id, with_children: true, members },
        ("tag", Some(id)) => Size::Tag { id, members, parties: Vec::new() },
        ("everyone", None) => Size::Everyone { members },
        _ => {
            return Err(invalid_body(
                "of must be `department` or `tag` with an id, or `everyone` without one",
            ));
        }
    };
    let declare = Command::DeclareSize { corp_id, agent_id, size, by: Some(client.api_key) };
    match state.ledger.decide(declare).await? {
        Reply::Done { seq, .. } => Ok(HttpResponse::Created().json(Done { seq })),
        Reply::Rejected(Rejected::Invalid(what)) => Err(invalid_body(what)),
        Reply::Rejected(Rejected::NotFound(what)) => Err(Problem::new(&problem::NOT_FOUND, what)),
        Reply::Rejected(Rejected::Conflict(what)) => Err(Problem::new(&problem::CONFLICT, what)),
        _ => Err(Problem::internal(&"the ledger gave an answer to another question")),
    }
}
