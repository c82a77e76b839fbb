//! What somebody should hear of: limits that are nearly used up, blocks, clocks that were set. Each is an entry; the
//! queue holds those that the webhook has yet to deliver.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::entry::{AlertRaised, Seq};

/// Alerts that wait for their delivery; further ones push the oldest out, which stay in the log.
pub const QUEUE_MAX: usize = 1_000;
/// Alerts that are remembered so that they are not repeated.
const RAISED_MAX: usize = 10_000;

/// The counter that an alert is about; 0 where its limit does not tell things apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct About {
    pub limit: String,
    pub corp: Seq,
    pub app: Seq,
    pub api: Seq,
    pub api_key: Seq,
    pub egress_ip: Seq,
    /// Keyed hash of the group chat or group robot.
    pub chat: u64,
    /// A limit that was tried and is now enforced begins anew.
    pub shadow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Raised {
    percent: u8,
    at: i64,
    /// From when on the same may be raised again.
    again_at: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    raised: BTreeMap<About, Raised>,
    /// Somebody waits for them: the process that started last has a webhook.
    wanted: bool,
    /// Entries to deliver, in order.
    queue: VecDeque<Seq>,
    /// Of those, pushed out without having been delivered, since the ledger began.
    pub dropped: u64,
}

impl Alerts {
    /// Whether this is news: more than was raised last, or the period of that is over. Nothing is that could not be
    /// remembered: it would be raised again and again.
    pub fn is_news(&self, about: &About, percent: u8, tick: i64) -> bool {
        match self.raised.get(about) {
            Some(raised) => percent > raised.percent || tick >= raised.again_at,
            None => self.raised.len() < RAISED_MAX,
        }
    }

    /// For how long the same or more was kept quiet the last time, if that is only just over.
    pub fn kept_quiet(&self, about: &About, percent: u8, tick: i64) -> Option<i64> {
        let raised = self.raised.get(about).filter(|raised| percent <= raised.percent)?;
        let quiet = raised.again_at - raised.at;
        (tick < raised.again_at.saturating_add(quiet)).then_some(quiet)
    }

    pub fn queue(&self) -> impl Iterator<Item = Seq> {
        self.queue.iter().copied()
    }

    pub(super) fn raise(&mut self, about: About, x: &AlertRaised, tick: i64) {
        if self.raised.len() < RAISED_MAX || self.raised.contains_key(&about) {
            self.raised.insert(about, Raised { percent: x.percent, at: tick, again_at: x.again_tick });
        }
    }

    /// Makes room for others, where there is none.
    pub(super) fn prune(&mut self, tick: i64) {
        if self.raised.len() >= RAISED_MAX {
            self.raised.retain(|_, raised| tick < raised.again_at);
        }
    }

    /// Whoever begins to listen is not told of what was before, or happened while nobody did.
    pub(super) fn want(&mut self, wanted: bool) {
        if wanted != self.wanted {
            self.queue.clear();
        }
        self.wanted = wanted;
    }

    /// An entry that somebody should hear of, if anybody does.
    pub(super) fn queue_up(&mut self, seq: Seq) {
        if !self.wanted {
            return;
        }
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
