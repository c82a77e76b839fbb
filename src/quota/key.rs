//! The key of a counter.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::facets::Facets;
use super::limit::{Dimension, Scope};

/// In the last place of a key with members: what counts for every one of them.
const EVERYBODY: u64 = 0;

/// A place for each [`Dimension`], zero where the scope does not have it. Members and chats share the last place, so
/// the members of one app follow each other, after what went to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key([u64; 6]);

impl Key {
    pub(super) const LEAST: Self = Self([0; 6]);
    pub(super) const MOST: Self = Self([u64::MAX; 6]);

    /// That of a call; the place of a member stays empty.
    #[inline]
    pub(super) fn of(facets: &Facets<'_>, scope: Scope) -> Self {
        let part = |dimension, value| if scope.has(dimension) { value } else { 0 };
        Self([
            part(Dimension::Corp, facets.corp),
            part(Dimension::App, facets.app),
            part(Dimension::Api, facets.api),
            part(Dimension::EgressIp, facets.egress_ip),
            part(Dimension::ApiKey, facets.api_key),
            part(Dimension::Chat, facets.chat),
        ])
    }

    pub(super) fn part(&self, dimension: Dimension) -> u64 {
        self.0[dimension.place()]
    }

    #[must_use]
    pub(super) fn with(mut self, dimension: Dimension, value: u64) -> Self {
        self.0[dimension.place()] = value;
        self
    }

    /// For one member, by its hash.
    #[must_use]
    pub(super) fn for_member(self, hash: u64) -> Self {
        // No member is everybody.
        self.with(Dimension::Member, hash.max(EVERYBODY + 1))
    }

    #[must_use]
    pub(super) fn for_everybody(self) -> Self {
        self.with(Dimension::Member, EVERYBODY)
    }

    pub(super) fn is_for_everybody(&self) -> bool {
        self.part(Dimension::Member) == EVERYBODY
    }
}

/// As of the array, but without a loop: most of a lookup is comparing keys.
impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.0, &other.0);
        let differ = |i: usize| (a[i] != b[i]).then(|| a[i].cmp(&b[i]));
        let first = differ(0).or_else(|| differ(1)).or_else(|| differ(2));
        let last = || differ(3).or_else(|| differ(4)).or_else(|| differ(5));
        first.or_else(last).unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
