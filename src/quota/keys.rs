//! How many keys are kept in all: the one bound on what the meters take, whatever the limits tell apart.

use super::eras::When;
use super::facets::{Cost, Facets, Moment};
use super::limit::{Dimension, Scope, Unit};
use super::meters::Meters;
use super::reading::{Reading, Refusal, Rule};
use super::window::Window;

/// Keys of all limits together. A call that needs another one is refused; keys that are there go on.
pub const KEYS_MAX: usize = 1_000_000;

/// The name that a refusal carries when there is no room for another key. No limit of a profile can have it.
pub const KEYS: &str = "(keys)";

/// What there is to say about it.
pub const KEYS_IN_WORDS: &str = "as many corps, apps, members and chats as can be told apart have counters, and this needs a new one; \
    a counter goes when its windows have emptied, one of a limit without an end never does (docs/limits.md)";

/// From here on `/readyz` warns.
const MANY_PERCENT: usize = 90;

/// How many keys of each track are looked at when a call finds no room.
const LOOKS: usize = 65_536;

/// It is work in everybody's way, and clients decide how often there is a reason.
const LOOK_EVERY_MS: i64 = 1_000;

/// When it is worth another try: nobody knows when a key will be idle.
const RETRY_MS: i64 = 60_000;

impl Meters {
    /// How many keys are kept, if they are so many that somebody should look, and how many can be.
    pub fn many_keys(&self) -> Option<(usize, usize)> {
        (self.keys >= self.keys_max / 100 * MANY_PERCENT).then_some((self.keys, self.keys_max))
    }

    /// Whether a call needs a key that there is no room for.
    #[inline]
    pub(super) fn without_room(&self, facets: &Facets<'_>, cost: &Cost, now: When<'_>) -> Option<Refusal> {
        let most = self.tracks.len().saturating_mul(facets.members.len().max(1));
        if self.keys.saturating_add(most) <= self.keys_max { None } else { self.short_of(facets, cost, now) }
    }

    #[cold]
    fn short_of(&self, facets: &Facets<'_>, cost: &Cost, now: When<'_>) -> Option<Refusal> {
        let name = facets.api_name;
        let stops = self.plan.route(name).iter().filter(|stop| stop.is_for(name));
        let lacking = stops.map(|stop| self.tracks[stop.track].lacks(facets, cost)).sum();
        (!self.fits(lacking)).then(|| self.refusal(lacking, now))
    }

    fn fits(&self, more: usize) -> bool {
        more == 0 || self.keys.saturating_add(more) <= self.keys_max
    }

    fn refusal(&self, lacking: usize, now: When<'_>) -> Refusal {
        let reading = Reading {
            limit: KEYS.into(),
            rule: Rule::Limit,
            unit: Unit::Calls,
            cap: self.keys_max as u64,
            used: self.keys as u64,
            in_flight: 0,
            remaining: self.keys_max.saturating_sub(self.keys) as u64,
            window: Window::Total,
            resets_at: None,
        };
        // Others may need no new key: it says nothing about any other call.
        let scope = Scope::of(&Dimension::ALL);
        let retry_at = Some(now.tick.saturating_add(RETRY_MS));
        Refusal { reading, scope, needed: lacking as u64, retry_at }
    }

    /// Whether there are keys for such a declaration, or room for them.
    pub fn has_room_to_declare(&self, facets: &Facets<'_>, cost: &Cost) -> bool {
        let tracks = self.tracks.iter().filter(|track| track.is_declared(facets));
        self.fits(tracks.map(|track| track.lacks(facets, cost)).sum())
    }

    /// Looks for idle keys when a call has found no room: while all are refused, nothing else would.
    pub fn make_room(&mut self, now: Moment) {
        if now.tick >= self.made_room.saturating_add(LOOK_EVERY_MS) {
            self.made_room = now.tick;
            self.prune_by(now, LOOKS);
        }
    }

    /// With room for fewer keys.
    #[cfg(test)]
    #[must_use]
    pub fn with_keys_max(mut self, keys_max: usize) -> Self {
        self.keys_max = keys_max;
        self
    }
}
