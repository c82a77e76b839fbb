//! What WeCom's refusals taught of its real caps: drifts (it was full long before we were), and the lower caps that
//! came of them, each for one key of a limit.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::quota::{Dimension, Facets, Meters, Scope};

use super::alerts::About;
use super::entry::{CapLearned, Drift, PenaltyLevel, Refs, Seq};
use super::penalties::First;

/// Learned caps in force, at most; then no more are learned.
pub const CAPS_MAX: usize = 1_000;
/// Drifts of one key of a limit that are remembered, the newest of them: more can't be waited for.
pub const DRIFTS_MAX: u8 = 10;
/// Keys of limits whose drifts are remembered.
const DRIFTING_MAX: usize = 1_000;

const DAY_MS: i64 = 86_400_000;

/// What a limit may tell apart whose cap can be learned. Of one per egress IP, one corp's refusals would lower what
/// every corp may use; which group chat or member is meant WeCom does not say.
const LEARNABLE: Scope = Scope::of(&[Dimension::Corp, Dimension::App, Dimension::Api]);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    caps: BTreeMap<About, LearnedCap>,
    drifts: BTreeMap<About, VecDeque<Remembered>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedCap {
    /// The `cap.learned` entry.
    pub seq: Seq,
    pub at: i64,
    pub cap: u64,
    pub before: u64,
    pub drifts: Vec<Drift>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Remembered {
    drift: Drift,
    /// From this tick on it is no reason any more.
    forgotten: i64,
}

/// The key of a limit that the first refusal of a row was about, if a cap can be learned for it.
pub fn about(meters: &Meters, limit: &str, first: &First, api: Seq) -> Option<About> {
    let scope = meters.limits().find(|known| *known.name == *limit)?.scope;
    let part = |dimension, value| if scope.has(dimension) { value } else { 0 };
    let about = About {
        limit: limit.to_owned(),
        corp: part(Dimension::Corp, first.corp),
        app: part(Dimension::App, first.app),
        api: part(Dimension::Api, api),
        ..About::default()
    };
    (scope.is_within(LEARNABLE) && scope.has(Dimension::Corp)).then_some(about)
}

impl About {
    /// As the meters find the same key.
    pub fn facets(&self) -> Facets<'static> {
        Facets { corp: self.corp, app: self.app, api: self.api, ..Facets::default() }
    }

    pub fn refs(&self) -> Refs {
        let part = |value: Seq| (value != 0).then_some(value);
        let [corp, app, api, api_key] = [self.corp, self.app, self.api, self.api_key].map(part);
        Refs { corp, app, api, api_key }
    }

    pub fn of(limit: &str, refs: Refs) -> Self {
        let part = |value: Option<Seq>| value.unwrap_or(0);
        Self {
            limit: limit.to_owned(),
            corp: part(refs.corp),
            app: part(refs.app),
            api: part(refs.api),
            ..Self::default()
        }
    }
}

impl Learned {
    /// The caps in force.
    pub fn caps(&self) -> impl Iterator<Item = (&About, &LearnedCap)> {
        self.caps.iter()
    }

    pub fn by_entry(&self, learned: Seq) -> Option<(&About, &LearnedCap)> {
        self.caps.iter().find(|(_, cap)| cap.seq == learned)
    }

    /// Whether one more cap can be kept.
    pub fn has_room(&self, about: &About) -> bool {
        self.caps.len() < CAPS_MAX || self.caps.contains_key(about)
    }

    /// The drifts that count, oldest first.
    pub fn drifts(&self, about: &About, tick: i64) -> impl Iterator<Item = &Drift> {
        let all = self.drifts.get(about).into_iter().flatten();
        all.filter(move |it| tick < it.forgotten).map(|it| &it.drift)
    }

    /// `level`: how long WeCom blocked, since a window that is longer fills less often.
    pub(super) fn drifted(&mut self, about: About, drift: Drift, level: PenaltyLevel, tick: i64) {
        if self.drifts.len() >= DRIFTING_MAX {
            self.drifts.retain(|_, all| all.back().is_some_and(|it| tick < it.forgotten));
        }
        if self.drifts.len() >= DRIFTING_MAX && !self.drifts.contains_key(&about) {
            return;
        }
        let days = if level == PenaltyLevel::Month { 90 } else { 7 };
        let all = self.drifts.entry(about).or_default();
        all.push_back(Remembered { drift, forgotten: tick + days * DAY_MS });
        all.retain(|it| tick < it.forgotten);
        while all.len() > usize::from(DRIFTS_MAX) {
            all.pop_front();
        }
    }

    /// What follows is judged by the new cap, so what led to it is no reason for the next one.
    pub(super) fn learn(&mut self, about: About, seq: Seq, at: i64, x: &CapLearned) {
        self.drifts.remove(&about);
        let CapLearned { cap, before, ref drifts, .. } = *x;
        self.caps.insert(about, LearnedCap { seq, at, cap, before, drifts: drifts.clone() });
    }

    pub(super) fn restore(&mut self, learned: Seq) -> Option<About> {
        let about = self.by_entry(learned)?.0.clone();
        self.drifts.remove(&about);
        self.caps.remove(&about);
        Some(about)
    }

    /// Forgets the caps that the meters no longer have, after a change of profile.
    pub(super) fn follow(&mut self, meters: &Meters) {
        self.caps.retain(|about, _| meters.learned(&about.limit, &about.facets()).is_some());
    }
}
