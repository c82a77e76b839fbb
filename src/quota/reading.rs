//! What the meters answer: judgements, readings and usage.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::limit::{Dimension, Mode, Scope, Unit};
use super::window::Window;

/// What of a limit holds a call back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The limit itself.
    #[default]
    Limit,
    /// The share of the limit that the API key may have.
    Share,
    /// The API key's own number.
    Own,
    /// The rest of the limit is kept for critical calls.
    Reserve,
    /// A lower number than the limit's, learned from WeCom for this key.
    Learned,
}

impl Rule {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Share => "share",
            Self::Own => "own",
            Self::Reserve => "reserve",
            Self::Learned => "learned",
        }
    }

    /// What follows a number, for people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Limit => "",
            Self::Share => ", this key's share",
            Self::Own => ", this key's own number",
            Self::Reserve => ", the rest being kept for critical calls",
            Self::Learned => ", as WeCom's refusals showed",
        }
    }

    /// Whether it is the limit's own number.
    pub fn is_of_limit(&self) -> bool {
        *self == Self::Limit
    }

    /// Whether it is about one API key, on top of what the limit says.
    #[inline]
    pub fn is_of_api_key(self) -> bool {
        matches!(self, Self::Own | Self::Share)
    }
}

/// One limit for one key at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub limit: Arc<str>,
    /// Whose number `cap` is.
    pub rule: Rule,
    pub unit: Unit,
    pub cap: u64,
    /// In flight and settled within the window. Can exceed `cap` where a cap was lowered, an answer showed a larger
    /// cost than had been reserved, or critical calls used the reserve.
    pub used: u64,
    /// The part of `used` that is not settled yet.
    pub in_flight: u64,
    pub remaining: u64,
    pub window: Window,
    /// The tick at which nothing is used any more if nothing else happens and what is in flight settles now; `None`:
    /// never by itself.
    pub resets_at: Option<i64>,
}

/// Why a call may not go out now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the limit that refuses longest, without the refused call. It never says which member is meant.
    pub reading: Reading,
    /// What that limit tells apart: calls that agree in it share the refusal.
    pub scope: Scope,
    /// What the call would have taken.
    pub needed: u64,
    /// The earliest tick at which the same call passes if nothing else happens; `None` if it never can, because it
    /// needs more than the cap or nothing frees the window. Calls in flight never leave by themselves: where they
    /// stand in the way, this is when it would pass if they all settled now, which they can only do later (or be given
    /// back, then earlier). Where they do not count if they turn out good, it is a second from now.
    pub retry_at: Option<i64>,
}

/// The answer for one call, against all the limits that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Admitted {
        /// The enforced limit with the least share left, with this call already in it; `None` if none matches.
        binding: Option<Reading>,
        /// What each limit in shadow mode would have said that would have refused.
        shadowed: Vec<Refusal>,
        /// Of the limits in shadow mode that would have let it pass, the one with the least share left, with this call
        /// already in it.
        tried: Option<Reading>,
    },
    Refused(Refusal),
}

impl Judgement {
    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted { .. })
    }
}

/// Which keys to show the usage of: those that agree in everything that is given here. A key without a dimension
/// that is given, such as IP × API where a corp is given, is not shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    pub limit: Option<&'a str>,
    pub corp: Option<u64>,
    pub app: Option<u64>,
    pub api: Option<u64>,
    pub egress_ip: Option<u64>,
    pub api_key: Option<u64>,
    /// Only those of which nothing is left.
    pub used_up: bool,
}

impl Filter<'_> {
    fn parts(&self) -> [(Dimension, Option<u64>); 5] {
        [
            (Dimension::Corp, self.corp),
            (Dimension::App, self.app),
            (Dimension::Api, self.api),
            (Dimension::EgressIp, self.egress_ip),
            (Dimension::ApiKey, self.api_key),
        ]
    }

    pub(super) fn fits_scope(&self, scope: Scope) -> bool {
        self.parts().iter().all(|(dimension, part)| part.is_none() || scope.has(*dimension))
    }

    pub(super) fn fits_key(&self, key: &Key) -> bool {
        self.parts().iter().all(|(dimension, part)| part.is_none_or(|part| part == key.part(*dimension)))
    }

    /// The smallest and the largest key that can fit.
    pub(super) fn bounds(&self) -> (Key, Key) {
        let corp = |key: Key| self.corp.map_or(key, |corp| key.with(Dimension::Corp, corp));
        (corp(Key::LEAST), corp(Key::MOST))
    }
}

/// What was used lately, settled amounts only: how fast a limit is being used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pace {
    pub amount: u64,
    /// Over how long: some five minutes, or the window where it is shorter, or a bucket of it (1 %) where that is longer.
    pub over_ms: i64,
}

/// The usage of one limit for one key; the dimensions that are not part of the key are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub corp: Option<u64>,
    pub app: Option<u64>,
    pub api: Option<u64>,
    pub egress_ip: Option<u64>,
    /// Also given where `reading.rule` is the API key's own.
    pub api_key: Option<u64>,
    /// The keyed hash of the group chat, robot or article.
    pub chat: Option<u64>,
    /// Of a limit per member only the fullest is shown, and not who it is; this is of how many.
    pub members: Option<u64>,
    pub mode: Mode,
    pub pace: Pace,
    /// The tick at which the present period of a calendar window is over.
    pub ends: Option<i64>,
    pub reading: Reading,
}
