//! Repeated refusals of one second are counted here and written as one entry.

use std::collections::HashMap;

use crate::ledger::command::{Command, RefusalKey};
use crate::ledger::decide::Repeat;

/// Refusals whose entry says `1` while more of the same second were answered.
#[derive(Default)]
pub(super) struct Refusals {
    counted: HashMap<RefusalKey, Counted>,
    closed: bool,
}

struct Counted {
    second: i64,
    count: u64,
    errcode: i64,
    used: u64,
    cap: u64,
}

impl Refusals {
    /// Counts a refusal that got no entry of its own.
    pub(super) fn count(&mut self, repeat: Repeat, tick: i64) {
        let Repeat { key, errcode, used, cap } = repeat;
        let fresh = Counted { second: tick / 1000, count: 0, errcode, used, cap };
        self.counted.entry(key).or_insert(fresh).count += 1;
    }

    /// Writes the rest down at the next opportunity, whatever second it is.
    pub(super) fn close_all(&mut self) {
        self.closed = true;
    }

    /// The counts of seconds that are over.
    pub(super) fn due(&mut self, tick: i64) -> Vec<Command> {
        if self.counted.is_empty() {
            return Vec::new();
        }
        let closed = self.closed;
        self.counted
            .extract_if(|_, counted| closed || counted.second < tick / 1000)
            .map(|(refusal, Counted { count, errcode, used, cap, .. })| Command::FlushRefusals {
                refusal,
                count,
                errcode,
                used,
                cap,
            })
            .collect()
    }

    /// After a failed write: what could not be written is counted again.
    pub(super) fn put_back(&mut self, commands: Vec<Command>) {
        for command in commands {
            if let Command::FlushRefusals { refusal, count, errcode, used, cap } = command {
                let fresh = Counted { second: 0, count: 0, errcode, used, cap };
                self.counted.entry(refusal).or_insert(fresh).count += count;
            }
        }
    }
}
