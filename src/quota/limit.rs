//! What a limit is. All of it is data: an operator can write a profile of their own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The largest cap that is kept exactly; a larger one acts as this one.
pub const MAX_CAP: u64 = u32::MAX as u64;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Calls,
    /// One message to a thousand members is a thousand of these (人次).
    PersonTimes,
    Accounts,
    Apps,
    /// Trusted domains (可信域名) that are set.
    Domains,
    /// Times that somebody outside reads an article.
    Reads,
}

/// The period over which a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Every interval of this length. WeCom does not document whether its own windows slide or stand on the
    /// clock's grid; whoever stays within a limit for every alignment stays within it under both readings.
    Sliding { ms: i64 },
}

impl Window {
    pub fn ms(self) -> i64 {
        match self {
            Self::Sliding { ms } => ms,
        }
    }
}

/// What a limit does when it is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Enforce,
    /// Counts and reports what it would have refused, but refuses nothing.
    Shadow,
}

/// How much a limit lets through per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cap {
    Fixed(u64),
    /// A factor of the corp's `account_cap` (帐号上限数).
    PerAccount(u64),
}

impl Cap {
    /// The number that this cap comes to for a corp.
    pub fn amount(self, account_cap: u64) -> u64 {
        match self {
            Self::Fixed(amount) => amount,
            Self::PerAccount(factor) => factor.saturating_mul(account_cap),
        }
        .min(MAX_CAP)
    }
}

/// Which APIs a limit matches. Names are as in the catalogue: the path without `/cgi-bin/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Apis {
    All,
    Listed(Vec<String>),
    /// A plain prefix of the name: write `message/`, not `message`, to mean a folder.
    Prefix(String),
}

impl Apis {
    pub fn matches(&self, api_name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(names) => names.iter().any(|name| name == api_name),
            Self::Prefix(prefix) => api_name.starts_with(prefix.as_str()),
        }
    }
}

/// One thing that a limit can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    Corp,
    App,
    Api,
    EgressIp,
    ApiKey,
}

impl Dimension {
    /// In the order of their place in a key.
    pub const ALL: [Self; 5] = [Self::Corp, Self::App, Self::Api, Self::EgressIp, Self::ApiKey];
}

/// The dimensions that make up a limit's key: a set, written as a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Dimension>", into = "Vec<Dimension>")]
pub struct Scope(u8);

impl Scope {
    pub const fn of(dimensions: &[Dimension]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < dimensions.len() {
            bits |= 1 << dimensions[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    pub const fn has(self, dimension: Dimension) -> bool {
        self.0 & (1 << dimension as u8) != 0
    }
}

impl From<Vec<Dimension>> for Scope {
    fn from(dimensions: Vec<Dimension>) -> Self {
        Self::of(&dimensions)
    }
}

impl From<Scope> for Vec<Dimension> {
    fn from(scope: Scope) -> Self {
        Dimension::ALL.into_iter().filter(|dimension| scope.has(*dimension)).collect()
    }
}

/// A rule: in every `window`, at most `cap` of `unit` for each key of `scope`, over the APIs that it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub name: Arc<str>,
    pub apis: Apis,
    pub scope: Scope,
    pub unit: Unit,
    pub window: Window,
    pub cap: Cap,
    pub mode: Mode,
    /// Where the number comes from, for whoever has to defend it.
    pub source: String,
}
