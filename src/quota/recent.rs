//! What a counter without buckets took lately, for a forecast.

use serde::{Deserialize, Serialize};

/// Over how much of the past a pace is measured, where the window is that long.
pub(super) const PACE_MS: i64 = 300_000;
const SLOT_MS: i64 = PACE_MS / 2;
const SLOTS: usize = 3;

/// Amounts of the slot of the latest tick and of those before it, which together are at least [`PACE_MS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recent {
    newest: i32,
    amounts: [u32; SLOTS],
}

fn slot(tick: i64) -> i32 {
    tick.div_euclid(SLOT_MS).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

impl Recent {
    pub(super) fn add(&mut self, amount: u64, tick: i64) {
        self.move_to(slot(tick));
        let age = i64::from(self.newest) - i64::from(slot(tick));
        if let Some(of_slot) = usize::try_from(age).ok().and_then(|age| self.amounts.get_mut(age)) {
            *of_slot = of_slot.saturating_add(u32::try_from(amount).unwrap_or(u32::MAX));
        }
    }

    /// The amount, and over how many milliseconds until `tick` it was taken.
    pub(super) fn pace(&self, tick: i64) -> (u64, i64) {
        let mut seen = self.clone();
        seen.move_to(slot(tick));
        let since = (i64::from(slot(tick)) - (SLOTS as i64 - 1)).saturating_mul(SLOT_MS);
        (seen.amounts.iter().map(|amount| u64::from(*amount)).sum(), tick.saturating_sub(since))
    }

    pub(super) fn forget(&mut self, tick: i64) {
        self.move_to(slot(tick));
        if self.is_empty() {
            self.newest = 0; // As in a new one.
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.amounts == [0; SLOTS]
    }

    fn move_to(&mut self, slot: i32) {
        if self.is_empty() {
            self.newest = slot;
        }
        while self.newest < slot && !self.is_empty() {
            self.amounts.rotate_right(1);
            self.amounts[0] = 0;
            self.newest += 1;
        }
        self.newest = self.newest.max(slot);
    }
}
