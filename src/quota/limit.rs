//! What a limit is. All of it is data: an operator can write a profile of their own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::apis::{ApiSet, Apis};
use super::profile::Operator;
use super::window::Window;

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

/// What a limit does when it is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Enforce,
    /// Counts and reports what it would have refused, but refuses nothing.
    Shadow,
}

/// How much a limit lets through per window. In text: `1000`, `30 x account_cap`, `20% x account_cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cap {
    Fixed(u64),
    /// A factor of the corp's `account_cap` (帐号上限数).
    PerAccount(u64),
    /// A percentage of the corp's `account_cap`, rounded down, but not to nothing.
    PercentOfAccounts(u64),
}

impl Cap {
    /// The number that this cap comes to for a corp.
    #[inline]
    pub fn amount(self, account_cap: u64) -> u64 {
        match self {
            Self::Fixed(amount) => amount,
            Self::PerAccount(factor) => factor.saturating_mul(account_cap),
            Self::PercentOfAccounts(percent) => {
                let share = percent.saturating_mul(account_cap);
                (share / 100).max(u64::from(share > 0))
            }
        }
        .min(MAX_CAP)
    }

    pub fn needs_corp(self) -> bool {
        !matches!(self, Self::Fixed(_))
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(amount) => write!(f, "{amount}"),
            Self::PerAccount(factor) => write!(f, "{factor} x account_cap"),
            Self::PercentOfAccounts(percent) => write!(f, "{percent}% x account_cap"),
        }
    }
}

impl FromStr for Cap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse().ok().filter(|number| *number <= MAX_CAP);
        let cap = match text.strip_suffix(" x account_cap") {
            None => number(text).map(Self::Fixed),
            Some(factor) => match factor.strip_suffix('%') {
                None => number(factor).map(Self::PerAccount),
                Some(percent) => number(percent).map(Self::PercentOfAccounts),
            },
        };
        cap.ok_or_else(|| {
            format!(
                "`{text}` is no cap: write `1000`, `30 x account_cap` or `20% x account_cap`, at most {MAX_CAP}"
            )
        })
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
    /// Each member that a message goes to.
    Member,
    /// The group chat or group robot that a message goes to, or the article that is read.
    Chat,
}

impl Dimension {
    pub const ALL: [Self; 7] =
        [Self::Corp, Self::App, Self::Api, Self::EgressIp, Self::ApiKey, Self::Member, Self::Chat];

    /// Its place in a key: the last one is for a member or a chat, of which a limit has one at most.
    pub(super) fn place(self) -> usize {
        (self as usize).min(Self::Member as usize)
    }
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

    /// Whether it tells nothing apart that `other` does not.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    #[inline]
    pub const fn has(self, dimension: Dimension) -> bool {
        self.0 & (1 << dimension as u8) != 0
    }

    #[must_use]
    pub(super) const fn and(self, dimension: Dimension) -> Self {
        Self(self.0 | 1 << dimension as u8)
    }

    pub(super) fn dimensions(self) -> impl Iterator<Item = Dimension> {
        Dimension::ALL.into_iter().filter(move |dimension| self.has(*dimension))
    }
}

impl From<Vec<Dimension>> for Scope {
    fn from(dimensions: Vec<Dimension>) -> Self {
        Self::of(&dimensions)
    }
}

impl From<Scope> for Vec<Dimension> {
    fn from(scope: Scope) -> Self {
        scope.dimensions().collect()
    }
}

/// A rule: in every `window`, at most `cap` of `unit` for each key of `scope`, over the APIs that it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub name: Arc<str>,
    /// Empty: no call counts, only what is declared.
    pub apis: Apis,
    pub except: Apis,
    /// Calls of these APIs do not count once they turn out good. Names only.
    pub free_if_ok: Apis,
    pub scope: Scope,
    pub unit: Unit,
    pub window: Window,
    pub cap: Cap,
    pub mode: Mode,
    /// For whom it holds; `None`: for all.
    pub operator: Option<Operator>,
    /// Where the number comes from, for whoever has to defend it.
    pub source: String,
    pub note: Option<String>,
}

impl Limit {
    pub fn matches(&self, api_name: &str) -> bool {
        self.apis.matches(api_name) && !self.except.matches(api_name)
    }

    /// The sets of APIs whose calls it counts, each with those of them that are free if they turn out good.
    ///
    /// Where each API has a key of its own, the free ones are kept apart: so the others can share their counters with
    /// limits that know no free ones.
    pub(super) fn parts(&self) -> Vec<(ApiSet, Apis)> {
        let whole = ApiSet { apis: self.apis.clone(), except: self.except.clone() };
        if self.free_if_ok.is_empty() || !self.scope.has(Dimension::Api) {
            return vec![(whole, self.free_if_ok.clone())];
        }
        let except = Apis::listed(self.except.patterns().chain(self.free_if_ok.patterns()));
        let counted = ApiSet { except, ..whole };
        let free = ApiSet { apis: self.free_if_ok.clone(), except: Apis::default() };
        let parts = [(counted, Apis::default()), (free, self.free_if_ok.clone())];
        parts.into_iter().filter(|(set, _)| !set.is_empty()).collect()
    }
}
