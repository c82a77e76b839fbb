//! When each limit in use is exhausted, at the pace of the last minutes.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::ledger::LedgerHandle;
use crate::ledger::entry::Scope;
use crate::quota::{Pace, Usage, Window};

use super::params;
use super::problem::Problem;
use super::usage::{self, Urgency, UsageQuery, UsageRow, Viewer};
use super::{HttpState, authenticate};

#[derive(Debug, Serialize)]
pub struct Forecast {
    pub forecast: Vec<Row>,
    /// There is more than one answer shows.
    pub truncated: bool,
}

#[derive(Debug, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub usage: UsageRow,
    /// What is used in a minute at the pace of the last minutes, rounded up.
    pub per_minute: u64,
    /// When the limit is used up if that goes on; null: it frees as fast as it fills, its day or month ends before, or
    /// nothing was used lately.
    pub exhausted_at: Option<String>,
    pub exhausted_in_seconds: Option<u64>,
}

pub(super) async fn get(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Report)?;
    let query: UsageQuery = params::query(&request)?;
    let viewer = Viewer::of(&client);
    Ok(HttpResponse::Ok().json(report(&state.ledger, query, viewer).await?))
}

/// Those that are exhausted first come first, so that they are shown whatever there is.
pub async fn report(ledger: &LedgerHandle, query: UsageQuery, viewer: Viewer) -> Result<Forecast, Problem> {
    let urgency: Urgency = |usage, tick| exhausted(usage, tick).unwrap_or(u64::MAX);
    let found = usage::look(ledger, query, viewer, Some(urgency)).await?;
    let row = |usage: &Usage| {
        let (Pace { amount, over_ms }, present) = (usage.pace, found.present);
        let seconds = exhausted(usage, present.tick);
        let at =
            |seconds: u64| present.instant(present.tick.saturating_add(seconds.min(1 << 40) as i64 * 1000));
        Row {
            usage: found.row(usage),
            per_minute: amount.saturating_mul(60_000).div_ceil(over_ms.max(1).cast_unsigned()),
            exhausted_at: seconds.map(at),
            exhausted_in_seconds: seconds,
        }
    };
    Ok(Forecast { forecast: found.usage.iter().map(row).collect(), truncated: found.truncated })
}

/// In how many seconds nothing is left, unless the period of the window ends before.
fn exhausted(usage: &Usage, tick: i64) -> Option<u64> {
    let Usage { pace: Pace { amount, over_ms }, reading, ends, .. } = usage;
    let window_ms = match reading.window {
        Window::Sliding { ms } => Some(ms),
        _ => None,
    };
    let seconds = exhausted_in(reading.remaining, *amount, *over_ms, reading.cap, window_ms)?;
    let left = ends.map(|ends| ends.saturating_sub(tick).max(0).cast_unsigned());
    let over = left.is_some_and(|left| seconds.saturating_mul(1000) >= left);
    (seconds == 0 || !over).then_some(seconds)
}

/// `window_ms`: of a window that slides, where what was used leaves again. At a pace that its cap bears for ever it is
/// never exhausted.
fn exhausted_in(remaining: u64, amount: u64, over_ms: i64, cap: u64, window_ms: Option<i64>) -> Option<u64> {
    if remaining == 0 {
        return Some(0);
    }
    if amount == 0 {
        return None;
    }
    let over = u128::from(over_ms.max(1).cast_unsigned());
    let borne = window_ms.is_some_and(|window| {
        u128::from(amount) * u128::from(window.cast_unsigned()) <= u128::from(cap) * over
    });
    let ms = u128::from(remaining) * over / u128::from(amount);
    (!borne).then(|| u64::try_from(ms / 1000).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{Mode, Reading, Rule, Unit};

    #[test]
    fn a_day_that_ends_before_its_limit_is_used_up_has_no_such_time() {
        let window = Window::Day;
        let (limit, rule, unit) = ("a".into(), Rule::Limit, Unit::Calls);
        let resets_at = Some(600_000);
        let reading = Reading {
            limit,
            rule,
            unit,
            cap: 300,
            used: 100,
            in_flight: 0,
            remaining: 200,
            window,
            resets_at,
        };
        let none = (None, None, None, None, None, None, None);
        let (corp, app, api, egress_ip, api_key, chat, members) = none;
        let pace = Pace { amount: 100, over_ms: 300_000 };
        let (mode, ends) = (Mode::Enforce, Some(600_000));
        let usage = Usage { corp, app, api, egress_ip, api_key, chat, members, mode, pace, ends, reading };
        assert_eq!((exhausted(&usage, 0), exhausted(&usage, -1_000)), (None, Some(600)));
        let full = Usage { reading: Reading { remaining: 0, ..usage.reading.clone() }, ..usage };
        assert_eq!(exhausted(&full, 600_000), Some(0));
    }

    #[test]
    fn a_limit_is_exhausted_when_the_pace_of_the_last_minutes_has_used_the_rest() {
        // 100 in 5 minutes, 200 left.
        assert_eq!(exhausted_in(200, 100, 300_000, 1_000, None), Some(600));
        assert_eq!(exhausted_in(0, 0, 300_000, 1_000, None), Some(0));
        assert_eq!(exhausted_in(200, 0, 300_000, 1_000, None), None);
    }

    #[test]
    fn a_sliding_window_that_bears_the_pace_is_never_exhausted() {
        // 20 a minute: an hour bears 1,200 of it, but not 1,000.
        assert_eq!(exhausted_in(900, 100, 300_000, 1_200, Some(3_600_000)), None);
        assert_eq!(exhausted_in(900, 100, 300_000, 1_000, Some(3_600_000)), Some(2_700));
    }
}
