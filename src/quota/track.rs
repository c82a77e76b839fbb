//! The counters that share a key and count the same APIs, so that one lookup serves them all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::active::{ActiveLimit, Own};
use super::apis::{ApiSet, Apis};
use super::counter::{Counter, Counters, Span};
use super::crest::{Crest, LOOKS};
use super::eras::When;
use super::facets::{Cost, Facets};
use super::key::Key;
use super::limit::{Dimension, Scope, Unit};
use super::look::{Call, Look};
use super::plan::{Judged, Stop, Use};

/// How many keys one [`Track::prune`] looks at.
pub(super) const PRUNE_STEP: usize = 256;

/// What the counters of a track have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TrackId {
    pub(super) scope: Scope,
    pub(super) set: ApiSet,
    /// Of these APIs, calls that turn out good do not count.
    pub(super) free: Apis,
    /// The limit on top of which API keys have rules of their own, if the counters are for these.
    pub(super) own: Option<Arc<str>>,
}

/// What one counter of each key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) unit: Unit,
    pub(super) span: Span,
}

/// One counter for each count of the track, in their order.
pub(super) type Row = Box<[Counter]>;

pub(super) fn fresh(counts: &[Count]) -> Row {
    counts.iter().map(|count| Counter::new(count.span)).collect()
}

/// The keys of a call.
#[derive(Clone, Copy)]
enum Targets<'a> {
    One(Key),
    /// One for each member.
    Members(Key, &'a [u64]),
    /// It goes to no such thing.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Track {
    pub(super) id: TrackId,
    pub(super) counts: Vec<Count>,
    /// The own rules that the counters are for; only these API keys are counted.
    owners: BTreeMap<u64, Own>,
    /// Ordered, so that everything about it is deterministic, pruning can go on where it stopped, and there is no
    /// moment at which a whole table is rehashed.
    pub(super) rows: BTreeMap<Key, Row>,
    /// Of a limit per member, the fullest of those whose keys differ in nothing else, by the key for everybody.
    crests: BTreeMap<Key, Crest>,
    /// The last key that pruning looked at.
    pruned: Option<Key>,
}

impl Track {
    pub(super) fn new(id: TrackId, owners: BTreeMap<u64, Own>) -> Self {
        let (rows, crests) = (BTreeMap::new(), BTreeMap::new());
        Self { id, counts: Vec::new(), owners, rows, crests, pruned: None }
    }

    /// The place of a count; it is added if it is not there.
    pub(super) fn counter(&mut self, count: Count) -> usize {
        self.counts.iter().position(|known| *known == count).unwrap_or_else(|| {
            self.counts.push(count);
            self.counts.len() - 1
        })
    }

    pub(super) fn own(&self, api_key: u64) -> Option<&Own> {
        self.owners.get(&api_key)
    }

    /// Whether calls of an API key are not for these counters.
    fn ignores(&self, api_key: u64) -> bool {
        self.id.own.is_some() && !self.owners.contains_key(&api_key)
    }

    /// Whether calls that turn out good leave the counters.
    pub(super) fn frees(&self) -> bool {
        !self.id.free.is_empty()
    }

    pub(super) fn is_per_member(&self) -> bool {
        self.id.scope.has(Dimension::Member)
    }

    pub(super) fn is_per_chat(&self) -> bool {
        self.id.scope.has(Dimension::Chat)
    }

    /// What a call counts for.
    #[inline]
    fn targets<'a>(&self, facets: &Facets<'a>) -> Targets<'a> {
        let key = Key::of(facets, self.id.scope);
        if self.is_per_member() && !facets.broadcast {
            Targets::Members(key, facets.members)
        } else if self.is_per_chat() && facets.chat == 0 {
            Targets::Nothing
        } else {
            // What went to everybody went to each member that is named, and counts once.
            Targets::One(key)
        }
    }

    /// Calls `see` for each limit that has to do with the call, once for each key that can hold it back.
    pub(super) fn look<'a>(
        &'a self,
        stop: &Stop,
        limits: &'a [ActiveLimit],
        reserve: u8,
        call: &Call<'_>,
        see: &mut impl FnMut(usize, &Look<'a>),
    ) {
        let takes = |judged: &Judged| call.cost.of(self.counts[judged.counter].unit) > 0;
        if self.ignores(call.facets.api_key) || !stop.judged.iter().any(takes) {
            return;
        }
        self.rows_of(call.facets, |own, everybody, crest| {
            for judged in &stop.judged {
                let count = &self.counts[judged.counter];
                if call.cost.of(count.unit) == 0 || !judged.is_for(call.facets.api_name) {
                    continue;
                }
                let counter = |row: Option<&'a Row>| row.and_then(|row| row.get(judged.counter));
                let counters = Counters(counter(own), counter(everybody));
                let aloft = crest.map_or(0, |crest| crest.in_flight(judged.counter));
                let look = self.one_look(&limits[judged.limit], count, counters, reserve, call);
                see(judged.limit, &Look { aloft, used: look.used.saturating_add(aloft), ..look });
            }
        });
    }

    /// One limit, for what counts in one row.
    pub(super) fn look_once<'a>(&'a self, of: &Use, active: &'a ActiveLimit, call: &Call<'_>) -> Look<'a> {
        let row = self.rows.get(&Key::of(call.facets, self.id.scope));
        let counters = Counters(row.and_then(|row| row.get(of.counter)), None);
        self.one_look(active, &self.counts[of.counter], counters, 0, call)
    }

    #[inline]
    fn one_look<'a>(
        &self,
        active: &'a ActiveLimit,
        count: &'a Count,
        counters: Counters<'a>,
        reserve: u8,
        call: &Call<'_>,
    ) -> Look<'a> {
        let Call { facets, cost, account_cap, .. } = *call;
        let mut bound = active.bound(|| Key::of(facets, active.limit.scope), facets.corp, account_cap);
        let mut allowed = bound.cap;
        if let Some(own) = self.own(facets.api_key) {
            bound = own.bound(bound.cap);
            allowed = bound.cap;
        } else if !facets.critical {
            allowed = active.without_reserve(bound.cap, reserve);
        }
        let used = counters.used(count.span, call.now);
        let free_if_ok = self.frees();
        let needed = cost.of(count.unit);
        Look { active, count, counters, aloft: 0, needed, used, bound, allowed, free_if_ok }
    }

    /// The counters that judge a call: for each member its own with those for everybody; a crest where what it has in
    /// flight comes on top.
    #[inline]
    fn rows_of<'a>(
        &'a self,
        facets: &Facets<'_>,
        mut see: impl FnMut(Option<&'a Row>, Option<&'a Row>, Option<&'a Crest>),
    ) {
        match self.targets(facets) {
            Targets::Nothing => {}
            Targets::One(all) if self.is_per_member() => {
                let everybody = self.rows.get(&all);
                let crest = self.crests.get(&all);
                let settled = crest.map(|crest| &crest.settled);
                if crest.is_some_and(|crest| crest.aloft.len() > LOOKS) {
                    return see(settled, everybody, crest);
                }
                see(settled, everybody, None);
                for member in crest.iter().flat_map(|crest| &crest.aloft) {
                    see(self.rows.get(&all.for_member(*member)), everybody, None);
                }
            }
            Targets::One(key) => see(self.rows.get(&key), None, None),
            Targets::Members(key, members) => {
                let everybody = self.rows.get(&key.for_everybody());
                for member in members {
                    see(self.rows.get(&key.for_member(*member)), everybody, None);
                }
            }
        }
    }

    /// Calls `change` with each counter of the call's keys, unless the call takes nothing from any of them. `now` is the
    /// present. Says how many keys are new.
    pub(super) fn change(
        &mut self,
        facets: &Facets<'_>,
        costs: &[&Cost],
        now: When<'_>,
        mut change: impl FnMut(&Count, &mut Counter),
    ) -> usize {
        if !self.takes(facets, costs) {
            return 0;
        }
        let before = self.rows.len();
        let counts = &self.counts;
        match self.targets(facets) {
            Targets::One(key) => {
                let row = self.rows.entry(key).or_insert_with(|| fresh(counts));
                counts.iter().zip(row.iter_mut()).for_each(|(count, counter)| change(count, counter));
            }
            Targets::Members(_, []) | Targets::Nothing => {}
            Targets::Members(key, members) => {
                let crest = self.crests.entry(key.for_everybody()).or_insert_with(|| Crest::new(counts));
                crest.trim(counts, now);
                for member in members {
                    let key = key.for_member(*member);
                    let row = self.rows.entry(key).or_insert_with(|| fresh(counts));
                    crest.change(counts, key.part(Dimension::Member), row, now, &mut change);
                }
            }
        }
        self.rows.len() - before
    }

    #[inline]
    fn takes(&self, facets: &Facets<'_>, costs: &[&Cost]) -> bool {
        let takes = |count: &Count| costs.iter().any(|cost| cost.of(count.unit) > 0);
        !self.ignores(facets.api_key) && self.counts.iter().any(takes)
    }

    /// How many keys a call needs that are not there.
    pub(super) fn lacks(&self, facets: &Facets<'_>, cost: &Cost) -> usize {
        let is_new = |key: &Key| !self.rows.contains_key(key);
        match self.targets(facets) {
            _ if !self.takes(facets, &[cost]) => 0,
            Targets::Nothing => 0,
            Targets::One(key) => usize::from(is_new(&key)),
            Targets::Members(key, members) => {
                members.iter().filter(|member| is_new(&key.for_member(**member))).count()
            }
        }
    }

    /// Whether such usage counts here that no call shows.
    pub(super) fn is_declared(&self, facets: &Facets<'_>) -> bool {
        let named = !facets.api_name.is_empty();
        facets.knows(self.id.scope) && (!named || self.id.set.matches(facets.api_name))
    }

    /// Looks at the next few keys and drops those that are idle; starts again when it has seen the last. Says how many
    /// have gone.
    pub(super) fn prune(&mut self, now: When<'_>, step: usize) -> usize {
        let Self { counts, rows, crests, pruned, .. } = self;
        let start = pruned.map_or(Bound::Unbounded, Bound::Excluded);
        let mut idle = Vec::new();
        let mut last = None;
        let mut seen = 0;
        for (key, row) in rows.range_mut((start, Bound::Unbounded)).take(step) {
            for (count, counter) in counts.iter().zip(row.iter_mut()) {
                counter.trim(count.span, now);
                counter.shrink();
            }
            if row.iter().all(Counter::is_idle) {
                idle.push(*key);
            }
            last = Some(*key);
            seen += 1;
        }
        for key in &idle {
            rows.remove(key);
            if let Entry::Occupied(mut crest) = crests.entry(key.for_everybody()) {
                crest.get_mut().trim(counts, now);
                if crest.get().is_idle() {
                    crest.remove();
                }
            }
        }
        *pruned = last.filter(|_| seen == step);
        idle.len()
    }

    /// Takes over the counters of `old` that count the same.
    pub(super) fn inherit(&mut self, old: &mut Self, now: When<'_>) {
        if self.counts == old.counts {
            self.rows = std::mem::take(&mut old.rows);
            self.crests = std::mem::take(&mut old.crests);
            self.pruned = old.pruned;
        } else {
            let place = |count| old.counts.iter().position(|known| known == count);
            let from: Vec<Option<usize>> = self.counts.iter().map(place).collect();
            for (key, mut row) in std::mem::take(&mut old.rows) {
                let inherited = self.counts.iter().zip(&from).map(|(count, from)| {
                    let fresh = Counter::new(count.span);
                    from.and_then(|from| row.get_mut(from))
                        .map_or_else(|| fresh.clone(), |counter| std::mem::replace(counter, fresh.clone()))
                });
                self.rows.insert(key, inherited.collect());
            }
            self.find_crests(now);
        }
        if self.id.own.is_some() {
            let owners = &self.owners;
            self.rows.retain(|key, _| owners.contains_key(&key.part(Dimension::ApiKey)));
            self.crests.retain(|key, _| owners.contains_key(&key.part(Dimension::ApiKey)));
        }
    }

    /// The crests of rows that are there already.
    fn find_crests(&mut self, now: When<'_>) {
        let Self { counts, rows, crests, .. } = self;
        if !self.id.scope.has(Dimension::Member) {
            return;
        }
        for (key, row) in rows.iter().filter(|(key, _)| !key.is_for_everybody()) {
            let crest = crests.entry(key.for_everybody()).or_insert_with(|| Crest::new(counts));
            crest.find(counts, key.part(Dimension::Member), row, now);
        }
    }
}
