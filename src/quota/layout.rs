//! Which counters there are.
//!
//! What is counted does not depend on who judges it. Limits that count alike share a counter, and what the limits of
//! the other shipped profiles count is counted as well, although nobody judges it: a change of profile forgets
//! nothing. So that this costs little, what has a key of its own for each API is counted for every API where some
//! limit wants that anyway, and only read for those that a limit matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::active::Own;
use super::apis::ApiSet;
use super::counter::Span;
use super::limit::{Dimension, Limit, Scope};
use super::plan::Use;
use super::profile::all_shipped;
use super::track::{Count, Track, TrackId};

/// The own rules of API keys, by the name of the limit.
pub(super) type Owns = BTreeMap<Arc<str>, BTreeMap<u64, Own>>;

/// The counter of a limit over every API that tells them apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Wide {
    scope: Scope,
    count: Count,
}

impl Wide {
    fn of(limit: &Limit, zone_minutes: i32) -> Option<Self> {
        let count = Count { unit: limit.unit, span: Span::new(limit.window, zone_minutes) };
        let is_wide = limit.apis.is_all() && limit.scope.has(Dimension::Api);
        is_wide.then_some(Self { scope: limit.scope, count })
    }
}

/// A limit to lay out.
#[derive(Clone, Copy)]
struct Item<'a> {
    limit: &'a Limit,
    zone_minutes: i32,
    /// Its place in the active profile, if it is one of that.
    active: Option<usize>,
}

pub(super) struct Layout {
    pub(super) tracks: Vec<Track>,
    pub(super) uses: Vec<Use>,
    shipped: Vec<Wide>,
    active: Vec<Wide>,
}

impl Layout {
    /// Of the limits of the active profile, those of the other shipped ones, and the own rules.
    pub(super) fn new<'a>(limits: impl Iterator<Item = &'a Limit>, zone_minutes: i32, owns: &Owns) -> Self {
        let item = |(i, limit)| Item { limit, zone_minutes, active: Some(i) };
        let active: Vec<Item<'_>> = limits.enumerate().map(item).collect();
        let dormant = dormant();
        let wide = |items: &[Item<'_>]| {
            items.iter().filter_map(|item| Wide::of(item.limit, item.zone_minutes)).collect()
        };
        let (shipped, all) = (wide(&dormant), wide(&active));
        let mut layout = Self { tracks: Vec::new(), uses: Vec::new(), shipped, active: all };
        let items: Vec<Item<'_>> = active.into_iter().chain(dormant).collect();
        for item in &items {
            layout.add(*item, None);
        }
        for (name, owners) in owns {
            for item in items.iter().filter(|item| item.limit.name == *name) {
                layout.add(*item, Some((name, owners)));
            }
        }
        layout
    }

    fn add(&mut self, item: Item<'_>, own: Option<(&Arc<str>, &BTreeMap<u64, Own>)>) {
        let count = Count { unit: item.limit.unit, span: Span::new(item.limit.window, item.zone_minutes) };
        for (set, free) in item.limit.parts() {
            // An own rule keeps to the APIs of its limit, or to every one, whatever its limit leaves out in which profile.
            let wide = if own.is_some() { set.apis.is_all() } else { self.is_wide(item, count) };
            let is_wide = free.is_empty() && item.limit.scope.has(Dimension::Api) && wide;
            let id = TrackId {
                scope: if own.is_some() { item.limit.scope.and(Dimension::ApiKey) } else { item.limit.scope },
                set: if is_wide { ApiSet::all() } else { set.clone() },
                free,
                own: own.map(|(name, _)| Arc::clone(name)),
            };
            let track = self.track(id, own.map(|(_, owners)| owners));
            let counter = self.tracks[track].counter(count);
            if let Some(limit) = item.active {
                self.uses.push(Use { track, counter, limit, set });
            }
        }
    }

    /// What is not of the active profile never depends on it: or a change of profile would lose its counts.
    fn is_wide(&self, item: Item<'_>, count: Count) -> bool {
        let wide = Wide { scope: item.limit.scope, count };
        self.shipped.contains(&wide) || item.active.is_some() && self.active.contains(&wide)
    }

    fn track(&mut self, id: TrackId, owners: Option<&BTreeMap<u64, Own>>) -> usize {
        self.tracks.iter().position(|track| track.id == id).unwrap_or_else(|| {
            self.tracks.push(Track::new(id, owners.cloned().unwrap_or_default()));
            self.tracks.len() - 1
        })
    }
}

/// The limits of all shipped profiles, but those per member: their keys are too many to be kept unasked.
fn dormant() -> Vec<Item<'static>> {
    let limits = all_shipped().iter().flat_map(|profile| {
        let zone_minutes = profile.zone_offset_minutes;
        profile.limits.iter().map(move |limit| Item { limit, zone_minutes, active: None })
    });
    limits.filter(|item| !item.limit.scope.has(Dimension::Member)).collect()
}
