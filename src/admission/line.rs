//! One line: who is next, and when it is worth asking. Knows no ledger and no clock.
//!
//! Each API key has a queue in the order of arrival, and the queues take turns. `critical` keys come before `normal`
//! ones and those before `batch`, always: whoever is never reached runs out of time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ledger::command::{Caller, Reach, Standing};
use crate::ledger::entry::Priority;

use super::queue::{Block, Queue, Waiter, sooner};
use super::{Question, Word};

/// Between a refusal and the next attempt, however often somebody says that there is room.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// Where a call stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) class: Priority,
    pub(super) caller: Caller,
    /// Smaller is earlier.
    pub(super) number: u64,
}

#[derive(Default)]
struct Class {
    queues: BTreeMap<Caller, Queue>,
    /// The callers that wait, the next one first.
    turns: VecDeque<Caller>,
}

/// What is to be done next.
pub(super) enum Step {
    Ask(Spot, Arc<Question>),
    /// So long, or until something happens.
    Sleep(Option<Duration>),
    /// Nobody waits.
    Over,
}

/// How a call stands behind others: as these were refused, and what they need of that limit.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    pub(super) standing: Standing,
    pub(super) ahead: u64,
}

/// What becomes of a call whose wait has ended.
pub(super) enum Left {
    /// It is gone from the line; this is how it was last refused.
    Refused(Behind),
    /// The ledger is being asked, and it will be told.
    Asking,
}

#[derive(Default)]
pub(super) struct Line {
    classes: [Class; 3],
    /// A limit that concerns everybody here.
    block: Option<Block>,
    /// The ledger had no time for us.
    not_before: Option<Instant>,
    /// Wakes the line's task: somebody joined, or left.
    pub(super) wake: Arc<Notify>,
}

impl Line {
    pub(super) fn join(&mut self, spot: Spot, waiter: Waiter) {
        let class = &mut self.classes[spot.class as usize];
        let queue = class.queues.entry(spot.caller).or_insert_with(|| {
            class.turns.push_back(spot.caller);
            Queue::default()
        });
        queue.waiters.insert(spot.number, waiter);
        self.wake.notify_one();
    }

    /// Takes a call out, whatever is going on with it.
    pub(super) fn remove(&mut self, spot: Spot) -> Option<Waiter> {
        let class = &mut self.classes[spot.class as usize];
        let queue = class.queues.get_mut(&spot.caller)?;
        let waiter = queue.waiters.remove(&spot.number)?;
        queue.block.iter_mut().chain(&mut self.block).for_each(|block| block.left_by(spot.number));
        if queue.waiters.is_empty() {
            class.queues.remove(&spot.caller);
            class.turns.retain(|caller| *caller != spot.caller);
        }
        self.wake.notify_one();
        Some(waiter)
    }

    /// The call's time is up.
    pub(super) fn leave(&mut self, spot: Spot) -> Option<Left> {
        let waiter = self.waiter(spot)?;
        if waiter.asking {
            waiter.over = true;
            return Some(Left::Asking);
        }
        let latest = self.latest(spot);
        let waiter = self.remove(spot)?;
        Some(Left::Refused(latest.unwrap_or(Behind { standing: waiter.first, ahead: 0 })))
    }

    /// Who is next, if anybody can be.
    pub(super) fn next(&mut self, now: Instant, tick: i64) -> Step {
        if self.classes.iter().all(|class| class.queues.is_empty()) {
            return Step::Over;
        }
        let busy = self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(now));
        if !busy.is_zero() {
            return Step::Sleep(Some(busy));
        }
        let mut soonest = None;
        for (class, priority) in self.classes.iter_mut().zip(CLASSES) {
            // What keeps a reserve for critical calls does not hold these back.
            let block = self.block.as_ref().filter(|block| !block.spares(priority));
            match block.map_or(Some(Duration::ZERO), |block| block.stands(now, tick)) {
                Some(Duration::ZERO) => {}
                // Nor can any of a later class pass.
                stands => return Step::Sleep(sooner(soonest, stands)),
            }
            for &caller in &class.turns {
                let Some(queue) = class.queues.get_mut(&caller) else { continue };
                if let Some((number, waiter)) = queue.next(now, tick, &mut soonest) {
                    waiter.asking = true;
                    return Step::Ask(Spot { class: priority, caller, number }, Arc::clone(&waiter.question));
                }
            }
        }
        Step::Sleep(soonest)
    }

    /// The ledger has answered for good: the call leaves. If it was admitted, the next caller has its turn.
    pub(super) fn done(&mut self, spot: Spot, admitted: bool) -> Option<Waiter> {
        if admitted {
            let class = &mut self.classes[spot.class as usize];
            if let Some(at) = class.turns.iter().position(|caller| *caller == spot.caller)
                && let Some(caller) = class.turns.remove(at)
            {
                class.turns.push_back(caller);
            }
            // Where there was room for one there may be room for another.
            let own = class.queues.get_mut(&spot.caller).and_then(|queue| queue.block.as_mut());
            own.into_iter().chain(&mut self.block).for_each(|block| block.due = true);
        }
        self.remove(spot)
    }

    /// The ledger has refused: the call stays where it is, unless its time is up or no window can help it.
    pub(super) fn refused(
        &mut self,
        spot: Spot,
        standing: Standing,
        now: Instant,
        tick: i64,
    ) -> Option<(Waiter, Word)> {
        self.note(spot, standing.clone(), false, now, tick);
        let waiter = self.waiter(spot)?;
        waiter.asking = false;
        if !waiter.over && standing.retry_at.is_some() {
            return None;
        }
        self.remove(spot).map(|waiter| (waiter, Word::Refused(Behind { standing, ahead: 0 })))
    }

    /// Remembers a refusal for all whom it concerns. `due`: something has happened since.
    pub(super) fn note(&mut self, spot: Spot, standing: Standing, due: bool, now: Instant, tick: i64) {
        let number = spot.number;
        let reach = match self.waiter(spot) {
            // Its key is critical no more, or what is kept for such calls would not hold it back: that is its own.
            Some(_) if Block::spares_like(&standing, spot.class) => Reach::Caller,
            Some(waiter) if waiter.may_pass_in_time(&standing, now, tick) => standing.reach,
            // It waits for a surprise, and what is too little for it is not kept from those who need less.
            Some(_) => Reach::Call,
            None if standing.is_alike_for_all() => standing.reach,
            None => return,
        };
        if reach != standing.reach && !due {
            self.spread(spot.caller, &standing);
        }
        self.block.take_if(|block| block.of == number);
        // A call that no window can help says nothing about the others.
        let block =
            standing.retry_at.is_some().then(|| Block { standing, of: number, due, not_before: now + PAUSE });
        let queue = self.classes[spot.class as usize].queues.get_mut(&spot.caller);
        let (mut of_queue, mut of_call) = (None, None);
        match reach {
            Reach::Everybody => self.block = block.or(self.block.take()),
            Reach::Caller => of_queue = block,
            Reach::Call => of_call = block,
        }
        if let Some(queue) = queue {
            queue.block = of_queue;
            if let Some(waiter) = queue.waiters.get_mut(&number) {
                waiter.block = of_call;
            }
        }
    }

    /// Whoever waits for a surprise and needs as much of the same need not be asked for.
    fn spread(&mut self, caller: Caller, standing: &Standing) {
        for (&of, queue) in self.classes.iter_mut().flat_map(|class| &mut class.queues) {
            if standing.reach == Reach::Caller && of != caller {
                continue;
            }
            let blocks = queue.waiters.values_mut().filter_map(|waiter| waiter.block.as_mut());
            for block in blocks.filter(|block| standing.implies(&block.standing)) {
                block.due = false;
            }
        }
    }

    /// The ledger had no time: everybody stays, for a moment.
    pub(super) fn busy(&mut self, spot: Spot, now: Instant) -> Option<(Waiter, Word)> {
        self.not_before = Some(now + PAUSE);
        let latest = self.latest(spot);
        let waiter = self.waiter(spot)?;
        waiter.asking = false;
        if !waiter.over {
            return None;
        }
        let waiter = self.remove(spot)?;
        let latest = latest.unwrap_or_else(|| Behind { standing: waiter.first.clone(), ahead: 0 });
        Some((waiter, Word::Refused(latest)))
    }

    /// Something happened that may have made room for anybody.
    pub(super) fn room(&mut self) {
        let queues = self.classes.iter_mut().flat_map(|class| class.queues.values_mut());
        let own = queues.flat_map(|queue| {
            queue
                .block
                .iter_mut()
                .chain(queue.waiters.values_mut().filter_map(|waiter| waiter.block.as_mut()))
        });
        own.chain(&mut self.block).for_each(|block| block.due = true);
    }

    /// How those of these classes stand whom a new call would overtake; none: it would overtake nobody. Whoever waits
    /// for something of their own alone, or for a surprise, is not overtaken.
    pub(super) fn behind(&self, classes: &[Priority], caller: Caller) -> Option<Behind> {
        let standing = self.standing(classes, caller)?;
        let ahead = self.ahead(&standing, classes, caller, u64::MAX);
        Some(Behind { standing, ahead })
    }

    /// What those who came before a call need of the limit that refuses it.
    fn ahead(&self, standing: &Standing, classes: &[Priority], caller: Caller, number: u64) -> u64 {
        let of_limit = |waiter: &Waiter| waiter.block.is_none() && waiter.first.is_of_same_limit(standing);
        let queues = classes.iter().flat_map(|class| &self.classes[*class as usize].queues);
        let queues = queues.filter(|(of, _)| standing.reach == Reach::Everybody || **of == caller);
        let earlier = queues.flat_map(|(_, queue)| queue.waiters.range(..number));
        earlier.filter(|(_, waiter)| of_limit(waiter)).map(|(_, waiter)| waiter.first.needed).sum()
    }

    fn standing(&self, classes: &[Priority], caller: Caller) -> Option<Standing> {
        let everybody = self.block.as_ref();
        for queue in classes.iter().flat_map(|class| self.classes[*class as usize].queues.values()) {
            if queue.block.is_some() {
                continue;
            }
            if let Some(waiter) = queue.waiters.values().find(|waiter| waiter.block.is_none()) {
                return Some(everybody.map_or(&waiter.first, |block| &block.standing).clone());
            }
        }
        let own = classes.iter().find_map(|class| self.classes[*class as usize].queues.get(&caller));
        own.and_then(|queue| queue.block.as_ref()).map(|block| block.standing.clone())
    }

    fn waiter(&mut self, spot: Spot) -> Option<&mut Waiter> {
        let queue = self.classes[spot.class as usize].queues.get_mut(&spot.caller)?;
        queue.waiters.get_mut(&spot.number)
    }

    /// The latest refusal that concerns a call.
    fn latest(&self, spot: Spot) -> Option<Behind> {
        let queue = self.classes[spot.class as usize].queues.get(&spot.caller)?;
        let own = queue.waiters.get(&spot.number).and_then(|waiter| waiter.block.as_ref());
        let block = own.or(queue.block.as_ref()).or(self.block.as_ref())?;
        let standing = block.standing.clone();
        let classes = &CLASSES[..=spot.class as usize];
        let is_own = block.of == spot.number;
        let ahead = if is_own { 0 } else { self.ahead(&standing, classes, spot.caller, spot.number) };
        Some(Behind { standing, ahead })
    }
}

/// In the order in which they are served, which is that of their numbers.
const CLASSES: [Priority; 3] = [Priority::Critical, Priority::Normal, Priority::Batch];
