//! The fullest of the members of one app, without a look at each of them: what a message to everybody is judged by.
//!
//! How much of what has settled still counts from some bucket on only ever grows, so the most that any member has from
//! there on is known at once when one of them settles, and for every later moment too: time alone makes nobody the
//! fullest. What is in flight can be given back; so those with something in flight are known one by one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::counter::Counter;
use super::eras::When;
use super::track::{Count, Row, fresh};

/// So many members with something in flight are looked at one by one. Of more it is taken that the fullest member is the
/// one with the most in flight: for as long as they are under way, a message to everybody may find less room than there is.
pub(super) const LOOKS: usize = 4_096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Crest {
    /// From every moment on, the most that has settled for any member. Nothing is in flight here.
    pub(super) settled: Row,
    /// Hashes of the members with something in flight.
    pub(super) aloft: BTreeSet<u64>,
    /// For each count, how many members have how much in flight.
    amounts: Box<[BTreeMap<u64, u64>]>,
}

impl Crest {
    pub(super) fn new(counts: &[Count]) -> Self {
        let amounts = counts.iter().map(|_| BTreeMap::new()).collect();
        Self { settled: fresh(counts), aloft: BTreeSet::new(), amounts }
    }

    /// The most that any member has in flight.
    pub(super) fn in_flight(&self, counter: usize) -> u64 {
        let most = self.amounts.get(counter).and_then(BTreeMap::last_key_value);
        most.map_or(0, |(amount, _)| *amount)
    }

    /// Changes the counters of a member, and keeps up with it.
    pub(super) fn change(
        &mut self,
        counts: &[Count],
        member: u64,
        row: &mut Row,
        now: When<'_>,
        change: &mut impl FnMut(&Count, &mut Counter),
    ) {
        let (mut was, mut is) = (0, 0);
        for (i, (count, counter)) in counts.iter().zip(row.iter_mut()).enumerate() {
            let before = counter.in_flight();
            change(count, counter);
            let after = counter.in_flight();
            (was, is) = (was.max(before), is.max(after));
            self.moved(i, before, after);
            self.settled[i].cover(counter, count.span, now);
        }
        match (was > 0, is > 0) {
            (false, true) => _ = self.aloft.insert(member),
            (true, false) => _ = self.aloft.remove(&member),
            _ => {}
        }
    }

    /// Takes in a member whose counters are there already.
    pub(super) fn find(&mut self, counts: &[Count], member: u64, row: &Row, now: When<'_>) {
        for (i, (count, counter)) in counts.iter().zip(row).enumerate() {
            self.moved(i, 0, counter.in_flight());
            self.settled[i].cover(counter, count.span, now);
        }
        if row.iter().any(|counter| counter.in_flight() > 0) {
            self.aloft.insert(member);
        }
    }

    fn moved(&mut self, counter: usize, before: u64, after: u64) {
        if before == after {
            return;
        }
        let members = &mut self.amounts[counter];
        if let Some(left) = members.get_mut(&before) {
            *left -= 1;
            if *left == 0 {
                members.remove(&before);
            }
        }
        if after > 0 {
            *members.entry(after).or_default() += 1;
        }
    }

    /// Forgets what does not count any more at the present.
    pub(super) fn trim(&mut self, counts: &[Count], now: When<'_>) {
        for (count, counter) in counts.iter().zip(self.settled.iter_mut()) {
            counter.trim(count.span, now);
            counter.shrink();
        }
    }

    /// Whether a new one would be the same.
    pub(super) fn is_idle(&self) -> bool {
        self.aloft.is_empty() && self.settled.iter().all(Counter::is_idle)
    }
}
