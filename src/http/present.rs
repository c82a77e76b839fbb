//! What a refusal by a limit looks like in HTTP.

use actix_web::http::header::HeaderName;

use crate::clock::Clock;
use crate::ledger::canonical::instant;
use crate::ledger::entry::{PenaltyLevel, Seq};
use crate::ledger::sizes::UNKNOWN_IN_WORDS;
use crate::ledger::{LedgerHandle, State};
use crate::quota::{KEYS, KEYS_IN_WORDS, Reading, Rule, Unit, Window};

use super::problem::{self, Problem};

/// Translates ledger time into wall time.
#[derive(Debug, Clone, Copy)]
pub struct Present {
    pub tick: i64,
    /// Unix milliseconds.
    pub at: i64,
}

impl Present {
    pub fn read(ledger: &LedgerHandle, clock: &dyn Clock) -> Self {
        Self { tick: ledger.tick(), at: clock.read().wall_ms }
    }

    /// By what the wall clock shows, which may be less than the ledger's `at`.
    pub fn of(state: &State, tick: i64) -> Self {
        Self { tick, at: state.meters.wall(tick) }
    }

    /// RFC 3339 in UTC.
    pub fn instant(self, tick: i64) -> String {
        instant(self.at.saturating_add(tick.saturating_sub(self.tick)))
    }

    /// Whole seconds until a tick, rounded up: a client that waits them is never too early.
    pub fn seconds_until(self, tick: i64) -> u64 {
        tick.saturating_sub(self.tick).max(0).cast_unsigned().div_ceil(1000)
    }
}

/// The problem of a call that WeCom's own block holds back.
pub fn blocked(penalty: Seq, level: PenaltyLevel, retry_at: i64, present: Present) -> Problem {
    let retry = present.instant(retry_at);
    let level = level.name();
    Problem::new(
        &problem::BLOCKED_BY_WECOM,
        format!("WeCom blocks this API since it said that a limit per {level} is used up (entry {penalty}); one call may try at {retry}"),
    )
    .with("penalty", penalty)
    .with("level", level)
    .with("retry_at", Some(retry))
    .retry_after(present.seconds_until(retry_at).max(1))
}

/// The problem, with `Retry-After` and the fields of draft-ietf-httpapi-ratelimit-headers.
/// `needed`: what the call would have taken.
pub fn refused(reading: &Reading, retry_at: Option<i64>, needed: u64, present: Present) -> Problem {
    let Reading { limit, rule, used, cap, remaining, window, resets_at, .. } = reading;
    let retry = retry_at.map(|tick| present.instant(tick));
    let advice = match &retry {
        Some(retry) if **limit == *KEYS => format!("{KEYS_IN_WORDS}; try again at {retry}"),
        Some(retry) => format!("try again at {retry}"),
        None if *cap == 0 && *rule == Rule::Share => {
            "the share of so small a limit comes to 0: an operator has to raise it".to_owned()
        }
        None if *cap == 0 => "the cap is 0: an operator has closed this API".to_owned(),
        None if *window == Window::Total => "nothing frees it but a declared correction".to_owned(),
        None => {
            let than = if rule.is_of_api_key() { "this key may ever use" } else { "the whole limit" };
            let remedy = if reading.unit == Unit::PersonTimes {
                format!("; {UNKNOWN_IN_WORDS}")
            } else {
                String::new()
            };
            format!("it needs {needed}, more than {than}, so it never passes{remedy}")
        }
    };
    let whose = rule.in_words();
    let within = match window {
        Window::Concurrent => "at the same time".to_owned(),
        Window::Total => "in all".to_owned(),
        window => format!("within {window}"),
    };
    let reset = resets_at.map_or_else(String::new, |tick| format!(";t={}", present.seconds_until(tick)));
    let length = window.longest_ms().map_or_else(String::new, |ms| format!(";w={}", (ms / 1000).max(1)));
    let of = if rule.is_of_limit() { String::new() } else { format!(";rule={}", rule.name()) };
    let problem = Problem::new(
        &problem::LIMIT_EXCEEDED,
        format!("limit {limit}: {used} of {cap} used {within}{whose}; {advice}"),
    )
    .with("limit", &**limit)
    .with("used", *used)
    .with("cap", *cap)
    .with("rule", rule.name())
    .with("window", window.to_string())
    .with("retry_at", retry)
    .header(HeaderName::from_static("ratelimit"), &format!("\"{limit}\";r={remaining}{reset}"))
    .header(HeaderName::from_static("ratelimit-policy"), &format!("\"{limit}\";q={cap}{length}{of}"));
    match retry_at {
        Some(tick) => problem.retry_after(present.seconds_until(tick).max(1)),
        None => problem,
    }
}
