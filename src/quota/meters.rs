//! The counters of all limits of the active profile: the part of the folded state that judges calls.
//!
//! The life of a call: [`Meters::judge`] at its admission, [`Meters::take`] with its pending entry, and then exactly
//! one of [`Meters::settle`] (posted or expired) and [`Meters::give_back`] (voided), with the facets and the cost it
//! was taken with. Only `judge` looks at caps; the others do what the entry says.
//!
//! Ticks are milliseconds. Those of `judge`, `take` and `prune` are the present and never go back (an earlier one is
//! taken for the latest seen); that of `settle` may lie ahead of it, for a call whose outcome is unknown.

use serde::{Deserialize, Serialize};

use super::facets::{Cost, Facets, Moment};
use super::limit::{Cap, Dimension, Limit, Mode};
use super::profile::{Profile, ProfileError};
use super::reading::{Filter, Judgement, Reading, Usage};
use super::track::{Look, Rule, Track};

/// See the module's documentation. Equal states have equal bytes when serialised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meters {
    profile: String,
    tracks: Vec<Track>,
    /// The latest moment that was the present.
    now: Moment,
}

/// Why a cap cannot be overridden.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    #[error("the active profile has no limit `{0}`")]
    UnknownLimit(String),
    #[error("limit `{0}` does not tell corps apart")]
    NotPerCorp(String),
}

impl Meters {
    pub fn new(profile: &Profile) -> Result<Self, ProfileError> {
        profile.check()?;
        let mut tracks: Vec<Track> = Vec::new();
        for limit in &profile.limits {
            let known =
                tracks.iter().position(|track| track.scope == limit.scope && track.apis == limit.apis);
            let at = known.unwrap_or_else(|| {
                tracks.push(Track::new(limit.apis.clone(), limit.scope));
                tracks.len() - 1
            });
            tracks[at].rules.push(Rule::new(limit.clone()));
        }
        Ok(Self { profile: profile.name.clone(), tracks, now: Moment { tick: i64::MIN, at: i64::MIN } })
    }

    /// The name of the active profile.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// The limits of the active profile, without overrides.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.rules().map(|rule| &rule.limit)
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.tracks.iter().flat_map(|track| &track.rules)
    }

    /// Replaces the profile. Overrides stay with limits of the same name. Counts go over to limits with the same
    /// scope, APIs, unit and window; other limits start empty.
    ///
    /// A call in flight would later leave counters that it never entered, so the caller gives back every call in
    /// flight before, and takes it again after.
    pub fn switch(&mut self, profile: &Profile) -> Result<(), ProfileError> {
        let mut next = Self::new(profile)?;
        next.now = self.now;
        for track in &mut next.tracks {
            let same = |old: &&Track| old.scope == track.scope && old.apis == track.apis;
            if let Some(old) = self.tracks.iter().find(same) {
                track.inherit(old);
            }
            for rule in &mut track.rules {
                let Some(old) = self.rules().find(|old| old.limit.name == rule.limit.name) else { continue };
                let fits = |cap: &Cap| check_override(&rule.limit, None, *cap).is_ok();
                rule.everywhere = old.everywhere.filter(fits);
                if rule.limit.scope.has(Dimension::Corp) {
                    rule.by_corp.clone_from(&old.by_corp);
                }
            }
        }
        *self = next;
        Ok(())
    }

    /// Sets, or with `None` removes, the operator's own cap for a limit, for one corp or for all without their own.
    /// It holds from the next judgement on, mid-window: only counts are kept, never what remains.
    pub fn set_cap(&mut self, limit: &str, corp: Option<u64>, cap: Option<Cap>) -> Result<(), OverrideError> {
        let mut rules = self.tracks.iter_mut().flat_map(|track| &mut track.rules);
        let rule = rules
            .find(|rule| *rule.limit.name == *limit)
            .ok_or_else(|| OverrideError::UnknownLimit(limit.to_owned()))?;
        check_override(&rule.limit, corp, cap.unwrap_or(rule.limit.cap))?;
        match (corp, cap) {
            (None, cap) => rule.everywhere = cap,
            (Some(corp), Some(cap)) => drop(rule.by_corp.insert(corp, cap)),
            (Some(corp), None) => drop(rule.by_corp.remove(&corp)),
        }
        Ok(())
    }

    /// Whether a call may go out now, against every limit that it matches, all or nothing. Changes nothing.
    pub fn judge(&self, facets: &Facets<'_>, cost: &Cost, account_cap: u64, now: Moment) -> Judgement {
        let tick = now.tick.max(self.now.tick);
        let mut binding: Option<Look<'_>> = None;
        let mut refusing = Longest::default();
        let mut shadowing = Longest::default();
        for track in &self.tracks {
            track.look(facets, cost, account_cap, tick, |look| {
                let enforced = look.rule.limit.mode == Mode::Enforce;
                if !look.passes() {
                    let worst = if enforced { &mut refusing } else { &mut shadowing };
                    worst.add(look, look.retry_at(tick));
                } else if enforced && binding.is_none_or(|other| has_less_left(&look, &other)) {
                    binding = Some(look);
                }
            });
        }
        match refusing.0 {
            Some((look, _)) => Judgement::Refused(look.refusal(tick)),
            None => Judgement::Admitted {
                binding: binding.map(|look| look.reading_with_call(tick)),
                shadowed: shadowing.0.map(|(look, _)| look.refusal(tick)),
            },
        }
    }

    /// All limits that have to do with a call, as they stand without it.
    pub fn readings(&self, facets: &Facets<'_>, cost: &Cost, account_cap: u64, now: Moment) -> Vec<Reading> {
        let tick = now.tick.max(self.now.tick);
        let mut readings = Vec::new();
        for track in &self.tracks {
            track.look(facets, cost, account_cap, tick, |look| readings.push(look.reading(tick)));
        }
        readings
    }

    /// A call is pending: it is in flight from now on.
    pub fn take(&mut self, facets: &Facets<'_>, cost: &Cost, now: Moment) {
        self.present(now);
        let now = self.now.tick;
        for track in &mut self.tracks {
            track.change(facets, &[cost], |rule, grid, counter| {
                counter.trim(grid, now);
                counter.take(cost.of(rule.limit.unit));
            });
        }
    }

    /// A call was posted or has expired: what was `reserved` is no longer in flight, and what it turned out to cost
    /// counts until one window after `tick`, the latest moment at which it can have reached WeCom.
    pub fn settle(&mut self, facets: &Facets<'_>, reserved: &Cost, posted: &Cost, when: Moment, ok: bool) {
        let _ = ok;
        let tick = when.tick;
        for track in &mut self.tracks {
            track.change(facets, &[reserved, posted], |rule, grid, counter| {
                counter.give_back(reserved.of(rule.limit.unit));
                counter.settle(grid, posted.of(rule.limit.unit), tick);
            });
        }
    }

    /// A call was voided: it never reached WeCom.
    pub fn give_back(&mut self, facets: &Facets<'_>, reserved: &Cost) {
        for track in &mut self.tracks {
            track.change(facets, &[reserved], |rule, _, counter| {
                counter.give_back(reserved.of(rule.limit.unit));
            });
        }
    }

    /// What every active key has used, by limit and key. `account_cap` tells that of a corp (and is asked for corp 0
    /// where a limit does not tell corps apart).
    pub fn usage(&self, now: Moment, filter: &Filter<'_>, account_cap: impl Fn(u64) -> u64) -> Vec<Usage> {
        let mut usage = Vec::new();
        for track in &self.tracks {
            track.usage(now.tick.max(self.now.tick), filter, &account_cap, &mut usage);
        }
        // Stable: the keys of a limit are in order already.
        usage.sort_by(|a, b| a.reading.limit.cmp(&b.reading.limit));
        usage
    }

    /// Drops keys that are idle, a few hundred per call, going round. Never changes a judgement. Called once for
    /// about every hundred calls taken, it keeps the number of idle keys a small part of the whole.
    pub fn prune(&mut self, now: Moment) {
        self.present(now);
        for track in &mut self.tracks {
            track.prune(self.now.tick);
        }
    }

    fn present(&mut self, now: Moment) {
        self.now = Moment { tick: self.now.tick.max(now.tick), at: self.now.at.max(now.at) };
    }
}

/// The look that refuses longest; never again is longest of all.
#[derive(Default)]
struct Longest<'a>(Option<(Look<'a>, Option<i64>)>);

impl<'a> Longest<'a> {
    fn add(&mut self, look: Look<'a>, retry_at: Option<i64>) {
        let until = |retry_at: Option<i64>| retry_at.unwrap_or(i64::MAX);
        if self.0.is_none_or(|(_, other)| until(retry_at) > until(other)) {
            self.0 = Some((look, retry_at));
        }
    }
}

/// Compares what is left of the caps as shares, without fractions.
fn has_less_left(a: &Look<'_>, b: &Look<'_>) -> bool {
    u128::from(a.left()) * u128::from(b.cap) < u128::from(b.left()) * u128::from(a.cap)
}

fn check_override(limit: &Limit, corp: Option<u64>, cap: Cap) -> Result<(), OverrideError> {
    let needs_corp = corp.is_some() || matches!(cap, Cap::PerAccount(_));
    if needs_corp && !limit.scope.has(Dimension::Corp) {
        return Err(OverrideError::NotPerCorp(limit.name.to_string()));
    }
    Ok(())
}
