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
    #[inline]
    pub(super) fn is_for(&self, api_name: &str) -> bool {
        is_for(self.only.as_ref(), api_name)
    }
}

impl Judged {
    #[inline]
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
    /// The APIs that some limit names, by the length of the name, which tells most others apart at once.
    named: Vec<Vec<(Box<str>, Route)>>,
    /// What the others may begin with for some limit to know them; then the stops have to be asked.
    prefixes: Vec<Box<str>>,
    prefixed: Route,
    /// All others.
    other: Route,
    pub(super) uses: Vec<Use>,
}

impl Plan {
    #[inline]
    pub(super) fn route(&self, api_name: &str) -> &[Stop] {
        let of_length = self.named.get(api_name.len()).map_or(&[][..], Vec::as_slice);
        if let Some((_, route)) = of_length.iter().find(|(name, _)| **name == *api_name) {
            return route;
        }
        let prefixed = self.prefixes.iter().any(|prefix| api_name.starts_with(&**prefix));
        if prefixed { &self.prefixed } else { &self.other }
    }

    /// `uses` of `tracks`, both as [`Layout`] found them.
    pub(super) fn new(tracks: &[Track], uses: Vec<Use>) -> Self {
        let sets = tracks.iter().map(|track| &track.id.set).chain(uses.iter().map(|of| &of.set));
        let names: BTreeSet<Box<str>> = sets.clone().flat_map(ApiSet::names).map(Into::into).collect();
        let longest = names.iter().map(|name| name.len() + 1).max();
        let mut named = vec![Vec::new(); longest.unwrap_or(0)];
        for name in names {
            let route = stops(tracks, &uses, |set| set.matches(&name).then_some(None));
            named[name.len()].push((name, route));
        }
        let mut prefixes: Vec<Box<str>> = sets.flat_map(ApiSet::prefixes).map(Into::into).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let prefixed = stops(tracks, &uses, |set| match (set.has_prefixes(), set.apis.is_all()) {
            (true, _) => Some(Some(set.clone())),
            (false, matches) => matches.then_some(None),
        });
        let other = stops(tracks, &uses, |set| set.apis.is_all().then_some(None));
        Self { named, prefixes, prefixed, other, uses }
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
