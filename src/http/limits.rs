//! Which limits hold, and changing them.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use crate::ledger::alerts::About;
use crate::ledger::canonical::instant;
use crate::ledger::entry::{Drift, Reserve, Scope};
use crate::ledger::learned::LearnedCap;
use crate::ledger::state::Shadowed;
use crate::ledger::{Command, LedgerHandle, Seq, State};
use crate::quota::{self, Apis, Cap, Dimension, Limit, Mode, Operator, Profile, TextError, Unit};

use super::act::act;
use super::params::{invalid_body, json};
use super::problem::Problem;
use super::{HttpState, authenticate, body};

#[derive(Serialize)]
pub struct Listed {
    pub limit: String,
    pub apis: Apis,
    /// Of those, the ones that do not count.
    pub except: Apis,
    /// Calls of these do not count once they turn out good.
    pub free_if_ok: Apis,
    /// What is counted apart.
    pub per: Vec<Dimension>,
    /// That of every corp without a number of its own.
    pub cap: u64,
    /// What the profile says.
    pub profile_cap: u64,
    /// The cap is multiplied by the enterprise's number of accounts.
    pub per_account: bool,
    /// The cap is a percentage of that number.
    pub percent: bool,
    pub unit: Unit,
    pub window: String,
    pub mode: Mode,
    /// In shadow mode: what it would have refused since it is in force so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_have_refused: Option<WouldHaveRefused>,
    pub source: String,
    pub note: Option<String>,
}

#[derive(Serialize)]
pub struct WouldHaveRefused {
    pub calls: u64,
    pub first_at: Option<String>,
    pub last_at: Option<String>,
}

impl WouldHaveRefused {
    fn of(shadowed: Option<&Shadowed>) -> Self {
        Self {
            calls: shadowed.map_or(0, |it| it.calls),
            first_at: shadowed.map(|it| instant(it.first_at)),
            last_at: shadowed.map(|it| instant(it.last_at)),
        }
    }
}

#[derive(Serialize)]
pub struct Override {
    pub corp_id: String,
    pub limit: String,
    pub cap: u64,
}

/// A lower cap for one key of a limit, learned from WeCom's refusals.
#[derive(Serialize)]
pub struct LearnedRow {
    /// The `cap.learned` entry: what it is taken back by.
    pub seq: Seq,
    pub at: String,
    pub limit: String,
    pub corp_id: Option<String>,
    pub agent_id: Option<String>,
    pub api: Option<String>,
    pub cap: u64,
    /// What held before.
    pub before: u64,
    /// Why.
    pub drifts: Vec<Drift>,
}

#[derive(Serialize)]
pub struct List {
    pub profile: String,
    pub operator: Operator,
    pub profiles: &'static [&'static str],
    pub limits: Vec<Listed>,
    pub overrides: Vec<Override>,
    pub learned: Vec<LearnedRow>,
    /// Percent of a limit at which an alert is raised.
    pub alert_at: Vec<u8>,
    /// Percent that only critical calls may use; `limit` null: of each limit without a number of its own.
    pub reserves: Vec<Reserve>,
}

pub(super) async fn get(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Report)?;
    let only = client.only_apps().map(<[Seq]>::to_vec);
    Ok(HttpResponse::Ok().json(list(&state.ledger, only).await?))
}

/// What is in force. `only`: of what holds for some corps or was learned, that which concerns these apps.
pub async fn list(ledger: &LedgerHandle, only: Option<Vec<Seq>>) -> Result<List, Problem> {
    let list = ledger
        .read(move |state, _| {
            // The same sign as on the command line stands for every corp without a number of its own.
            let corp_id = |corp: Option<Seq>| match corp {
                None => "*".to_owned(),
                Some(corp) => {
                    state.directory.corps.get(&corp).map_or(String::new(), |corp| corp.corp_id.clone())
                }
            };
            let visible = |corp: Option<Seq>| {
                let of_corp = |app: &Seq| state.directory.apps.get(app).map(|app| app.corp) == corp;
                corp.is_none() || only.as_ref().is_none_or(|only| only.iter().any(of_corp))
            };
            let overrides = state.limits.overrides.iter().filter(|own| visible(own.corp));
            List {
                profile: state.limits.profile.clone(),
                operator: state.limits.operator,
                profiles: quota::shipped_names(),
                limits: state.meters.limits().map(|limit| listed(limit, state)).collect(),
                overrides: overrides
                    .map(|own| Override {
                        corp_id: corp_id(own.corp),
                        limit: own.limit.clone(),
                        cap: own.cap,
                    })
                    .collect(),
                learned: learned(state, only.as_deref()),
                alert_at: state.limits.alert_at.clone(),
                reserves: state.limits.reserves.clone(),
            }
        })
        .await?;
    Ok(list)
}

fn learned(state: &State, only: Option<&[Seq]>) -> Vec<LearnedRow> {
    let directory = &state.directory;
    let concerns = |about: &About, app: Seq| {
        let corp = directory.apps.get(&app).map(|app| app.corp);
        about.app == app || about.app == 0 && corp == Some(about.corp)
    };
    let visible = |about: &About| only.is_none_or(|only| only.iter().any(|&app| concerns(about, app)));
    let row = |(about, cap): (&About, &LearnedCap)| LearnedRow {
        seq: cap.seq,
        at: instant(cap.at),
        limit: about.limit.clone(),
        corp_id: directory.corps.get(&about.corp).map(|corp| corp.corp_id.clone()),
        agent_id: directory.apps.get(&about.app).map(|app| app.agent_id.clone()),
        api: directory.apis.get(&about.api).cloned(),
        cap: cap.cap,
        before: cap.before,
        drifts: cap.drifts.clone(),
    };
    let mut rows: Vec<_> = state.learned.caps().filter(|(about, _)| visible(about)).map(row).collect();
    rows.sort_by_key(|row| row.seq);
    rows
}

fn listed(limit: &Limit, state: &State) -> Listed {
    let own = state.limits.overrides.iter().find(|own| own.corp.is_none() && *own.limit == *limit.name);
    let profile_cap = match limit.cap {
        Cap::Fixed(number) | Cap::PerAccount(number) | Cap::PercentOfAccounts(number) => number,
    };
    Listed {
        limit: limit.name.to_string(),
        apis: limit.apis.clone(),
        except: limit.except.clone(),
        free_if_ok: limit.free_if_ok.clone(),
        per: limit.scope.into(),
        cap: own.map_or(profile_cap, |own| own.cap),
        profile_cap,
        per_account: limit.cap.needs_corp() && own.is_none(),
        percent: matches!(limit.cap, Cap::PercentOfAccounts(_)) && own.is_none(),
        unit: limit.unit,
        window: limit.window.to_string(),
        mode: limit.mode,
        would_have_refused: (limit.mode == Mode::Shadow)
            .then(|| WouldHaveRefused::of(state.shadowed.get(&*limit.name))),
        source: limit.source.clone(),
        note: limit.note.clone(),
    }
}

/// One change; exactly one member is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Change {
    /// A profile that ships, by its name, or one of your own, as the text of its file.
    Use {
        profile: Option<String>,
        toml: Option<String>,
        operator: Option<Operator>,
    },
    /// `cap` null: the profile's again.
    Cap {
        corp_id: String,
        limit: String,
        cap: Option<u64>,
    },
    AlertAt(Vec<u8>),
    Reserve {
        limit: Option<String>,
        percent: u8,
    },
    /// Takes back a learned cap, by its `seq`.
    Restore(Seq),
    /// Only says whether the text of a profile is sound.
    Check {
        toml: String,
    },
}

pub(super) async fn change(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Admin)?;
    let body = body::read(payload, body::SHORT).await?;
    let command = match json::<Change>(&body)? {
        Change::Check { toml } => {
            let Profile { name, limits, .. } = profile(&toml)?;
            let checked = serde_json::json!({"profile": name, "limits": limits.len()});
            return Ok(HttpResponse::Ok().json(checked));
        }
        Change::Use { profile: Some(profile), toml: None, operator } => {
            Command::PutLimits { profile, operator: operator.unwrap_or(Operator::Corp), own: None }
        }
        Change::Use { profile: None, toml: Some(toml), operator } => {
            let own = profile(&toml)?;
            let operator = operator.unwrap_or(Operator::Corp);
            Command::PutLimits { profile: own.name.clone(), operator, own: Some(Box::new(own)) }
        }
        Change::Use { .. } => return Err(invalid_body("use: give either profile or toml")),
        Change::Cap { corp_id, limit, cap } => Command::PutCap { corp_id, limit, cap },
        Change::AlertAt(percents) => Command::PutAlertAt { percents },
        Change::Restore(learned) => Command::RestoreCap { learned },
        Change::Reserve { limit, percent } => Command::PutReserve { limit, percent },
    };
    let (seq, changed) = act(&state, &client, command).await?;
    let seq = changed.then_some(seq);
    Ok(HttpResponse::Ok().json(serde_json::json!({"seq": seq, "changed": changed})))
}

fn profile(toml: &str) -> Result<Profile, Problem> {
    Profile::from_toml(toml).map_err(|TextError { line, reason }| {
        invalid_body(format!("toml, line {line}: {reason}; the profile in force stays")).with("line", line)
    })
}
