//! What somebody should hear of: limits that are nearly used up, blocks, clocks that were set. Each is an entry; the
//! queue holds those that the webhook has yet to deliver.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::entry::{AlertRaised, Seq};

/// Alerts that wait for their delivery; further ones push the oldest out, which stay in the log.
pub const QUEUE_MAX: usize = 1_000;
/// Alerts that are remembered so that they are not repeated.
const RAISED_MAX: usize = 10_000;

/// The counter that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct About {
    pub limit: String,
    pub corp: Seq,
    pub app: Seq,
    pub api: Seq,
    /// A limit that was tried and is now enforced begins anew.
    pub shadow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Raised {
    percent: u8,
    /// From when on the same may be raised again.
    again_at: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    raised: BTreeMap<About, Raised>,
    /// Entries to deliver, in order.
    queue: VecDeque<Seq>,
    /// Of those, pushed out without having been delivered, since the ledger began.
    pub dropped: u64,
}

impl Alerts {
    /// Whether this is news: more than was raised last, or the period of that is over.
    pub fn is_news(&self, about: &About, percent: u8, tick: i64) -> bool {
        self.raised.get(about).is_none_or(|raised| percent > raised.percent || tick >= raised.again_at)
    }

    pub fn queue(&self) -> impl Iterator<Item = Seq> {
        self.queue.iter().copied()
    }

    pub(super) fn raise(&mut self, about: About, x: &AlertRaised, tick: i64) {
        if self.raised.len() >= RAISED_MAX {
            self.raised.retain(|_, raised| tick < raised.again_at);
        }
        if self.raised.len() < RAISED_MAX {
            self.raised.insert(about, Raised { percent: x.percent, again_at: x.again_tick });
        }
    }

    /// An entry that somebody should hear of.
    pub(super) fn queue_up(&mut self, seq: Seq) {
        self.queue.push_back(seq);
        if self.queue.len() > QUEUE_MAX {
            self.queue.pop_front();
            self.dropped += 1;
        }
    }

    pub(super) fn delivered(&mut self, through: Seq) {
        while self.queue.front().is_some_and(|&seq| seq <= through) {
            self.queue.pop_front();
        }
    }
}
