//! Named, versioned sets of limits, and those that ship with the program.
//!
//! WeCom has moved its numbers at least four times, so they are data: a profile has the year in its name and is
//! never edited afterwards. An auditor can tell from the log which profile judged which call. An operator's own file
//! is read by the same parser as those that ship.

mod text;

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::limit::{Cap, Dimension, Limit, MAX_CAP, Unit};
use super::window::{MAX_WINDOW_MS, Window};

pub use text::TextError;

/// More limits than this are taken for a mistake: each one costs time on every call that it matches.
const MAX_LIMITS: usize = 256;
/// Names stand in headers and on command lines.
const MAX_NAME: usize = 64;
/// No place on earth is further from UTC.
const MAX_ZONE_MINUTES: i32 = 14 * 60;
/// Asia/Shanghai, which has no summer time. WeCom does not say which zone its days are of.
pub const DEFAULT_ZONE_MINUTES: i32 = 480;

/// Who runs the program: WeCom gives a third-party provider (第三方应用提供商) more calls per egress IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    Corp,
    Provider,
}

/// A named set of limits. A call is judged against every limit that it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub name: String,
    /// Of the days and months, from UTC to the east.
    pub zone_offset_minutes: i32,
    pub limits: Vec<Limit>,
}

/// Why a profile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error("`{0}` is no name: use 1 to {MAX_NAME} of A-Z, a-z, 0-9, `-`, `_` and `.`")]
    Name(String),
    #[error("the time zone is at most {MAX_ZONE_MINUTES} minutes from UTC")]
    Zone,
    /// It would let everything through, and nobody would be told.
    #[error("the profile has no limit that holds: it would let everything through")]
    NoLimits,
    #[error("the profile has {0} limits, more than the {MAX_LIMITS} that are allowed")]
    TooManyLimits(usize),
    #[error("the name `{0}` is used by two limits")]
    NameTwice(Arc<str>),
    #[error("limit `{0}`: {1}")]
    Limit(Arc<str>, String),
}

/// An error together with where it stands: in which limit, and in which of its fields.
pub(super) struct Fault {
    pub(super) limit: Option<usize>,
    pub(super) field: &'static str,
    pub(super) error: ProfileError,
}

impl Profile {
    /// Reads a profile as it is written; it may have limits for both kinds of operator.
    pub fn from_toml(text: &str) -> Result<Self, TextError> {
        text::parse(text)
    }

    /// The limits that hold for an operator.
    #[must_use]
    pub fn for_operator(&self, operator: Operator) -> Self {
        let holds = |limit: &&Limit| limit.operator.is_none_or(|of| of == operator);
        Self { limits: self.limits.iter().filter(holds).cloned().collect(), ..self.clone() }
    }

    /// Whether the profile makes sense for one operator; what somebody wrote is checked before it becomes an entry.
    pub fn check(&self) -> Result<(), ProfileError> {
        let fault = self.fault().or_else(|| self.name_twice(|_, _| true));
        fault.map_or(Ok(()), |fault| Err(fault.error))
    }

    /// Limits that keep a counter for ever for each thing that calls name, of which there may be any number.
    pub fn keeps_for_ever(&self) -> impl Iterator<Item = &Limit> {
        let keeps = |limit: &&Limit| {
            limit.window == Window::Total && limit.scope.has(Dimension::Chat) && !limit.apis.is_empty()
        };
        self.limits.iter().filter(keeps)
    }

    fn fault(&self) -> Option<Fault> {
        let of_profile = |field, error| Some(Fault { limit: None, field, error });
        if !is_name(&self.name) {
            return of_profile("name", ProfileError::Name(self.name.clone()));
        }
        if self.zone_offset_minutes.unsigned_abs() > MAX_ZONE_MINUTES.unsigned_abs() {
            return of_profile("zone_offset_minutes", ProfileError::Zone);
        }
        if self.limits.is_empty() {
            return of_profile("limit", ProfileError::NoLimits);
        }
        if self.limits.len() > MAX_LIMITS {
            return of_profile("limit", ProfileError::TooManyLimits(self.limits.len()));
        }
        self.limits.iter().enumerate().find_map(|(i, limit)| {
            let (field, error) = limit_fault(limit)?;
            Some(Fault { limit: Some(i), field, error })
        })
    }

    /// The second of two limits of one name, of those that `clash`.
    fn name_twice(&self, clash: impl Fn(&Limit, &Limit) -> bool) -> Option<Fault> {
        self.limits.iter().enumerate().find_map(|(i, limit)| {
            let twice = |earlier: &Limit| earlier.name == limit.name && clash(earlier, limit);
            let error = ProfileError::NameTwice(limit.name.clone());
            self.limits[..i].iter().any(twice).then_some(Fault { limit: Some(i), field: "name", error })
        })
    }

    /// As [`Profile::check`], for a profile with limits for both kinds of operator.
    pub(super) fn fault_for_any_operator(&self) -> Option<Fault> {
        let meet =
            |a: &Limit, b: &Limit| a.operator.is_none() || b.operator.is_none() || a.operator == b.operator;
        self.fault().or_else(|| self.name_twice(meet))
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed)
}

fn limit_fault(limit: &Limit) -> Option<(&'static str, ProfileError)> {
    if !is_name(&limit.name) {
        return Some(("name", ProfileError::Name(limit.name.to_string())));
    }
    let fault =
        |field, reason: &str| Some((field, ProfileError::Limit(limit.name.clone(), reason.to_owned())));
    for (field, apis) in [("apis", &limit.apis), ("except", &limit.except), ("free_if_ok", &limit.free_if_ok)]
    {
        if let Some(reason) = apis.fault() {
            return fault(field, &reason);
        }
    }
    if limit.apis.is_empty() && limit.unit == Unit::Calls {
        return fault("apis", "calls of no API are never counted; `*` is every API");
    }
    let free = |text: &str| !text.ends_with('*') && limit.matches(text);
    if !limit.free_if_ok.patterns().all(free) {
        return fault("free_if_ok", "only names of APIs that the limit matches");
    }
    if matches!(limit.window, Window::Sliding { ms } if !(1..=MAX_WINDOW_MS).contains(&ms)) {
        return fault("window", "a window must be between 1 ms and 366 days");
    }
    if limit.cap.needs_corp() && !limit.scope.has(Dimension::Corp) {
        return fault("cap", "a cap per account needs `corp` in the scope");
    }
    if matches!(limit.cap, Cap::Fixed(cap) | Cap::PerAccount(cap) | Cap::PercentOfAccounts(cap) if cap > MAX_CAP)
    {
        return fault("cap", &format!("a cap is at most {MAX_CAP}"));
    }
    let per_member = limit.scope.has(Dimension::Member);
    if per_member && limit.scope.has(Dimension::Chat) {
        return fault("scope", "`member` and `chat` do not go together");
    }
    if per_member && limit.unit != Unit::Calls {
        return fault("unit", "each member gets a message once: a limit per `member` counts calls");
    }
    if per_member && limit.window == Window::Total {
        return fault("window", "what every member ever got is not kept");
    }
    None
}

static SHIPPED: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    let texts = [
        include_str!("profiles/qyh-2015.toml"),
        include_str!("profiles/wecom-2020.toml"),
        include_str!("profiles/wecom-2023.toml"),
    ];
    // One that cannot be read fails a test, so that a typo can't take a running service down.
    texts.iter().filter_map(|text| Profile::from_toml(text).ok()).collect()
});

/// As they are written, for both kinds of operator.
pub(super) fn all_shipped() -> &'static [Profile] {
    &SHIPPED
}

/// The names that [`shipped`] knows, the default first.
pub fn shipped_names() -> &'static [&'static str] {
    &["qyh-2015", "wecom-2020", "wecom-2023"]
}

/// A profile that ships with the program.
pub fn shipped(name: &str, operator: Operator) -> Option<Profile> {
    let profile = all_shipped().iter().find(|profile| profile.name == name)?;
    Some(profile.for_operator(operator))
}
