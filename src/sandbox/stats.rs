//! What was counted for the control API.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::clock::Clock;
use super::counters::Counter;
use super::tokens::Who;
use super::world::World;

#[derive(Debug, Default)]
struct ApiStats {
    calls: u64,
    injected: u64,
    /// Few different ones, so a list is quicker than a map; the most frequent one stays in front.
    errcodes: Vec<(i32, u64)>,
}

/// An API answers a few codes of its own and those of faults.
const MAX_ERRCODES: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Stats {
    requests: u64,
    by_api: Vec<ApiStats>,
    gettoken: HashMap<Who, u64>,
}

impl Stats {
    fn of(&mut self, api: u16) -> &mut ApiStats {
        let place = usize::from(api);
        if place >= self.by_api.len() {
            self.by_api.resize_with(place + 1, ApiStats::default);
        }
        &mut self.by_api[place]
    }

    pub(super) fn call(&mut self, api: u16) {
        self.requests += 1;
        self.of(api).calls += 1;
    }

    pub(super) fn injected(&mut self, api: u16) {
        self.of(api).injected += 1;
    }

    pub(super) fn errcode(&mut self, api: u16, errcode: i32) {
        let errcodes = &mut self.of(api).errcodes;
        if let Some((_, count)) = errcodes.iter_mut().find(|(known, _)| *known == errcode) {
            *count += 1;
        } else if errcodes.len() < MAX_ERRCODES {
            errcodes.push((errcode, 1));
        }
    }

    pub(super) fn gettoken(&mut self, who: Who) {
        *self.gettoken.entry(who).or_default() += 1;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Everything as JSON.
pub(super) fn show(world: &World, clock: &Clock) -> Value {
    let now = clock.now_ms();
    let stats = &world.stats;
    let (mut calls, mut injected, mut errcodes) = (Map::new(), Map::new(), Map::new());
    for (api, of) in stats.by_api.iter().enumerate().filter(|(_, of)| of.calls > 0) {
        let name = world.names.name(api as u16);
        calls.insert(name.to_owned(), of.calls.into());
        if of.injected > 0 {
            injected.insert(name.to_owned(), of.injected.into());
        }
        let codes: Map<_, _> = of.errcodes.iter().map(|(code, n)| (code.to_string(), (*n).into())).collect();
        errcodes.insert(name.to_owned(), codes.into());
    }
    let gettoken: Map<_, _> =
        stats.gettoken.iter().map(|(who, n)| (world.label(*who), (*n).into())).collect();
    let person_times: Map<_, _> = world
        .budgets
        .person_times
        .iter()
        .map(|(who, sent)| {
            let (today, yesterday) = sent.days(now);
            (world.label(*who), json!({"today": today, "yesterday": yesterday, "total": sent.total}))
        })
        .collect();
    let bans: Map<_, _> = world.bans.banned(now).map(|(ip, until)| (ip.to_string(), until.into())).collect();
    json!({
        "now_ms": now, "requests": stats.requests, "calls": calls, "injected": injected, "errcodes": errcodes,
        "gettoken": gettoken, "person_times": person_times, "bans": bans, "windows": windows(world),
        "uncounted": world.counters.uncounted, "messages": world.messages.last(),
        "log": {"first": world.log.first(), "last": world.log.last()},
    })
}

fn windows(world: &World) -> Vec<Value> {
    let one = |(key, counter): (_, &Counter)| {
        let (key, api) = world.key_label(key);
        let [minute, hour] = &counter.windows;
        json!({
            "key": key, "api": api,
            "max_per_minute": {"sliding": minute.peak_sliding, "clock_aligned": minute.peak_aligned},
            "max_per_hour": {"sliding": hour.peak_sliding, "clock_aligned": hour.peak_aligned},
            "trips": counter.trips, "refused": counter.refused, "blocked_until_ms": counter.blocked_until,
        })
    };
    world.counters.iter().map(one).collect()
}
