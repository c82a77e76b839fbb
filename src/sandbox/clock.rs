//! The sandbox's own clock: wall time plus what tests have added.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 as the simulated WeCom sees them.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset_ms: AtomicI64,
    #[cfg(feature = "test-clock")]
    from_file_ms: AtomicI64,
}

impl Clock {
    pub(super) fn now_ms(&self) -> i64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        wall.saturating_add(self.offset_ms.load(Relaxed)).saturating_add(self.file_offset_ms())
    }

    pub(super) fn advance(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Relaxed);
    }

    #[cfg(not(feature = "test-clock"))]
    #[expect(clippy::unused_self, reason = "with the feature it keeps the last value")]
    const fn file_offset_ms(&self) -> i64 {
        0
    }

    /// The first number in the file; what comes after it steps the wall clock of the machine under test, which is not
    /// WeCom's. A file that is just being rewritten reads as empty: then the last value stands, nothing must jump.
    #[cfg(feature = "test-clock")]
    fn file_offset_ms(&self) -> i64 {
        static FILE: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();
        let Some(file) = FILE.get_or_init(|| std::env::var_os("WECOM_LEDGER_TEST_CLOCK_FILE")) else {
            return 0;
        };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(ms) = text.split_whitespace().next().and_then(|first| first.parse().ok()) {
            self.from_file_ms.store(ms, Relaxed);
        }
        self.from_file_ms.load(Relaxed)
    }
}

/// WeCom's days are taken to be those of Asia/Shanghai, which is eight hours ahead and has no summer time.
const SHANGHAI_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// The number of the natural day that `now_ms` lies in.
pub(super) const fn day(now_ms: i64) -> i64 {
    (now_ms + SHANGHAI_MS).div_euclid(DAY_MS)
}

/// When that day ends.
pub(super) const fn day_end_ms(now_ms: i64) -> i64 {
    (day(now_ms) + 1) * DAY_MS - SHANGHAI_MS
}

/// `202611` for November 2026: the calendar month of the natural day.
pub(super) fn month(now_ms: i64) -> i64 {
    use chrono::Datelike as _;
    chrono::DateTime::from_timestamp_millis(now_ms + SHANGHAI_MS)
        .map_or(0, |at| i64::from(at.year()) * 100 + i64::from(at.month()))
}
