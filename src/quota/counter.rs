//! One counter, of whatever window, and what is asked of it.
//!
//! A question goes to [`Counters`], one or two that add up: for a limit per member, the member's own and the one for
//! what went to everybody.

use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::eras::When;
use super::recent::PACE_MS;
use super::settled::{Periods, Plain};
use super::sliding::{Grid, Sliding};
use super::window::Window;

/// A call whose outcome is unknown may still be running at WeCom: so long it keeps its place among those under way.
const LINGERS_MS: i64 = 60_000;

/// A window as counters need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Span {
    Sliding(Grid),
    Calendar(Calendar),
    /// The grid is for calls of which nobody knows whether they still run.
    Concurrent(Grid),
    Total,
}

impl Span {
    pub(super) fn new(window: Window, zone_minutes: i32) -> Self {
        match window {
            Window::Sliding { ms } => Self::Sliding(Grid::new(ms)),
            Window::Day => Self::Calendar(Calendar::days(zone_minutes)),
            Window::Month => Self::Calendar(Calendar::months(zone_minutes)),
            Window::Concurrent => Self::Concurrent(Grid::new(LINGERS_MS)),
            Window::Total => Self::Total,
        }
    }

    /// The tick at which an amount that settles now is forgotten, if ever.
    pub(super) fn freed_if_settled(self, now: When<'_>) -> Option<i64> {
        match self {
            Self::Sliding(grid) => Some(grid.freed_if_settled(now.tick)),
            Self::Calendar(_) => self.ends(now),
            Self::Concurrent(_) => Some(now.tick),
            Self::Total => None,
        }
    }

    /// The tick at which the present period is over, where time is divided into periods.
    pub(super) fn ends(self, now: When<'_>) -> Option<i64> {
        match self {
            Self::Calendar(calendar) => Some(now.eras.leaves(calendar, now.tick, now.tick)),
            Self::Sliding(_) | Self::Concurrent(_) | Self::Total => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Counter {
    Sliding(Sliding),
    Periods(Periods),
    Plain(Plain),
}

impl Counter {
    pub(super) fn new(span: Span) -> Self {
        match span {
            Span::Sliding(_) | Span::Concurrent(_) => Self::Sliding(Sliding::default()),
            Span::Calendar(_) => Self::Periods(Periods::default()),
            Span::Total => Self::Plain(Plain::default()),
        }
    }

    #[inline]
    pub(super) fn in_flight(&self) -> u64 {
        match self {
            Self::Sliding(counter) => counter.in_flight(),
            Self::Periods(counter) => counter.in_flight(),
            Self::Plain(counter) => counter.in_flight(),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, span: Span, amount: u64, now: When<'_>) {
        match (self, span) {
            (Self::Sliding(counter), Span::Sliding(grid) | Span::Concurrent(grid)) => {
                counter.trim(grid, now.tick);
                counter.take(amount);
            }
            (Self::Sliding(counter), _) => counter.take(amount),
            (Self::Periods(counter), _) => counter.take(amount),
            (Self::Plain(counter), _) => counter.take(amount),
        }
    }

    #[inline]
    pub(super) fn give_back(&mut self, amount: u64) {
        match self {
            Self::Sliding(counter) => counter.give_back(amount),
            Self::Periods(counter) => counter.give_back(amount),
            Self::Plain(counter) => counter.give_back(amount),
        }
    }

    /// What was `reserved` is not under way any more; `amount` of it reached WeCom, at `when` at the latest.
    #[inline]
    pub(super) fn settle(&mut self, span: Span, reserved: u64, amount: u64, when: When<'_>) {
        match (self, span) {
            (Self::Sliding(counter), Span::Sliding(grid)) => {
                counter.give_back(reserved);
                counter.settle(grid, amount, when.tick);
            }
            (Self::Periods(counter), Span::Calendar(calendar)) => {
                counter.give_back(reserved);
                counter.settle(calendar, amount, when);
            }
            (Self::Plain(counter), Span::Total) => {
                counter.give_back(reserved);
                counter.add(amount, when.tick);
            }
            (counter, _) => counter.give_back(reserved),
        }
    }

    /// The same where nobody knows how it ended: it may reach WeCom until `when`, and run on there for a while.
    pub(super) fn expire(&mut self, span: Span, reserved: u64, when: When<'_>) {
        match (self, span) {
            (Self::Sliding(counter), Span::Concurrent(grid)) => {
                counter.give_back(reserved);
                counter.settle(grid, reserved, when.tick);
            }
            (counter, _) => counter.settle(span, reserved, reserved, when),
        }
    }

    /// Raises what settled here to what settled there, wherever that is more.
    #[inline]
    pub(super) fn cover(&mut self, other: &Self, span: Span, now: When<'_>) {
        match (self, other, span) {
            (Self::Sliding(counter), Self::Sliding(other), _) => counter.cover(other),
            (Self::Periods(counter), Self::Periods(other), Span::Calendar(calendar)) => {
                counter.cover(other, calendar, now);
            }
            (Self::Plain(counter), Self::Plain(other), _) => counter.cover(other),
            _ => {}
        }
    }

    /// Takes back what had settled, where nothing else does.
    pub(super) fn lower(&mut self, span: Span, amount: u64) {
        if let (Self::Plain(counter), Span::Total) = (self, span) {
            counter.lower(amount);
        }
    }

    /// Forgets what does not count any more at the present.
    #[inline]
    pub(super) fn trim(&mut self, span: Span, now: When<'_>) {
        match (self, span) {
            (Self::Sliding(counter), Span::Sliding(grid) | Span::Concurrent(grid)) => {
                counter.trim(grid, now.tick);
            }
            (Self::Periods(counter), Span::Calendar(calendar)) => counter.trim(calendar, now.tick),
            (Self::Plain(counter), _) => counter.trim(now.tick),
            _ => {}
        }
    }

    /// Gives memory back after a burst.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if let Self::Sliding(counter) = self {
            counter.shrink();
        }
    }

    /// Whether a new counter would be the same.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Sliding(counter) => counter.is_idle(),
            Self::Periods(counter) => counter.is_idle(),
            Self::Plain(counter) => counter.is_idle(),
        }
    }

    #[inline]
    fn used(&self, span: Span, now: When<'_>) -> u64 {
        match (self, span) {
            (Self::Sliding(counter), Span::Sliding(grid) | Span::Concurrent(grid)) => {
                counter.used(grid, now.tick)
            }
            (Self::Periods(counter), Span::Calendar(calendar)) => {
                counter.in_flight().saturating_add(counter.settled(now.eras.since(calendar, now.tick)))
            }
            (Self::Plain(counter), Span::Total) => counter.in_flight().saturating_add(counter.total()),
            _ => self.in_flight(),
        }
    }

    fn pace(&self, span: Span, tick: i64) -> (u64, i64) {
        match (self, span) {
            (Self::Sliding(counter), Span::Sliding(grid)) => counter.pace(grid, tick),
            (Self::Periods(counter), _) => counter.pace(tick),
            (Self::Plain(counter), Span::Total) => counter.pace(tick),
            _ => (0, PACE_MS),
        }
    }

    fn sliding(&self) -> Option<&Sliding> {
        if let Self::Sliding(counter) = self { Some(counter) } else { None }
    }

    fn periods(&self) -> Option<&Periods> {
        if let Self::Periods(counter) = self { Some(counter) } else { None }
    }
}

/// Counters of the same span that add up. The second is for what went to everybody.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters<'a>(pub(super) Option<&'a Counter>, pub(super) Option<&'a Counter>);

impl<'a> Counters<'a> {
    fn each(self) -> impl Iterator<Item = &'a Counter> {
        self.0.into_iter().chain(self.1)
    }

    #[inline]
    pub(super) fn in_flight(self) -> u64 {
        self.each().fold(0, |sum, counter| sum.saturating_add(counter.in_flight()))
    }

    #[inline]
    pub(super) fn used(self, span: Span, now: When<'_>) -> u64 {
        match (self.0, self.1) {
            (None, None) => 0,
            (Some(one), None) | (None, Some(one)) => one.used(span, now),
            (Some(own), Some(everybody)) => own.used(span, now).saturating_add(everybody.used(span, now)),
        }
    }

    /// When no more than `allowed` is used, if nothing else happens and what is in flight settles now.
    pub(super) fn falls_to(self, allowed: u64, span: Span, now: When<'_>) -> Option<i64> {
        match span {
            Span::Sliding(grid) => Some(self.slides_to(allowed, grid, now)),
            Span::Calendar(calendar) => Some(self.turns_to(allowed, calendar, now)),
            Span::Concurrent(grid) => {
                let allowed = allowed.saturating_add(self.in_flight());
                let is_free = self.used(span, now) <= allowed;
                Some(if is_free { now.tick } else { self.slides_to(allowed, grid, now) })
            }
            Span::Total => None,
        }
    }

    fn slides_to(self, allowed: u64, grid: Grid, now: When<'_>) -> i64 {
        let tick = now.tick;
        let live = |counter: Option<&'a Counter>| {
            counter.and_then(Counter::sliding).into_iter().flat_map(move |counter| counter.live(grid, tick))
        };
        let (mut own, mut all) = (live(self.0).peekable(), live(self.1).peekable());
        let mut left = self.used(Span::Sliding(grid), now);
        loop {
            let next = match (own.peek(), all.peek()) {
                (Some((first, _)), Some((second, _))) if second < first => all.next(),
                (None, _) => all.next(),
                _ => own.next(),
            };
            let Some((bucket, amount)) = next else { break };
            left = left.saturating_sub(amount);
            if left <= allowed {
                return grid.free_at(bucket);
            }
        }
        self.each()
            .filter_map(Counter::sliding)
            .map(|counter| counter.empties(grid, tick))
            .fold(tick, i64::max)
    }

    fn turns_to(self, allowed: u64, calendar: Calendar, now: When<'_>) -> i64 {
        let cells = || self.each().filter_map(Counter::periods).flat_map(Periods::cells);
        let (in_flight, tick) = (self.in_flight(), now.tick);
        // With everything that settled at `until` or later too much is used.
        let too_much = |until: &i64| {
            let under_way = if *until <= tick { in_flight } else { 0 };
            let later = cells().filter(|cell| cell.until >= *until);
            later.fold(under_way, |sum, cell| sum.saturating_add(cell.amount)) > allowed
        };
        let last = cells().map(|cell| cell.until).chain([tick]).filter(too_much).max();
        last.map_or(tick, |until| now.eras.leaves(calendar, until, tick))
    }

    /// When nothing is used, if nothing else happens and what is in flight settles now.
    pub(super) fn empties(self, span: Span, now: When<'_>) -> Option<i64> {
        match span {
            Span::Sliding(grid) => {
                let empty = |counter: Option<&Counter>| match counter {
                    Some(Counter::Sliding(counter)) => counter.empties(grid, now.tick),
                    _ => now.tick,
                };
                Some(empty(self.0).max(empty(self.1)))
            }
            Span::Calendar(_) | Span::Concurrent(_) => self.falls_to(0, span, now),
            Span::Total => (self.used(span, now) == 0).then_some(now.tick),
        }
    }

    /// What settled lately, and within how many milliseconds.
    pub(super) fn pace(self, span: Span, tick: i64) -> (u64, i64) {
        let paces = self.each().map(|counter| counter.pace(span, tick));
        paces.fold((0, 1), |(amount, over), (more, over_ms)| (amount.saturating_add(more), over.max(over_ms)))
    }
}
