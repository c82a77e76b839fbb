//! One limit, looked at for one call.

use super::active::{ActiveLimit, Bound};
use super::counter::Counters;
use super::eras::When;
use super::facets::{Cost, Facets};
use super::limit::Dimension;
use super::reading::{Reading, Refusal, Rule};
use super::track::Count;

/// When calls in flight that are free if they turn out good may have left.
const FREE_SOON_MS: i64 = 1_000;

/// A call that is judged.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) facets: &'a Facets<'a>,
    pub(super) cost: &'a Cost,
    pub(super) account_cap: u64,
    pub(super) now: When<'a>,
}

#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) active: &'a ActiveLimit,
    pub(super) count: &'a Count,
    pub(super) counters: Counters<'a>,
    /// In flight on top of what the counters have, as part of `used`: for a member who is not looked at by himself.
    pub(super) aloft: u64,
    pub(super) needed: u64,
    pub(super) used: u64,
    pub(super) bound: Bound,
    /// The bound without the reserve that is not for this call.
    pub(super) allowed: u64,
    /// Calls that turn out good leave the counters as soon as they do.
    pub(super) free_if_ok: bool,
}

impl Look<'_> {
    #[inline]
    pub(super) fn passes(&self) -> bool {
        self.used.saturating_add(self.needed) <= self.allowed
    }

    /// Whether the limit holds the call back by itself, or only an own rule on top of it.
    #[inline]
    pub(super) fn is_own(&self) -> bool {
        self.bound.rule.is_of_api_key()
    }

    /// What would be left for such calls after this one.
    #[inline]
    fn left(&self) -> u64 {
        self.allowed.saturating_sub(self.used.saturating_add(self.needed))
    }

    /// Compares what is left of the caps as shares, without fractions.
    #[inline]
    pub(super) fn has_less_left_than(&self, other: &Self) -> bool {
        // None is larger than MAX_CAP, so the products fit.
        self.left() * other.allowed < other.left() * self.allowed
    }

    pub(super) fn retry_at(&self, now: When<'_>) -> Option<i64> {
        let room = self.allowed.checked_sub(self.needed)?;
        let falls_to = self.falls_to(room, now);
        let settled = self.used.saturating_sub(self.in_flight());
        if self.free_if_ok && settled <= room {
            // Calls in flight alone stand in the way, and nobody knows that they will count.
            let soon = now.tick.saturating_add(FREE_SOON_MS);
            return Some(falls_to.map_or(soon, |at| at.min(soon)));
        }
        falls_to
    }

    fn falls_to(&self, room: u64, now: When<'_>) -> Option<i64> {
        let span = self.count.span;
        match room.checked_sub(self.aloft) {
            Some(room) => self.counters.falls_to(room, span, now),
            None => self.empties(now),
        }
    }

    fn empties(&self, now: When<'_>) -> Option<i64> {
        let empties = self.counters.empties(self.count.span, now);
        if self.aloft == 0 {
            return empties;
        }
        let freed = self.count.span.freed_if_settled(now);
        empties.zip(freed).map(|(empties, freed)| empties.max(freed))
    }

    fn in_flight(&self) -> u64 {
        self.counters.in_flight().saturating_add(self.aloft)
    }

    fn reading_of(&self, bound: Bound, now: When<'_>) -> Reading {
        let limit = &self.active.limit;
        Reading {
            limit: limit.name.clone(),
            rule: bound.rule,
            unit: limit.unit,
            cap: bound.cap,
            used: self.used,
            in_flight: self.in_flight(),
            remaining: bound.cap.saturating_sub(self.used),
            window: limit.window,
            resets_at: self.empties(now),
        }
    }

    pub(super) fn reading(&self, now: When<'_>) -> Reading {
        self.reading_of(self.bound, now)
    }

    /// The number that holds this call back: the reserve only where the limit itself would not.
    fn holding(&self) -> Bound {
        let reserved = Bound { rule: Rule::Reserve, cap: self.allowed };
        let fits = self.used.saturating_add(self.needed) <= self.bound.cap;
        if fits && self.allowed < self.bound.cap { reserved } else { self.bound }
    }

    /// The reading once the call has been taken.
    pub(super) fn reading_with_call(&self, now: When<'_>) -> Reading {
        let reading = self.reading_of(self.holding(), now);
        let freed = self.count.span.freed_if_settled(now);
        Reading {
            used: self.used.saturating_add(self.needed),
            in_flight: reading.in_flight.saturating_add(self.needed),
            remaining: self.left(),
            resets_at: reading.resets_at.zip(freed).map(|(resets_at, freed)| resets_at.max(freed)),
            ..reading
        }
    }

    /// The same for a call that passes after others, which need `ahead` of the limit and pass at `after` at the earliest.
    pub(super) fn refusal_behind(&self, ahead: u64, after: i64, now: When<'_>) -> Refusal {
        let refusal = self.refusal(now);
        let all = Self { needed: self.needed.saturating_add(ahead), ..*self };
        let retry_at = if self.needed > self.allowed {
            None
        } else if all.passes() {
            Some(after)
        } else if all.needed <= self.allowed {
            all.retry_at(now)
        } else {
            // Not together with them: when they have left, if they settle as soon as they pass.
            self.count.span.freed_if_settled(When { tick: after, ..now })
        };
        let reading = refusal.reading;
        // What is spoken for is not there for this call; more than the cap nobody has.
        let used = self.used.saturating_add(ahead).min(reading.cap).max(self.used);
        let remaining = reading.cap.saturating_sub(used);
        let retry_at = retry_at.map(|retry_at| retry_at.max(after));
        Refusal { reading: Reading { used, remaining, ..reading }, retry_at, ..refusal }
    }

    pub(super) fn refusal(&self, now: When<'_>) -> Refusal {
        let scope = self.active.limit.scope;
        Refusal {
            reading: self.reading_of(self.holding(), now),
            scope: if self.is_own() { scope.and(Dimension::ApiKey) } else { scope },
            needed: self.needed,
            retry_at: self.retry_at(now),
        }
    }
}
