//! A limit of the active profile together with what the operator, or WeCom's answers, changed about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::limit::{Cap, Dimension, Limit, MAX_CAP, Scope};
use super::reading::Rule;

/// What is changed about a limit. Kept by name, also while the active profile has no such limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) everywhere: Option<Cap>,
    pub(super) by_corp: BTreeMap<u64, Cap>,
    /// Percent that only critical calls may use.
    pub(super) reserve: Option<u8>,
    /// Caps of single keys, of this scope.
    pub(super) learned: BTreeMap<Key, u64>,
    pub(super) scope: Scope,
}

impl Settings {
    /// Without what a limit of this scope cannot have.
    pub(super) fn fitted(mut self, scope: Scope) -> Self {
        if !scope.has(Dimension::Corp) {
            self.by_corp.clear();
            self.everywhere = self.everywhere.filter(|cap| !cap.needs_corp());
        }
        if self.scope != scope {
            self.learned.clear();
            self.scope = scope;
        }
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self { scope: self.scope, ..Self::default() }
    }
}

/// What an API key may use of a limit, within each key of that limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    pub cap: Option<u64>,
    /// Of the effective cap, rounded down.
    pub max_share_percent: Option<u8>,
}

/// A number, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) rule: Rule,
    pub(super) cap: u64,
}

impl Own {
    /// The lower of the two, for a limit that lets `cap` through.
    #[inline]
    pub(super) fn bound(&self, cap: u64) -> Bound {
        let own = self.cap.unwrap_or(MAX_CAP).min(MAX_CAP);
        let share = self.max_share_percent.map_or(MAX_CAP, |percent| cap * u64::from(percent) / 100);
        if own <= share {
            Bound { rule: Rule::Own, cap: own }
        } else {
            Bound { rule: Rule::Share, cap: share }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ActiveLimit {
    pub(super) limit: Limit,
    pub(super) settings: Settings,
}

impl ActiveLimit {
    /// What the limit lets through for a key. The narrower of the operator's numbers wins; a learned one can only lower
    /// it.
    #[inline]
    pub(super) fn bound(&self, key: impl FnOnce() -> Key, corp: u64, account_cap: u64) -> Bound {
        let settings = &self.settings;
        let by_corp = if settings.by_corp.is_empty() { None } else { settings.by_corp.get(&corp).copied() };
        let cap = by_corp.or(settings.everywhere).unwrap_or(self.limit.cap).amount(account_cap);
        let learned = if settings.learned.is_empty() { None } else { settings.learned.get(&key()).copied() };
        match learned.filter(|learned| *learned < cap) {
            Some(learned) => Bound { rule: Rule::Learned, cap: learned },
            None => Bound { rule: Rule::Limit, cap },
        }
    }

    /// What of `cap` is left for calls that are not critical.
    #[inline]
    pub(super) fn without_reserve(&self, cap: u64, everywhere: u8) -> u64 {
        match u64::from(self.settings.reserve.unwrap_or(everywhere)) {
            0 => cap,
            percent => {
                let rest = cap - (cap * percent).div_ceil(100).min(cap);
                // Of a cap that can't be divided something is left for everybody, unless all is reserved.
                if percent < 100 { rest.max(cap.min(1)) } else { rest }
            }
        }
    }
}
