//! The simulated WeCom's own counting: exact, and on purpose not the product's.

mod members;
mod meter;
mod seats;
mod window;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::config::WindowKind;
use super::limits::{Caps, Row};
use super::tokens::Fingerprint;

pub(super) use members::Members;
pub(super) use meter::{Meter, Peaks};
pub(super) use seats::{Concurrency, Seat};
#[cfg(test)]
pub(super) use window::Window;

/// Keys that are kept; beyond it the idle ones go, and if none is idle a new one is not counted.
const MAX_KEYS: usize = 65_536;

/// What is counted. Corps, apps and APIs are numbers of the `World`; rows that are about one API have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub row: Row,
    pub of: Of,
    pub api: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Of {
    Corp(u32),
    App(u32, u32),
    Ip(IpAddr),
    /// By the fingerprint of its key, which is a secret.
    Robot(Fingerprint),
    /// A call without a valid credential.
    Nobody,
}

/// What a call takes from one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    pub key: Key,
    pub caps: Caps,
    pub cost: u64,
}

/// The meter of one key and its penalty.
#[derive(Debug, Default)]
pub(super) struct Counter {
    meter: Meter,
    pub blocked_until: i64,
    /// Calls that were one too many.
    pub trips: u64,
    /// Calls that came during a penalty.
    pub refused: u64,
}

impl Counter {
    /// Answers whether the demand fits; if not, starts the penalty of the period that is full.
    fn check(&mut self, demand: &Demand, now: i64, kind: WindowKind) -> bool {
        if now < self.blocked_until {
            self.refused += 1;
            return false;
        }
        let Some(until) = self.meter.over_until(&demand.caps, demand.cost, now, kind) else { return true };
        self.trips += 1;
        if demand.key.row.blocks() {
            self.blocked_until = until;
        }
        false
    }

    fn is_idle(&self, now: i64) -> bool {
        now >= self.blocked_until && self.meter.is_idle(now)
    }

    pub(super) fn peaks(&self) -> Peaks {
        self.meter.peaks()
    }
}

/// All counters, by key.
#[derive(Debug, Default)]
pub(super) struct Counters {
    by_key: HashMap<Key, Counter>,
    /// Demands that were not counted because there were too many keys.
    pub uncounted: u64,
}

impl Counters {
    /// Counts all the demands of a call, or none: then it names the rows that are over a cap or blocked.
    pub(super) fn admit(&mut self, demands: &[Demand], now: i64, kind: WindowKind) -> Vec<Row> {
        let mut refusing = Vec::new();
        for demand in demands {
            if self.entry(demand.key, now).is_some_and(|counter| !counter.check(demand, now, kind)) {
                refusing.push(demand.key.row);
            }
        }
        if refusing.is_empty() {
            for demand in demands {
                if let Some(counter) = self.by_key.get_mut(&demand.key) {
                    counter.meter.add(&demand.caps, demand.cost, now);
                }
            }
        }
        refusing
    }

    fn entry(&mut self, key: Key, now: i64) -> Option<&mut Counter> {
        make_room(&mut self.by_key, MAX_KEYS, &key, |counter| counter.is_idle(now));
        if self.by_key.len() >= MAX_KEYS && !self.by_key.contains_key(&key) {
            self.uncounted += 1;
            return None;
        }
        Some(self.by_key.entry(key).or_default())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Counter)> {
        self.by_key.iter()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Drops idle values from a full map before a new key comes in.
pub(super) fn make_room<K, V>(map: &mut HashMap<K, V>, max: usize, key: &K, idle: impl Fn(&V) -> bool)
where
    K: Eq + Hash,
{
    if map.len() >= max && !map.contains_key(key) {
        map.retain(|_, value| !idle(value));
    }
}
