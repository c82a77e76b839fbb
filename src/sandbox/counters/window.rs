//! One minute or hour, sliding and clock-aligned at once.

use std::collections::VecDeque;

use crate::sandbox::config::WindowKind;

/// Counted in both ways, so that a switch between them takes effect at once.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Window {
    /// Arrival times that still count, each with how much arrived in that millisecond.
    arrivals: VecDeque<(i64, u32)>,
    sliding: u64,
    bucket: i64,
    aligned: u64,
    /// The most that ever fell into one window, including what was too much.
    pub peak_sliding: u64,
    pub peak_aligned: u64,
}

impl Window {
    /// Forgets what is out of the window. A call exactly one window's length later is in the next one.
    pub(in crate::sandbox) fn roll(&mut self, now: i64, length_ms: i64) {
        while let Some(&(at, amount)) = self.arrivals.front() {
            if at + length_ms > now {
                break;
            }
            self.sliding -= u64::from(amount);
            self.arrivals.pop_front();
        }
        let bucket = now.div_euclid(length_ms);
        if bucket != self.bucket {
            self.bucket = bucket;
            self.aligned = 0;
        }
    }

    const fn count(&self, kind: WindowKind) -> u64 {
        match kind {
            WindowKind::Sliding => self.sliding,
            WindowKind::ClockAligned => self.aligned,
        }
    }

    /// True if so much more would be over the cap; it is not counted then, but it was seen.
    pub(in crate::sandbox) fn is_over(&mut self, cap: Option<u64>, cost: u64, kind: WindowKind) -> bool {
        let over = cap.is_some_and(|cap| self.count(kind) + cost > cap);
        if over {
            self.peak_sliding = self.peak_sliding.max(self.sliding + cost);
            self.peak_aligned = self.peak_aligned.max(self.aligned + cost);
        }
        over
    }

    /// True if nothing of it would be left at `now`.
    pub(super) fn is_empty_at(&self, now: i64, length_ms: i64) -> bool {
        self.arrivals.back().is_none_or(|(at, _)| at + length_ms <= now)
    }

    pub(in crate::sandbox) fn add(&mut self, cost: u64, now: i64) {
        let amount = u32::try_from(cost).unwrap_or(u32::MAX);
        match self.arrivals.back_mut() {
            // A clock that stepped back must not disorder the list.
            Some((at, sum)) if *at >= now && sum.checked_add(amount).is_some() => *sum += amount,
            _ => self.arrivals.push_back((now, amount)),
        }
        self.sliding += u64::from(amount);
        self.aligned += u64::from(amount);
        self.peak_sliding = self.peak_sliding.max(self.sliding);
        self.peak_aligned = self.peak_aligned.max(self.aligned);
    }
}
