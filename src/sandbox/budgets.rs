//! Budgets of the calendar: person-times a day, accounts a month; and the rate of messages to one member.

use std::collections::HashMap;
use std::sync::Arc;

use super::clock::{day, day_end_ms, month};
use super::config::{Limits, MessageScope, WindowKind};
use super::counters::{Caps, LENGTHS_MS, Window, make_room};
use super::tokens::Who;

/// Pairs of app and member whose rate is followed; beyond it new pairs are not limited.
const MAX_PAIRS: usize = 200_000;
const MONTH_MS: i64 = 30 * 86_400_000;

/// What is left of one period's budget.
#[derive(Debug, Default)]
struct Budget {
    period: i64,
    used: u64,
    blocked_until: i64,
}

impl Budget {
    /// Takes `cost`, or starts the penalty.
    fn spend(&mut self, cost: u64, cap: u64, period: i64, now: i64, penalty_until: i64) -> Result<(), i32> {
        if now < self.blocked_until {
            return Err(45009);
        }
        if period != self.period {
            *self = Self { period, ..Self::default() };
        }
        if self.used + cost > cap {
            self.blocked_until = penalty_until;
            return Err(45009);
        }
        self.used += cost;
        Ok(())
    }
}

/// Person-times that an app sent, as message/get_statistics counts them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct PersonTimes {
    day: i64,
    today: u64,
    yesterday: u64,
    pub total: u64,
}

impl PersonTimes {
    fn roll(&mut self, now: i64) {
        let day = day(now);
        if day != self.day {
            self.yesterday = if day == self.day + 1 { self.today } else { 0 };
            self.today = 0;
            self.day = day;
        }
    }

    /// Today's and yesterday's.
    pub(super) fn days(mut self, now: i64) -> (u64, u64) {
        self.roll(now);
        (self.today, self.yesterday)
    }
}

#[derive(Debug, Default)]
pub(super) struct Budgets {
    /// By corp, and by app where the limit is the app's.
    messages: HashMap<(usize, Option<usize>), Budget>,
    accounts: HashMap<usize, Budget>,
    pairs: HashMap<(Who, Arc<str>), [Window; 2]>,
    pub person_times: HashMap<Who, PersonTimes>,
}

impl Budgets {
    pub(super) fn spend_messages(
        &mut self,
        limits: &Limits,
        who: Who,
        cap: u32,
        cost: usize,
        now: i64,
    ) -> Result<(), i32> {
        let Some(budget) = limits.message_budget else { return Ok(()) };
        let app = (budget.scope == MessageScope::App).then_some(who.app);
        let cap = u64::from(cap) * u64::from(budget.factor);
        let entry = self.messages.entry((who.corp, app)).or_default();
        entry.spend(cost as u64, cap, day(now), now, day_end_ms(now))
    }

    pub(super) fn spend_account(
        &mut self,
        limits: &Limits,
        corp: usize,
        cap: u32,
        now: i64,
    ) -> Result<(), i32> {
        let Some(factor) = limits.account_creations_factor else { return Ok(()) };
        let cap = u64::from(cap) * u64::from(factor);
        self.accounts.entry(corp).or_default().spend(1, cap, month(now), now, now + MONTH_MS)
    }

    /// Whether a message reaches this member, or is dropped because the app sent too many.
    pub(super) fn reaches(
        &mut self,
        caps: Caps,
        who: Who,
        member: &Arc<str>,
        now: i64,
        kind: WindowKind,
    ) -> bool {
        if caps == [None, None] {
            return true;
        }
        let key = (who, member.clone());
        make_room(&mut self.pairs, MAX_PAIRS, &key, |windows| windows[1].is_empty_at(now, LENGTHS_MS[1]));
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            return true;
        }
        let windows = self.pairs.entry(key).or_default();
        windows.iter_mut().zip(LENGTHS_MS).for_each(|(window, length_ms)| window.roll(now, length_ms));
        if windows.iter().zip(caps).any(|(window, cap)| window.is_full(cap, kind)) {
            return false;
        }
        for window in windows {
            window.add(now);
        }
        true
    }

    pub(super) fn sent(&mut self, who: Who, count: usize, now: i64) {
        let app = self.person_times.entry(who).or_default();
        app.roll(now);
        app.today += count as u64;
        app.total += count as u64;
    }

    /// Lifts penalties and forgets what was used; the statistics stay.
    pub(super) fn clear(&mut self) {
        *self = Self { person_times: std::mem::take(&mut self.person_times), ..Self::default() };
    }
}
