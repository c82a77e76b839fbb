//! A clock that a test moves, for every process that it is given to.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// Adds milliseconds to the clocks of processes that were started with it.
pub struct TestClock {
    file: PathBuf,
    _dir: tempfile::TempDir,
    offsets: Mutex<(i64, i64)>,
}

impl TestClock {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Self { file: dir.path().join("clock"), _dir: dir, offsets: Mutex::new((0, 0)) };
        clock.write();
        clock
    }

    pub fn give_to(&self, command: &mut Command) {
        command.env("WECOM_LEDGER_TEST_CLOCK_FILE", &self.file);
    }

    /// Time passes, on every clock.
    pub fn advance_ms(&self, ms: i64) {
        self.offsets.lock().unwrap().0 += ms;
        self.write();
    }

    /// How far it was advanced; nothing in a build without the feature that reads it.
    pub fn passed_ms(&self) -> i64 {
        if cfg!(feature = "test-clock") { self.offsets.lock().unwrap().0 } else { 0 }
    }

    /// Somebody sets the wall clock.
    pub fn step_wall_ms(&self, ms: i64) {
        self.offsets.lock().unwrap().1 += ms;
        self.write();
    }

    fn write(&self) {
        let (both, wall) = *self.offsets.lock().unwrap();
        // Renamed, so that nobody reads half a number.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{both} {wall}")).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }
}
