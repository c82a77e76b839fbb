//! Calendar days and months in a fixed time zone.

use serde::{Deserialize, Serialize};

/// Our clock and WeCom's differ, and which of the two ends a day is not ours to say: near midnight both days count.
pub(super) const GUARD_MS: i64 = 60_000;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Some ten thousand years; what lies beyond is counted there, so that no arithmetic overflows.
const FURTHEST_MS: i64 = 3_660_000 * DAY_MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum By {
    Day,
    Month,
}

/// Divides wall time into numbered periods without gaps. All times here are `at`: Unix milliseconds in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Calendar {
    by: By,
    zone_ms: i64,
}

impl Calendar {
    pub(super) fn days(zone_minutes: i32) -> Self {
        Self { by: By::Day, zone_ms: i64::from(zone_minutes) * MINUTE_MS }
    }

    pub(super) fn months(zone_minutes: i32) -> Self {
        Self { by: By::Month, ..Self::days(zone_minutes) }
    }

    pub(super) fn period(self, at: i64) -> i32 {
        let day = (at.clamp(-FURTHEST_MS, FURTHEST_MS) + self.zone_ms).div_euclid(DAY_MS);
        match self.by {
            By::Day => day as i32,
            By::Month => month_of(day) as i32,
        }
    }

    /// The first and the last period that what happens at `at` may belong to. They are neighbours, or one.
    pub(super) fn touched(self, at: i64) -> (i32, i32) {
        (self.period(at.saturating_sub(GUARD_MS)), self.period(at.saturating_add(GUARD_MS)))
    }

    /// The first moment that may belong to the period.
    pub(super) fn begins(self, period: i32) -> i64 {
        self.start(i64::from(period)) - GUARD_MS
    }

    /// The first moment that certainly does not belong to the period any more.
    pub(super) fn over(self, period: i32) -> i64 {
        self.start(i64::from(period) + 1) + GUARD_MS
    }

    fn start(self, period: i64) -> i64 {
        let day = match self.by {
            By::Day => period,
            By::Month => first_day_of(period),
        };
        day * DAY_MS - self.zone_ms
    }

    /// The moments around `at` that may belong to the same days: from the first one to the first after them. Months
    /// begin with days, so these belong to the same months as well.
    pub(super) fn alike(self, at: i64) -> (i64, i64) {
        let at = at.clamp(-FURTHEST_MS, FURTHEST_MS);
        let of_day = (at + self.zone_ms).rem_euclid(DAY_MS);
        let midnight = at - of_day;
        if of_day < GUARD_MS {
            (midnight - GUARD_MS, midnight + GUARD_MS)
        } else if of_day < DAY_MS - GUARD_MS {
            (midnight + GUARD_MS, midnight + DAY_MS - GUARD_MS)
        } else {
            (midnight + DAY_MS - GUARD_MS, midnight + DAY_MS + GUARD_MS)
        }
    }

    /// How long ago the present period can have begun at most, whatever a clock shows.
    pub(super) fn longest(self) -> i64 {
        let days = match self.by {
            By::Day => 1,
            By::Month => 31,
        };
        days * DAY_MS + 2 * GUARD_MS
    }
}

/// The month (twelve times the year, and January is 0) of a day since 1970-01-01. Years begin in March here, so that
/// the leap day is the last of its year, and repeat every 400 years.
pub(super) fn month_of(day: i64) -> i64 {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let months_since_march = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + months_since_march + 2
}

/// The inverse of [`month_of`], for the first day of the month.
pub(super) fn first_day_of(month: i64) -> i64 {
    let since_march = month - 2;
    let (year, months) = (since_march.div_euclid(12), since_march.rem_euclid(12));
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * months + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, Duration, FixedOffset, TimeZone};

    use super::*;

    /// Every seventh day of 800 years, at odd times of the day, and every day around some ends of months.
    fn moments() -> impl Iterator<Item = DateTime<FixedOffset>> {
        let zone = FixedOffset::east_opt(8 * 3600).unwrap();
        let start = zone.with_ymd_and_hms(1601, 1, 1, 0, 0, 0).unwrap();
        let sparse = (0..41_742).map(move |week| start + Duration::days(7 * week) + Duration::seconds(week));
        let leap = zone.with_ymd_and_hms(2024, 2, 27, 23, 59, 59).unwrap();
        sparse.chain((0..1_500).map(move |day| leap + Duration::days(day)))
    }

    #[test]
    fn periods_are_those_of_the_civil_calendar() {
        let (days, months) = (Calendar::days(480), Calendar::months(480));
        for moment in moments() {
            let at = moment.timestamp_millis();
            let day = moment.num_days_from_ce() - 719_163;
            assert_eq!(days.period(at), day, "{moment}");
            assert_eq!(months.period(at), moment.year() * 12 + moment.month0() as i32, "{moment}");
        }
    }

    #[test]
    fn a_period_is_over_a_guard_after_its_last_moment() {
        for calendar in [Calendar::days(480), Calendar::months(480), Calendar::months(-720)] {
            for moment in moments() {
                let period = calendar.period(moment.timestamp_millis());
                let end = calendar.over(period) - GUARD_MS;
                assert_eq!(
                    (calendar.period(end - 1), calendar.period(end)),
                    (period, period + 1),
                    "{moment}"
                );
                assert_eq!(calendar.touched(end + GUARD_MS - 1), (period, period + 1));
                assert_eq!(calendar.touched(end + GUARD_MS), (period + 1, period + 1));
                assert_eq!(calendar.touched(end - GUARD_MS), (period, period + 1));
                assert_eq!(calendar.touched(end - GUARD_MS - 1), (period, period));
            }
        }
    }

    #[test]
    fn no_moment_is_too_far_away() {
        for calendar in [Calendar::days(480), Calendar::months(-480)] {
            for at in [i64::MIN, i64::MAX] {
                let (first, last) = calendar.touched(at);
                assert!(first == last && calendar.over(last) != 0);
            }
        }
    }
}
