//! Counters without buckets: those of calendar periods, and of everything ever.

use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::eras::When;
use super::recent::Recent;

/// Cells of a counter, at most.
const CELLS_MAX: usize = 8;
/// So far ahead of the present something settles, at most.
const LEAD_MS: i64 = 24 * 3_600_000;

/// An amount that settled within a stretch of ticks that no clock told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cell {
    /// The latest tick at which some of it settled.
    pub(super) until: i64,
    pub(super) amount: u64,
}

impl Cell {
    /// Whether it is older than any period that may be the present one.
    fn is_over(&self, calendar: Calendar, tick: i64) -> bool {
        self.until.saturating_add(calendar.longest()) < tick
    }
}

/// The counter of a day or a month. It keeps when something settled, and not in which period, since a wall clock that is
/// set changes which one that was.
///
/// Without that there is a cell for each day that something settled in and for what settled about midnight, as long as
/// the present period can reach back to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Periods {
    in_flight: u64,
    /// In order. Not a vector, which would make every counter larger.
    cells: Box<[Cell]>,
    recent: Recent,
}

impl Periods {
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// What settled since a tick. Of a cell that began before it, it is not known how much: all.
    #[inline]
    pub(super) fn settled(&self, since: i64) -> u64 {
        let counts = self.cells.iter().rev().take_while(|cell| cell.until >= since);
        counts.fold(0, |sum, cell| sum.saturating_add(cell.amount))
    }

    pub(super) fn pace(&self, tick: i64) -> (u64, i64) {
        self.recent.pace(tick)
    }

    pub(super) fn take(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_add(amount);
    }

    pub(super) fn give_back(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_sub(amount);
    }

    pub(super) fn settle(&mut self, calendar: Calendar, amount: u64, when: When<'_>) {
        if amount == 0 {
            return;
        }
        let tick = when.tick;
        let (from, to) = when.eras.alike(calendar, tick);
        let at = self.cells.partition_point(|cell| cell.until < tick);
        let (earlier, later) = self.cells.split_at_mut(at);
        if let Some(cell) = later.first_mut().filter(|cell| cell.until < to) {
            cell.amount = cell.amount.saturating_add(amount);
        } else if let Some(cell) = earlier.last_mut().filter(|cell| cell.until >= from) {
            *cell = Cell { until: tick, amount: cell.amount.saturating_add(amount) };
        } else {
            let mut cells = std::mem::take(&mut self.cells).into_vec();
            cells.reserve_exact(1);
            cells.insert(at, Cell { until: tick, amount });
            compact(&mut cells, calendar, when);
            self.cells = cells.into_boxed_slice();
        }
        self.recent.add(amount, tick);
    }

    /// Raises what counts since each tick to what does so in `other`, where that is more.
    pub(super) fn cover(&mut self, other: &Self, calendar: Calendar, when: When<'_>) {
        let mut there = 0_u64;
        let covers = other.cells.iter().rev().all(|cell| {
            there = there.saturating_add(cell.amount);
            self.settled(cell.until) >= there
        });
        if covers {
            return;
        }
        let mine = self.cells.iter().map(|cell| (cell.until, [cell.amount, 0]));
        let theirs = other.cells.iter().map(|cell| (cell.until, [0, cell.amount]));
        let mut both: Vec<(i64, [u64; 2])> = mine.chain(theirs).collect();
        both.sort_unstable_by_key(|(until, _)| *until);
        let (mut here, mut there, mut most) = (0_u64, 0_u64, 0);
        let mut cells: Vec<Cell> = Vec::with_capacity(both.len());
        for (until, [mine, theirs]) in both.into_iter().rev() {
            here = here.saturating_add(mine);
            there = there.saturating_add(theirs);
            let amount = here.max(there).saturating_sub(most);
            if amount > 0 {
                cells.push(Cell { until, amount });
            }
            most = here.max(there);
        }
        cells.reverse();
        while cells.len() > CELLS_MAX {
            compact(&mut cells, calendar, when);
        }
        self.cells = cells.into_boxed_slice();
    }

    /// Forgets what is older than any period, so that nothing is missing by whatever a clock may show.
    pub(super) fn trim(&mut self, calendar: Calendar, tick: i64) {
        if self.cells.first().is_some_and(|cell| cell.is_over(calendar, tick)) {
            let mut cells = std::mem::take(&mut self.cells).into_vec();
            forget(&mut cells, calendar, tick);
            self.cells = cells.into_boxed_slice();
        }
        self.recent.forget(tick);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.cells.is_empty() && self.recent.is_empty()
    }
}

fn forget(cells: &mut Vec<Cell>, calendar: Calendar, tick: i64) {
    let over = cells.partition_point(|cell| cell.is_over(calendar, tick));
    cells.drain(..over);
}

/// If there are too many cells, puts two together that belong to the same periods, the oldest first. Where there are
/// none, so many clocks have been seen lately that the oldest two count for too long rather than not at all.
fn compact(cells: &mut Vec<Cell>, calendar: Calendar, when: When<'_>) {
    if cells.len() > CELLS_MAX {
        // What settles may lie ahead of the present.
        forget(cells, calendar, when.tick.saturating_sub(LEAD_MS));
    }
    if cells.len() > CELLS_MAX {
        let alike = |pair: &[Cell]| when.eras.are_alike(calendar, pair[0].until, pair[1].until, when.tick);
        let at = cells.windows(2).position(alike).unwrap_or(0);
        let earlier = cells.remove(at);
        cells[at].amount = cells[at].amount.saturating_add(earlier.amount);
    }
}

/// The counter of a total: what is under way, and what has ever settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plain {
    in_flight: u64,
    total: u64,
    recent: Recent,
}

impl Plain {
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn pace(&self, tick: i64) -> (u64, i64) {
        self.recent.pace(tick)
    }

    pub(super) fn take(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_add(amount);
    }

    pub(super) fn give_back(&mut self, amount: u64) {
        self.in_flight = self.in_flight.saturating_sub(amount);
    }

    pub(super) fn add(&mut self, amount: u64, tick: i64) {
        if amount > 0 {
            self.total = self.total.saturating_add(amount);
            self.recent.add(amount, tick);
        }
    }

    pub(super) fn cover(&mut self, other: &Self) {
        self.total = self.total.max(other.total);
    }

    pub(super) fn lower(&mut self, amount: u64) {
        self.total = self.total.saturating_sub(amount);
    }

    pub(super) fn trim(&mut self, tick: i64) {
        self.recent.forget(tick);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.total == 0 && self.recent.is_empty()
    }
}
