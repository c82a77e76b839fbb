//! What somebody should hear of: limits that are nearly used up, blocks, clocks that were set. Each is an entry; the
//! queue holds those that the webhook has yet to deliver.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::entry::{AlertRaised, Seq};

/// Alerts that wait for their delivery; further ones push the oldest out, which stay in the log.
pub const QUEUE_MAX: usize = 1_000;
/// Alerts that are remembered so that they are not repeated.
const RAISED_MAX: usize = 10_000;

/// Of what a single client can bring about as often as it likes, fewer are remembered, besides those, and fewer wait, so
/// that it silences nobody else's.
const RAISED_BY_CLIENTS_MAX: usize = 1_000;
const QUEUE_BY_CLIENTS_MAX: usize = 100;

/// For how long it is worth a warning that an alert was pushed out.
const DROPPED_FOR_MS: i64 = 24 * 3_600_000;

/// Alerts that share the room there is for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    Common,
    /// About one API key, or what its client says.
    ApiKey,
    /// About one group chat or robot: a client may name any.
    Chat,
}

impl Share {
    /// In the order in which alerts are remembered.
    const ALL: [Self; 3] = [Self::Common, Self::ApiKey, Self::Chat];

    fn raised_max(self) -> usize {
        if self == Self::Common { RAISED_MAX } else { RAISED_BY_CLIENTS_MAX }
    }

    fn queue_max(self) -> usize {
        if self == Self::Common { QUEUE_MAX } else { QUEUE_BY_CLIENTS_MAX }
    }
}

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

impl About {
    pub(super) fn share(&self) -> Share {
        match (self.chat, self.api_key) {
            (0, 0) => Share::Common,
            (0, _) => Share::ApiKey,
            _ => Share::Chat,
        }
    }
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
    /// By their share.
    raised: [BTreeMap<About, Raised>; 3],
    /// Somebody waits for them: the process that started last has a webhook.
    wanted: bool,
    /// Entries to deliver, in order.
    queue: VecDeque<(Seq, Share)>,
    /// Of those, pushed out without having been delivered, since the ledger began.
    pub dropped: u64,
    /// When that happened last.
    dropped_at: Option<i64>,
}

impl Alerts {
    /// Whether this is news: more than was raised last, or the period of that is over. Nothing is that could not be
    /// remembered: it would be raised again and again.
    pub fn is_news(&self, about: &About, percent: u8, tick: i64) -> bool {
        let all = self.raised_like(about);
        match all.get(about) {
            Some(raised) => percent > raised.percent || tick >= raised.again_at,
            None => all.len() < about.share().raised_max(),
        }
    }

    /// For how long the same or more was kept quiet the last time, if that is only just over.
    pub fn kept_quiet(&self, about: &About, percent: u8, tick: i64) -> Option<i64> {
        let raised = self.raised_like(about).get(about).filter(|raised| percent <= raised.percent)?;
        let quiet = raised.again_at - raised.at;
        (tick < raised.again_at.saturating_add(quiet)).then_some(quiet)
    }

    pub fn queue(&self) -> impl Iterator<Item = Seq> {
        self.queue.iter().map(|(seq, _)| *seq)
    }

    fn raised_like(&self, about: &About) -> &BTreeMap<About, Raised> {
        &self.raised[about.share() as usize]
    }

    /// Whether one more is not raised, since it could not be remembered.
    pub fn is_full(&self, tick: i64) -> bool {
        let full = |share: Share, all: &BTreeMap<About, Raised>| {
            let most = share.raised_max();
            all.len() >= most && all.values().filter(|raised| tick < raised.again_at).count() >= most
        };
        Share::ALL.into_iter().zip(&self.raised).any(|(it, all)| full(it, all))
    }

    /// Whether one was pushed out lately.
    pub fn dropped_lately(&self, tick: i64) -> bool {
        self.dropped_at.is_some_and(|at| tick - at < DROPPED_FOR_MS)
    }

    pub(super) fn raise(&mut self, about: About, x: &AlertRaised, tick: i64) {
        let share = about.share();
        let all = &mut self.raised[share as usize];
        if all.len() < share.raised_max() || all.contains_key(&about) {
            all.insert(about, Raised { percent: x.percent, at: tick, again_at: x.again_tick });
        }
    }

    /// Makes room for others, where there is none.
    pub(super) fn prune(&mut self, tick: i64) {
        for (share, all) in Share::ALL.into_iter().zip(&mut self.raised) {
            if all.len() >= share.raised_max() {
                all.retain(|_, raised| tick < raised.again_at);
            }
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
    pub(super) fn queue_up(&mut self, seq: Seq, share: Share, tick: i64) {
        if !self.wanted {
            return;
        }
        self.queue.push_back((seq, share));
        let alike = self.queue.iter().filter(|(_, other)| *other == share).count();
        let pushed_out = if alike > share.queue_max() {
            self.queue.iter().position(|(_, other)| *other == share)
        } else if self.queue.len() > QUEUE_MAX {
            Some(self.queue.iter().position(|(_, other)| *other != Share::Common).unwrap_or(0))
        } else {
            None
        };
        if let Some(pushed_out) = pushed_out {
            self.queue.remove(pushed_out);
            self.dropped += 1;
            self.dropped_at = Some(tick);
        }
    }

    pub(super) fn delivered(&mut self, through: Seq) {
        while self.queue.front().is_some_and(|&(seq, _)| seq <= through) {
            self.queue.pop_front();
        }
    }
}
