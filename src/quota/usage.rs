//! What is used, limit by limit and key by key.

use std::ops::ControlFlow;

use super::active::{ActiveLimit, Bound};
use super::counter::{Counter, Counters};
use super::eras::When;
use super::key::Key;
use super::limit::Dimension;
use super::look::Look;
use super::plan::Use;
use super::reading::{Filter, Pace, Rule, Usage};
use super::track::{Count, Track};

/// One limit in one track.
pub(super) struct Show<'a> {
    pub(super) of: &'a Use,
    pub(super) active: &'a ActiveLimit,
    pub(super) now: When<'a>,
    pub(super) filter: &'a Filter<'a>,
}

/// The fullest of the members with the same rest of the key.
struct Fullest<'a> {
    key: Key,
    counters: Counters<'a>,
    used: u64,
    members: u64,
}

impl Show<'_> {
    pub(super) fn usage<'n>(
        &self,
        track: &Track,
        account_cap: &impl Fn(u64) -> u64,
        api_name: &impl Fn(u64) -> &'n str,
        see: &mut dyn FnMut(Usage) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if !self.filter.fits_scope(track.id.scope) {
            return ControlFlow::Continue(());
        }
        let count = &track.counts[self.of.counter];
        // The track may be about more APIs than the limit.
        let tells_apis = track.id.scope.has(Dimension::Api) && !self.of.set.is_all();
        let is_for = |key: &Key| !tells_apis || self.of.set.matches(api_name(key.part(Dimension::Api)));
        let shown = |key: &Key| self.filter.fits_key(key) && is_for(key);
        let (from, to) = self.filter.bounds();
        let rows = track.rows.range(from..=to).filter(|(key, _)| shown(key));
        let rows = rows.filter_map(|(key, row)| Some((*key, row.get(self.of.counter)?)));
        let mut add = |key: Key, counters: Counters<'_>, used: u64, members: Option<u64>| {
            let corp = key.part(Dimension::Corp);
            let bound = self.bound(track, &key, account_cap(corp));
            let wanted = !self.filter.used_up || (used >= bound.cap && used > 0);
            if wanted && (used > 0 || bound.rule == Rule::Learned) {
                see(Usage { members, ..self.one(track, &key, counters, count, used, bound) })?;
            }
            ControlFlow::Continue(())
        };
        if track.is_per_member() {
            self.fullest(rows, count)
                .into_iter()
                .try_for_each(|of| add(of.key, of.counters, of.used, Some(of.members)))?;
        } else {
            rows.into_iter().try_for_each(|(key, counter)| {
                let counters = Counters(Some(counter), None);
                add(key, counters, counters.used(count.span, self.now), None)
            })?;
        }
        // A learned cap is shown also where nothing is used, or nobody would find it to take it back.
        let idle = |key: &&Key| !track.rows.contains_key(*key) && shown(key);
        let mut learned = self.active.settings.learned.keys().filter(|_| track.id.own.is_none()).filter(idle);
        learned.try_for_each(|key| add(*key, Counters::default(), 0, None))
    }

    fn bound(&self, track: &Track, key: &Key, account_cap: u64) -> Bound {
        let corp = key.part(Dimension::Corp);
        let of_limit = || {
            let per_key = self.active.limit.scope.has(Dimension::ApiKey);
            if per_key { *key } else { key.with(Dimension::ApiKey, 0) }
        };
        let bound = self.active.bound(of_limit, corp, account_cap);
        match track.own(key.part(Dimension::ApiKey)) {
            Some(own) => own.bound(bound.cap),
            None => bound,
        }
    }

    /// Rows that differ only in the member follow each other, the one for everybody first.
    fn fullest<'r>(&self, rows: impl Iterator<Item = (Key, &'r Counter)>, count: &Count) -> Vec<Fullest<'r>> {
        let mut found: Vec<Fullest<'r>> = Vec::new();
        let mut everybody: Option<(Key, &Counter)> = None;
        for (key, counter) in rows {
            let of = key.for_everybody();
            if key.is_for_everybody() {
                everybody = Some((key, counter));
            }
            let all = everybody.filter(|(all, _)| *all == of).map(|(_, counter)| counter);
            let own = (!key.is_for_everybody()).then_some(counter);
            let counters = Counters(own, all);
            let used = counters.used(count.span, self.now);
            let member =
                u64::from(own.is_some_and(|own| Counters(Some(own), None).used(count.span, self.now) > 0));
            match found.last_mut().filter(|last| last.key == of) {
                Some(last) => {
                    last.members += member;
                    if used > last.used {
                        (last.counters, last.used) = (counters, used);
                    }
                }
                None => found.push(Fullest { key: of, counters, used, members: member }),
            }
        }
        found
    }

    fn one(
        &self,
        track: &Track,
        key: &Key,
        counters: Counters<'_>,
        count: &Count,
        used: u64,
        bound: Bound,
    ) -> Usage {
        let part = |dimension: Dimension| track.id.scope.has(dimension).then(|| key.part(dimension));
        let look = Look {
            active: self.active,
            count,
            counters,
            aloft: 0,
            needed: 0,
            used,
            bound,
            allowed: bound.cap,
            free_if_ok: track.frees(),
        };
        let (amount, over_ms) = counters.pace(count.span, self.now.tick);
        Usage {
            corp: part(Dimension::Corp),
            app: part(Dimension::App),
            api: part(Dimension::Api),
            egress_ip: part(Dimension::EgressIp),
            api_key: part(Dimension::ApiKey),
            chat: part(Dimension::Chat),
            members: None,
            mode: self.active.limit.mode,
            pace: Pace { amount, over_ms },
            ends: count.span.ends(self.now),
            reading: look.reading(self.now),
        }
    }
}
