//! Requests that may come again (`Idempotency-Key`), so that the same one does not take twice.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::entry::{Once, Seq, ShortDigest};

/// How long a request is remembered.
pub const REMEMBERED_FOR_MS: i64 = 24 * 3_600_000;

/// Calls that are remembered at most: one more is refused, since forgetting one early could take twice. Each takes
/// about 150 bytes.
pub const REMEMBERED_MAX: usize = 200_000;

/// An API key, and the digest of the key that its client chose.
type Name = (Seq, ShortDigest);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    by: BTreeMap<Name, Request>,
    /// In the order in which they came.
    oldest: VecDeque<(i64, Name)>,
    calls: usize,
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
    part: u16,
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
    /// There is no room to remember another one.
    Full,
}

fn lives(since: i64, tick: i64) -> bool {
    tick < since.saturating_add(REMEMBERED_FOR_MS)
}

impl Remembered {
    pub fn look(&self, api_key: Seq, once: &Once, tick: i64) -> Before {
        let found = self.by.get(&(api_key, once.key)).filter(|request| lives(request.tick, tick));
        match found {
            Some(request) if request.digest != once.request => return Before::Other,
            Some(request) => {
                if let Some(part) = request.parts.iter().find(|part| part.part == once.part) {
                    return Before::Same(part.pending, part.ended);
                }
            }
            None => {}
        }
        if self.calls >= REMEMBERED_MAX && self.living(tick) >= REMEMBERED_MAX {
            Before::Full
        } else {
            Before::New
        }
    }

    fn living(&self, tick: i64) -> usize {
        let past = self.oldest.iter().take_while(|(since, _)| !lives(*since, tick));
        let past: usize = past.filter_map(|(_, name)| self.by.get(name)).map(|it| it.parts.len()).sum();
        self.calls - past
    }

    /// A call was admitted.
    pub(super) fn keep(&mut self, api_key: Seq, once: &Once, seq: Seq, tick: i64) {
        while let Some((since, name)) = self.oldest.front().copied()
            && !lives(since, tick)
        {
            self.oldest.pop_front();
            self.calls -= self.by.remove(&name).map_or(0, |request| request.parts.len());
        }
        let name = (api_key, once.key);
        let request = self.by.entry(name).or_insert_with(|| {
            self.oldest.push_back((tick, name));
            Request { digest: once.request, tick, parts: Vec::new() }
        });
        request.parts.push(Part { part: once.part, pending: seq, ended: None });
        self.calls += 1;
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
