//! `kill -9` at any moment: nothing is lost, forgotten, repeated or exceeded.

#![expect(clippy::print_stdout, reason = "tells how hard the test was")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{CORP, Journal, Ledger, Load, Random, Sandbox, Seen, Server, TestClock, densest, until};

const SEED: u64 = 0x5EED_0004;
/// Kills of all rounds together, at least.
const KILLS: usize = 50;
const KILLS_LONG: usize = 500;
/// Small, so that the window is full again and again.
const CAP: usize = 60;
const MINUTE_MS: i64 = 60_000;
const CALLERS: usize = 8;
/// At WeCom the token ends before the first round of each so many.
const REVOKED_EVERY: usize = 12;

/// The clock does not jump, and the kill waits until a window is full, in the first round of each so many.
const FULL_EVERY: usize = 3;

/// Two servers on one directory, a clock that jumps, and what is known of them from outside.
struct Siege {
    sandbox: Sandbox,
    ledger: Ledger,
    clock: TestClock,
    random: Random,
    seen: Arc<Seen>,
    journal: Journal,
    servers: [Server; 2],
    kills: usize,
}

impl Siege {
    async fn begin() -> Self {
        let clock = TestClock::new();
        let sandbox = Sandbox::with(&[], Some(&clock));
        let limits = json!({"corp_api_per_minute": CAP, "message_budget": null});
        sandbox.post("settings", json!({"limits": limits})).await;
        let ledger = Ledger::new(sandbox.url());
        ledger.ok(&["limits", "set", CORP, "corp-api-minute", &CAP.to_string()]);
        let servers = [(); 2].map(|()| ledger.serve_with(&[], Some(&clock)));
        servers[0].token().await;
        Self {
            sandbox,
            ledger,
            clock,
            random: Random::new(SEED),
            seen: Arc::default(),
            journal: Journal::default(),
            servers,
            kills: 0,
        }
    }

    async fn pause(&mut self, at_most_us: u64) {
        tokio::time::sleep(Duration::from_micros(self.random.below(at_most_us))).await;
    }

    /// Kills one server, or both, under load, and starts them again.
    async fn round(&mut self, round: usize) {
        if round % REVOKED_EVERY == REVOKED_EVERY - 1 {
            self.sandbox.revoke(if round.is_multiple_of(2) { 40014 } else { 42001 }).await;
        }
        let load = Load::start(&self.seen, &[&self.servers[0], &self.servers[1]], CALLERS);
        self.pause(100_000).await;
        if round.is_multiple_of(FULL_EVERY) {
            let before = self.seen.with_errcode(45009);
            let what = format!("seed {SEED}, round {round}: a window fills up");
            until(&what, async || self.seen.with_errcode(45009) > before).await;
        } else {
            let jump = self.random.below(15_000) as i64;
            self.clock.advance_ms(jump);
        }
        self.pause(200_000).await;
        let victims: &[usize] = [&[0][..], &[1], &[0, 1]][self.random.below(3) as usize];
        for &victim in victims {
            self.servers[victim].process.kill();
            self.kills += 1;
        }
        // The other one goes on, and is not disturbed.
        self.pause(100_000).await;
        load.stop().await;
        let dead: Vec<&str> = victims.iter().map(|&victim| self.servers[victim].url()).collect();
        let failures = std::mem::take(&mut *self.seen.failures.lock().unwrap());
        for (url, error) in failures {
            assert!(
                dead.contains(&url.as_str()),
                "seed {SEED}, round {round}: {url} was not killed: {error}"
            );
        }
        for &victim in victims {
            self.servers[victim] = self.ledger.serve_with(&[], Some(&self.clock));
        }
        self.check(round).await;
    }

    /// Both servers agree with the entries, and with what WeCom has seen of token fetches.
    async fn check(&mut self, round: usize) {
        let what = format!("seed {SEED}, round {round}: what the dead left pending expires");
        for server in &self.servers {
            until(&what, async || {
                let usage = server.rest(&self.ledger.admin_key, "/v1/usage").await;
                usage["usage"].as_array().unwrap().iter().all(|row| row["in_flight"] == 0)
            })
            .await;
            self.journal.check_usage(&self.ledger, server, &self.clock).await;
        }
        let asked = self.sandbox.get("stats").await["calls"]["gettoken"].as_u64().unwrap();
        let fetches = self.journal.fetches();
        let sent = fetches.clone().filter(|fetch| fetch.ended("posted")).count() as u64;
        let dead = fetches.filter(|fetch| fetch.ended("expired")).count() as u64;
        assert_eq!(self.journal.count("credential.pending"), sent + dead);
        assert!((sent..=sent + dead).contains(&asked), "{asked} gettoken, {sent} answered, {dead} not");
        // A fetch is repeated only for a token that WeCom ended, or a fetcher that died.
        let ended = self.journal.count("credential.invalidated");
        assert!((ended..=ended + 1).contains(&sent), "round {round}: {ended} tokens ended, {sent} fetches");
    }

    /// Every answer that a client got is in the ledger.
    fn check_answers(&self) {
        let by_body = self.journal.calls().fold(HashMap::<_, Vec<_>>::new(), |mut by_body, call| {
            by_body.entry(call.sha256.as_deref().unwrap()).or_default().push(call);
            by_body
        });
        for answer in self.seen.answers.lock().unwrap().iter() {
            let calls = by_body.get(answer.sha256.as_str()).map_or(&[][..], Vec::as_slice);
            assert!(
                calls.iter().all(|call| call.api == answer.api && call.end.is_some()),
                "{answer:?}: {calls:?}"
            );
            match answer.errcode {
                0 => assert_eq!(
                    calls.iter().filter(|call| call.posted_with(0)).count(),
                    1,
                    "{answer:?}: {calls:?}"
                ),
                // Refused by us: nothing was taken, unless it was the repetition that had no room.
                45009 => {
                    let outdated =
                        calls.iter().all(|call| call.posted_with(40014) || call.posted_with(42001));
                    assert!(calls.len() <= 1 && outdated, "{answer:?}: {calls:?}");
                }
                _ => panic!("seed {SEED}: an answer that nothing explains: {answer:?}"),
            }
        }
        for calls in by_body.values() {
            let first = calls[0].seq;
            assert!(calls[1..].iter().all(|call| call.retry_of == Some(first)), "{calls:?}");
        }
    }

    /// Every request that reached WeCom has a pending entry that was there before; answers how many there were.
    fn check_requests(&self, requests: &[Value]) {
        let mut pendings: HashMap<&str, Vec<i64>> = HashMap::new();
        for taken in self.journal.taken.values().filter(|taken| !taken.ended("voided")) {
            let body = if taken.is_fetch() { "" } else { taken.sha256.as_deref().unwrap() };
            pendings.entry(body).or_default().push(taken.at_ms);
        }
        let mut arrived: HashMap<&str, usize> = HashMap::new();
        for request in requests {
            let body =
                if request["api"] == "gettoken" { "" } else { request["body_sha256"].as_str().unwrap() };
            let nth = arrived.entry(body).or_default();
            let pending = pendings.get(body).and_then(|pendings| pendings.get(*nth));
            let at = *pending.unwrap_or_else(|| panic!("seed {SEED}: no pending entry for {request}"));
            *nth += 1;
            let arrived_at = request["arrived_at_ms"].as_i64().unwrap();
            assert!(at <= arrived_at + 2, "seed {SEED}: pending at {at}, too late for {request}");
            for errcode in ["errcode", "effect_errcode"] {
                assert_ne!(request[errcode], 45009, "seed {SEED}: WeCom had to refuse {request}");
            }
        }
    }
}

/// How many requests the fullest minute of each API held.
fn densest_minutes(requests: &[Value]) -> BTreeMap<&str, usize> {
    let mut arrivals: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for request in requests {
        let api = request["api"].as_str().unwrap();
        arrivals.entry(api).or_default().push(request["arrived_at_ms"].as_i64().unwrap());
    }
    arrivals.into_iter().map(|(api, arrivals)| (api, densest(arrivals, MINUTE_MS))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_many_kills_at_random_instants_under_load_nothing_is_lost_repeated_or_exceeded() {
    let kills = if std::env::var_os("WECOM_LEDGER_LONG").is_some() { KILLS_LONG } else { KILLS };
    let mut siege = Siege::begin().await;
    let mut round = 0;
    while siege.kills < kills {
        siege.round(round).await;
        round += 1;
    }
    siege.check_answers();
    let requests = siege.sandbox.requests().await;
    siege.check_requests(&requests);
    let densest = densest_minutes(&requests);
    assert!(
        densest.values().all(|most| *most <= CAP),
        "seed {SEED}: more than {CAP} in a minute: {densest:?}"
    );
    let (answered, refused) = (siege.seen.with_errcode(0), siege.seen.with_errcode(45009));
    let caught = siege.journal.calls().filter(|call| call.ended("expired")).count();
    let story = format!(
        "{} kills in {round} rounds: {answered} calls answered, {refused} refused, {caught} under way at a kill, \
         {} requests at WeCom, in the fullest minutes {densest:?} of {CAP}",
        siege.kills,
        requests.len()
    );
    assert!(refused > 0 && caught > 0, "seed {SEED}: nothing was tested: {story}");
    for call in siege.journal.calls().filter(|call| call.ended("expired")) {
        assert_eq!(call.end.as_ref().unwrap().reason.as_deref(), Some("process_died"), "{call:?}");
    } // Shown when the test fails, and by --nocapture.
    println!("{story}");
}
