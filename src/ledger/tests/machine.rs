//! The clocks of a machine, as a test wants them.

use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::ledger::ClockReading;

/// Wall time when a test begins.
pub(super) const WALL: i64 = 1_445_000_000_000;

/// What really happens, and what the clocks make of it.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// True time in milliseconds.
    pub(super) real: i64,
    pub(super) boot: u32,
    pub(super) booted: i64,
    /// How far the wall clock is ahead of true time.
    pub(super) ahead: i64,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self { real: 0, boot: 1, booted: -5_000, ahead: 0 }
    }

    pub(super) fn reading(&self) -> ClockReading {
        ClockReading {
            boot_id: format!("boot-{}", self.boot).into(),
            boottime_ms: self.real - self.booted,
            wall_ms: WALL + self.real + self.ahead,
        }
    }

    /// Is off for `off` milliseconds; its wall clock wakes up `ahead` of true time.
    pub(super) fn reboot(&mut self, off: i64, ahead: i64) {
        self.real += off;
        self.boot += 1;
        self.booted = self.real - 20;
        self.ahead = ahead;
    }
}

/// A machine that several threads look at.
#[derive(Clone)]
pub(super) struct TestClock(Arc<Mutex<Machine>>);

impl TestClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Machine::new())))
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(super) fn advance(&self, ms: i64) {
        self.change(|machine| machine.real += ms);
    }
}

impl Clock for TestClock {
    fn read(&self) -> ClockReading {
        self.0.lock().unwrap().reading()
    }
}
