//! The simulated WeCom's own record of every request, to compare a client's with.

use std::collections::VecDeque;

use serde::Serialize;

use super::random::hex;
use super::tokens::Fingerprint;

/// No errcode (yet): WeCom has no such code.
const NONE: i32 = i32::MIN;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    /// The request's own body broke off.
    Incomplete,
    Injected(super::faults::Kind),
}

/// One request, in about a hundred bytes.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub at: i64,
    pub api: u16,
    pub query: u16,
    pub method: u16,
    /// Places in the `World`; the corp alone is known for a gettoken that failed.
    pub corp: Option<u32>,
    pub app: Option<u32>,
    pub token: Option<Fingerprint>,
    pub body_sha256: [u8; 32],
    pub body_bytes: u32,
    pub request_id: Option<Box<str>>,
    pub ending: Ending,
}

/// What is known of a request's end; at arrival nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    outcome: Outcome,
    answered: i32,
    effect: i32,
}

impl Ending {
    pub(super) const OPEN: Self = Self { outcome: Outcome::Answered, answered: NONE, effect: NONE };
}

/// A record as the control API shows it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub n: u64,
    pub arrived_at_ms: i64,
    pub api: String,
    pub method: String,
    pub query: Vec<String>,
    pub corp_id: Option<String>,
    pub agent_id: Option<u32>,
    pub token: Option<String>,
    pub body_sha256: String,
    pub body_bytes: u32,
    pub request_id: Option<Box<str>>,
    /// What the caller was told; null where it was told nothing readable, or nothing yet.
    pub errcode: Option<i32>,
    /// What the call did, told or not; null if it never took effect, or not yet.
    pub effect_errcode: Option<i32>,
    pub outcome: String,
}

impl Record {
    pub(super) fn show(self, n: u64, api: &str, method: &str, query: &str) -> Shown {
        let known = |errcode: i32| (errcode != NONE).then_some(errcode);
        Shown {
            n,
            arrived_at_ms: self.at,
            api: api.to_owned(),
            method: method.to_owned(),
            query: query.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            corp_id: None,
            agent_id: None,
            token: self.token.map(|fingerprint| hex(&fingerprint)),
            body_sha256: hex(&self.body_sha256),
            body_bytes: self.body_bytes,
            request_id: self.request_id,
            errcode: known(self.ending.answered),
            effect_errcode: known(self.ending.effect),
            outcome: self.ending.outcome.name().to_owned(),
        }
    }
}

impl Outcome {
    const fn name(self) -> &'static str {
        use super::faults::Kind;
        match self {
            Self::Answered => "answered",
            Self::Incomplete => "incomplete",
            Self::Injected(Kind::Delay) => "delay",
            Self::Injected(Kind::Status) => "status",
            Self::Injected(Kind::Garbage) => "garbage",
            Self::Injected(Kind::Truncate) => "truncate",
            Self::Injected(Kind::Hang) => "hang",
            Self::Injected(Kind::Errcode) => "errcode",
            Self::Injected(Kind::Close) => "close",
            Self::Injected(Kind::Late) => "late",
        }
    }
}

/// A ring of records, numbered without gaps from 1.
#[derive(Debug)]
pub(super) struct RequestLog {
    ring: VecDeque<Record>,
    /// The number of the ring's first record.
    first: u64,
    capacity: usize,
}

impl RequestLog {
    pub(super) fn new(capacity: usize) -> Self {
        // Reserved at once: growing by copying would stop the hot path for tens of milliseconds.
        Self { ring: VecDeque::with_capacity(capacity), first: 1, capacity }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.capacity > 0
    }

    pub(super) fn push(&mut self, record: Record) -> u64 {
        while self.ring.len() >= self.capacity.max(1) {
            self.ring.pop_front();
            self.first += 1;
        }
        self.ring.push_back(record);
        self.last()
    }

    pub(super) fn outcome(&mut self, n: u64, outcome: Outcome) {
        if let Some(record) = self.get_mut(n) {
            record.ending.outcome = outcome;
        }
    }

    /// The call took effect, with this result.
    pub(super) fn effect(&mut self, n: u64, errcode: i32) {
        if let Some(record) = self.get_mut(n) {
            record.ending.effect = errcode;
        }
    }

    /// The caller is told this.
    pub(super) fn answered(&mut self, n: u64, errcode: i32) {
        if let Some(record) = self.get_mut(n) {
            record.ending.answered = errcode;
        }
    }

    fn get_mut(&mut self, n: u64) -> Option<&mut Record> {
        self.ring.get_mut(n.checked_sub(self.first)? as usize)
    }

    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn last(&self) -> u64 {
        self.first + self.ring.len() as u64 - 1
    }

    pub(super) fn after(&self, n: u64, limit: usize) -> impl Iterator<Item = (u64, &Record)> {
        let start = (n + 1).max(self.first);
        let skip = (start - self.first) as usize;
        self.ring.iter().skip(skip).take(limit).zip(start..).map(|(record, n)| (n, record))
    }

    /// Forgets the records; the numbers go on.
    pub(super) fn clear(&mut self) {
        self.first += self.ring.len() as u64;
        self.ring.clear();
    }

    pub(super) fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.ring.len() > capacity {
            self.ring.pop_front();
            self.first += 1;
        }
    }
}
