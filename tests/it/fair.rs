//! Who gets how much of a limit that many want: shares of API keys, and what is reserved for critical ones.

#![cfg(feature = "test-clock")]

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{AGENT, CORP, Entry, Ledger, Sandbox, Server, TestClock, until};

const LIMIT: &str = "corp-api-minute";
const MINUTE_MS: i64 = 61_000;

/// A key for the app; answers its number and the key.
fn key(ledger: &Ledger, name: &str, priority: &str) -> (u64, String) {
    let app = format!("{CORP}/{AGENT}");
    let arguments =
        ["key", "create", "--name", name, "--scope", "call", "--app", &app, "--priority", priority];
    let key = ledger.json(&arguments);
    (key["id"].as_u64().unwrap(), key["api_key"].as_str().unwrap().to_owned())
}

async fn get_user(http: &reqwest::Client, url: &str, key: &str, prefer: &str) -> Option<Value> {
    let request = http.get(format!("{url}/cgi-bin/user/get?userid=zhangsan"));
    let response = request.bearer_auth(key).header("prefer", prefer).send().await.ok()?;
    response.json().await.ok()
}

/// So many connections that ask for one call after the other, until they are dropped.
fn keep_asking(server: &Server, key: &str, connections: usize) -> tokio::task::JoinSet<()> {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (http, url, key) = (server.http.clone(), server.url().to_owned(), key.to_owned());
        clients.spawn(async move {
            loop {
                get_user(&http, &url, &key, "wait=60").await;
            }
        });
    }
    clients
}

fn of_kind<'a>(entries: &'a [Entry], kind: &'a str) -> impl Iterator<Item = &'a Entry> {
    entries.iter().filter(move |entry| entry["kind"] == kind && entry["api"] == "user/get")
}

/// Resolves when so many calls have been made in all and every one has its answer; answers the calls of each key.
async fn settled(ledger: &Ledger, server: &Server, calls: usize) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    until(&format!("{calls} calls"), async || {
        let entries = ledger.entries(server).await;
        counts.clear();
        for pending in of_kind(&entries, "call.pending") {
            *counts.entry(pending["api_key_id"].as_u64().unwrap()).or_default() += 1;
        }
        of_kind(&entries, "call.posted").count() == calls
    })
    .await;
    assert_eq!(counts.values().sum::<usize>(), calls);
    counts
}

#[tokio::test]
async fn of_three_keys_a_greedy_one_gets_a_third_and_no_more() {
    const CAP: usize = 30;
    let (sandbox, clock) = (Sandbox::start(), TestClock::new());
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "set", CORP, LIMIT, &CAP.to_string()]);
    let keys = ["greedy", "modest", "meek"].map(|name| key(&ledger, name, "normal"));
    let mut command = ledger.serve_command(&[]);
    command.env("WECOM_LEDGER_LOG", "info,wecom_ledger::admission=debug");
    clock.give_to(&mut command);
    let server = ledger.serve_from(command);
    // The greedy one alone finds the window empty, and has it all.
    let _greedy = keep_asking(&server, &keys[0].1, 80);
    let mut before = settled(&ledger, &server, CAP).await;
    assert_eq!(before, BTreeMap::from([(keys[0].0, CAP)]));
    let _others = [&keys[1], &keys[2]].map(|(_, key)| keep_asking(&server, key, 15));
    until("everybody waits", async || {
        let log = server.process.log();
        log.matches("a call waits in line").count() >= 80 + 30
    })
    .await;
    for minute in 2..=5 {
        clock.advance_ms(MINUTE_MS);
        let now = settled(&ledger, &server, minute * CAP).await;
        let shares: Vec<usize> =
            keys.iter().map(|(id, _)| now.get(id).unwrap_or(&0) - before.get(id).unwrap_or(&0)).collect();
        assert!(shares.iter().all(|share| (9..=11).contains(share)), "minute {minute}: {shares:?}");
        before = now;
    }
    let entries = ledger.entries(&server).await;
    assert_eq!(of_kind(&entries, "call.refused").count(), 0, "whoever waits is not refused");
}

#[tokio::test]
async fn a_critical_call_is_let_in_while_its_reserve_is_free_whoever_waits() {
    let (sandbox, clock) = (Sandbox::start(), TestClock::new());
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "set", CORP, LIMIT, "10"]);
    ledger.ok(&["limits", "reserve", LIMIT, "30"]);
    let (normal, normal_key) = key(&ledger, "batch", "normal");
    let (critical, critical_key) = key(&ledger, "otp", "critical");
    let server = ledger.serve_with(&[], Some(&clock));
    let ask = async |key: &str| get_user(&server.http, server.url(), key, "").await.unwrap();
    let _greedy = keep_asking(&server, &normal_key, 20);
    assert_eq!(
        settled(&ledger, &server, 7).await,
        BTreeMap::from([(normal, 7)]),
        "the reserve is not theirs"
    );
    for made in 8..=10 {
        assert_eq!(ask(&critical_key).await["errcode"], 0);
        assert_eq!(settled(&ledger, &server, made).await[&normal], 7);
    }
    let refused = ask(&critical_key).await;
    assert_eq!(refused["errcode"], 45009, "now all is used: {refused}");
    clock.advance_ms(MINUTE_MS);
    assert_eq!(settled(&ledger, &server, 17).await[&normal], 14);
    for _ in 0..3 {
        assert_eq!(ask(&critical_key).await["errcode"], 0);
    }
    assert_eq!(settled(&ledger, &server, 20).await[&critical], 6);
}
