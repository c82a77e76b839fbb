//! Named, versioned sets of limits, and those that ship with the program.
//!
//! WeCom has moved its numbers at least four times, so they are data: a profile has the year in its name and is
//! never edited afterwards. An auditor can tell from the log which profile judged which call.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::limit::{Apis, Cap, Dimension, Limit, Mode, Scope, Unit, Window};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// A sliding window longer than this is taken for a mistake in the unit.
const MAX_WINDOW_MS: i64 = 366 * 24 * HOUR_MS;
/// More limits than this are taken for a mistake: each one costs time on every call that it matches.
const MAX_LIMITS: usize = 256;

/// Who runs the program: WeCom gives a third-party provider (第三方应用提供商) ten times the calls per egress IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    Corp,
    Provider,
}

/// A named set of limits. A call is judged against every limit that it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    pub limits: Vec<Limit>,
}

/// Why a profile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error("the profile has no name")]
    NoName,
    #[error("the profile has {0} limits, more than the {MAX_LIMITS} that are allowed")]
    TooManyLimits(usize),
    #[error("limit number {0} has no name")]
    UnnamedLimit(usize),
    #[error("the name `{0}` is used by two limits")]
    NameTwice(Arc<str>),
    #[error("limit `{0}`: a window must be between 1 ms and 366 days")]
    Window(Arc<str>),
    #[error("limit `{0}`: a cap per account needs `corp` in the scope")]
    CapNeedsCorp(Arc<str>),
}

impl Profile {
    /// Whether the profile makes sense; what an operator wrote is checked before it becomes an entry.
    pub fn check(&self) -> Result<(), ProfileError> {
        if self.name.trim().is_empty() {
            return Err(ProfileError::NoName);
        }
        if self.limits.len() > MAX_LIMITS {
            return Err(ProfileError::TooManyLimits(self.limits.len()));
        }
        for (i, limit) in self.limits.iter().enumerate() {
            if limit.name.trim().is_empty() {
                return Err(ProfileError::UnnamedLimit(i + 1));
            }
            if self.limits[..i].iter().any(|earlier| earlier.name == limit.name) {
                return Err(ProfileError::NameTwice(limit.name.clone()));
            }
            if !(1..=MAX_WINDOW_MS).contains(&limit.window.ms()) {
                return Err(ProfileError::Window(limit.name.clone()));
            }
            if matches!(limit.cap, Cap::PerAccount(_)) && !limit.scope.has(Dimension::Corp) {
                return Err(ProfileError::CapNeedsCorp(limit.name.clone()));
            }
        }
        Ok(())
    }
}

/// The names that [`shipped`] knows, the default first.
pub fn shipped_names() -> &'static [&'static str] {
    &["qyh-2015"]
}

/// A profile that ships with the program.
pub fn shipped(name: &str, operator: Operator) -> Option<Profile> {
    let limits = match name {
        "qyh-2015" => qyh_2015(operator),
        _ => return None,
    };
    Some(Profile { name: name.to_owned(), limits })
}

/// The numbers of the enterprise account (企业号) of 2015, as collected in October 2015 by cnblogs post 4889952 of
/// springday. The official table that succeeded them, with the same dimensions and larger numbers, is
/// <https://developer.work.weixin.qq.com/document/path/90454>. A call counts against its corp *and* against its
/// egress IP, which corps may share (WeCom staff, 2020-07-06,
/// developers.weixin.qq.com/community/enterprisewechat/doc/00046c19a20ee0248e9a4112156000).
fn qyh_2015(operator: Operator) -> Vec<Limit> {
    const CORP_API: Scope = Scope::of(&[Dimension::Corp, Dimension::Api]);
    const IP_API: Scope = Scope::of(&[Dimension::EgressIp, Dimension::Api]);
    const CORP: &str = "cnblogs springday 4889952 (2015-10): corp x API 1,000/min, 30,000/h";
    const IP: &str = "cnblogs springday 4889952 (2015-10): IP x API 2,000/min, 60,000/h";
    const PROVIDER: &str = "cnblogs springday 4889952 (2015-10): provider IP x API 20,000/min, 600,000/h";
    let (ip_minute, ip_hour, ip_source) = match operator {
        Operator::Corp => (2_000, 60_000, IP),
        Operator::Provider => (20_000, 600_000, PROVIDER),
    };
    vec![
        calls("corp-api-minute", CORP_API, MINUTE_MS, 1_000, CORP),
        calls("corp-api-hour", CORP_API, HOUR_MS, 30_000, CORP),
        calls("ip-api-minute", IP_API, MINUTE_MS, ip_minute, ip_source),
        calls("ip-api-hour", IP_API, HOUR_MS, ip_hour, ip_source),
    ]
}

/// An enforced limit on the calls of every API.
fn calls(name: &str, scope: Scope, ms: i64, cap: u64, source: &str) -> Limit {
    Limit {
        name: name.into(),
        apis: Apis::All,
        scope,
        unit: Unit::Calls,
        window: Window::Sliding { ms },
        cap: Cap::Fixed(cap),
        mode: Mode::Enforce,
        source: source.to_owned(),
    }
}
