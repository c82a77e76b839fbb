//! Counters without buckets: those of calendar periods, and of everything ever.

use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::recent::Recent;

/// The counter of a day or a month. Two periods are enough: the present never touches more, and what has passed is
/// never asked for again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Periods {
    in_flight: u64,
    newest: i32,
    /// Of the newest period, and of the one before. They stay at the maximum, which no cap exceeds.
    amounts: [u32; 2],
    recent: Recent,
}

impl Periods {
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// What settled in a period.
    pub(super) fn settled(&self, period: i32) -> u64 {
        let age = usize::try_from(i64::from(self.newest) - i64::from(period)).ok();
        age.and_then(|age| self.amounts.get(age)).map_or(0, |amount| u64::from(*amount))
    }

    /// The last period in which something settled.
    pub(super) fn last(&self) -> Option<i32> {
        (self.amounts[0] > 0).then_some(self.newest)
    }

    pub(super) fn pace(&self, tick: i64) -> (u64, i64) {
        self.recent.pace(tick)
    }

    pub(super) fn take(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_add(amount);
    }

    pub(super) fn give_back(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_sub(amount);
    }

    /// Counts in every period that WeCom may put the call into.
    pub(super) fn settle(&mut self, calendar: Calendar, amount: u64, at: i64, tick: i64) {
        if amount == 0 {
            return;
        }
        let (first, last) = calendar.touched(at);
        self.add(first, amount);
        if last != first {
            self.add(last, amount);
        }
        self.recent.add(amount, tick);
    }

    fn add(&mut self, period: i32, amount: u64) {
        if self.amounts == [0; 2] {
            self.newest = period;
        }
        if period > self.newest {
            let before = if period == self.newest + 1 { self.amounts[0] } else { 0 };
            self.amounts = [0, before];
            self.newest = period;
        }
        // A period before both is over, unless the clocks are wild: then it counts too long rather than not at all.
        let place = usize::from(period < self.newest);
        let amount = u32::try_from(amount).unwrap_or(u32::MAX);
        self.amounts[place] = self.amounts[place].saturating_add(amount);
    }

    /// Raises every period to what it has in `other`, if that is more.
    pub(super) fn cover(&mut self, other: &Self) {
        for (period, amount) in
            [other.newest - 1, other.newest].into_iter().zip([other.amounts[1], other.amounts[0]])
        {
            let is_kept = self.amounts == [0; 2] || period >= self.newest - 1;
            let lacks = u64::from(amount).saturating_sub(self.settled(period));
            if is_kept && lacks > 0 {
                self.add(period, lacks);
            }
        }
    }

    /// Forgets periods that the present does not touch any more.
    pub(super) fn trim(&mut self, calendar: Calendar, at: i64, tick: i64) {
        let (first, _) = calendar.touched(at);
        if self.newest < first {
            self.amounts[0] = 0;
        }
        if self.newest <= first {
            self.amounts[1] = 0;
        }
        if self.amounts == [0; 2] {
            self.newest = 0; // As in a new one.
        }
        self.recent.forget(tick);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.amounts == [0; 2] && self.recent.is_empty()
    }
}

/// The counter of a total: what is under way, and what has ever settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plain {
    in_flight: u64,
    total: u64,
    recent: Recent,
}

impl Plain {
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn pace(&self, tick: i64) -> (u64, i64) {
        self.recent.pace(tick)
    }

    pub(super) fn take(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_add(amount);
    }

    pub(super) fn give_back(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_sub(amount);
    }

    pub(super) fn add(&mut self, amount: u64, tick: i64) {
        if amount > 0 {
            self.total = self.total.saturating_add(amount);
            self.recent.add(amount, tick);
        }
    }

    pub(super) fn cover(&mut self, other: &Self) {
        self.total = self.total.max(other.total);
    }

    pub(super) fn lower(&mut self, amount: u64) {
        self.total = self.total.saturating_sub(amount);
    }

    pub(super) fn trim(&mut self, tick: i64) {
        self.recent.forget(tick);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.total == 0 && self.recent.is_empty()
    }
}
