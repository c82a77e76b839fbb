//! The answer to `GET stats`: what was counted, and the state of every limit.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::counters::{Counter, Key, Of, Peaks};
use super::limits::{Caps, Row};
use super::tokens::Who;
use super::world::World;

/// One key of one row of limits.
#[derive(Debug, Serialize)]
struct Limited<'a> {
    row: &'static str,
    key: String,
    api: &'a str,
    /// What it allows as the limits are now; null where there is no cap.
    caps: Caps,
    #[serde(flatten)]
    peaks: Peaks,
    /// Calls that were one too many, and calls that came during the block after it.
    trips: u64,
    refused: u64,
    blocked_until_ms: i64,
}

/// What one app sent to single members.
#[derive(Debug, Serialize)]
struct ToMembers {
    row: &'static str,
    key: String,
    api: Option<&'static str>,
    caps: Caps,
    /// The most that one of them was to get.
    #[serde(flatten)]
    peaks: Peaks,
    dropped: u64,
}

/// The calls of one corp and API that are under way at once.
#[derive(Debug, Serialize)]
struct AtOnce<'a> {
    row: &'static str,
    key: String,
    api: &'a str,
    cap: Option<u32>,
    under_way: u32,
    max_under_way: u32,
    /// Calls that were one too many; there is no block after them.
    trips: u64,
}

pub(super) fn stats(world: &World, now: i64) -> Value {
    let mut shown = world.stats.show(&world.names, |who| world.label(who));
    let person_times: Map<_, _> = world
        .person_times
        .iter()
        .map(|(who, sent)| {
            let (today, yesterday) = sent.days(now);
            (world.label(who), json!({"today": today, "yesterday": yesterday, "total": sent.total}))
        })
        .collect();
    let bans: Map<_, _> = world.bans.banned(now).map(|(ip, until)| (ip.to_string(), until.into())).collect();
    let rest = json!({
        "now_ms": now, "person_times": person_times, "bans": bans,
        "windows": windows(world), "members": members(world), "concurrent": concurrent(world),
        "uncounted": world.counters.uncounted + world.members.uncounted, "messages": world.messages.last(),
        "log": {"first": world.log.first(), "last": world.log.last()},
    });
    if let Value::Object(rest) = rest {
        shown.extend(rest);
    }
    shown.into()
}

fn windows(world: &World) -> Vec<Limited<'_>> {
    let one = |(key, counter): (&Key, &Counter)| Limited {
        row: key.row.name(),
        key: label(world, key.of),
        api: key.row.api().unwrap_or_else(|| world.names.name(key.api)),
        caps: caps(world, key.row, key.of),
        peaks: counter.peaks(),
        trips: counter.trips,
        refused: counter.refused,
        blocked_until_ms: counter.blocked_until,
    };
    let mut shown: Vec<_> = world.counters.iter().map(one).collect();
    shown.sort_unstable_by(|a, b| (a.row, &a.key, a.api).cmp(&(b.row, &b.key, b.api)));
    shown
}

fn members(world: &World) -> Vec<ToMembers> {
    let mut shown: Vec<_> = world
        .members
        .iter()
        .map(|((row, who), seen)| ToMembers {
            row: row.name(),
            key: format!("app:{}", world.label(*who)),
            api: row.api(),
            caps: row.caps(&world.config.limits, 0),
            peaks: seen.peaks,
            dropped: seen.dropped,
        })
        .collect();
    shown.sort_unstable_by(|a, b| (a.row, &a.key).cmp(&(b.row, &b.key)));
    shown
}

fn concurrent(world: &World) -> Vec<AtOnce<'_>> {
    let caps = world.config.limits.concurrent.as_ref();
    let mut shown: Vec<_> = world
        .concurrency
        .iter()
        .map(|(seat, gauge)| {
            let api = world.names.name(seat.api);
            AtOnce {
                row: "concurrent",
                key: label(world, Of::Corp(seat.corp)),
                api,
                cap: caps.and_then(|caps| caps.get(api)).copied(),
                under_way: gauge.under_way,
                max_under_way: gauge.peak,
                trips: gauge.trips,
            }
        })
        .collect();
    shown.sort_unstable_by(|a, b| (&a.key, a.api).cmp(&(&b.key, b.api)));
    shown
}

fn caps(world: &World, row: Row, of: Of) -> Caps {
    let account_cap = match of {
        Of::Corp(corp) | Of::App(corp, _) => world.corps[corp as usize].account_cap,
        Of::Ip(_) | Of::Robot(_) | Of::Nobody => 0,
    };
    row.caps(&world.config.limits, account_cap)
}

fn label(world: &World, of: Of) -> String {
    match of {
        Of::Corp(corp) => format!("corp:{}", world.corps[corp as usize].id),
        Of::App(corp, app) => {
            format!("app:{}", world.label(Who { corp: corp as usize, app: app as usize }))
        }
        Of::Ip(ip) => format!("ip:{ip}"),
        Of::Robot(key) => format!("robot:{}", super::random::hex(&key)),
        Of::Nobody => "nobody".to_owned(),
    }
}
