//! What the wall clock showed, and since when: by which days and months calendar windows are counted.
//!
//! Amounts are counted in ticks, which no clock setting moves. A wall clock only says where the days begin and end in
//! them: its *reading*, how far it is ahead of the tick. As long as nobody sets the clock there is one reading. When it
//! is set, nobody can say at once whether it was right before or is right now. So for a day both count, and a call must
//! fit the present day and month of each; after that the newer one is believed.
//!
//! What counts in a period is everything that settled since the period began by that reading, whatever the clock showed
//! when it settled. A clock that is set ahead and back, even after weeks, so finds all that was spent meanwhile, and
//! finds it once.
//!
//! One overlap is left out. A clock that was behind by an hour at most and is put right finds that what it took for the
//! last minutes of a month were the first of the next. Before, nobody could know. If these calls counted in the next
//! month, all that were counted together with them would.

use serde::{Deserialize, Serialize};

use super::calendar::Calendar;

/// So long a reading counts beside the newer one.
const BELIEVED_MS: i64 = 24 * 3_600_000;
/// A clock that was behind by so much at most was put right.
const CORRECTED_MS: i64 = 3_600_000;
/// Readings that differ by no more are the same one: clocks jitter, and are kept right by small corrections.
const JITTER_MS: i64 = 5_000;
/// Eras that are remembered. A clock that is set more often than that within a day is believed the sooner.
const ERAS_MAX: usize = 8;

/// A stretch of time in which nobody set the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Era {
    /// The tick at which it began.
    begun: i64,
    /// Wall time less tick.
    ahead: i64,
}

/// The latest eras, in order; the last one is the present. None: the clock has not been read yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Eras(Vec<Era>);

/// A tick, and what the clock showed until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct When<'a> {
    pub(super) tick: i64,
    pub(super) eras: &'a Eras,
}

impl Eras {
    /// From a tick on the wall clock shows so much more than ticks.
    pub(super) fn show(&mut self, tick: i64, ahead: i64) {
        let known = self.0.last();
        if known.is_some_and(|era| era.ahead.abs_diff(ahead) <= JITTER_MS.unsigned_abs()) {
            return;
        }
        // Before the first reading nothing was counted.
        let begun = known.map_or(i64::MIN, |_| tick);
        if self.0.len() == ERAS_MAX {
            self.0.remove(0);
        }
        self.0.push(Era { begun, ahead });
    }

    fn ahead(&self, of: usize) -> i64 {
        self.0.get(of).map_or(0, |era| era.ahead)
    }

    fn end(&self, of: usize) -> Option<i64> {
        self.0.get(of + 1).map(|next| next.begun)
    }

    /// The eras whose readings count at a tick, and until when they do, if nobody sets the clock; the newest first.
    fn counting(&self, tick: i64) -> impl Iterator<Item = (usize, Option<i64>)> {
        let of_all = (0..self.0.len().max(1)).rev();
        of_all
            .map(|of| (of, self.end(of).map(|end| end.saturating_add(BELIEVED_MS))))
            .take_while(move |(_, lapses)| lapses.is_none_or(|lapses| tick < lapses))
    }

    /// What the wall clock shows at a tick, as far as is known.
    pub(super) fn wall(&self, tick: i64) -> i64 {
        tick.saturating_add(self.ahead(self.0.len().saturating_sub(1)))
    }

    /// What it shows by each reading that counts.
    pub(super) fn walls(&self, tick: i64) -> impl Iterator<Item = i64> {
        self.counting(tick).map(move |(of, _)| tick.saturating_add(self.ahead(of)))
    }

    /// The tick since which everything counts in the present period, by the reading by which that is longest.
    #[inline]
    pub(super) fn since(&self, calendar: Calendar, tick: i64) -> i64 {
        let began = |(of, _)| self.began(calendar, self.first(calendar, tick, of), of);
        self.counting(tick).map(began).min().unwrap_or(i64::MIN)
    }

    /// The earliest period to which a tick may belong by a reading.
    fn first(&self, calendar: Calendar, tick: i64, of: usize) -> i32 {
        calendar.touched(tick.saturating_add(self.ahead(of))).0
    }

    /// The tick since which everything counts in a period by a reading.
    fn began(&self, calendar: Calendar, period: i32, of: usize) -> i64 {
        let begins = calendar.begins(period);
        let since = begins.saturating_sub(self.ahead(of));
        let [oldest, .., newest] = &self.0[..] else { return since };
        if since >= newest.begun || since < oldest.begun {
            return since;
        }
        let began = self.0.iter().enumerate().find_map(|(at, era)| {
            let corrected = at < of && self.was_corrected(at, of);
            let from = if corrected { begins.saturating_sub(era.ahead) } else { since };
            self.end(at).is_none_or(|end| from < end).then(|| era.begun.max(from))
        });
        began.unwrap_or(since)
    }

    /// Whether a clock that was a little behind in an era was put right later on. If it had shown the right time before
    /// that, whoever set it back could have known.
    fn was_corrected(&self, at: usize, of: usize) -> bool {
        let right = self.ahead(of);
        let behind = right.saturating_sub(self.ahead(at));
        let known = |era: &Era| era.ahead.abs_diff(right) <= JITTER_MS.unsigned_abs();
        (1..=CORRECTED_MS).contains(&behind) && !self.0[..at].iter().any(known)
    }

    /// The first tick at which what settled until a tick does not count any more, if nobody sets the clock.
    pub(super) fn leaves(&self, calendar: Calendar, until: i64, tick: i64) -> i64 {
        let left = |(of, lapses): (usize, Option<i64>)| {
            let turns = self.turns(calendar, until, tick, of);
            lapses.map_or(turns, |lapses| turns.min(lapses))
        };
        self.counting(tick).map(left).fold(tick, i64::max)
    }

    /// The same by one reading.
    fn turns(&self, calendar: Calendar, until: i64, tick: i64, of: usize) -> i64 {
        let mut period = self.first(calendar, tick, of);
        if self.began(calendar, period, of) > until {
            return tick;
        }
        // Nothing settles more than a day ahead, so the next period or the one after it is it.
        for _ in 0..3 {
            if self.began(calendar, period.saturating_add(1), of) > until {
                break;
            }
            period = period.saturating_add(1);
        }
        calendar.over(period).saturating_sub(self.ahead(of))
    }

    /// The ticks around a tick that no reading that counts tells apart: from the first one to the first after them.
    pub(super) fn alike(&self, calendar: Calendar, tick: i64) -> (i64, i64) {
        let begun = self.0.last().map_or(i64::MIN, |era| era.begun);
        self.counting(tick).fold((begun, i64::MAX), |(from, to), (of, _)| {
            let ahead = self.ahead(of);
            let (first, next) = calendar.alike(tick.saturating_add(ahead));
            (from.max(first.saturating_sub(ahead)), to.min(next.saturating_sub(ahead)))
        })
    }

    /// Whether two earlier ticks belong to the same periods by every reading that counts.
    pub(super) fn are_alike(&self, calendar: Calendar, earlier: i64, later: i64, tick: i64) -> bool {
        self.counting(tick).all(|(of, _)| {
            let touched = |tick: i64| calendar.touched(tick.saturating_add(self.ahead(of)));
            touched(earlier) == touched(later)
        })
    }
}
