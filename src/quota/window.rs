//! The period over which a limit counts, and how it is written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 3_600 * SECOND_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A sliding window longer than this is taken for a mistake in the unit.
pub const MAX_WINDOW_MS: i64 = 366 * DAY_MS;

/// The period over which a limit counts. In text: `60s`, `1h`, `30d`, `day`, `month`, `concurrent`, `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Window {
    /// Every interval of this length. WeCom does not document whether its own windows slide or stand on the
    /// clock's grid; whoever stays within a limit for every alignment stays within it under both readings.
    Sliding { ms: i64 },
    /// The calendar day (自然日) in the profile's time zone.
    Day,
    /// The calendar month in the profile's time zone.
    Month,
    /// What is under way at one moment. What expired is taken to run on for a minute.
    Concurrent,
    /// Everything ever: nothing frees it but a declared correction.
    Total,
}

impl Window {
    /// The longest that the window can be; `None` where it has no length.
    pub fn longest_ms(self) -> Option<i64> {
        match self {
            Self::Sliding { ms } => Some(ms),
            Self::Day => Some(DAY_MS),
            Self::Month => Some(31 * DAY_MS),
            Self::Concurrent | Self::Total => None,
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = match *self {
            Self::Sliding { ms } => ms,
            Self::Day => return f.write_str("day"),
            Self::Month => return f.write_str("month"),
            Self::Concurrent => return f.write_str("concurrent"),
            Self::Total => return f.write_str("total"),
        };
        match UNITS.iter().find(|(_, unit)| ms % unit == 0) {
            Some((name, unit)) => write!(f, "{}{name}", ms / unit),
            None => write!(f, "{ms}ms"),
        }
    }
}

/// From the longest on.
const UNITS: [(&str, i64); 4] = [("d", DAY_MS), ("h", HOUR_MS), ("s", SECOND_MS), ("ms", 1)];

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no window: write `60s`, `1h`, `30d`, `day`, `month`, `concurrent` or `total`"
            )
        };
        match text {
            "day" => return Ok(Self::Day),
            "month" => return Ok(Self::Month),
            "concurrent" => return Ok(Self::Concurrent),
            "total" => return Ok(Self::Total),
            _ => {}
        }
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, unit) = text.split_at(digits);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let ms = count.parse::<i64>().ok().and_then(|count| count.checked_mul(*unit)).ok_or_else(wrong)?;
        Ok(Self::Sliding { ms })
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}
