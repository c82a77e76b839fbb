//! Who and what the ledger knows: corps, apps with their credentials, API keys, API names.
//!
//! Part of the folded state. It changes rarely, so it is shared behind an `Arc` and published to readers only after
//! the entries that changed it are durable.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::canonical::Names;
use super::command::Caller;
use super::entry::{Fingerprint, Priority, Scope, Seq};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Directory {
    pub corps: BTreeMap<Seq, Corp>,
    pub apps: BTreeMap<Seq, App>,
    pub api_keys: BTreeMap<Seq, ApiKey>,
    pub apis: BTreeMap<Seq, String>,
    pub(super) corp_by_id: BTreeMap<String, Seq>,
    pub(super) app_by_id: BTreeMap<(Seq, String), Seq>,
    pub(super) api_key_by_fingerprint: BTreeMap<Fingerprint, Seq>,
    pub(super) api_by_name: BTreeMap<String, Seq>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Corp {
    pub corp_id: String,
    pub account_cap: u64,
    pub removed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct App {
    pub corp: Seq,
    pub agent_id: String,
    /// The `app.put` entry that brought the current secret; the sealed secret lies under the same number.
    pub secret: Seq,
    pub secret_fingerprint: Fingerprint,
    pub removed: bool,
    pub credential: Credential,
}

/// The access token of an app: its newest row, and what is known about fetching the next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    pub newest: Option<CredentialRow>,
    /// The row before the newest: calls under way may still carry it, so its sealed token is kept that long.
    pub previous: Option<Seq>,
    pub fetch: Option<Fetch>,
    /// No fetch before this tick.
    pub not_before: i64,
    /// Consecutive failed fetches.
    pub failures: u32,
    pub last_failure: Option<FetchFailure>,
    /// WeCom rejected the secret with this code: no fetch until it changes or an operator resets the app.
    pub blocked: Option<i64>,
    /// When the last fetches were begun that an invalidation had caused.
    pub forced: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CredentialRow {
    /// The `credential.posted` entry; the sealed token lies under the same number.
    pub seq: Seq,
    pub fingerprint: Fingerprint,
    pub fetched_tick: i64,
    pub expires_tick: i64,
    pub refresh_tick: i64,
    pub invalidated: bool,
    /// Somebody was given it or a call carried it; an unused token is not refreshed early.
    pub used: bool,
    /// Which API keys were issued it (0: whoever holds the app's secret).
    pub issued_to: BTreeSet<Seq>,
}

impl CredentialRow {
    pub fn is_valid(&self, tick: i64) -> bool {
        !self.invalidated && tick < self.expires_tick
    }
}

impl Credential {
    /// The only row that may be issued: the newest, if it is valid.
    pub fn valid_row(&self, tick: i64) -> Option<&CredentialRow> {
        self.newest.as_ref().filter(|row| row.is_valid(tick))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fetch {
    pub pending: Seq,
    pub process: Option<Seq>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FetchFailure {
    pub tick: i64,
    pub errcode: Option<i64>,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    pub name: String,
    pub scopes: Vec<Scope>,
    pub apps: Vec<Seq>,
    pub apis: Vec<String>,
    pub fingerprint: Fingerprint,
    pub created_at: i64,
    pub paused: bool,
    pub revoked: bool,
    pub priority: Priority,
}

impl ApiKey {
    pub fn is_active(&self) -> bool {
        !self.revoked && !self.paused
    }

    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || (self.scopes.contains(&Scope::Admin) && scope != Scope::Reveal)
    }

    pub fn may_use_app(&self, app: Seq) -> bool {
        self.apps.is_empty() || self.apps.contains(&app)
    }

    pub fn may_use_api(&self, api: &str) -> bool {
        self.apis.is_empty()
            || self.apis.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => api.starts_with(prefix),
                None => api == pattern,
            })
    }
}

impl Directory {
    pub fn corp(&self, corp_id: &str) -> Option<(Seq, &Corp)> {
        let seq = *self.corp_by_id.get(corp_id)?;
        self.corps.get(&seq).filter(|corp| !corp.removed).map(|corp| (seq, corp))
    }

    pub fn app(&self, corp_id: &str, agent_id: &str) -> Option<(Seq, &App)> {
        let (corp, _) = self.corp(corp_id)?;
        let seq = *self.app_by_id.get(&(corp, agent_id.to_owned()))?;
        self.live_app(seq).map(|app| (seq, app))
    }

    /// An app that is there, of a corp that is there.
    pub fn live_app(&self, app: Seq) -> Option<&App> {
        let app = self.apps.get(&app).filter(|app| !app.removed)?;
        self.corps.get(&app.corp).filter(|corp| !corp.removed)?;
        Some(app)
    }

    pub fn live_apps(&self) -> impl Iterator<Item = (Seq, &App)> {
        self.apps.keys().filter_map(|&seq| self.live_app(seq).map(|app| (seq, app)))
    }

    pub fn api_key(&self, fingerprint: &Fingerprint) -> Option<(Seq, &ApiKey)> {
        let seq = *self.api_key_by_fingerprint.get(fingerprint)?;
        self.api_keys.get(&seq).map(|key| (seq, key))
    }

    /// Of the calls of a caller; whoever shows the app's own secret has no other choice than the usual one.
    pub fn priority(&self, caller: Caller) -> Priority {
        let key = caller.api_key().and_then(|key| self.api_keys.get(&key));
        key.map_or(Priority::default(), |key| key.priority)
    }

    pub fn api(&self, name: &str) -> Option<Seq> {
        self.api_by_name.get(name).copied()
    }

    /// `CORP_ID/AGENT_ID`, as people write it.
    pub fn app_label(&self, app: Seq) -> Option<String> {
        let app = self.apps.get(&app)?;
        Some(format!("{}/{}", self.corps.get(&app.corp)?.corp_id, app.agent_id))
    }
}

impl Names for Directory {
    fn corp_id(&self, corp: Seq) -> Option<&str> {
        self.corps.get(&corp).map(|corp| corp.corp_id.as_str())
    }

    fn agent_id(&self, app: Seq) -> Option<&str> {
        self.apps.get(&app).map(|app| app.agent_id.as_str())
    }

    fn api(&self, api: Seq) -> Option<&str> {
        self.apis.get(&api).map(String::as_str)
    }
}
