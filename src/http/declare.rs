//! Usage that no call shows: an import that creates accounts, messages that somebody sends past this service.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use crate::ledger::Command;
use crate::ledger::entry::Scope;
use crate::quota::Unit;
use crate::vault::Vault;

use super::act::act;
use super::params::json;
use super::problem::Problem;
use super::{HttpState, authenticate, body};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    corp_id: String,
    agent_id: Option<String>,
    api: Option<String>,
    unit: Unit,
    amount: i64,
    #[serde(default)]
    note: String,
    article: Option<String>,
}

/// Whatever names an article for those who declare; the ledger keeps its keyed hash alone.
pub(crate) fn article(vault: &Vault, ledger_id: &str, corp_id: &str, article: Option<&str>) -> u64 {
    article.filter(|name| !name.is_empty()).map_or(0, |name| vault.article_hash(ledger_id, corp_id, name))
}

pub(super) async fn declare(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Admin)?;
    let body = body::read(payload, body::SHORT).await?;
    let Declared { corp_id, agent_id, api, unit, amount, note, article: named } = json(&body)?;
    let article = article(&state.vault, &state.ledger.ledger_id(), &corp_id, named.as_deref());
    let declare = Command::Declare { corp_id, agent_id, api, unit, amount, note, article };
    let (seq, _) = act(&state, &client, declare).await?;
    Ok(HttpResponse::Created().json(serde_json::json!({"seq": seq})))
}
