//! Who asks: `Authorization: Bearer <API key>`.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use crate::datadir::API_KEY;
use crate::ledger::Seq;
use crate::ledger::directory::Directory;
use crate::ledger::entry::Scope;

use super::HttpState;
use super::problem::{self, Problem};

/// Our keys are far shorter.
const KEY_MAX: usize = 256;
/// What the tokens begin with that `gettoken` gives.
const GATEWAY_TOKEN: &str = "wlg_";

/// Whoever showed a valid API key.
pub struct Client {
    pub api_key: Seq,
    /// What the ledger knows, as of the check.
    pub directory: Arc<Directory>,
}

impl Client {
    /// The apps that the key is limited to; none: it is not limited.
    pub fn only_apps(&self) -> Option<&[Seq]> {
        let key = self.directory.api_keys.get(&self.api_key)?;
        (!key.apps.is_empty()).then_some(key.apps.as_slice())
    }
}

/// Checks the key and its scope. The key itself is never compared: its keyed fingerprint is looked up, so the time
/// that this takes says nothing about keys.
pub fn authenticate(state: &HttpState, request: &HttpRequest, scope: Scope) -> Result<Client, Problem> {
    let Some(given) = request.headers().get(AUTHORIZATION) else {
        return Err(Problem::unauthorized("send the header Authorization: Bearer <API key>"));
    };
    let Some(api_key) = given.to_str().ok().and_then(bearer) else {
        return Err(Problem::unauthorized("the Authorization header must read: Bearer <API key>"));
    };
    if api_key.starts_with(GATEWAY_TOKEN) {
        return Err(Problem::unauthorized("this is a gateway token; /v1 takes an API key (wlk_…)"));
    }
    let directory = state.ledger.directory();
    let fingerprint = state.vault.fingerprint(API_KEY, api_key);
    let Some((seq, key)) = directory.api_key(&fingerprint) else {
        return Err(Problem::unauthorized("this API key is unknown; `wecom-ledger key create` makes one"));
    };
    if key.revoked {
        return Err(Problem::unauthorized("this API key was revoked; use another one"));
    }
    if key.paused {
        return Err(Problem::unauthorized(format!(
            "this API key is paused; `wecom-ledger key resume {seq}` lets it in again"
        )));
    }
    if !key.has(scope) {
        let name = scope_name(scope);
        let what = format!("API key {seq} lacks the scope `{name}`");
        return Err(Problem::new(&problem::MISSING_SCOPE, what).with("scope", name));
    }
    Ok(Client { api_key: seq, directory })
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && (1..=KEY_MAX).contains(&key.len())).then_some(key)
}

fn scope_name(scope: Scope) -> &'static str {
    Scope::NAMES.iter().find(|(_, known)| *known == scope).map_or("", |(name, _)| name)
}
