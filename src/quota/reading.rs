//! What the meters answer: judgements, readings and usage.

use std::sync::Arc;

use super::facets::Key;
use super::limit::{Dimension, Mode, Scope, Unit};

/// One limit for one key at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub limit: Arc<str>,
    pub cap: u64,
    /// In flight and settled within the window. Can exceed `cap` where a cap was lowered or an answer showed a
    /// larger cost than had been reserved.
    pub used: u64,
    pub remaining: u64,
    pub window_ms: i64,
    /// The tick at which nothing is used any more if nothing else happens and what is in flight settles now.
    pub resets_at: i64,
}

/// Why a call may not go out now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the limit that refuses longest, without the refused call.
    pub reading: Reading,
    /// What the call would have taken.
    pub needed: u64,
    /// The earliest tick at which the same call passes if nothing else happens; `None` if it never can, because it
    /// needs more than the cap. Calls in flight never leave by themselves: where they stand in the way, this is
    /// when it would pass if they all settled now, which they can only do later (or be given back, then earlier).
    pub retry_at: Option<i64>,
}

/// The answer for one call, against all the limits that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Admitted {
        /// The enforced limit with the least share left, with this call already in it; `None` if none matches.
        binding: Option<Reading>,
        /// What a limit in shadow mode would have said.
        shadowed: Option<Refusal>,
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
}

impl Filter<'_> {
    fn parts(&self) -> [Option<u64>; 5] {
        [self.corp, self.app, self.api, self.egress_ip, self.api_key]
    }

    pub(super) fn fits_scope(&self, scope: Scope) -> bool {
        Dimension::ALL
            .iter()
            .zip(self.parts())
            .all(|(dimension, part)| part.is_none() || scope.has(*dimension))
    }

    pub(super) fn fits_key(&self, key: &Key) -> bool {
        key.iter().zip(self.parts()).all(|(value, part)| part.is_none_or(|part| part == *value))
    }

    /// The smallest and the largest key that can fit.
    pub(super) fn bounds(&self) -> (Key, Key) {
        let corp = self.corp;
        ([corp.unwrap_or(0), 0, 0, 0, 0], [corp.unwrap_or(u64::MAX), u64::MAX, u64::MAX, u64::MAX, u64::MAX])
    }
}

/// The usage of one limit for one key; the dimensions that are not part of the key are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub corp: Option<u64>,
    pub app: Option<u64>,
    pub api: Option<u64>,
    pub egress_ip: Option<u64>,
    pub api_key: Option<u64>,
    pub unit: Unit,
    pub mode: Mode,
    /// The part of `reading.used` that is not settled yet.
    pub in_flight: u64,
    pub reading: Reading,
}
