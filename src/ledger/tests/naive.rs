//! The naive model: reads the durable rows as a plain list and recounts everything, without `apply`.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::entry::{Blocks, Body, Entry, OwnRule, Seq};
use crate::ledger::state::EXPIRY_MARGIN_MS;
use crate::quota::{Own, Rule};

use super::machine::WALL;
use super::naive_tokens::Tokens;

/// Name, length and cap of the limits that the model counts.
const WINDOWS: [(&str, i64, u64); 2] =
    [("corp-api-minute", 60_000, 1_000), ("corp-api-hour", 3_600_000, 30_000)];

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) seq: Seq,
    pub(super) corp: Seq,
    pub(super) api: Seq,
    api_key: Option<Seq>,
    pub(super) process: Option<Seq>,
    pub(super) fetch: bool,
    /// Its client makes it itself.
    reserved: bool,
    /// When it was admitted, in ledger time.
    tick: i64,
    /// When it was admitted, in true time.
    pub(super) real: i64,
    pub(super) end: Option<End>,
    pub(super) late: bool,
    caps: [u64; 2],
}

#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// From when on it leaves the windows, in ledger time.
    tick: i64,
    pub(super) voided: bool,
    pub(super) expired: bool,
    /// When it reached WeCom, in true time.
    arrival: i64,
}

#[derive(Debug)]
pub(super) struct Learned {
    pub(super) seq: Seq,
    of: (Seq, Seq, String),
    cap: u64,
}

/// An API key's own rule for a limit.
#[derive(Debug)]
struct Owned {
    own: Own,
    /// Calls that were under way when the rule began.
    under_way: BTreeSet<Seq>,
    begun: Seq,
}

#[derive(Debug, Default)]
pub(super) struct Naive {
    pub(super) calls: Vec<Call>,
    pub(super) tokens: Tokens,
    /// WeCom's blocks: (API, whose calls, until when), and the call that tries afterwards.
    blocks: BTreeMap<(Seq, Blocks, Seq), (Seq, i64)>,
    caps: BTreeMap<(Seq, String), u64>,
    /// Those in force.
    pub(super) learned: Vec<Learned>,
    /// By API key and limit.
    owns: BTreeMap<(Seq, String), Owned>,
    head: Seq,
    tick: i64,
    at: i64,
    /// How far ledger time is behind true time.
    lag: i64,
    /// The most that wall time was ever seen ahead of ledger time.
    furthest: i64,
}

impl Naive {
    /// How far ahead of true time the wall clock may wake up. A clock that was set forward while nothing was running
    /// can't be told from time that passed, but one that goes back to what it showed before can.
    pub(super) fn may_wake_ahead(&self) -> i64 {
        self.furthest - self.lag
    }

    /// Reads one durable entry that was written at `real`.
    pub(super) fn observe(&mut self, entry: &Entry, real: i64) {
        assert_eq!(entry.seq, self.head + 1, "the log is dense");
        assert!(entry.tick >= self.tick && entry.at >= self.at, "time goes back at {entry:?}");
        let lag = WALL + real - entry.tick;
        assert!(lag >= self.lag, "ledger time runs faster than true time at {entry:?}");
        (self.lag, self.furthest) = (lag, self.furthest.max(entry.at - entry.tick));
        (self.head, self.tick, self.at) = (entry.seq, entry.tick, entry.at);
        match &entry.body {
            Body::CallPending(x) => {
                self.begin(entry, false, real);
                if x.credential.is_some() {
                    self.tokens.carried(entry, x.credential);
                }
            }
            Body::CredentialPending(_) => self.begin(entry, true, real),
            Body::CallPosted(x) => self.end(entry, x.pending, false, false, real),
            Body::CredentialPosted(x) => self.end(entry, x.pending, true, false, real),
            Body::CallExpired(x) => self.end(entry, x.pending, false, true, real),
            Body::CredentialExpired(x) => self.end(entry, x.pending, true, true, real),
            Body::CallVoided(x) => {
                self.end(entry, x.pending, false, false, real);
                let call = self.calls.iter_mut().find(|call| call.seq == x.pending).unwrap();
                call.end.as_mut().unwrap().voided = true;
            }
            Body::CallLate(x) => {
                let call = self.calls.iter_mut().find(|call| call.seq == x.pending).unwrap();
                assert!(call.end.unwrap().expired && !call.late, "late only once, after it expired");
                call.late = true;
            }
            Body::LimitsPut(x) => {
                // Key 0 stands for every corp that has no cap of its own.
                let cap = |own: &crate::ledger::entry::CapOverride| {
                    ((own.corp.unwrap_or(0), own.limit.clone()), own.cap)
                };
                self.caps = x.overrides.iter().map(cap).collect();
            }
            Body::ApiKeySet(x) => x.own.iter().for_each(|rule| self.own(entry, rule)),
            Body::ApiKeyRevoked => self.owns.retain(|(key, _), _| Some(*key) != entry.refs.api_key),
            Body::CapLearned(x) => {
                let of = (entry.refs.corp.unwrap(), entry.refs.api.unwrap(), x.limit.clone());
                self.learned.retain(|it| it.of != of);
                self.learned.push(Learned { seq: entry.seq, of, cap: x.cap });
            }
            Body::CapRestored(x) => self.learned.retain(|it| it.seq != x.learned),
            Body::PenaltyStarted(x) => {
                let key = (entry.refs.api.unwrap(), x.blocks, x.whose);
                self.blocks.insert(key, (entry.seq, x.until_tick));
            }
            Body::PenaltyEnded(x) | Body::PenaltyCleared(x) => {
                self.blocks.retain(|_, (started, _)| *started != x.started);
            }
            _ => {}
        }
        self.tokens.observe(entry);
    }

    fn own(&mut self, entry: &Entry, rule: &OwnRule) {
        let key = (entry.refs.api_key.unwrap(), rule.limit.clone());
        match (rule.own(), self.owns.get_mut(&key)) {
            (None, _) => drop(self.owns.remove(&key)),
            (Some(own), Some(known)) => known.own = own,
            (Some(own), None) => {
                let under_way = self.pendings().map(|call| call.seq).collect();
                self.owns.insert(key, Owned { own, under_way, begun: entry.seq });
            }
        }
    }

    fn begin(&mut self, entry: &Entry, fetch: bool, real: i64) {
        let (corp, api) = (entry.refs.corp.unwrap(), entry.refs.api.unwrap());
        if let Some(&(started, until)) = self.blocks.get(&(api, Blocks::Corp, corp)) {
            assert!(entry.tick >= until, "sent while WeCom blocks: {entry:?}");
            let trying =
                self.pendings().filter(|call| (call.corp, call.api) == (corp, api) && !call.reserved);
            let trying = trying.filter(|call| call.seq > started && entry.tick < call.tick + 60_000);
            assert!(trying.count() == 0 || is_reserved(entry), "two try at once: {entry:?}");
        }
        assert!(self.has_room(corp, api, entry.refs.api_key, entry.tick), "admitted over a limit: {entry:?}");
        self.calls.push(Call {
            seq: entry.seq,
            corp,
            api,
            api_key: entry.refs.api_key,
            process: entry.process,
            fetch,
            reserved: is_reserved(entry),
            tick: entry.tick,
            real,
            end: None,
            late: false,
            caps: self.caps_of(corp, api),
        });
    }

    fn end(&mut self, entry: &Entry, pending: Seq, fetch: bool, expired: bool, real: i64) {
        let call = self.calls.iter_mut().find(|call| call.seq == pending).unwrap();
        assert!(call.end.is_none() && call.fetch == fetch, "settled twice: {entry:?}");
        let margin = if expired { EXPIRY_MARGIN_MS } else { 0 };
        let span = real + margin - call.real;
        // Any moment can be the one: the first, the last, or some other.
        let arrival = call.real
            + match entry.seq % 4 {
                0 => 0,
                1 | 2 => span,
                _ => i64::try_from(entry.seq).unwrap().wrapping_mul(7919) % (span + 1),
            };
        call.end = Some(End { tick: entry.tick + margin, voided: false, expired, arrival });
    }

    fn caps_of(&self, corp: Seq, api: Seq) -> [u64; 2] {
        WINDOWS.map(|(name, _, cap)| {
            let own = [corp, 0].into_iter().find_map(|corp| self.caps.get(&(corp, name.to_owned())));
            let of = (corp, api, name.to_owned());
            let learned = self.learned.iter().find(|it| it.of == of).map_or(u64::MAX, |it| it.cap);
            own.copied().unwrap_or(cap).min(learned)
        })
    }

    /// What a limit has used by the rule of the buckets, at a tick.
    fn used(&self, corp: Seq, api: Seq, window: i64, tick: i64, counts: impl Fn(&Call) -> bool) -> u64 {
        let width = window / 100;
        let occupies = |call: &&Call| {
            (call.corp, call.api) == (corp, api)
                && counts(call)
                && call.end.is_none_or(|end| {
                    !end.voided && tick < end.tick.div_euclid(width) * width + width + window
                })
        };
        self.calls.iter().filter(occupies).count() as u64
    }

    /// What the API key's own rule for a limit has used, and what it may.
    fn owned(&self, corp: Seq, api: Seq, api_key: Option<Seq>, at: usize, tick: i64) -> Option<(u64, u64)> {
        let (name, window, _) = WINDOWS[at];
        let Owned { own, under_way, begun } = self.owns.get(&(api_key?, name.to_owned()))?;
        let counts =
            |call: &Call| call.api_key == api_key && (call.seq > *begun || under_way.contains(&call.seq));
        let share =
            own.max_share_percent.map(|percent| self.caps_of(corp, api)[at] * u64::from(percent) / 100);
        let cap = own.cap.into_iter().chain(share).min()?;
        Some((self.used(corp, api, window, tick, counts), cap))
    }

    /// Whether one more call passes every limit.
    pub(super) fn has_room(&self, corp: Seq, api: Seq, api_key: Option<Seq>, tick: i64) -> bool {
        let caps = self.caps_of(corp, api);
        (0..WINDOWS.len()).all(|at| {
            let owned = self.owned(corp, api, api_key, at, tick);
            self.used(corp, api, WINDOWS[at].1, tick, |_| true) < caps[at]
                && owned.is_none_or(|(used, cap)| used < cap)
        })
    }

    /// The usage of one limit by its name, or of the API key's own rule for it.
    pub(super) fn usage(
        &self,
        corp: Seq,
        api: Seq,
        api_key: Option<Seq>,
        limit: &str,
        rule: Rule,
        tick: i64,
    ) -> Option<(u64, u64)> {
        let at = WINDOWS.iter().position(|(name, _, _)| *name == limit)?;
        if rule.is_of_api_key() {
            return self.owned(corp, api, api_key, at, tick);
        }
        let used = self.used(corp, api, WINDOWS[at].1, tick, |_| true);
        Some((used, self.caps_of(corp, api)[at]))
    }

    /// I3: in no interval of true time, wherever it begins, did more than the cap reach WeCom. Where the cap was
    /// changed, the one holds by which the last of the interval's calls was admitted.
    pub(super) fn no_window_is_exceeded(&self, real: i64) {
        let arrived: Vec<(i64, &Call)> = self
            .calls
            .iter()
            .filter(|call| call.end.is_none_or(|end| !end.voided))
            .map(|call| (call.end.map_or(real, |end| end.arrival), call))
            .collect();
        for (i, (_, window, _)) in WINDOWS.iter().enumerate() {
            for &(from, like) in &arrived {
                let inside = |(at, call): &&(i64, &Call)| {
                    (call.corp, call.api) == (like.corp, like.api) && (from..=from + window).contains(at)
                };
                let inside: Vec<&Call> = arrived.iter().filter(inside).map(|(_, call)| *call).collect();
                let last = inside.iter().max_by_key(|call| call.seq).unwrap();
                assert!(inside.len() as u64 <= last.caps[i], "{} in {window} ms: {inside:?}", inside.len());
            }
        }
    }

    pub(super) fn pendings(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.end.is_none())
    }
}

fn is_reserved(entry: &Entry) -> bool {
    matches!(&entry.body, Body::CallPending(x) if x.reserved)
}
