//! What entries about API keys carry.

use serde::{Deserialize, Serialize};

use crate::quota::Own;

use super::{Fingerprint, Seq, hex_bytes};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKeyCreated {
    pub name: String,
    pub scopes: Vec<Scope>,
    /// The apps it may act for; empty means every app.
    pub apps: Vec<Seq>,
    /// The APIs it may call, exact names or prefixes ending in `*`; empty means every API.
    pub apis: Vec<String>,
    #[serde(with = "hex_bytes")]
    pub fingerprint: Fingerprint,
    #[serde(default)]
    pub priority: Priority,
    /// What it may use of single limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<OwnRule>,
}

/// What an API key may use of a limit, within each key of that limit. In `api_key.set` it takes the place of the rule
/// before; with neither number the key may use as much as any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRule {
    pub limit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<u64>,
    /// Of what the limit lets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_share_percent: Option<u8>,
}

impl OwnRule {
    pub fn new(limit: &str, own: Option<Own>) -> Self {
        let (cap, max_share_percent) = own.map_or((None, None), |own| (own.cap, own.max_share_percent));
        Self { limit: limit.to_owned(), cap, max_share_percent }
    }

    /// None: no rule.
    pub fn own(&self) -> Option<Own> {
        let Self { cap, max_share_percent, .. } = *self;
        (cap.is_some() || max_share_percent.is_some()).then_some(Own { cap, max_share_percent })
    }
}

/// What changes about an API key; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeySet {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<OwnRule>,
}

/// Whose calls go first where calls wait for room in a limit; the first goes before the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Critical,
    #[default]
    Normal,
    Batch,
}

impl Priority {
    pub const NAMES: &'static [(&'static str, Priority)] =
        &[("critical", Priority::Critical), ("normal", Priority::Normal), ("batch", Priority::Batch)];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, priority)| *priority == self).map_or("", |(name, _)| name)
    }
}

impl std::str::FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|&(_, priority)| priority).ok_or_else(|| {
            let known: Vec<_> = Self::NAMES.iter().map(|&(name, _)| name).collect();
            format!("unknown priority `{text}`; use one of {}", known.join(", "))
        })
    }
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Call WeCom through the gateway and reserve calls.
    Call,
    /// Signatures for browsers only.
    Browser,
    /// See real credentials.
    Reveal,
    /// Usage and dashboards.
    Report,
    /// Entries, proofs, exports.
    Audit,
    /// Everything but `reveal`.
    Admin,
}

impl Scope {
    pub const NAMES: &'static [(&'static str, Scope)] = &[
        ("call", Scope::Call),
        ("browser", Scope::Browser),
        ("reveal", Scope::Reveal),
        ("report", Scope::Report),
        ("audit", Scope::Audit),
        ("admin", Scope::Admin),
    ];
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|&(_, scope)| scope).ok_or_else(|| {
            let known: Vec<_> = Self::NAMES.iter().map(|&(name, _)| name).collect();
            format!("unknown scope `{text}`; use one of {}", known.join(", "))
        })
    }
}
