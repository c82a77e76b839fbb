//! The machine's clocks, behind a trait so that tests bring their own.

use std::sync::Arc;

use crate::ledger::ClockReading;

/// Reads the clocks. Injected wherever time matters.
pub trait Clock: Send + Sync {
    fn read(&self) -> ClockReading;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn read(&self) -> ClockReading {
        (**self).read()
    }
}

/// CLOCK_BOOTTIME (runs on while the machine sleeps, the same for all processes) and the wall clock.
pub struct SystemClock {
    boot_id: Arc<str>,
    #[cfg(feature = "test-clock")]
    offset_file: Option<std::path::PathBuf>,
}

impl SystemClock {
    pub fn new() -> std::io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().into();
        Ok(Self {
            boot_id,
            #[cfg(feature = "test-clock")]
            offset_file: std::env::var_os("WECOM_LEDGER_TEST_CLOCK_FILE").map(Into::into),
        })
    }

    #[cfg(not(feature = "test-clock"))]
    #[expect(clippy::unused_self, reason = "the test clock needs it")]
    fn offset_ms(&self) -> (i64, i64) {
        (0, 0)
    }

    /// The file holds the milliseconds to add to both clocks and, optionally, some more for the wall clock alone.
    #[cfg(feature = "test-clock")]
    fn offset_ms(&self) -> (i64, i64) {
        let text = self.offset_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let mut numbers =
            text.iter().flat_map(|text| text.split_whitespace()).filter_map(|part| part.parse().ok());
        let both = numbers.next().unwrap_or(0);
        (both, both + numbers.next().unwrap_or(0))
    }
}

impl Clock for SystemClock {
    fn read(&self) -> ClockReading {
        let (boot, wall) = self.offset_ms();
        ClockReading {
            boot_id: Arc::clone(&self.boot_id),
            boottime_ms: boottime_ms() + boot,
            wall_ms: chrono::Utc::now().timestamp_millis() + wall,
        }
    }
}

fn boottime_ms() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer, and this clock exists on every Linux that Rust supports.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    debug_assert_eq!(failed, 0);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}
