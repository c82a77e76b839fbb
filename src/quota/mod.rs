//! Limits, windows, profiles and cost: pure, without I/O and without a clock.
//!
//! Reading order: [`limit`] (what a limit is), [`profile`] (the sets of limits that ship), [`facets`] (what of a
//! call a limit looks at), `sliding` (one counter), `track` (the counters of all limits with the same key),
//! [`meters`] (everything together: the part of the folded state that judges calls).
//!
//! # What "sliding" means here
//!
//! In no interval of the window's length, ends included, does more than `cap` reach WeCom. A call may reach it at
//! any time between its pending and its settlement, so it occupies the window from its pending until one window
//! length after its settlement. Settled amounts are kept in buckets of at most 1 % of the window, and a bucket is
//! forgotten as a whole only after its *latest* possible settlement has left the window: we may refuse up to 1 % of
//! the window too long, and never admit too early.
//!
//! A call whose outcome is unknown counts as spent. Of a limit on calls under way at the same time it keeps its place for
//! a minute more, since WeCom may still be at it.
//!
//! # Memory
//!
//! One counter is 48 bytes and 8 bytes for each bucket that something settled in, of which there are at most 102
//! (104 are allocated): 0.9 KB at the very most. A key of a track with two limits, such as corp × API with its
//! minute and its hour, costs 0.2 KB with a few calls in the windows and at most 1.9 KB, in a hundred thousand keys
//! at most 190 MB. A counter of a day or a month is 40 bytes and 16 for each of at most 8 cells. A key without anything in its windows costs nothing once [`Meters::prune`] has passed it.
//!
//! # Time
//!
//! A judgement against the four limits of `qyh-2015` was measured at 0.2 to 0.3 µs, and 0.7 µs where each one hits
//! another of a hundred thousand keys. It allocates nothing.

mod active;
mod apis;
mod calendar;
mod counter;
mod crest;
mod day;
mod eras;
pub mod facets;
mod key;
mod keys;
mod layout;
pub mod limit;
mod look;
pub mod meters;
mod plan;
pub mod profile;
pub mod reading;
mod recent;
mod settings;
mod settled;
mod sliding;
mod track;
mod usage;
mod verdict;
pub mod window;

#[cfg(test)]
mod tests;

pub use active::Own;
pub use apis::Apis;
pub use day::{Day, minute_of_day};
pub use facets::{Cost, Facets, Moment};
pub use keys::{KEYS, KEYS_IN_WORDS, KEYS_MAX};
pub use limit::{Cap, Dimension, Limit, Mode, Scope, Unit};
pub use meters::{Declared, Meters};
pub use profile::{Operator, Profile, ProfileError, TextError, shipped, shipped_names};
pub use reading::{Filter, Judgement, Pace, Reading, Refusal, Rule, Usage};
pub use settings::{MAX_LEARNED, OverrideError};
pub use window::Window;
