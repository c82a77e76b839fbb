//! What users of rate limiters, budgets and WeCom itself complain of, by name, through the real binary. Where it was read
//! stands beside each; what other tests show already is named here and not shown again.
//!
//! | complaint | shown by |
//! |---|---|
//! | "I only called 12 times a day": nobody can see who used the quota (easywechat#2274, laravel-wechat#104) | `who_used_*` here, `incidents`, `http::incident_tests` |
//! | the cause of a 45009 is hidden: `debug=1`, another app's bad secret | `a_debug_flag_*`, `another_apps_bad_secret_*` here, `refusals` |
//! | messages beyond a limit are dropped without an error (MoviePilot#2550, hermes-agent#31131) | `what_wecom_drops_*` here, `rows`, `webhook` |
//! | resets at the same time erase spend (LiteLLM#34733, #36940) | `processes_that_turn_the_day_*` here, `two_processes` |
//! | buffered spend lands in the wrong window (LiteLLM#39150) | `what_is_settled_after_midnight_*` here, `quota::tests::windows_tests` |
//! | a stale counter refuses who has room (LiteLLM#36926, #27735) | `a_counter_*` here, `kill`, `ledger::tests::model_tests` |
//! | an endpoint that is not counted bypasses the cap (LiteLLM#38176, #7129) | `no_way_to_call_*` here, `refusals` |
//! | refused calls eat the quota, and a limit raised mid-window does not help (envoyproxy/ratelimit#185) | `refused_calls_*` here, `quota::tests::meters_tests` |
//! | a limiter silently enforces nothing (limitador#466) | `calls_for_which_*`, `a_profile_without_*` here, `disk`, `refusals` |

#![cfg(feature = "test-clock")]

use chrono::{Duration, Timelike as _, Utc};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::support::{AGENT, CORP, Ledger, Sandbox, Server, TestClock};

const MINUTE_MS: i64 = 61_000;

async fn answer(request: reqwest::RequestBuilder) -> Value {
    request.send().await.unwrap().json().await.unwrap()
}

/// Calls with a key, for an app.
async fn get_as(server: &Server, key: &str, agent: &str, api: &str) -> i64 {
    let url = format!("{}/cgi-bin/{api}", server.url());
    let request = server.http.get(url).bearer_auth(key).header("x-wecom-app", format!("{CORP}/{agent}"));
    answer(request).await["errcode"].as_i64().unwrap()
}

async fn get_user(server: &Server) -> i64 {
    get_as(server, &server.app_key, AGENT, "user/get?userid=zhangsan").await
}

async fn usage(ledger: &Ledger, server: &Server, limit: &str) -> Value {
    let report = server.rest(&ledger.admin_key, &format!("/v1/usage?limit={limit}")).await;
    report["usage"][0].clone()
}

/// What the simulated WeCom refused or dropped.
async fn harm(sandbox: &Sandbox) -> (Value, Value) {
    let stats = sandbox.get("stats").await;
    (stats["over"].clone(), stats["dropped"].clone())
}

#[tokio::test]
async fn who_used_the_quota_is_named_whoever_runs_into_the_limit() {
    let sandbox = Sandbox::start();
    sandbox.post("settings", json!({"limits": {"corp_api_per_minute": 12}})).await;
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let nightly = ledger.create_key("nightly-report", "call", &[AGENT]);
    for _ in 0..10 {
        assert_eq!(get_as(&server, &nightly, AGENT, "user/get?userid=lisi").await, 0);
    }
    for expected in [0, 0, 45009] {
        assert_eq!(get_user(&server).await, expected);
    }
    let incidents = server.rest(&ledger.admin_key, "/v1/incidents").await;
    let seq = &incidents["incidents"][0]["seq"];
    let incident = server.rest(&ledger.admin_key, &format!("/v1/incidents/{seq}")).await;
    let spenders = incident["spent"][0]["spenders"].as_array().unwrap();
    let shares: Vec<_> = spenders.iter().map(|it| (&it["api_key_name"], &it["spent"])).collect();
    assert_eq!(shares, [(&json!("nightly-report"), &json!(10)), (&json!("app"), &json!(3))]);
    let shown = ledger.ok(&["incidents", &seq.to_string()]);
    assert!(shown.contains("nightly-report"), "{shown}");
}

#[tokio::test]
async fn a_debug_flag_lowers_nobodys_limit_to_five_calls_a_minute() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    for _ in 0..6 {
        let refused = server.get("user/get", "userid=zhangsan&debug=1").await;
        assert_eq!(refused["errcode"], 40035);
        assert!(refused["errmsg"].as_str().unwrap().contains("debug"), "{refused}");
    }
    assert_eq!(get_user(&server).await, 0);
    assert_eq!((sandbox.calls("user/get").await, harm(&sandbox).await), (1, (json!(0), json!(0))));
}

#[tokio::test]
async fn another_apps_bad_secret_bans_nobody_and_is_named() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    ledger.put_app("1000002", "a-secret-that-was-changed");
    let server = ledger.serve();
    let other = ledger.create_key("other", "call", &["1000002"]);
    for _ in 0..10 {
        assert_eq!(get_as(&server, &other, "1000002", "user/get?userid=zhangsan").await, 40001);
    }
    assert_eq!(sandbox.calls("gettoken").await, 1, "five of them ban the IP for an hour");
    // The first fetch of this app, from the same IP.
    assert_eq!(get_user(&server).await, 0);
    assert_eq!(harm(&sandbox).await.0, 0);
    let ready: Value = answer(server.http.get(format!("{}/readyz", server.url()))).await;
    let warning = &ready["warnings"][0];
    assert_eq!(
        (&warning["warning"], &warning["app"]),
        (&json!("secret_rejected"), &json!(format!("{CORP}/1000002")))
    );
}

#[tokio::test]
async fn what_wecom_drops_without_a_word_is_refused_aloud() {
    let sandbox = Sandbox::with(&["--limits", "wecom-2023"], None);
    let secret = format!("sandbox-secret-{AGENT}");
    let http = crate::support::client();
    let url = format!("{}/cgi-bin/gettoken?corpid={CORP}&corpsecret={secret}", sandbox.url());
    let token = answer(http.get(url)).await["access_token"].as_str().unwrap().to_owned();
    let agent: u32 = AGENT.parse().unwrap();
    let body = json!({"touser": "lisi", "msgtype": "text", "agentid": agent, "text": {"content": "x"}});
    let url = format!("{}/cgi-bin/message/send?access_token={token}", sandbox.url());
    for _ in 0..31 {
        assert_eq!(answer(http.post(&url).json(&body)).await["errcode"], 0, "WeCom says that all is well");
    }
    assert_eq!(harm(&sandbox).await, (json!(0), json!(1)), "one never arrived");

    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "use", "wecom-2023"]);
    let server = ledger.serve();
    for _ in 0..30 {
        assert_eq!(server.send_message("zhangsan", "x").await["errcode"], 0);
    }
    let refused = server.send_message("zhangsan", "x").await;
    assert_eq!(refused["errcode"], 45009, "{refused}");
    assert!(refused["errmsg"].as_str().unwrap().contains("message-member-minute"), "{refused}");
    assert_eq!(server.send_message("wangwu", "x").await["errcode"], 0, "another member");
    assert_eq!(harm(&sandbox).await.1, 1, "no more than before");
}

/// Moves the clock, before anything was started with it, to so many seconds before midnight in China.
fn before_midnight(seconds: i64) -> TestClock {
    let clock = TestClock::new();
    let now = Utc::now().naive_utc() + Duration::hours(8);
    let day_ms = i64::from(now.num_seconds_from_midnight()) * 1_000 + i64::from(now.nanosecond() / 1_000_000);
    clock.advance_ms(86_400_000 - day_ms + 86_400_000 - seconds * 1_000);
    clock
}

#[tokio::test]
async fn processes_that_turn_the_day_at_the_same_time_forget_no_spend() {
    let clock = before_midnight(180);
    let sandbox = Sandbox::with(&["--accounts", "2"], Some(&clock));
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["corp", "add", CORP, "--accounts", "2"]);
    let servers = [(); 2].map(|()| ledger.serve_with(&[], Some(&clock)));
    let mut passed = [0, 0];
    // From three minutes before midnight to three minutes after it, all the time more than there is room for.
    for step in 0..36 {
        let each = |n: usize| servers[n % 2].send_message("zhangsan", "x");
        let answers: Vec<Value> = stream::iter((0..8).map(each)).buffer_unordered(8).collect().await;
        passed[usize::from(step >= 18)] += answers.iter().filter(|answer| answer["errcode"] == 0).count();
        clock.advance_ms(10_000);
    }
    // 30 person-times for each of two accounts, in each of the two days.
    assert_eq!(passed, [60, 60]);
    assert_eq!(harm(&sandbox).await, (json!(0), json!(0)));
    let counted = usage(&ledger, &servers[0], "messages-corp-day").await;
    assert_eq!((&counted["used"], &counted["cap"]), (&json!(60), &json!(60)));
}

#[tokio::test]
async fn what_is_settled_after_midnight_counts_in_the_day_that_it_may_have_reached() {
    let clock = before_midnight(300);
    let ledger = Ledger::new("http://127.0.0.1:1");
    ledger.ok(&["corp", "add", CORP, "--accounts", "5"]);
    let server = ledger.serve_with(&[], Some(&clock));
    let calls = format!("{}/v1/calls", server.url());
    let reserve = async |person_times: u64| {
        let order = json!({"app": format!("{CORP}/{AGENT}"), "api": "message/send", "timeout_seconds": 3_600,
            "cost": {"person_times": person_times}});
        let request = server.http.post(&calls).bearer_auth(&server.app_key).json(&order);
        request.send().await.unwrap()
    };
    let reserved: Value = reserve(100).await.json().await.unwrap();
    // Ten minutes on it is another day, and nobody knows yet in which of the two WeCom has counted it.
    clock.advance_ms(600_000);
    let counted = usage(&ledger, &server, "messages-corp-day").await;
    assert_eq!((&counted["used"], &counted["in_flight"]), (&json!(100), &json!(100)), "{counted}");
    let post = format!("{calls}/{}/post", reserved["call_id"]);
    let posted = server.http.post(post).bearer_auth(&server.app_key).json(&json!({"errcode": 0}));
    assert!(posted.send().await.unwrap().status().is_success());
    assert_eq!(reserve(51).await.status(), 429, "of 150");
    assert_eq!(reserve(50).await.status(), 201);
}

#[tokio::test]
async fn a_counter_is_never_staler_than_the_log_and_never_outlives_its_window() {
    let clock = TestClock::new();
    let sandbox = Sandbox::with(&[], Some(&clock));
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", "3"]);
    let mut first = ledger.serve_with(&[], Some(&clock));
    let mut second = ledger.serve_with(&[], Some(&clock));
    assert_eq!((get_user(&first).await, get_user(&second).await, get_user(&first).await), (0, 0, 0));
    for round in 1..4 {
        // Full, whoever is asked, also one that has just begun.
        assert_eq!((get_user(&first).await, get_user(&second).await), (45009, 45009), "round {round}");
        if round == 2 {
            let _ = std::fs::remove_file(ledger.data_dir().join("snapshot.bin"));
        }
        first.process.kill();
        first = ledger.serve_with(&[], Some(&clock));
        assert_eq!(get_user(&first).await, 45009, "round {round}");
        clock.advance_ms(MINUTE_MS);
        // Empty, whoever is asked, also one that heard of none of these calls when they were made.
        assert_eq!((get_user(&second).await, get_user(&first).await, get_user(&second).await), (0, 0, 0));
        std::mem::swap(&mut first, &mut second);
    }
}

#[tokio::test]
async fn no_way_to_call_goes_uncounted() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", "1"]);
    // The limit is seen by the time that the first token was fetched: that is a call like any other.
    let token = server.token().await;
    let by_token = async |api: &str, token: &str| {
        let url = format!("{}/cgi-bin/{api}?access_token={token}", server.url());
        answer(server.http.get(url)).await["errcode"].clone()
    };
    for api in ["user/list_id", "brand_new/thing_of_tomorrow", "media/get_jssdk", "agent/list"] {
        assert_eq!(by_token(api, &token).await, 0, "{api}");
        assert_eq!(by_token(api, &token).await, 45009, "{api} by token");
        assert_eq!(get_as(&server, &ledger.app_key, AGENT, api).await, 45009, "{api} by key");
        assert_eq!(server.post(api, json!({})).await["errcode"], 45009, "{api} by POST");
        let order = json!({"app": format!("{CORP}/{AGENT}"), "api": api});
        let request = server.http.post(format!("{}/v1/calls", server.url())).bearer_auth(&ledger.app_key);
        assert_eq!(request.json(&order).send().await.unwrap().status(), 429, "{api} made by the client");
        for (before, after) in [("/", "//"), ("_", "%5f"), ("/", "/./")] {
            let spelled = api.replacen(before, after, 1);
            let url = format!("{}/cgi-bin/{spelled}", server.url());
            let request = server.http.get(url).bearer_auth(&ledger.app_key).send().await.unwrap();
            let text = request.text().await.unwrap();
            assert!(!text.contains("\"errcode\":0"), "{spelled}: {text}");
        }
        assert_eq!(sandbox.calls(api).await, 1, "{api}");
    }
}

#[tokio::test]
async fn refused_calls_eat_no_quota_and_a_limit_that_is_raised_helps_at_once() {
    let clock = TestClock::new();
    let sandbox = Sandbox::with(&[], Some(&clock));
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", "3"]);
    let server = ledger.serve_with(&[], Some(&clock));
    for _ in 0..3 {
        assert_eq!(get_user(&server).await, 0);
    }
    clock.advance_ms(30_000);
    for _ in 0..20 {
        assert_eq!(get_user(&server).await, 45009);
    }
    assert_eq!(usage(&ledger, &server, "corp-api-minute&api=user/get").await["used"], 3);
    // In the middle of the window, beside the server: exactly as many more as were added.
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", "5"]);
    assert_eq!((get_user(&server).await, get_user(&server).await, get_user(&server).await), (0, 0, 45009));
    // Half a minute later the first three have left; had the refused ones counted, nothing would have.
    clock.advance_ms(31_000);
    let answers = [get_user(&server).await, get_user(&server).await, get_user(&server).await];
    assert_eq!((answers, get_user(&server).await), ([0, 0, 0], 45009));
    assert_eq!(harm(&sandbox).await.0, 0);
}

#[tokio::test]
async fn calls_for_which_there_is_no_room_for_a_counter_share_one_and_are_limited_all_the_same() {
    const NAMES: usize = 1_000;
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", "5"]);
    let server = ledger.serve();
    server.token().await;
    let server = &server;
    let call =
        |n: usize| async move { server.get(&format!("made_up/name_{n}"), "").await["errcode"].clone() };
    let first: Vec<Value> = stream::iter((0..NAMES).map(call)).buffer_unordered(32).collect().await;
    assert!(first.iter().all(|errcode| *errcode == 0));
    let mut passed = 0;
    for n in NAMES..NAMES + 10 {
        passed += usize::from(call(n).await == 0);
    }
    assert_eq!(passed, 5, "each of them has a name of its own, and nobody counted it");
}

#[test]
fn a_profile_without_a_limit_is_refused_and_the_one_in_force_stays() {
    let ledger = Ledger::new("http://127.0.0.1:1");
    let file = ledger.path().join("own.toml");
    let limit = "[[limit]]\nname = \"ours\"\napis = \"*\"\nscope = [\"corp\"]\nunit = \"calls\"\nwindow = \"60s\"\n\
        cap = 10\noperator = \"provider\"\nsource = \"ours\"\n";
    let file_name = file.to_str().unwrap();
    for (text, what) in [
        ("name = \"own\"\n".to_owned(), "no limit"),
        // All of them for somebody else.
        (format!("name = \"own\"\n{limit}"), "no limit"),
        // Limits by a name that nobody reads.
        (format!("name = \"own\"\n{}", limit.replace("[[limit]]", "[[limits]]")), "unknown field"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = ledger.run(&["limits", "use", file_name]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(what), "{stderr}");
        assert_eq!(ledger.json(&["limits", "list"])["profile"], "qyh-2015");
    }
}
