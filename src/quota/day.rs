//! One day of the calendar, as people write it: `2026-01-31`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::calendar::{Calendar, first_day_of, month_of};

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 24 * 60;

/// Days since 1970-01-01, in a zone that whoever uses it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The day of a wall time (Unix milliseconds in UTC).
    pub fn of(at: i64, zone_minutes: i32) -> Self {
        Self(Calendar::days(zone_minutes).period(at))
    }

    /// The days that what happens at `at` may belong to, since clocks differ a little: one, or two neighbours.
    pub fn touched(at: i64, zone_minutes: i32) -> (Self, Self) {
        let (first, last) = Calendar::days(zone_minutes).touched(at);
        (Self(first), Self(last))
    }

    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    #[must_use]
    pub fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// How many minutes of its day a wall time has behind it.
pub fn minute_of_day(at: i64, zone_minutes: i32) -> u32 {
    let minutes = at.div_euclid(MINUTE_MS).saturating_add(i64::from(zone_minutes));
    minutes.rem_euclid(DAY_MINUTES) as u32
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = i64::from(self.0);
        let month = month_of(day);
        let of_month = day - first_day_of(month) + 1;
        write!(f, "{:04}-{:02}-{of_month:02}", month.div_euclid(12), month.rem_euclid(12) + 1)
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
            let (year, month, of_month) = (parts.next()??, parts.next()??, parts.next()??);
            if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&of_month) {
                return None;
            }
            let day = Self((first_day_of(year * 12 + month - 1) + of_month - 1) as i32);
            // What has no such form is no day either: 2026-02-30, 2026-1-1.
            (day.to_string() == text).then_some(day)
        };
        parse().ok_or_else(|| format!("`{text}` is no day: write it 2026-01-31"))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i32(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            i32::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    /// China's zone, in minutes.
    const CHINA: i32 = 480;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn a_day_begins_at_midnight_of_its_zone() {
        assert_eq!(Day::of(at("2026-02-28T23:59:59.999+08:00"), CHINA).to_string(), "2026-02-28");
        assert_eq!(Day::of(at("2026-03-01T00:00:00+08:00"), CHINA).to_string(), "2026-03-01");
        // In London it is still the day before.
        assert_eq!(Day::of(at("2026-03-01T00:00:00+08:00"), 0).to_string(), "2026-02-28");
        assert_eq!(minute_of_day(at("2026-03-01T03:30:59+08:00"), CHINA), 210);
        assert_eq!(minute_of_day(at("2026-03-01T00:00:00+08:00"), CHINA), 0);
        assert_eq!(minute_of_day(at("2026-02-28T23:59:59+08:00"), CHINA), 1439);
    }

    #[test]
    fn near_midnight_both_days_are_touched() {
        let days = |text: &str| {
            let (first, last) = Day::touched(at(text), CHINA);
            [first.to_string(), last.to_string()]
        };
        assert_eq!(days("2026-03-01T00:00:30+08:00"), ["2026-02-28", "2026-03-01"]);
        assert_eq!(days("2026-02-28T23:59:30+08:00"), ["2026-02-28", "2026-03-01"]);
        assert_eq!(days("2026-03-01T00:02:00+08:00"), ["2026-03-01", "2026-03-01"]);
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        for number in (-700_000..700_000).step_by(997) {
            let day = Day(number);
            let text = day.to_string();
            assert_eq!(text.parse::<Day>().ok(), (number >= -719_528).then_some(day), "{text}");
            let neighbours = [day.before().after(), day.after().before()];
            assert_eq!(neighbours, [day, day]);
        }
        for wrong in ["", "2026-02-30", "2026-2-3", "2026-13-01", "20260101", "2026-01-01T00:00:00Z", "heute"]
        {
            assert!(wrong.parse::<Day>().is_err(), "{wrong}");
        }
    }
}
