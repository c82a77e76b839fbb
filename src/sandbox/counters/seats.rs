//! How many calls of a company are under way at the same time.

use std::collections::HashMap;

/// A place that a call occupies until it is answered, by corp and API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sandbox) struct Seat {
    pub corp: u32,
    pub api: u16,
}

#[derive(Debug, Default)]
pub(in crate::sandbox) struct Gauge {
    pub under_way: u32,
    /// The most at once, including the one that was too many.
    pub peak: u32,
    pub trips: u64,
}

#[derive(Debug, Default)]
pub(in crate::sandbox) struct Concurrency {
    gauges: HashMap<Seat, Gauge>,
}

impl Concurrency {
    /// Whether there is room for one more; it is taken only by `enter`.
    pub(in crate::sandbox) fn has_room(&mut self, seat: Seat, cap: u32) -> bool {
        let gauge = self.gauges.entry(seat).or_default();
        gauge.peak = gauge.peak.max(gauge.under_way + 1);
        let fits = gauge.under_way < cap;
        gauge.trips += u64::from(!fits);
        fits
    }

    pub(in crate::sandbox) fn enter(&mut self, seat: Seat) {
        self.gauges.entry(seat).or_default().under_way += 1;
    }

    pub(in crate::sandbox) fn leave(&mut self, seat: Seat) {
        if let Some(gauge) = self.gauges.get_mut(&seat) {
            gauge.under_way = gauge.under_way.saturating_sub(1);
        }
    }

    pub(in crate::sandbox) fn iter(&self) -> impl Iterator<Item = (&Seat, &Gauge)> {
        self.gauges.iter()
    }

    /// Forgets what was seen; the calls that are under way stay.
    pub(in crate::sandbox) fn clear(&mut self) {
        for gauge in self.gauges.values_mut() {
            *gauge = Gauge { under_way: gauge.under_way, ..Gauge::default() };
        }
    }
}
