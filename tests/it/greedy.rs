//! Nobody who goes through the ledger ever meets a 45009 of WeCom's: not in any of its eras, whatever way its windows
//! are aligned, however late it counts a call, and whenever a server is killed.

#![cfg(feature = "test-clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AGENT, CORP, Ledger, Sandbox, Server, TestClock};

/// Twenty APIs that only read; messages and accounts come on top.
const READS: [&str; 20] = [
    "user/get",
    "user/simplelist",
    "user/list",
    "department/list",
    "department/simplelist",
    "tag/list",
    "tag/get",
    "agent/get",
    "agent/list",
    "media/get",
    "getcallbackip",
    "get_api_domain_ip",
    "user/getuserid",
    "appchat/get",
    "menu/get",
    "checkin/getcheckindata",
    "corp/getapprovaldata",
    "user/list_id",
    "externalcontact/list",
    "externalcontact/get_follow_user_list",
];

/// Small enough to be reached within seconds, large enough that a bucket of 1 % is none or one.
const MINUTE: u64 = 40;
const HOUR: u64 = 200;

/// Virtual time passes so much faster, and a call may be counted this late and answered as late again, in real time:
/// five seconds of WeCom's each.
const SPEED: i64 = 20;
const LATE_MS: u64 = 250;
const CALLERS: usize = 256;

#[tokio::test]
async fn the_era_of_2015_with_windows_that_slide() {
    greedy("qyh-2015", "sliding").await;
}

#[tokio::test]
async fn the_era_of_2015_with_windows_on_the_clocks_grid() {
    greedy("qyh-2015", "clock").await;
}

#[tokio::test]
async fn the_era_of_2023_with_windows_that_slide() {
    greedy("wecom-2023", "sliding").await;
}

#[tokio::test]
async fn the_era_of_2023_with_windows_on_the_clocks_grid() {
    greedy("wecom-2023", "clock").await;
}

async fn greedy(era: &str, windows: &str) {
    let clock = TestClock::new();
    let sandbox = Sandbox::with(&["--windows", windows, "--limits", era, "--accounts", "20"], Some(&clock));
    let caps = json!({"corp_api_per_minute": MINUTE, "corp_api_per_hour": HOUR});
    sandbox.post("settings", json!({"preset": era, "limits": caps})).await;
    sandbox
        .fault(json!({"kind": "late", "path": "*", "before_ms": LATE_MS, "after_ms": LATE_MS, "seed": 7}))
        .await;
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["corp", "add", CORP, "--accounts", "20"]);
    ledger.ok(&["limits", "use", era]);
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", &MINUTE.to_string()]);
    ledger.ok(&["limits", "set", CORP, "corp-api-hour", &HOUR.to_string()]);
    let mut server = ledger.serve_with(&[], Some(&clock));
    let mut refused = 0;
    // 20 real seconds: 400 virtual ones.
    for round in 0..4 {
        refused += greed(&server, &ledger.app_key, &clock, Duration::from_secs(5)).await;
        if round < 3 {
            server.process.kill();
            server = ledger.serve_with(&[], Some(&clock));
        }
    }
    let stats = sandbox.get("stats").await;
    assert_eq!(stats["over"], 0, "WeCom had to refuse: {}", stats["over_by_row"]);
    assert!(refused > 1_000, "the load was not greedy: {refused} refusals");
    // What was allowed was used as well: in some minute nearly all of it.
    let fullest = stats["windows"].as_array().unwrap().iter().filter(|window| window["row"] == "corp-api");
    let fullest = fullest.filter_map(|window| window["max_per_minute"]["sliding"].as_u64()).max().unwrap();
    assert!(fullest >= MINUTE * 9 / 10, "at most {fullest} of {MINUTE} calls in a minute");
    let messages = ledger.json(&["usage", "--limit", messages_limit(era)]);
    assert!(messages["usage"][0]["used"].as_u64().unwrap() > 20, "{messages}");
}

fn messages_limit(era: &str) -> &'static str {
    if era == "wecom-2023" { "messages-app-day" } else { "messages-corp-day" }
}

/// Calls everything as fast as it is answered, while virtual time passes; answers how often it was refused.
async fn greed(server: &Server, api_key: &str, clock: &TestClock, length: Duration) -> u64 {
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (http, url, key) = (server.http.clone(), server.url().to_owned(), api_key.to_owned());
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                let mut refused = 0;
                for n in (caller * 7).. {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    refused += u64::from(one(&http, &url, &key, n).await == Some(45009));
                }
                refused
            })
        })
        .collect();
    let end = tokio::time::Instant::now() + length;
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
        clock.advance_ms(20 * (SPEED - 1));
    }
    done.store(true, Ordering::SeqCst);
    let mut refused = 0;
    for caller in callers {
        refused += caller.await.unwrap();
    }
    refused
}

async fn one(http: &reqwest::Client, url: &str, key: &str, n: usize) -> Option<i64> {
    let request = match n % 24 {
        20 | 21 => {
            let agent: u32 = AGENT.parse().unwrap();
            let to = ["zhangsan", "zhangsan|lisi|nobody", "@all", "wangwu | ZHANGSAN"][n % 4];
            let body = json!({"touser": to, "msgtype": "text", "agentid": agent, "text": {"content": "x"}});
            http.post(format!("{url}/cgi-bin/message/send")).json(&body)
        }
        22 => {
            let body = json!({"userid": format!("new{n}"), "name": "n", "department": [1]});
            http.post(format!("{url}/cgi-bin/user/create")).json(&body)
        }
        other => {
            http.get(format!("{url}/cgi-bin/{}?userid=zhangsan&id=1&department_id=1", READS[other.min(19)]))
        }
    };
    let app = format!("{CORP}/{AGENT}");
    let response = request.bearer_auth(key).header("x-wecom-app", app).send().await.ok()?;
    let answer: Value = response.json().await.ok()?;
    answer["errcode"].as_i64()
}
