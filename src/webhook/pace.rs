//! How long to wait before the next delivery, and which alert to give up.

use std::time::Duration;

use crate::ledger::Seq;

/// The pause after a failure doubles up to this.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// So often the receiver refuses what an alert says before the alert is given up, within some two minutes, or seven for a
/// group robot, whose first pause is longer. One that it never takes must not hold up those behind it.
const REFUSALS_MAX: u32 = 8;

/// Why an alert was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may be taken later, or by another address: nobody is there, too many came, the key is wrong.
    Later(String),
    /// The receiver does not like what it says.
    Refused(String),
}

/// What to do about a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Wait(Duration),
    GiveUp(String),
}

pub(super) struct Pace {
    /// Between two looks at the queue.
    pub(super) every: Duration,
    pause: Duration,
    /// The alert that was refused last, and how often.
    refused: (Seq, u32),
}

impl Pace {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, pause: every, refused: (0, 0) }
    }

    /// Something was delivered: whatever comes next is a new beginning.
    pub(super) fn delivered(&mut self) {
        self.pause = self.every;
    }

    pub(super) fn failed(&mut self, seq: Seq, failure: Failure) -> Next {
        if let Failure::Refused(reason) = failure {
            let before = if self.refused.0 == seq { self.refused.1 } else { 0 };
            self.refused = (seq, before + 1);
            if before + 1 >= REFUSALS_MAX {
                return Next::GiveUp(reason);
            }
        }
        Next::Wait(self.wait())
    }

    /// Twice as long each time.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.pause;
        self.pause = (wait * 2).min(PAUSE_MAX);
        wait
    }
}
