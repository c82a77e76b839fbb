//! Person-times that apps sent, as message/get_statistics counts them: those that reached somebody.

use std::collections::HashMap;

use super::clock::day;
use super::tokens::Who;

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sent {
    day: i64,
    today: u64,
    yesterday: u64,
    pub total: u64,
}

impl Sent {
    const fn roll(&mut self, now: i64) {
        let day = day(now);
        if day != self.day {
            self.yesterday = if day == self.day + 1 { self.today } else { 0 };
            self.today = 0;
            self.day = day;
        }
    }

    /// Today's and yesterday's.
    pub(super) const fn days(mut self, now: i64) -> (u64, u64) {
        self.roll(now);
        (self.today, self.yesterday)
    }
}

#[derive(Debug, Default)]
pub(super) struct PersonTimes {
    by_app: HashMap<Who, Sent>,
}

impl PersonTimes {
    pub(super) fn add(&mut self, who: Who, count: usize, now: i64) {
        let app = self.by_app.entry(who).or_default();
        app.roll(now);
        app.today += count as u64;
        app.total += count as u64;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Who, Sent)> {
        self.by_app.iter().map(|(who, sent)| (*who, *sent))
    }
}
