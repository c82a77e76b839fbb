//! The counters of all limits that share a key and match the same APIs, so that one lookup serves them all.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::facets::{Cost, Facets, Key};
use super::limit::{Apis, Cap, Dimension, Limit, Scope};
use super::reading::{Filter, Reading, Refusal, Usage};
use super::sliding::{Grid, Sliding};

/// How many keys one [`Track::prune`] looks at.
const PRUNE_STEP: usize = 256;

/// A limit together with what the operator changed about its cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    pub(super) limit: Limit,
    pub(super) everywhere: Option<Cap>,
    pub(super) by_corp: BTreeMap<u64, Cap>,
}

impl Rule {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, everywhere: None, by_corp: BTreeMap::new() }
    }

    /// The narrower override wins.
    fn cap(&self, corp: u64, account_cap: u64) -> u64 {
        let own = if self.by_corp.is_empty() { None } else { self.by_corp.get(&corp).copied() };
        own.or(self.everywhere).unwrap_or(self.limit.cap).amount(account_cap)
    }

    fn grid(&self) -> Grid {
        Grid::new(self.limit.window.ms())
    }

    /// Whether a counter of one rule is a counter of the other, in tracks that agree.
    fn counts_like(&self, other: &Self) -> bool {
        self.limit.unit == other.limit.unit && self.limit.window == other.limit.window
    }
}

/// One limit, looked at for one call.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) rule: &'a Rule,
    counter: Option<&'a Sliding>,
    pub(super) needed: u64,
    pub(super) cap: u64,
    pub(super) used: u64,
}

impl Look<'_> {
    pub(super) fn passes(&self) -> bool {
        self.used.saturating_add(self.needed) <= self.cap
    }

    /// What would be left after the call.
    pub(super) fn left(&self) -> u64 {
        self.cap.saturating_sub(self.used.saturating_add(self.needed))
    }

    pub(super) fn retry_at(&self, tick: i64) -> Option<i64> {
        let excess = self.used.saturating_add(self.needed).saturating_sub(self.cap);
        let counter = self.counter.filter(|_| self.needed <= self.cap)?;
        Some(counter.frees(self.rule.grid(), tick, excess))
    }

    pub(super) fn reading(&self, tick: i64) -> Reading {
        Reading {
            limit: self.rule.limit.name.clone(),
            cap: self.cap,
            used: self.used,
            remaining: self.cap.saturating_sub(self.used),
            window_ms: self.rule.limit.window.ms(),
            resets_at: self.counter.map_or(tick, |counter| counter.empties(self.rule.grid(), tick)),
        }
    }

    /// The reading once the call has been taken.
    pub(super) fn reading_with_call(&self, tick: i64) -> Reading {
        let reading = self.reading(tick);
        let freed = self.rule.grid().freed_if_settled(tick);
        Reading {
            used: self.used.saturating_add(self.needed),
            remaining: self.left(),
            resets_at: reading.resets_at.max(freed),
            ..reading
        }
    }

    pub(super) fn refusal(&self, tick: i64) -> Refusal {
        Refusal { reading: self.reading(tick), needed: self.needed, retry_at: self.retry_at(tick) }
    }
}

/// One counter for each rule of the track, in their order.
type Row = Box<[Sliding]>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Track {
    pub(super) apis: Apis,
    pub(super) scope: Scope,
    pub(super) rules: Vec<Rule>,
    /// Ordered, so that everything about it is deterministic, pruning can go on where it stopped, and there is no
    /// moment at which a whole table is rehashed.
    rows: BTreeMap<Key, Row>,
    /// The last key that pruning looked at.
    pruned: Option<Key>,
}

impl Track {
    pub(super) fn new(apis: Apis, scope: Scope) -> Self {
        Self { apis, scope, rules: Vec::new(), rows: BTreeMap::new(), pruned: None }
    }

    /// Calls `see` for each limit that has to do with the call.
    pub(super) fn look<'a>(
        &'a self,
        facets: &Facets<'_>,
        cost: &Cost,
        account_cap: u64,
        tick: i64,
        mut see: impl FnMut(Look<'a>),
    ) {
        if !self.apis.matches(facets.api_name) {
            return;
        }
        let row = self.rows.get(&facets.key(self.scope));
        for (i, rule) in self.rules.iter().enumerate() {
            let needed = cost.of(rule.limit.unit);
            if needed == 0 {
                continue;
            }
            let counter = row.and_then(|row| row.get(i));
            let used = counter.map_or(0, |counter| counter.used(rule.grid(), tick));
            see(Look { rule, counter, needed, cap: rule.cap(facets.corp, account_cap), used });
        }
    }

    /// Calls `change` with each counter of the call's key, unless the call takes nothing from any of them.
    pub(super) fn change(
        &mut self,
        facets: &Facets<'_>,
        costs: &[&Cost],
        mut change: impl FnMut(&Rule, Grid, &mut Sliding),
    ) {
        let rules = &self.rules;
        let takes = |rule: &Rule| costs.iter().any(|cost| cost.of(rule.limit.unit) > 0);
        if !self.apis.matches(facets.api_name) || !rules.iter().any(takes) {
            return;
        }
        let row = self
            .rows
            .entry(facets.key(self.scope))
            .or_insert_with(|| rules.iter().map(|_| Sliding::default()).collect());
        for (rule, counter) in rules.iter().zip(row.iter_mut()) {
            change(rule, rule.grid(), counter);
        }
    }

    pub(super) fn usage(
        &self,
        tick: i64,
        filter: &Filter<'_>,
        account_cap: &impl Fn(u64) -> u64,
        out: &mut Vec<Usage>,
    ) {
        if !filter.fits_scope(self.scope) {
            return;
        }
        let (from, to) = filter.bounds();
        for (key, row) in self.rows.range(from..=to).filter(|(key, _)| filter.fits_key(key)) {
            for (rule, counter) in self.rules.iter().zip(row.iter()) {
                if filter.limit.is_some_and(|name| name != &*rule.limit.name) {
                    continue;
                }
                let used = counter.used(rule.grid(), tick);
                if used > 0 {
                    let corp = key[Dimension::Corp as usize];
                    let cap = rule.cap(corp, account_cap(corp));
                    out.push(self.one_usage(
                        key,
                        &Look { rule, counter: Some(counter), needed: 0, cap, used },
                        tick,
                    ));
                }
            }
        }
    }

    fn one_usage(&self, key: &Key, look: &Look<'_>, tick: i64) -> Usage {
        let part = |dimension: Dimension| self.scope.has(dimension).then(|| key[dimension as usize]);
        Usage {
            corp: part(Dimension::Corp),
            app: part(Dimension::App),
            api: part(Dimension::Api),
            egress_ip: part(Dimension::EgressIp),
            api_key: part(Dimension::ApiKey),
            unit: look.rule.limit.unit,
            mode: look.rule.limit.mode,
            in_flight: look.counter.map_or(0, Sliding::in_flight),
            reading: look.reading(tick),
        }
    }

    /// Looks at the next few keys and drops those that are idle; starts again when it has seen the last.
    pub(super) fn prune(&mut self, tick: i64) {
        let Self { rules, rows, pruned, .. } = self;
        let start = pruned.map_or(Bound::Unbounded, Bound::Excluded);
        let mut idle = Vec::new();
        let mut last = None;
        let mut seen = 0;
        for (key, row) in rows.range_mut((start, Bound::Unbounded)).take(PRUNE_STEP) {
            for (rule, counter) in rules.iter().zip(row.iter_mut()) {
                counter.trim(rule.grid(), tick);
                counter.shrink();
            }
            if row.iter().all(Sliding::is_idle) {
                idle.push(*key);
            }
            last = Some(*key);
            seen += 1;
        }
        for key in idle {
            rows.remove(&key);
        }
        *pruned = last.filter(|_| seen == PRUNE_STEP);
    }

    /// Takes over the counters and overrides that mean the same in `old`, which has the same key and APIs.
    pub(super) fn inherit(&mut self, old: &Self) {
        let from: Vec<Option<usize>> = self
            .rules
            .iter()
            .map(|rule| old.rules.iter().position(|earlier| earlier.counts_like(rule)))
            .collect();
        if from.iter().all(Option::is_none) {
            return;
        }
        for (key, row) in &old.rows {
            let counter = |at: &Option<usize>| at.and_then(|at| row.get(at)).cloned().unwrap_or_default();
            self.rows.insert(*key, from.iter().map(counter).collect());
        }
    }
}
