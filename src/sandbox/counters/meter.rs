//! Everything that one key is counted by: a minute, an hour, a day, a month.

use serde::Serialize;

use super::window::Window;
use crate::sandbox::config::WindowKind;
use crate::sandbox::limits::Caps;
use crate::sandbox::period::{HOUR_MS, MINUTE_MS, Period};

/// The minute and the hour are always counted; a day or a month only while it has a cap, since it takes so long until
/// a counter may be forgotten again.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Meter {
    minute: Window,
    hour: Window,
    day: Tally,
    month: Tally,
}

/// What was used of one calendar period.
#[derive(Debug, Default)]
struct Tally {
    period: i64,
    used: u64,
    peak: u64,
}

impl Tally {
    const fn roll(&mut self, period: i64) {
        if period != self.period {
            self.period = period;
            self.used = 0;
        }
    }

    fn is_over(&mut self, cap: Option<u64>, cost: u64) -> bool {
        let over = cap.is_some_and(|cap| self.used + cost > cap);
        if over {
            self.peak = self.peak.max(self.used + cost);
        }
        over
    }

    fn add(&mut self, cap: Option<u64>, cost: u64) {
        if cap.is_some() {
            self.used += cost;
            self.peak = self.peak.max(self.used);
        }
    }
}

impl Meter {
    /// Whether `cost` more is over a cap; if it is, when the block ends that it begins.
    pub(super) fn over_until(&mut self, caps: &Caps, cost: u64, now: i64, kind: WindowKind) -> Option<i64> {
        self.roll(now);
        let over = [
            (Period::Minute, self.minute.is_over(caps.minute, cost, kind)),
            (Period::Hour, self.hour.is_over(caps.hour, cost, kind)),
            (Period::Day, self.day.is_over(caps.day, cost)),
            (Period::Month, self.month.is_over(caps.month, cost)),
        ];
        over.into_iter().filter(|(_, over)| *over).map(|(period, _)| period.block_ends(now)).max()
    }

    fn roll(&mut self, now: i64) {
        self.minute.roll(now, MINUTE_MS);
        self.hour.roll(now, HOUR_MS);
        self.day.roll(Period::Day.number(now));
        // Dates cost time, and most keys have nothing in their month.
        if self.month.used > 0 {
            self.month.roll(Period::Month.number(now));
        }
    }

    pub(super) fn add(&mut self, caps: &Caps, cost: u64, now: i64) {
        self.minute.add(cost, now);
        self.hour.add(cost, now);
        self.day.add(caps.day, cost);
        if caps.month.is_some() {
            self.month.roll(Period::Month.number(now));
            self.month.add(caps.month, cost);
        }
    }

    /// True if nothing of it would be left at `now`.
    pub(super) fn is_idle(&self, now: i64) -> bool {
        self.hour.is_empty_at(now, HOUR_MS)
            && (self.day.used == 0 || self.day.period != Period::Day.number(now))
            && (self.month.used == 0 || self.month.period != Period::Month.number(now))
    }

    pub(super) fn peaks(&self) -> Peaks {
        let both =
            |window: &Window| Both { sliding: window.peak_sliding, clock_aligned: window.peak_aligned };
        Peaks {
            minute: both(&self.minute),
            hour: both(&self.hour),
            day: self.day.peak,
            month: self.month.peak,
        }
    }
}

/// The most that was ever asked for in one period.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(in crate::sandbox) struct Peaks {
    #[serde(rename = "max_per_minute")]
    minute: Both,
    #[serde(rename = "max_per_hour")]
    hour: Both,
    #[serde(rename = "max_per_day")]
    day: u64,
    #[serde(rename = "max_per_month")]
    month: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Both {
    sliding: u64,
    clock_aligned: u64,
}

impl Both {
    fn or_more(self, other: Self) -> Self {
        Self {
            sliding: self.sliding.max(other.sliding),
            clock_aligned: self.clock_aligned.max(other.clock_aligned),
        }
    }
}

impl Peaks {
    pub(super) fn or_more(self, other: Self) -> Self {
        Self {
            minute: self.minute.or_more(other.minute),
            hour: self.hour.or_more(other.hour),
            day: self.day.max(other.day),
            month: self.month.max(other.month),
        }
    }
}
