//! Which counters have to do with a call: found by the name of its API, so that a call does not pass by every limit.

use std::collections::BTreeSet;

use super::apis::ApiSet;
use super::track::Track;

/// Where a call goes: the tracks that it counts in.
type Route = Box<[Stop]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) track: usize,
    /// Only for these APIs; `None` where the route says it already.
    only: Option<ApiSet>,
    pub(super) judged: Box<[Judged]>,
}

/// A limit (its place in the profile) that judges by a counter (its place in the track).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) counter: usize,
    pub(super) limit: usize,
    only: Option<ApiSet>,
}

fn is_for(only: Option<&ApiSet>, api_name: &str) -> bool {
    only.is_none_or(|set| set.matches(api_name))
}

impl Stop {
    pub(super) fn is_for(&self, api_name: &str) -> bool {
        is_for(self.only.as_ref(), api_name)
    }
}

impl Judged {
    pub(super) fn is_for(&self, api_name: &str) -> bool {
        is_for(self.only.as_ref(), api_name)
    }
}

/// A limit that reads a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) track: usize,
    pub(super) counter: usize,
    pub(super) limit: usize,
    pub(super) set: ApiSet,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// By name: the APIs that some limit names.
    named: Vec<(Box<str>, Route)>,
    /// All others.
    other: Route,
    pub(super) uses: Vec<Use>,
}

impl Plan {
    pub(super) fn route(&self, api_name: &str) -> &[Stop] {
        let named = self.named.binary_search_by(|(name, _)| (**name).cmp(api_name));
        named.map_or(&self.other, |at| &self.named[at].1)
    }

    /// `uses` of `tracks`, both as [`Layout`] found them.
    pub(super) fn new(tracks: &[Track], uses: Vec<Use>) -> Self {
        let sets = tracks.iter().map(|track| &track.id.set).chain(uses.iter().map(|of| &of.set));
        let names: BTreeSet<Box<str>> = sets.flat_map(ApiSet::names).map(Into::into).collect();
        let named = names.into_iter().map(|name| {
            let stops = stops(tracks, &uses, |set| set.matches(&name).then_some(None));
            (name, stops)
        });
        let named = named.collect();
        // A name that no limit names: whatever a pattern other than `*` says has to be asked when a call comes.
        let other = stops(tracks, &uses, |set| match (set.has_prefixes(), set.apis.is_all()) {
            (true, _) => Some(Some(set.clone())),
            (false, matches) => matches.then_some(None),
        });
        Self { named, other, uses }
    }
}

/// The stops of the calls that `fits` has an answer for: whether a set must still be asked.
fn stops(tracks: &[Track], uses: &[Use], fits: impl Fn(&ApiSet) -> Option<Option<ApiSet>>) -> Route {
    let judged = |at: usize| {
        let of_track = uses.iter().filter(move |of| of.track == at);
        of_track.filter_map(|of| {
            let only = fits(&of.set)?;
            Some(Judged { counter: of.counter, limit: of.limit, only })
        })
    };
    let stop = |(at, track): (usize, &Track)| {
        let only = fits(&track.id.set)?;
        Some(Stop { track: at, only, judged: judged(at).collect() })
    };
    tracks.iter().enumerate().filter_map(stop).collect()
}
