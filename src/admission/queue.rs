//! The calls of one API key in a line, in the order of arrival, and what holds them back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ledger::command::{Hit, Standing};
use crate::ledger::entry::Priority;
use crate::quota::Rule;

use super::places::Held;
use super::{Question, Word};

/// How long a line sleeps at most before it looks at the ledger's time again, which may jump: the machine may have
/// slept. A look asks nothing of the ledger.
const LOOK: Duration = Duration::from_secs(1);

/// A call that waits.
pub(super) struct Waiter {
    pub(super) question: Arc<Question>,
    answer: oneshot::Sender<Word>,
    /// As it was refused when it came.
    pub(super) first: Standing,
    /// The end of its time.
    pub(super) until: Instant,
    /// What holds up this call alone.
    pub(super) block: Option<Block>,
    pub(super) asking: bool,
    /// Its time was up while the ledger was asked.
    pub(super) over: bool,
    _held: Held,
}

impl Waiter {
    pub(super) fn new(
        question: Arc<Question>,
        answer: oneshot::Sender<Word>,
        first: Standing,
        until: Instant,
        held: Held,
    ) -> Self {
        Self { question, answer, first, until, block: None, asking: false, over: false, _held: held }
    }

    /// Whether its turn can come by time alone, or what refuses it refuses all whom it reaches.
    pub(super) fn may_pass_in_time(&self, standing: &Standing, now: Instant, tick: i64) -> bool {
        let left = standing.retry_at.map(|retry_at| retry_at.saturating_sub(tick).max(0).cast_unsigned());
        let time = self.until.saturating_duration_since(now);
        standing.is_alike_for_all() || left.is_some_and(|left| Duration::from_millis(left) <= time)
    }

    /// Gives the word back if nobody is there to hear it.
    pub(super) fn tell(self, word: Word) -> Result<(), Word> {
        self.answer.send(word)
    }
}

/// A refusal, and when it is worth another try.
pub(super) struct Block {
    pub(super) standing: Standing,
    /// Whose refusal it is.
    pub(super) of: u64,
    /// Something happened since that may have made room.
    pub(super) due: bool,
    pub(super) not_before: Instant,
}

impl Block {
    /// How long it stands; none: until something happens.
    pub(super) fn stands(&self, now: Instant, tick: i64) -> Option<Duration> {
        let pause = self.not_before.saturating_duration_since(now);
        if self.due {
            return Some(pause);
        }
        let left = self.standing.retry_at?.saturating_sub(tick).max(0).cast_unsigned();
        Some(pause.max(Duration::from_millis(left).min(LOOK)))
    }

    /// The call whose refusal it is waits no longer: what it needed need not be kept for it.
    pub(super) fn left_by(&mut self, number: u64) {
        self.due |= self.of == number && !self.standing.is_alike_for_all();
    }

    pub(super) fn spares(&self, class: Priority) -> bool {
        Self::spares_like(&self.standing, class)
    }

    /// Whether a refusal keeps room for calls of this class, and so says nothing of them.
    pub(super) fn spares_like(standing: &Standing, class: Priority) -> bool {
        let reserve = |hit: &Hit| matches!(hit, Hit::Limit(reading) if reading.rule == Rule::Reserve);
        class == Priority::Critical && reserve(&standing.hit)
    }
}

/// Of two times to wait; none is until something happens.
pub(super) fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiters: BTreeMap<u64, Waiter>,
    /// A limit that concerns this API key alone.
    pub(super) block: Option<Block>,
}

impl Queue {
    /// The first call that may pass; else `soonest` is when that may be.
    pub(super) fn next(
        &mut self,
        now: Instant,
        tick: i64,
        soonest: &mut Option<Duration>,
    ) -> Option<(u64, &mut Waiter)> {
        let mut stands = |block: &Option<Block>| match block.as_ref().map(|block| block.stands(now, tick)) {
            None | Some(Some(Duration::ZERO)) => false,
            Some(time) => {
                *soonest = sooner(*soonest, time);
                true
            }
        };
        if stands(&self.block) {
            return None;
        }
        let found = self.waiters.iter_mut().find(|(_, waiter)| !stands(&waiter.block));
        found.map(|(&number, waiter)| (number, waiter))
    }
}
