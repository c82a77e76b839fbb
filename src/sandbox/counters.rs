//! The simulated WeCom's own counting: exact, and on purpose not the product's.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

use super::config::WindowKind;

/// Keys that are kept; beyond it the idle ones go, and if none is idle a new one is not counted.
const MAX_KEYS: usize = 65_536;

/// Minute and hour.
pub(super) const LENGTHS_MS: [i64; 2] = [60_000, 3_600_000];

/// What is counted. Corps and APIs are numbers of the `World`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    CorpApi(u32, u16),
    IpApi(IpAddr, u16),
    /// Calls with `debug=1`.
    Debug(u32, u16),
    /// jsapi_ticket by corp, and both kinds of tickets by app.
    CorpTickets(u32),
    AppTickets(u32, u32, u16),
}

/// Caps for a minute and for an hour.
pub(super) type Caps = [Option<u32>; 2];

/// One window of one key, counted in both ways at once so that a switch takes effect at once.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Arrival times that still count, each with how many arrived in that millisecond.
    arrivals: VecDeque<(i64, u32)>,
    sliding: u64,
    bucket: i64,
    aligned: u64,
    /// The most that ever fell into one window, including the call that was one too many.
    pub peak_sliding: u64,
    pub peak_aligned: u64,
}

impl Window {
    /// Forgets what is out of the window. A call exactly one window's length later is in the next one.
    pub(super) fn roll(&mut self, now: i64, length_ms: i64) {
        while let Some(&(at, count)) = self.arrivals.front() {
            if at + length_ms > now {
                break;
            }
            self.sliding -= u64::from(count);
            self.arrivals.pop_front();
        }
        let bucket = now.div_euclid(length_ms);
        if bucket != self.bucket {
            self.bucket = bucket;
            self.aligned = 0;
        }
    }

    pub(super) const fn count(&self, kind: WindowKind) -> u64 {
        match kind {
            WindowKind::Sliding => self.sliding,
            WindowKind::ClockAligned => self.aligned,
        }
    }

    /// True if one more would be over the cap.
    pub(super) fn is_full(&self, cap: Option<u32>, kind: WindowKind) -> bool {
        cap.is_some_and(|cap| self.count(kind) >= u64::from(cap))
    }

    /// True if nothing of it would be left at `now`.
    pub(super) fn is_empty_at(&self, now: i64, length_ms: i64) -> bool {
        self.arrivals.back().is_none_or(|(at, _)| at + length_ms <= now)
    }

    pub(super) fn add(&mut self, now: i64) {
        match self.arrivals.back_mut() {
            // A clock that stepped back must not disorder the list.
            Some((at, count)) if *at >= now && *count < u32::MAX => *count += 1,
            _ => self.arrivals.push_back((now, 1)),
        }
        self.sliding += 1;
        self.aligned += 1;
        self.peak_sliding = self.peak_sliding.max(self.sliding);
        self.peak_aligned = self.peak_aligned.max(self.aligned);
    }

    /// The call that was one too many is not counted, but it was seen.
    fn note_excess(&mut self) {
        self.peak_sliding = self.peak_sliding.max(self.sliding + 1);
        self.peak_aligned = self.peak_aligned.max(self.aligned + 1);
    }
}

/// The windows of one key and its penalty.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pub windows: [Window; 2],
    pub blocked_until: i64,
    pub trips: u64,
    /// Calls that came during a penalty.
    pub refused: u64,
}

impl Counter {
    /// Answers whether one more call fits; if not, starts the penalty of the window that is full.
    fn check(&mut self, caps: Caps, now: i64, kind: WindowKind) -> bool {
        if now < self.blocked_until {
            self.refused += 1;
            return false;
        }
        let mut fits = true;
        for ((window, cap), length_ms) in self.windows.iter_mut().zip(caps).zip(LENGTHS_MS) {
            window.roll(now, length_ms);
            if window.is_full(cap, kind) {
                window.note_excess();
                // Blocked as long as the window is, from now on: 60 s or 60 min.
                self.blocked_until = self.blocked_until.max(now + length_ms);
                fits = false;
            }
        }
        self.trips += u64::from(!fits);
        fits
    }

    fn is_idle(&self, now: i64) -> bool {
        now >= self.blocked_until && self.windows[1].is_empty_at(now, LENGTHS_MS[1])
    }
}

/// All counters, by key.
#[derive(Debug, Default)]
pub(super) struct Counters {
    by_key: HashMap<Key, Counter>,
    /// Calls that were not counted because there were too many keys.
    pub uncounted: u64,
}

impl Counters {
    /// Counts a call under all of its keys, or under none: then one of them is over its cap or blocked.
    pub(super) fn admit(&mut self, keys: &[(Key, Caps)], now: i64, kind: WindowKind) -> bool {
        let mut fits = true;
        for (key, caps) in keys {
            fits &= self.entry(*key, now).is_none_or(|counter| counter.check(*caps, now, kind));
        }
        if fits {
            for (key, _) in keys {
                if let Some(counter) = self.by_key.get_mut(key) {
                    counter.windows.iter_mut().for_each(|window| window.add(now));
                }
            }
        }
        fits
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
