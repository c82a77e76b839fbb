//! What an operator changes about the meters.
//!
//! Settings belong to the name of a limit. They stay when a profile without such a limit becomes the active one, and
//! hold again when one with it does.

use super::active::{ActiveLimit, Own, Settings};
use super::facets::Facets;
use super::key::Key;
use super::limit::{Cap, Dimension, Limit};
use super::meters::Meters;
use super::profile::{Profile, ProfileError};

/// Learned caps of one limit, at most.
pub const MAX_LEARNED: usize = 10_000;

/// Why a setting is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    #[error("the active profile has no limit `{0}`")]
    UnknownLimit(String),
    #[error("limit `{0}` does not tell corps apart")]
    NotPerCorp(String),
    #[error("limit `{0}` is per member, of whom none is named")]
    PerMember(String),
    #[error("a percentage is at most 100")]
    Percent,
    #[error("an own rule has a cap, a share, or both")]
    NoRule,
    #[error("limit `{0}` has {MAX_LEARNED} learned caps already")]
    TooManyLearned(String),
}

impl Meters {
    /// Replaces the profile. Everything that a limit of a shipped profile counts goes on, but what is counted per member;
    /// of other limits, what counts the same. The rest starts empty.
    ///
    /// A call in flight would later leave counters that it never entered, so the caller gives back every call in
    /// flight before, and takes it again after.
    pub fn switch(&mut self, profile: &Profile) -> Result<(), ProfileError> {
        profile.check()?;
        for active in self.limits.drain(..) {
            if !active.settings.is_empty() {
                self.parked.insert(active.limit.name, active.settings);
            }
        }
        for limit in &profile.limits {
            let settings = self.parked.remove(&limit.name).unwrap_or_default().fitted(limit.scope);
            self.limits.push(ActiveLimit { limit: limit.clone(), settings });
        }
        self.profile.clone_from(&profile.name);
        self.zone_minutes = profile.zone_offset_minutes;
        self.lay_out();
        Ok(())
    }

    /// The settings of a limit. What is taken back may belong to a limit of another profile.
    fn settings(
        &mut self,
        limit: &str,
        takes_back: bool,
    ) -> Result<(&mut Settings, Option<&Limit>), OverrideError> {
        let active = self.limits.iter_mut().find(|active| *active.limit.name == *limit);
        if let Some(ActiveLimit { limit, settings }) = active {
            return Ok((settings, Some(limit)));
        }
        let parked = self.parked.get_mut(limit).filter(|_| takes_back);
        parked.map(|settings| (settings, None)).ok_or_else(|| OverrideError::UnknownLimit(limit.to_owned()))
    }

    /// Sets, or with `None` removes, the operator's own cap for a limit, for one corp or for all without their own.
    /// It holds from the next judgement on, mid-window: only counts are kept, never what remains.
    pub fn set_cap(&mut self, limit: &str, corp: Option<u64>, cap: Option<Cap>) -> Result<(), OverrideError> {
        let (settings, of) = self.settings(limit, cap.is_none())?;
        let needs_corp = corp.is_some() || cap.is_some_and(Cap::needs_corp);
        if needs_corp && of.is_some_and(|of| !of.scope.has(Dimension::Corp)) {
            return Err(OverrideError::NotPerCorp(limit.to_owned()));
        }
        match (corp, cap) {
            (None, cap) => settings.everywhere = cap,
            (Some(corp), Some(cap)) => drop(settings.by_corp.insert(corp, cap)),
            (Some(corp), None) => drop(settings.by_corp.remove(&corp)),
        }
        Ok(())
    }

    /// Sets, or with `None` removes, the percentage of a limit, or of all without a percentage of their own, that only
    /// critical calls may use. Rounded up.
    pub fn set_reserve(&mut self, limit: Option<&str>, percent: Option<u8>) -> Result<(), OverrideError> {
        if percent.is_some_and(|percent| percent > 100) {
            return Err(OverrideError::Percent);
        }
        match limit {
            None => self.reserve = percent.unwrap_or(0),
            Some(limit) => self.settings(limit, percent.is_none())?.0.reserve = percent,
        }
        Ok(())
    }

    /// Lowers, or with `None` no longer lowers, the cap of the one key of a limit that `facets` belong to.
    pub fn set_learned(
        &mut self,
        limit: &str,
        facets: &Facets<'_>,
        cap: Option<u64>,
    ) -> Result<(), OverrideError> {
        let (settings, of) = self.settings(limit, cap.is_none())?;
        let scope = of.map_or(settings.scope, |of| of.scope);
        if scope.has(Dimension::Member) {
            return Err(OverrideError::PerMember(limit.to_owned()));
        }
        let key = Key::of(facets, scope);
        match cap {
            None => drop(settings.learned.remove(&key)),
            Some(_) if settings.learned.len() >= MAX_LEARNED && !settings.learned.contains_key(&key) => {
                return Err(OverrideError::TooManyLearned(limit.to_owned()));
            }
            Some(cap) => drop(settings.learned.insert(key, cap)),
        }
        Ok(())
    }

    /// Sets, or with `None` removes, what an API key may use of a limit within each key of that limit. A rule that is
    /// new counts from now on; one that is changed goes on counting.
    ///
    /// As with [`Meters::switch`], the caller gives back every call in flight before, and takes it again after.
    pub fn set_own(&mut self, api_key: u64, limit: &str, own: Option<Own>) -> Result<(), OverrideError> {
        let Some(own) = own else {
            let empty = self.owns.get_mut(limit).is_some_and(|owners| {
                owners.remove(&api_key);
                owners.is_empty()
            });
            if empty {
                self.owns.remove(limit);
            }
            self.lay_out();
            return Ok(());
        };
        if own.cap.is_none() && own.max_share_percent.is_none() {
            return Err(OverrideError::NoRule);
        }
        if own.max_share_percent.is_some_and(|percent| percent > 100) {
            return Err(OverrideError::Percent);
        }
        // A rule that is there can change also while the active profile has no such limit.
        if let Some(known) = self.owns.get_mut(limit).and_then(|owners| owners.get_mut(&api_key)) {
            *known = own;
        } else {
            let (_, of) = self.settings(limit, false)?;
            let name = of.map_or_else(|| limit.into(), |of| of.name.clone());
            self.owns.entry(name).or_default().insert(api_key, own);
        }
        self.lay_out();
        Ok(())
    }

    /// The own rules of an API key, by the name of the limit; also of limits that the active profile does not have.
    pub fn owns_of(&self, api_key: u64) -> impl Iterator<Item = (&str, Own)> {
        self.owns.iter().filter_map(move |(limit, owners)| Some((&**limit, *owners.get(&api_key)?)))
    }

    /// The learned cap of the key of a limit that `facets` belong to; also while the active profile has no such limit.
    pub fn learned(&self, limit: &str, facets: &Facets<'_>) -> Option<u64> {
        let active = self.limits.iter().find(|active| *active.limit.name == *limit);
        let settings = active.map(|active| &active.settings).or_else(|| self.parked.get(limit))?;
        settings.learned.get(&Key::of(facets, settings.scope)).copied()
    }

    /// What a limit of the active profile lets through for the key that `facets` belong to.
    pub fn cap_of(&self, limit: &str, facets: &Facets<'_>, account_cap: u64) -> Option<u64> {
        let active = self.limits.iter().find(|active| *active.limit.name == *limit)?;
        Some(active.bound(|| Key::of(facets, active.limit.scope), facets.corp, account_cap).cap)
    }
}
