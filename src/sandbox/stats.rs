//! What was counted for the control API.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::names::Names;
use super::tokens::Who;

/// An API answers a few codes of its own and those of faults.
const MAX_ERRCODES: usize = 256;

#[derive(Debug, Default)]
struct ApiStats {
    calls: u64,
    injected: u64,
    /// Few different ones, so a list is quicker than a map; the most frequent one stays in front.
    errcodes: Vec<(i32, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Stats {
    requests: u64,
    by_api: Vec<ApiStats>,
    gettoken: HashMap<Who, u64>,
    over: u64,
    over_by_row: BTreeMap<&'static str, u64>,
    dropped: u64,
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

    /// A call was refused by these rows of limits.
    pub(super) fn over(&mut self, rows: &[&'static str]) {
        self.over += 1;
        for row in rows {
            *self.over_by_row.entry(row).or_default() += 1;
        }
    }

    /// So many members did not get a message, and nobody was told.
    pub(super) const fn dropped(&mut self, count: usize) {
        self.dropped += count as u64;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Members of the answer to `GET stats`; `label` says which app one is.
    pub(super) fn show(&self, names: &Names, label: impl Fn(Who) -> String) -> Map<String, Value> {
        let (mut calls, mut injected, mut errcodes) = (Map::new(), Map::new(), Map::new());
        for (api, of) in self.by_api.iter().enumerate().filter(|(_, of)| of.calls > 0) {
            let name = names.name(api as u16);
            calls.insert(name.to_owned(), of.calls.into());
            if of.injected > 0 {
                injected.insert(name.to_owned(), of.injected.into());
            }
            let codes: Map<_, _> =
                of.errcodes.iter().map(|(code, n)| (code.to_string(), (*n).into())).collect();
            errcodes.insert(name.to_owned(), codes.into());
        }
        let gettoken: Map<_, _> = self.gettoken.iter().map(|(who, n)| (label(*who), (*n).into())).collect();
        let shown = json!({
            "requests": self.requests, "calls": calls, "injected": injected, "errcodes": errcodes,
            "gettoken": gettoken, "over": self.over, "over_by_row": self.over_by_row, "dropped": self.dropped,
        });
        if let Value::Object(shown) = shown { shown } else { Map::new() }
    }
}
