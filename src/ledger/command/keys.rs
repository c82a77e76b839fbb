//! What can be asked of an API key.

use crate::ledger::entry::{Priority, Scope};

/// What an API key is to be.
#[derive(Debug, Clone, Default)]
pub struct ApiKeyTerms {
    pub name: String,
    pub scopes: Vec<Scope>,
    /// `CORP_ID/AGENT_ID`; empty: every app.
    pub apps: Vec<String>,
    /// Empty: every API.
    pub apis: Vec<String>,
    pub priority: Priority,
    pub own: Vec<OwnChange>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeyChange {
    Revoke,
    Pause,
    Resume,
    Set(ApiKeyEdit),
}

/// What changes about an API key; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiKeyEdit {
    pub priority: Option<Priority>,
    pub own: Vec<OwnChange>,
}

/// One number of an API key's rule for a limit; the other one of that rule stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnChange {
    pub limit: String,
    pub number: OwnNumber,
}

/// `None`: taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnNumber {
    Cap(Option<u64>),
    MaxSharePercent(Option<u8>),
}
