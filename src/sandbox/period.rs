//! The periods that WeCom limits by, and how long it blocks for each.

use super::clock::{day, day_end_ms, month};

/// Minutes and hours slide or are the clock's, as the sandbox is told; days and months are always the calendar's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Minute,
    Hour,
    Day,
    Month,
}

impl Period {
    /// When the block ends that a call too many at `now` begins: as long as the period is, but a day is what is left
    /// of the natural day, and a month is 30 days wherever it begins.
    pub(super) const fn block_ends(self, now: i64) -> i64 {
        match self {
            Self::Minute => now + MINUTE_MS,
            Self::Hour => now + HOUR_MS,
            Self::Day => day_end_ms(now),
            Self::Month => now + 30 * 24 * HOUR_MS,
        }
    }

    /// Names the period that `now` lies in: another one has another number.
    pub(super) fn number(self, now: i64) -> i64 {
        match self {
            Self::Minute => now.div_euclid(MINUTE_MS),
            Self::Hour => now.div_euclid(HOUR_MS),
            Self::Day => day(now),
            Self::Month => month(now),
        }
    }
}

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
