//! WeCom's own blocks: after a limit was hit it refuses for a documented time, and whoever goes on asking may make
//! it longer. So the calls that a block is about are held back, and afterwards a single one tries first.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::wecom::errcodes::{CONCURRENCY_LIMIT, FREQUENCY_LIMIT};

use super::entry::{Blocks, Counted, PenaltyLevel, PenaltyStarted, Refs, Seq};
use super::state::{Pending, PendingWhat};

/// Blocks that are kept when they are over, because nobody has called since.
const KEPT_MS: i64 = 3_600_000;

/// How soon to ask again while one call finds out whether a block is over.
const PROBE_PAUSE_MS: i64 = 1_000;

/// How long the others wait for what the call that tries finds. Then another one may try.
const PROBE_MAX_MS: i64 = 60_000;

/// Incidents that `/v1/incidents` lists, at most; their entries stay for ever.
pub const INCIDENTS_MAX: usize = 1_000;

/// What is held back: an API, of a corp, of one of its apps, or from an egress IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Blocked {
    pub api: Seq,
    pub blocks: Blocks,
    /// The corp, app or egress IP.
    pub whose: Seq,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Penalty {
    /// The `penalty.started` entry.
    pub started: Seq,
    pub level: PenaltyLevel,
    pub until: i64,
    /// After `until` one call tries whether the block is over; the others wait for what it finds.
    pub probe: Option<Probe>,
    /// How often in a row the call that tried was refused as well, at this level.
    pub repeated: u32,
    pub first: First,
}

/// The call that tries whether a block is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub seq: Seq,
    pub tick: i64,
}

/// The refusal with which a row of blocks began: those of calls that tried say less, since nothing was sent before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct First {
    /// The `penalty.started` entry.
    pub seq: Seq,
    pub corp: Seq,
    pub app: Seq,
    pub counted: Vec<Counted>,
    /// A client says so, which made the call itself.
    pub told: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Penalties {
    blocked: BTreeMap<Blocked, Penalty>,
    /// The latest `penalty.started` entries.
    pub incidents: VecDeque<Seq>,
}

impl Penalty {
    /// What WeCom answers as long as it lasts.
    pub fn errcode(&self) -> i64 {
        if self.level == PenaltyLevel::Concurrent { CONCURRENCY_LIMIT } else { FREQUENCY_LIMIT }
    }

    /// The call that tries, if the others still wait for what it finds.
    pub fn trying(&self, tick: i64) -> Option<Seq> {
        self.probe.filter(|probe| tick < probe.tick + PROBE_MAX_MS).map(|probe| probe.seq)
    }

    /// When to ask again. When the call that tries will be answered is not known: soon.
    pub fn retry_at(&self, tick: i64) -> i64 {
        if tick < self.until { self.until } else { tick + PROBE_PAUSE_MS }
    }
}

/// The three ways in which a call can be blocked.
pub fn keys(corp: Seq, app: Seq, egress_ip: Seq, api: Seq) -> [Blocked; 3] {
    [(Blocks::Corp, corp), (Blocks::App, app), (Blocks::EgressIp, egress_ip)].map(|(blocks, whose)| Blocked {
        api,
        blocks,
        whose,
    })
}

fn keys_of(pending: &Pending) -> [Blocked; 3] {
    keys(pending.corp, pending.app, pending.egress_ip, pending.api)
}

/// Whether a call finds out something about a block. One that a client makes itself may take an hour, and what came of
/// it is the client's word.
fn tries(pending: &Pending) -> bool {
    pending.what != PendingWhat::Reserved
}

impl Penalties {
    pub fn iter(&self) -> impl Iterator<Item = (&Blocked, &Penalty)> {
        self.blocked.iter()
    }

    pub fn by_entry(&self, started: Seq) -> Option<(&Blocked, &Penalty)> {
        self.blocked.iter().find(|(_, penalty)| penalty.started == started)
    }

    /// The block that holds this call back at `tick`, if one does: the one that does so longest.
    pub fn holding(&self, keys: [Blocked; 3], tick: i64) -> Option<(Blocked, &Penalty)> {
        if self.blocked.is_empty() {
            return None;
        }
        let found = keys.into_iter().filter_map(|key| self.blocked.get(&key).map(|penalty| (key, penalty)));
        found.filter(|(_, it)| tick < it.until || it.trying(tick).is_some()).max_by_key(|(_, it)| it.until)
    }

    /// The block for which this call is one that tries: it went out when the block's time was over. One of WeCom's
    /// comes before a client's word.
    pub fn probed_by(&self, pending: &Pending) -> Option<(Blocked, &Penalty)> {
        if self.blocked.is_empty() || !tries(pending) {
            return None;
        }
        let found = keys_of(pending).into_iter().filter_map(|key| self.blocked.get(&key).map(|it| (key, it)));
        found.filter(|(_, it)| it.until <= pending.tick).min_by_key(|(_, it)| it.first.told)
    }

    /// Whether a call was on its way already when a block began that now holds it back. After a client's word WeCom's
    /// own is news.
    pub fn was_under_way(&self, seq: Seq, pending: &Pending) -> bool {
        let mut found = keys_of(pending).into_iter().filter_map(|key| self.blocked.get(&key));
        found.any(|penalty| seq < penalty.started && !(penalty.first.told && tries(pending)))
    }

    /// Whether a client's word would come into the place of what WeCom said. That holds its calls back already, or lets
    /// one of them try.
    pub fn is_known_better(&self, pending: &Pending) -> bool {
        let Pending { api, app, .. } = *pending;
        let known = self.blocked.get(&Blocked { api, blocks: Blocks::App, whose: app });
        !tries(pending) && known.is_some_and(|known| !known.first.told)
    }

    /// A call goes out: if it is the first one after a block, it is the one that tries.
    pub(super) fn taken(&mut self, seq: Seq, pending: &Pending) {
        if self.blocked.is_empty() || !tries(pending) {
            return;
        }
        for key in keys_of(pending) {
            if let Some(penalty) = self.blocked.get_mut(&key)
                && penalty.until <= pending.tick
                && penalty.trying(pending.tick).is_none()
            {
                penalty.probe = Some(Probe { seq, tick: pending.tick });
            }
        }
    }

    /// A call has ended, however: it tries no more.
    pub(super) fn ended(&mut self, seq: Seq, pending: &Pending) {
        if self.blocked.is_empty() {
            return;
        }
        for key in keys_of(pending) {
            if let Some(penalty) = self.blocked.get_mut(&key)
                && penalty.probe.is_some_and(|probe| probe.seq == seq)
            {
                penalty.probe = None;
            }
        }
    }

    pub(super) fn start(&mut self, seq: Seq, key: Blocked, x: &PenaltyStarted, refs: Refs, tick: i64) {
        self.incidents.push_back(seq);
        while self.incidents.len() > INCIDENTS_MAX {
            self.incidents.pop_front();
        }
        self.blocked.retain(|_, penalty| penalty.probe.is_some() || penalty.until + KEPT_MS > tick);
        let before = self.blocked.get(&key);
        if x.told && before.is_some_and(|before| !before.first.told) {
            return;
        }
        // What WeCom says itself begins anew after what a client said.
        let before = before.filter(|before| before.first.told == x.told);
        let repeated =
            before.filter(|before| before.level == x.level).map_or(0, |before| before.repeated + 1);
        let is_concurrent = |level| level == PenaltyLevel::Concurrent;
        let row = before.filter(|before| is_concurrent(before.level) == is_concurrent(x.level));
        let first = row.map_or_else(
            || First {
                seq,
                corp: refs.corp.unwrap_or(0),
                app: refs.app.unwrap_or(0),
                counted: x.counted.clone(),
                told: x.told,
            },
            |before| before.first.clone(),
        );
        let penalty =
            Penalty { started: seq, level: x.level, until: x.until_tick, probe: None, repeated, first };
        self.blocked.insert(key, penalty);
    }

    pub(super) fn end(&mut self, started: Seq) {
        self.blocked.retain(|_, penalty| penalty.started != started);
    }
}
