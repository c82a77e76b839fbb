//! How many person-times each app delivered, day by day, as far as answers show: what WeCom's own count is compared
//! with. And what came of comparing.
//!
//! WeCom counts a message for each member whom it reached. How many those are, this ledger knows only within bounds: a
//! department counts with the size that was assumed, a call without an answer may have been delivered, and what was
//! under way at midnight may be of either day.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::quota::Day;

use super::command::Now;
use super::entry::{Compared, Reconciled, Seq, UsageReconciled};
use super::state::{Pending, State};

/// The one API whose messages WeCom certainly counts; of others it does not say.
pub const COUNTED_API: &str = "message/send";
/// Days that are kept of each app: today, yesterday, and one that may begin any moment.
const DAYS_KEPT: usize = 3;
/// The latest comparisons, which can be listed; older ones stay in the log.
const RECENT_MAX: usize = 1_000;
/// Failures of one app and day, at most: the next day brings others.
pub const TRIES_MAX: u32 = 8;
/// Apps that are found due at once.
const DUE_MAX: usize = 1_000;

/// The day that is asked about. WeCom knows of no others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    Today,
    #[default]
    Yesterday,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    apps: BTreeMap<Seq, Book>,
    /// Comparisons (and failures) with their apps, in order.
    recent: VecDeque<(Seq, Seq)>,
}

/// One app's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Book {
    /// Wall time from which on every message of the app that goes through here was counted.
    since: i64,
    days: BTreeMap<Day, Sums>,
    last: Option<Last>,
}

/// Person-times of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Delivered, as far as the answers show; groups with the size that was assumed.
    pub counted: u64,
    /// Of these, people who were named one by one, on this day for sure.
    pub sure: u64,
    /// Besides, what WeCom may have counted on this day: outcomes that nobody knows, calls about midnight.
    pub maybe: u64,
}

/// What came of the latest day that was over when it was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    day: Day,
    seq: Seq,
    compared: bool,
    tries: u32,
    again_tick: i64,
}

/// What is known of one call's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// To so many, of whom so many were named one by one.
    Certain { people: u64, named: u64 },
    /// To so many or fewer.
    Possible { people: u64 },
}

/// From the moment when it was sent to the one when its outcome was known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub from: i64,
    pub to: i64,
    pub zone_minutes: i32,
}

impl Span {
    /// The first and the last day that a call may belong to.
    fn days(self) -> (Day, Day) {
        let first = Day::touched(self.from.min(self.to), self.zone_minutes).0;
        (first, Day::touched(self.to, self.zone_minutes).1)
    }
}

impl Delivered {
    /// From now on an app's messages go through here.
    pub(super) fn begin(&mut self, app: Seq, at: i64) {
        self.apps.insert(app, Book { since: at, ..Book::default() });
    }

    pub(super) fn end(&mut self, app: Seq) {
        self.apps.remove(&app);
    }

    /// The days are others from now on: what was counted of them is worth nothing.
    pub(super) fn begin_anew(&mut self, at: i64) {
        for book in self.apps.values_mut() {
            *book = Book { since: at, ..Book::default() };
        }
    }

    pub(super) fn add(&mut self, app: Seq, delivery: Delivery, span: Span) {
        let Some(book) = self.apps.get_mut(&app) else { return };
        let (first, last) = span.days();
        let own = Day::of(span.to, span.zone_minutes);
        match delivery {
            Delivery::Certain { people, named } if first == last => {
                let sums = book.days.entry(own).or_default();
                sums.counted = sums.counted.saturating_add(people);
                sums.sure = sums.sure.saturating_add(named);
            }
            Delivery::Certain { people, .. } => {
                let sums = book.days.entry(own).or_default();
                sums.counted = sums.counted.saturating_add(people);
                book.maybe(people, first, last, Some(own));
            }
            Delivery::Possible { people } => book.maybe(people, first, last, None),
        }
        while book.days.len() > DAYS_KEPT {
            book.days.pop_first();
        }
    }

    pub(super) fn reconciled(&mut self, app: Seq, seq: Seq, x: &UsageReconciled) {
        self.recent.push_back((seq, app));
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        let (compared, tries, again_tick) = match &x.outcome {
            // The day goes on, and will be asked about when it is over.
            Reconciled::Compared(Compared { so_far: true, .. }) => return,
            Reconciled::Compared(_) => (true, 0, 0),
            Reconciled::Failed(failed) => (false, failed.tries, failed.again_tick),
        };
        if let Some(book) = self.apps.get_mut(&app) {
            book.last = Some(Last { day: x.day, seq, compared, tries, again_tick });
        }
    }

    /// The newest first: each entry with its app.
    pub fn recent(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.recent.iter().rev().copied()
    }

    /// The entry that compares an app's day, if the day was over by then.
    pub fn compared(&self, app: Seq, day: Day) -> Option<Seq> {
        let last = self.apps.get(&app)?.last.filter(|last| last.day == day && last.compared)?;
        Some(last.seq)
    }

    /// How often an app's day was asked about in vain.
    pub fn tries(&self, app: Seq, day: Day) -> u32 {
        let last = self.apps.get(&app).and_then(|book| book.last);
        last.filter(|last| last.day == day).map_or(0, |last| last.tries)
    }

    pub fn sums(&self, app: Seq, day: Day) -> Sums {
        self.apps.get(&app).and_then(|book| book.days.get(&day)).copied().unwrap_or_default()
    }

    /// Whether counting had begun when the day did.
    pub fn is_whole(&self, app: Seq, day: Day, zone_minutes: i32) -> bool {
        self.apps.get(&app).is_some_and(|book| Day::touched(book.since, zone_minutes).1 < day)
    }
}

impl Book {
    fn maybe(&mut self, people: u64, first: Day, last: Day, but: Option<Day>) {
        let mut day = last;
        for _ in 0..DAYS_KEPT {
            if Some(day) != but {
                let sums = self.days.entry(day).or_default();
                sums.maybe = sums.maybe.saturating_add(people);
            }
            if day <= first {
                return;
            }
            day = day.before();
        }
    }
}

/// The day that is meant at a wall time; none about midnight, when WeCom's clock may show another one.
pub fn day_of(state: &State, which: Which, at: i64) -> Option<Day> {
    let (first, last) = Day::touched(at, state.meters.zone_minutes());
    match which {
        _ if first != last => None,
        Which::Today => Some(first),
        Which::Yesterday => Some(first.before()),
    }
}

/// Whether WeCom knows the app by this id: its count names apps by number.
pub fn is_named(agent_id: &str) -> bool {
    agent_id.bytes().all(|byte| byte.is_ascii_digit())
}

/// Apps whose yesterday is still to be compared, and may be by now.
pub fn due(state: &State, now: Now) -> Vec<Seq> {
    let zone = state.meters.zone_minutes();
    let Some(day) = day_of(state, Which::Yesterday, now.at) else { return Vec::new() };
    let delivered = &state.delivered;
    let waits = |app: Seq| {
        let last = delivered.apps.get(&app).and_then(|book| book.last).filter(|last| last.day == day);
        last.is_none_or(|last| !last.compared && last.tries < TRIES_MAX && last.again_tick <= now.tick)
    };
    let apps = state.directory.live_apps().filter(|(_, app)| is_named(&app.agent_id));
    let due = apps.map(|(app, _)| app).filter(|&app| delivered.is_whole(app, day, zone) && waits(app));
    due.take(DUE_MAX).collect()
}

/// WeCom's count of a day next to ours.
pub(super) fn compare(state: &State, app: Seq, day: Day, wecom: u64, which: Which, now: Now) -> Compared {
    let zone_minutes = state.meters.zone_minutes();
    let Now { tick, at } = now;
    let under_way = |pending: &&Pending| {
        let from = at.saturating_sub(tick.saturating_sub(pending.tick));
        pending.app == app && Span { from, to: at, zone_minutes }.days().0 <= day
    };
    let each = state.pendings.values().map(Box::as_ref);
    let under_way = each.filter(under_way).map(|pending| pending.cost.person_times);
    let Sums { counted, sure, maybe } = state.delivered.sums(app, day);
    let at_most = under_way.fold(counted.saturating_add(maybe), u64::saturating_add);
    let whole = state.delivered.is_whole(app, day, zone_minutes);
    let so_far = which == Which::Today;
    // WeCom does not say how soon it counts.
    let at_least = if so_far { 0 } else { sure };
    Compared::new(wecom, counted, at_least, whole.then_some(at_most), so_far)
}
