//! What a ledger's entries come to, counted again by rules of the tests' own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use serde_json::Value;

use super::{CORP, Ledger, Server, TestClock};

/// What was written before a process died may reach WeCom this much after its death was noticed.
const EXPIRY_MARGIN_MS: i64 = 500;

/// A call or a token fetch, from its pending entry to its settlement.
#[derive(Debug, Clone)]
pub struct Taken {
    pub seq: u64,
    pub kind: String,
    pub api: String,
    pub at_ms: i64,
    pub cost: u64,
    pub person_times: u64,
    pub sha256: Option<String>,
    pub retry_of: Option<u64>,
    pub end: Option<End>,
}

#[derive(Debug, Clone)]
pub struct End {
    /// `posted`, `voided` or `expired`.
    pub how: String,
    pub tick: i64,
    pub errcode: Option<i64>,
    pub reason: Option<String>,
}

impl Taken {
    pub fn ended(&self, how: &str) -> bool {
        self.end.as_ref().is_some_and(|end| end.how == how)
    }

    pub fn posted_with(&self, errcode: i64) -> bool {
        self.end.as_ref().is_some_and(|end| end.how == "posted" && end.errcode == Some(errcode))
    }

    pub fn is_fetch(&self) -> bool {
        self.kind == "credential.pending"
    }
}

/// A ledger's entries, read as they come.
#[derive(Default)]
pub struct Journal {
    pub head: u64,
    pub taken: BTreeMap<u64, Taken>,
    pub counts: HashMap<String, u64>,
    offset_ms: i64,
    /// The newest token's entry; none once it was invalidated.
    token: Option<u64>,
}

impl Journal {
    /// Reads what is new; every entry must follow the one before it.
    pub async fn read_on(&mut self, ledger: &Ledger, server: &Server) {
        for entry in ledger.entries_after(server, self.head).await {
            assert_eq!(entry["seq"], self.head + 1, "an entry is missing before {entry}");
            self.head += 1;
            *self.counts.entry(entry["kind"].as_str().unwrap().to_owned()).or_default() += 1;
            self.note(&entry);
        }
    }

    fn note(&mut self, entry: &Value) {
        let kind = entry["kind"].as_str().unwrap();
        match kind {
            "clock.booted" => self.offset_ms = entry["offset_ms"].as_i64().unwrap(),
            "call.pending" => self.take(entry),
            "credential.pending" => {
                assert_eq!(self.token, None, "a valid token is fetched again: {entry}");
                let open = self.taken.values().find(|taken| taken.is_fetch() && taken.end.is_none());
                assert!(open.is_none(), "two fetches at a time: {open:?}, {entry}");
                self.take(entry);
            }
            "credential.invalidated" => self.token = None,
            "call.posted" | "call.voided" | "call.expired" => self.end(entry),
            "credential.posted" | "credential.expired" => {
                if kind == "credential.posted" && entry["errcode"] == 0 {
                    self.token = entry["seq"].as_u64();
                }
                self.end(entry);
            }
            _ => {}
        }
    }

    fn take(&mut self, entry: &Value) {
        assert_eq!(entry["corp_id"], CORP);
        let seq = entry["seq"].as_u64().unwrap();
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        let taken = Taken {
            seq,
            kind: text("kind").unwrap(),
            api: text("api").unwrap(),
            at_ms: instant_ms(&entry["at"]),
            cost: entry["cost"].as_u64().unwrap(),
            person_times: entry["person_times"].as_u64().unwrap_or(0),
            sha256: text("request_sha256"),
            retry_of: entry["retry_of"].as_u64(),
            end: None,
        };
        self.taken.insert(seq, taken);
    }

    fn end(&mut self, entry: &Value) {
        let seq = entry["pending_seq"].as_u64().unwrap();
        let taken = self.taken.get_mut(&seq).unwrap_or_else(|| panic!("nothing is pending: {entry}"));
        assert!(taken.end.is_none(), "settled twice: {taken:?}, {entry}");
        if let Some(cost) = entry["cost"].as_u64() {
            taken.cost = cost;
            taken.person_times = entry["person_times"].as_u64().unwrap_or(0);
        }
        taken.end = Some(End {
            how: entry["kind"].as_str().unwrap().rsplit('.').next().unwrap().to_owned(),
            tick: entry["tick"].as_i64().unwrap(),
            errcode: entry["errcode"].as_i64(),
            reason: entry["reason"].as_str().map(str::to_owned),
        });
    }

    pub fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    pub fn calls(&self) -> impl Iterator<Item = &Taken> {
        self.taken.values().filter(|taken| !taken.is_fetch())
    }

    pub fn fetches(&self) -> impl Iterator<Item = &Taken> + Clone {
        self.taken.values().filter(|taken| taken.is_fetch())
    }

    /// The present in ledger time, as the machine's clock says.
    pub fn tick(&self, clock: &TestClock) -> i64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place for the answer.
        assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) }, 0);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000 + self.offset_ms + clock.passed_ms()
    }

    /// What an API has used of a window at some moment of `now`: at least and at most. A call counts from its pending
    /// entry until a window after its settlement, one that expired as well, a voided one never. What the ledger's
    /// rounding (a hundredth of the window) adds may only make its number larger.
    pub fn used(&self, api: &str, window_ms: i64, now: &RangeInclusive<i64>) -> RangeInclusive<u64> {
        let (mut least, mut most) = (0, 0);
        for taken in self.taken.values().filter(|taken| taken.api == api) {
            let (until, rounded) = match &taken.end {
                None => (i64::MAX, i64::MAX),
                Some(end) if end.how == "voided" => continue,
                Some(end) => {
                    let margin = if end.how == "expired" { EXPIRY_MARGIN_MS } else { 0 };
                    (end.tick + window_ms, end.tick + window_ms + window_ms / 100 + margin)
                }
            };
            least += if until >= *now.end() { taken.cost } else { 0 };
            most += if rounded >= *now.start() { taken.cost } else { 0 };
        }
        least..=most
    }

    /// Of China's day that the newest call was in; at most what is known at all, for those about midnight.
    fn person_times_of_the_day(&self) -> RangeInclusive<u64> {
        let day = |at_ms: i64| (at_ms + 8 * 3_600_000).div_euclid(86_400_000);
        let spent = |taken: &&Taken| taken.end.as_ref().is_none_or(|end| end.how != "voided");
        let all = || self.taken.values().filter(spent);
        let today = all().map(|taken| day(taken.at_ms)).max().unwrap_or(0);
        let of_today = all().filter(|taken| day(taken.at_ms) == today);
        of_today.map(|taken| taken.person_times).sum()..=all().map(|taken| taken.person_times).sum()
    }

    /// The server's usage must be what the entries come to. Nothing may be under way.
    pub async fn check_usage(&mut self, ledger: &Ledger, server: &Server, clock: &TestClock) {
        // How ledger time relates to the machine's stands in the first entries.
        self.read_on(ledger, server).await;
        let begun = self.tick(clock);
        let usage = server.rest(&ledger.admin_key, "/v1/usage").await;
        let ended = self.tick(clock);
        let rows = usage["usage"].as_array().unwrap_or_else(|| panic!("{usage}"));
        self.read_on(ledger, server).await;
        for row in rows {
            if (&row["unit"], &row["window"]) == (&"person_times".into(), &"day".into()) {
                let (counted, used) = (self.person_times_of_the_day(), row["used"].as_u64().unwrap());
                assert!(counted.contains(&used), "the entries come to {counted:?}: {row}");
                continue;
            }
            let window_ms = match row["window"].as_str() {
                Some("60s") => 60_000,
                Some("1h") => 3_600_000,
                _ => panic!("{row}"),
            };
            let counted = self.used(row["api"].as_str().unwrap(), window_ms, &(begun..=ended));
            let used = row["used"].as_u64().unwrap();
            assert!(counted.contains(&used), "the entries come to {counted:?}: {row}");
            assert_eq!(row["in_flight"], 0, "{row}");
        }
        let apis: BTreeSet<&str> = self.taken.values().map(|taken| taken.api.as_str()).collect();
        for api in apis.into_iter().filter(|api| *self.used(api, 3_600_000, &(begun..=ended)).start() > 0) {
            let shown = rows.iter().any(|row| row["limit"] == "corp-api-hour" && row["api"] == api);
            assert!(shown, "{api} is missing: {usage}");
        }
    }
}

/// Milliseconds since 1970 of an RFC 3339 instant.
pub fn instant_ms(instant: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(instant.as_str().unwrap()).unwrap().timestamp_millis()
}

/// The largest number of requests within any interval of `window_ms`, whatever its alignment.
pub fn densest(mut arrivals: Vec<i64>, window_ms: i64) -> usize {
    arrivals.sort_unstable();
    let mut first = 0;
    let mut densest = 0;
    for (last, at) in arrivals.iter().enumerate() {
        while arrivals[first] + window_ms <= *at {
            first += 1;
        }
        densest = densest.max(last + 1 - first);
    }
    densest
}
