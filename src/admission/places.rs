//! Places for calls that wait, in all lines together. No API key has so many that nobody else can wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::command::Caller;
use crate::ledger::entry::Priority;

use super::Ended;

/// Calls that wait at most; one more is refused at once.
pub const WAITERS_MAX: usize = 1_000;

/// Those of one API key.
pub const WAITERS_OF_KEY_MAX: usize = WAITERS_MAX / 4;

/// Places that only calls of `critical` keys take.
pub const WAITERS_KEPT: usize = WAITERS_MAX / 10;

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Caller, usize>,
}

#[derive(Default)]
pub(super) struct Places {
    taken: Mutex<Taken>,
}

/// Given back when dropped.
pub(super) struct Held {
    places: Arc<Places>,
    caller: Caller,
}

impl Places {
    pub(super) fn taken(&self) -> usize {
        self.lock().all
    }

    pub(super) fn take(self: &Arc<Self>, caller: Caller, class: Priority) -> Result<Held, Ended> {
        let most = if class == Priority::Critical { WAITERS_MAX } else { WAITERS_MAX - WAITERS_KEPT };
        let mut taken = self.lock();
        if taken.all >= most {
            return Err(Ended::Full);
        }
        let own = taken.by.entry(caller).or_default();
        if *own >= WAITERS_OF_KEY_MAX {
            return Err(Ended::FullOfKey);
        }
        *own += 1;
        taken.all += 1;
        drop(taken);
        Ok(Held { places: Arc::clone(self), caller })
    }

    /// A count is whole whenever the lock is free, so a poisoned one is still good.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(own) = taken.by.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.caller);
            }
        }
    }
}
