//! Two `serve` processes on one data directory, and the command line beside them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::{CORP, Journal, Ledger, Load, Sandbox, Seen, Server, TestClock, client, densest, until};

/// What one caller of a crowd does, by its number.
async fn call(server: &(reqwest::Client, String, String), n: usize) -> Value {
    let (http, url, key) = server;
    let request = match n % 3 {
        0 => http.get(format!("{url}/cgi-bin/gettoken")).query(&[("corpid", CORP), ("corpsecret", key)]),
        1 => http.get(format!("{url}/cgi-bin/user/get?userid=zhangsan")).bearer_auth(key),
        _ => {
            http.post(format!("{url}/cgi-bin/checkin/getcheckindata")).bearer_auth(key).json(&json!({"n": n}))
        }
    };
    request.send().await.unwrap().json().await.unwrap()
}

/// `callers` for each server, all at once; their answers.
async fn crowd(servers: &[&Server], callers: usize) -> Vec<Value> {
    let start = Arc::new(Barrier::new(servers.len() * callers));
    let mut crowd = JoinSet::new();
    for server in servers {
        let server = (client(), server.url().to_owned(), server.app_key.clone());
        for n in 0..callers {
            let (server, start) = (server.clone(), Arc::clone(&start));
            crowd.spawn(async move {
                start.wait().await;
                call(&server, n).await
            });
        }
    }
    crowd.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_cold_callers_over_two_processes_cause_exactly_one_gettoken() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    // Slow, so that every caller of both processes comes while the token is being fetched.
    sandbox.fault(json!({"path": "gettoken", "kind": "delay", "delay_ms": 500})).await;
    let (first, second) = (ledger.serve(), ledger.serve());
    for (fetched, errcode) in [(1, None), (2, Some(42001)), (3, Some(40014))] {
        if let Some(errcode) = errcode {
            sandbox.revoke(errcode).await;
        }
        let answers = crowd(&[&first, &second], 250).await;
        let failed: Vec<_> = answers.iter().filter(|answer| answer["errcode"] != 0).collect();
        assert!(answers.len() == 500 && failed.is_empty(), "{failed:?}");
        assert_eq!(sandbox.calls("gettoken").await, fetched);
    }
    let mut journal = Journal::default();
    journal.read_on(&ledger, &first).await;
    assert_eq!(journal.count("credential.posted"), 3);
    assert_eq!(journal.count("credential.invalidated"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_together_use_a_cap_up_and_never_exceed_it() {
    const CAP: usize = 60;
    let clock = TestClock::new();
    let sandbox = Sandbox::with(&[], Some(&clock));
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", &CAP.to_string()]);
    let servers = [(); 2].map(|()| ledger.serve_with(&[], Some(&clock)));
    let windows = if cfg!(feature = "test-clock") { 3 } else { 1 };
    for window in 1..=windows {
        let answers = crowd(&[&servers[0], &servers[1]], 150).await;
        let with = |errcode: i64| answers.iter().filter(|answer| answer["errcode"] == errcode).count();
        // A third asks for tokens, which costs nothing; the other two thirds share two APIs.
        assert_eq!((with(0), with(45009)), (100 + 2 * CAP, 200 - 2 * CAP), "window {window}");
        for api in ["user/get", "checkin/getcheckindata"] {
            assert_eq!(sandbox.calls(api).await, window * CAP);
        }
        // The last call was settled before now, and is rounded up to a hundredth of the window.
        clock.advance_ms(60_601);
    }
    let requests = sandbox.requests().await;
    for api in ["user/get", "checkin/getcheckindata"] {
        let of_api = requests.iter().filter(|request| request["api"] == api);
        let arrivals = of_api.map(|request| request["arrived_at_ms"].as_i64().unwrap()).collect();
        assert_eq!(densest(arrivals, 60_000), CAP);
    }
    let mut journal = Journal::default();
    journal.read_on(&ledger, &servers[0]).await;
    assert_eq!(journal.count("call.pending") as usize, windows * 2 * CAP);
    for server in &servers {
        journal.check_usage(&ledger, server, &clock).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_works_beside_two_busy_servers_and_nobody_starves() {
    /// No figure of performance: whoever waits longer than this is starved.
    const PATIENCE: Duration = Duration::from_secs(10);
    let sandbox = Sandbox::start();
    sandbox.post("settings", json!({"limits": "none"})).await;
    let ledger = Ledger::new(sandbox.url());
    for limit in ["corp-api-minute", "corp-api-hour"] {
        ledger.ok(&["limits", "set", CORP, limit, "1000000"]);
    }
    let servers = [ledger.serve(), ledger.serve()];
    servers[0].token().await;
    let seen: [Arc<Seen>; 2] = Default::default();
    let load = [0, 1].map(|i| Load::start(&seen[i], &[&servers[i]], 16));
    for n in 0..12 {
        let before = [0, 1].map(|i| seen[i].answered());
        let corp = format!("wwbeside{n}");
        for arguments in
            [&["corp", "add", &corp, "--accounts", "7"][..], &["usage", "--json"], &["key", "list"]]
        {
            let mut command = ledger.command(arguments);
            let begun = Instant::now();
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(begun.elapsed() < PATIENCE, "{arguments:?} took {:?}", begun.elapsed());
        }
        // Nor does one server, or the command line, keep the other from answering.
        let begun = Instant::now();
        until("both servers answer", async || (0..2).all(|i| seen[i].answered() > before[i])).await;
        assert!(begun.elapsed() < PATIENCE);
    }
    for load in load {
        load.stop().await;
    }
    for seen in &seen {
        assert!(seen.failures.lock().unwrap().is_empty());
        // The limits per IP stand: they may refuse, nothing else may go wrong.
        assert_eq!(seen.with_errcode(0) + seen.with_errcode(45009), seen.answered());
    }
    let answered: usize = seen.iter().map(|seen| seen.with_errcode(0)).sum();
    let mut journal = Journal::default();
    journal.check_usage(&ledger, &servers[0], &TestClock::new()).await;
    assert_eq!(journal.count("corp.put"), 13);
    assert_eq!(journal.calls().filter(|call| call.posted_with(0)).count(), answered);
    assert_eq!(sandbox.requests().await.len(), answered + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetcher_that_is_killed_keeps_nobody_waiting() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    sandbox.fault(json!({"path": "gettoken", "kind": "hang", "times": 1})).await;
    let (mut first, second) = (ledger.serve(), ledger.serve());
    let (http, url) = (first.http.clone(), format!("{}/cgi-bin/gettoken", first.url()));
    let query = [("corpid", CORP.to_owned()), ("corpsecret", ledger.app_key.clone())];
    let lost = tokio::spawn(async move { http.get(url).query(&query).send().await.is_err() });
    until("the first process asks WeCom", async || sandbox.calls("gettoken").await == 1).await;
    let waiting = tokio::spawn(call_of(&second));
    first.process.kill();
    assert!(lost.await.unwrap(), "the fetch hung, so there was nothing to answer");
    let answer = waiting.await.unwrap();
    assert_eq!(answer["errcode"], 0, "{answer}");
    assert_eq!(sandbox.calls("gettoken").await, 2);

    let entries = ledger.entries(&second).await;
    let of_credentials = |entry: &&Value| entry["kind"].as_str().unwrap().starts_with("credential.");
    let fetch: Vec<&Value> = entries.iter().filter(of_credentials).take(4).collect();
    let kinds: Vec<&str> = fetch.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["credential.pending", "credential.expired", "credential.pending", "credential.posted"]
    );
    assert_eq!(fetch[1]["pending_seq"], fetch[0]["seq"]);
    assert_eq!(fetch[1]["reason"], "process_died");
    assert_eq!(fetch[3]["pending_seq"], fetch[2]["seq"]);
    assert_ne!(fetch[2]["process"], fetch[0]["process"]);
}

fn call_of(server: &Server) -> impl Future<Output = Value> + use<> {
    let server = (server.http.clone(), server.url().to_owned(), server.app_key.clone());
    async move { call(&server, 1).await }
}
