//! The counter of one sliding limit for one key.

use serde::{Deserialize, Serialize};

use super::recent::PACE_MS;

/// A bucket is at most this part of its window: what we may refuse too long.
const BUCKETS: i64 = 100;

/// How a window is cut into buckets. They lie on a grid that starts at tick 0, so that where a bucket ends does not
/// depend on when a key was first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grid {
    window: i64,
    width: i64,
}

impl Grid {
    pub(super) fn new(window: i64) -> Self {
        Self { window, width: (window / BUCKETS).max(1) }
    }

    #[inline]
    fn bucket(self, tick: i64) -> i64 {
        tick.div_euclid(self.width)
    }

    /// Whether a tick is of a bucket; cheaper than to ask which one it is of.
    #[inline]
    fn holds(self, bucket: i64, tick: i64) -> bool {
        let start = bucket.saturating_mul(self.width);
        start <= tick && tick.saturating_sub(start) < self.width
    }

    /// When a bucket is forgotten: its latest settlement can be at the last tick before the next bucket, and counts
    /// until the interval that *ends* one window later, which that tick still belongs to.
    #[inline]
    pub(super) fn free_at(self, bucket: i64) -> i64 {
        bucket.saturating_add(1).saturating_mul(self.width).saturating_add(self.window)
    }

    /// When an amount that is settled at `tick` is forgotten.
    #[inline]
    pub(super) fn freed_if_settled(self, tick: i64) -> i64 {
        self.free_at(self.bucket(tick))
    }

    /// The first bucket that still counts: the one `b` with the least `free_at(b) > tick`.
    #[inline]
    fn first_live(self, tick: i64) -> i64 {
        tick.saturating_sub(self.window).div_euclid(self.width)
    }
}

/// What settled in one bucket. Two `u32` instead of two `u64`, because this is what the memory goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Of the bucket, from the counter's base.
    offset: u32,
    /// Stays at the maximum once it is reached, which no cap exceeds (`MAX_CAP`): everything is refused then.
    amount: u32,
}

impl Run {
    /// What was added.
    fn add(&mut self, amount: u32) -> u32 {
        let before = self.amount;
        self.amount = before.saturating_add(amount);
        self.amount - before
    }
}

/// In flight, plus what settled within the last window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sliding {
    in_flight: u64,
    /// The sum of all runs.
    settled: u64,
    /// The bucket that offsets count from.
    base: i64,
    /// By rising offset, each offset once.
    runs: Vec<Run>,
}

impl Sliding {
    #[inline]
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    #[inline]
    pub(super) fn used(&self, grid: Grid, tick: i64) -> u64 {
        let expired: u64 =
            self.runs[..self.expired(grid, tick)].iter().map(|run| u64::from(run.amount)).sum();
        self.in_flight.saturating_add(self.settled.saturating_sub(expired))
    }

    /// How many of the runs are to be forgotten.
    #[inline]
    fn expired(&self, grid: Grid, tick: i64) -> usize {
        if grid.free_at(self.base) > tick {
            return 0; // The usual case, decided without a division or a look at the runs, which are not in the cache.
        }
        let live = grid.first_live(tick).saturating_sub(self.base);
        self.runs.iter().take_while(|run| i64::from(run.offset) < live).count()
    }

    /// What counts at `tick`, as bucket and amount, from the oldest on.
    pub(super) fn live(&self, grid: Grid, tick: i64) -> impl Iterator<Item = (i64, u64)> {
        let run = |run: &Run| (self.base.saturating_add(i64::from(run.offset)), u64::from(run.amount));
        self.runs[self.expired(grid, tick)..].iter().map(run)
    }

    /// When nothing is used, if nothing else happens and what is in flight settles now.
    pub(super) fn empties(&self, grid: Grid, tick: i64) -> i64 {
        let last = self.runs.last().map(|run| self.base.saturating_add(i64::from(run.offset)));
        let settled = last.map_or(tick, |bucket| grid.free_at(bucket)).max(tick);
        if self.in_flight == 0 { settled } else { settled.max(grid.freed_if_settled(tick)) }
    }

    /// What settled lately, and within how many milliseconds until `tick`: five minutes and a bucket, or the window.
    pub(super) fn pace(&self, grid: Grid, tick: i64) -> (u64, i64) {
        let first = grid.bucket(tick.saturating_sub(grid.window.min(PACE_MS)));
        let recent = self.live(grid, tick).filter(|(bucket, _)| *bucket >= first);
        let amount = recent.map(|(_, amount)| amount).sum();
        (amount, tick.saturating_sub(first.saturating_mul(grid.width)).max(1))
    }

    #[inline]
    pub(super) fn take(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_add(amount);
    }

    #[inline]
    pub(super) fn give_back(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_sub(amount);
    }

    /// Lets `amount` count until one window after `tick`, which may lie before or after those of earlier calls.
    pub(super) fn settle(&mut self, grid: Grid, amount: u64, tick: i64) {
        if amount == 0 {
            return;
        }
        let amount = u32::try_from(amount).unwrap_or(u32::MAX);
        let base = self.base;
        if let Some(last) = self.runs.last_mut()
            && grid.holds(base.saturating_add(i64::from(last.offset)), tick)
        {
            self.settled = self.settled.saturating_add(u64::from(last.add(amount)));
            return;
        }
        self.add(grid.bucket(tick), amount);
    }

    fn add(&mut self, bucket: i64, amount: u32) {
        let offset = self.offset(bucket);
        let after = self.runs.iter().rposition(|run| run.offset <= offset);
        let added = match after.map(|i| &mut self.runs[i]) {
            Some(run) if run.offset == offset => run.add(amount),
            _ => {
                self.make_room();
                self.runs.insert(after.map_or(0, |i| i + 1), Run { offset, amount });
                amount
            }
        };
        self.settled = self.settled.saturating_add(u64::from(added));
    }

    /// Raises what counts from each bucket on to what does so in `other`, where that is more.
    pub(super) fn cover(&mut self, other: &Self) {
        if !self.covers(other) {
            self.raise(other);
        }
    }

    fn covers(&self, other: &Self) -> bool {
        let mut mine = self.runs.iter().rev().peekable();
        let (mut here, mut there) = (0_u64, 0_u64);
        for run in other.runs.iter().rev() {
            let bucket = other.bucket_of(*run);
            while let Some(run) = mine.next_if(|run| self.bucket_of(**run) >= bucket) {
                here += u64::from(run.amount);
            }
            if here >= other.settled {
                return true; // The usual case: nothing older can be more.
            }
            there += u64::from(run.amount);
            if here < there {
                return false;
            }
        }
        true
    }

    #[cold]
    fn raise(&mut self, other: &Self) {
        let mut runs: Vec<(i64, [u64; 2])> = Vec::with_capacity(self.runs.len() + other.runs.len());
        runs.extend(self.runs.iter().map(|run| (self.bucket_of(*run), [u64::from(run.amount), 0])));
        runs.extend(other.runs.iter().map(|run| (other.bucket_of(*run), [0, u64::from(run.amount)])));
        runs.sort_unstable_by_key(|(bucket, _)| *bucket);
        let (mut here, mut there, mut most) = (0, 0, 0);
        for (_, amounts) in runs.iter_mut().rev() {
            here += amounts[0];
            there += amounts[1];
            amounts[0] = here.max(there) - most;
            most += amounts[0];
        }
        *self = Self { in_flight: self.in_flight, ..Self::default() };
        for (bucket, [amount, _]) in runs.into_iter().filter(|(_, [amount, _])| *amount > 0) {
            self.add(bucket, u32::try_from(amount).unwrap_or(u32::MAX));
        }
    }

    #[inline]
    fn bucket_of(&self, run: Run) -> i64 {
        self.base.saturating_add(i64::from(run.offset))
    }

    /// The offset of a bucket; moves the base where it must. Where offsets cannot span the distance, which takes
    /// milliseconds-wide buckets and weeks between them, the earlier bucket moves towards the later one: an amount
    /// that counts too long is safe, one that counts too short is not.
    fn offset(&mut self, bucket: i64) -> u32 {
        let Some(last) = self.runs.last() else {
            self.base = bucket;
            return 0;
        };
        let distance = bucket.saturating_sub(self.base);
        if distance < 0 {
            let room = u32::MAX - last.offset;
            let shift = u32::try_from(distance.unsigned_abs()).unwrap_or(u32::MAX).min(room);
            self.base = self.base.saturating_sub(i64::from(shift));
            self.runs.iter_mut().for_each(|run| run.offset += shift);
            return 0;
        }
        u32::try_from(distance).unwrap_or_else(|_| {
            self.collapse(bucket);
            u32::MAX
        })
    }

    /// Moves the base so that `bucket` has the largest offset; everything before the new base goes there.
    fn collapse(&mut self, bucket: i64) {
        let base = bucket.saturating_sub(i64::from(u32::MAX));
        let shift = u32::try_from(base.saturating_sub(self.base)).unwrap_or(u32::MAX);
        self.base = base;
        let mut merged: Vec<Run> = Vec::new();
        for run in self.runs.drain(..) {
            let offset = run.offset.saturating_sub(shift);
            match merged.last_mut() {
                Some(last) if last.offset == offset => last.amount = last.amount.saturating_add(run.amount),
                _ => merged.push(Run { offset, ..run }),
            }
        }
        self.settled = merged.iter().map(|run| u64::from(run.amount)).sum();
        self.runs = merged;
    }

    /// Grows 4, 8, 16, 32, 64, 104: a window holds at most 102 buckets, for which doubling would allocate 128.
    fn make_room(&mut self) {
        if self.runs.len() == self.runs.capacity() {
            self.runs.reserve_exact(self.runs.len().clamp(4, 40));
        }
    }

    /// Forgets what has left the window at `tick`, which must not lie in the future.
    #[inline]
    pub(super) fn trim(&mut self, grid: Grid, tick: i64) {
        let expired = self.expired(grid, tick);
        if expired == 0 {
            return;
        }
        let gone: u64 = self.runs.drain(..expired).map(|run| u64::from(run.amount)).sum();
        self.settled = self.settled.saturating_sub(gone);
        // Keeps the offsets small for ever.
        let first = self.runs.first().map_or(0, |run| run.offset);
        self.runs.iter_mut().for_each(|run| run.offset -= first);
        self.base = self.base.saturating_add(i64::from(first));
    }

    /// Gives memory back after a burst.
    pub(super) fn shrink(&mut self) {
        if self.runs.capacity() > 2 * self.runs.len().max(4) {
            self.runs.shrink_to(self.runs.len());
        }
    }

    /// How many buckets there are, and how many fit without growing.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.runs.len(), self.runs.capacity())
    }

    /// Whether a new counter would be the same.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.runs.is_empty()
    }
}
