//! Requests that may come again (`Idempotency-Key`), so that the same one does not take twice.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::entry::{Once, Seq, ShortDigest};

/// How long a request is remembered.
pub const REMEMBERED_FOR_MS: i64 = 24 * 3_600_000;

/// Calls that are remembered at most: one more is refused, since forgetting one early could take twice. Each takes
/// about 160 bytes.
pub const REMEMBERED_MAX: usize = 200_000;

/// Those of one API key, so that the others' are not refused for its sake.
pub const REMEMBERED_OF_KEY_MAX: usize = REMEMBERED_MAX / 2;

/// An API key, and the digest of the key that its client chose.
type Name = (Seq, ShortDigest);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    by: BTreeMap<Name, Request>,
    /// In the order in which they came.
    oldest: VecDeque<(i64, Name)>,
    calls: usize,
    of_key: BTreeMap<Seq, OfKey>,
}

/// What is remembered of one API key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct OfKey {
    calls: usize,
    /// When its requests came, in order.
    since: VecDeque<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Request {
    digest: ShortDigest,
    tick: i64,
    /// The calls that were admitted, in the order of their entries.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Part {
    number: u16,
    pending: Seq,
    ended: Option<Ended>,
}

/// How a call has ended that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    Posted,
    Voided,
    Expired,
}

/// What is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    New,
    /// It came before, and this call was admitted then; maybe it has ended since.
    Same(Seq, Option<Ended>),
    /// The key came before with another request.
    Other,
    /// There is no room to remember another one before this tick.
    Full(i64),
}

fn lives(since: i64, tick: i64) -> bool {
    tick < since.saturating_add(REMEMBERED_FOR_MS)
}

/// When there is room for one more call, if so many take all of it: the first request that is forgotten makes some.
fn room_at(calls: usize, most: usize, first: Option<i64>) -> Option<i64> {
    first.filter(|_| calls >= most).map(|since| since.saturating_add(REMEMBERED_FOR_MS))
}

impl Remembered {
    pub fn look(&self, api_key: Seq, once: &Once, tick: i64) -> Before {
        let found = self.by.get(&(api_key, once.key)).filter(|request| lives(request.tick, tick));
        match found {
            Some(request) if request.digest != once.request => return Before::Other,
            Some(request) => {
                if let Some(part) = request.parts.iter().find(|part| part.number == once.part) {
                    return Before::Same(part.pending, part.ended);
                }
            }
            None => {}
        }
        let all = room_at(self.calls, REMEMBERED_MAX, self.oldest.front().map(|(since, _)| *since));
        let own = self.of_key.get(&api_key);
        let own = own.and_then(|own| room_at(own.calls, REMEMBERED_OF_KEY_MAX, own.since.front().copied()));
        match all.max(own).filter(|&room_at| tick < room_at) {
            Some(room_at) => Before::Full(room_at),
            None => Before::New,
        }
    }

    /// A call was admitted.
    pub(super) fn keep(&mut self, api_key: Seq, once: &Once, seq: Seq, tick: i64) {
        while self.oldest.front().is_some_and(|(since, _)| !lives(*since, tick)) {
            self.forget();
        }
        let name = (api_key, once.key);
        let request = self.by.entry(name).or_insert_with(|| {
            self.oldest.push_back((tick, name));
            self.of_key.entry(api_key).or_default().since.push_back(tick);
            Request { digest: once.request, tick, parts: Vec::new() }
        });
        request.parts.push(Part { number: once.part, pending: seq, ended: None });
        self.calls += 1;
        self.of_key.entry(api_key).or_default().calls += 1;
    }

    /// The oldest request.
    fn forget(&mut self) {
        let Some((_, name)) = self.oldest.pop_front() else { return };
        let calls = self.by.remove(&name).map_or(0, |request| request.parts.len());
        self.calls -= calls;
        if let Some(own) = self.of_key.get_mut(&name.0) {
            own.since.pop_front();
            own.calls -= calls;
            if own.since.is_empty() {
                self.of_key.remove(&name.0);
            }
        }
    }

    /// A call has ended that was kept.
    pub(super) fn end(&mut self, api_key: Seq, key: ShortDigest, seq: Seq, how: Ended) {
        let Some(request) = self.by.get_mut(&(api_key, key)) else { return };
        let found = request.parts.binary_search_by_key(&seq, |part| part.pending);
        if let Some(part) = found.ok().and_then(|at| request.parts.get_mut(at)) {
            part.ended = Some(how);
        }
    }
}
