//! What single API keys may use of a limit, and caps that are learned from WeCom's refusals.

use serde_json::{Value, json};

use crate::support::{AGENT, CORP, Ledger, Sandbox, Server, TestClock, until};

const LIMIT: &str = "corp-api-minute";
const MINUTE_MS: i64 = 61_000;

/// An API key for the app with rules of its own; its number and the key.
fn key(ledger: &Ledger, name: &str, rules: &[&str]) -> (String, String) {
    let app = format!("{CORP}/{AGENT}");
    let create = ["key", "create", "--name", name, "--scope", "call", "--app", &app];
    let created = ledger.json(&[&create, rules].concat());
    (created["id"].to_string(), created["api_key"].as_str().unwrap().to_owned())
}

async fn get_as(server: &Server, key: &str) -> (Value, reqwest::header::HeaderMap) {
    let url = format!("{}/cgi-bin/user/get?userid=zhangsan", server.url());
    let response = server.http.get(url).bearer_auth(key).send().await.unwrap();
    let headers = response.headers().clone();
    (response.json().await.unwrap(), headers)
}

async fn passes(server: &Server, key: &str) -> bool {
    get_as(server, key).await.0["errcode"] == 0
}

/// What `POST /v1/calls` answers: the problem of a refusal.
async fn refusal(server: &Server, key: &str) -> Value {
    let body = json!({"app": format!("{CORP}/{AGENT}"), "api": "user/get"});
    let url = format!("{}/v1/calls", server.url());
    let response = server.http.post(url).bearer_auth(key).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 429);
    response.json().await.unwrap()
}

#[tokio::test]
async fn an_own_cap_refuses_the_greedy_key_only_and_a_raise_holds_at_once() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let (id, greedy) = key(&ledger, "greedy", &["--own", "corp-api-minute=2"]);
    let (_, other) = key(&ledger, "other", &[]);
    let mut server = ledger.serve();
    for _ in 0..2 {
        assert!(passes(&server, &greedy).await);
    }
    let (answer, headers) = get_as(&server, &greedy).await;
    let errmsg = answer["errmsg"].as_str().unwrap();
    assert!(
        answer["errcode"] == 45009 && errmsg.contains("2 of 2 used (60s), this key's own number"),
        "{answer}"
    );
    assert_eq!(headers["ratelimit-policy"], "\"corp-api-minute\";q=2;w=60;rule=own");
    assert!(headers.contains_key("retry-after"));
    let problem = refusal(&server, &greedy).await;
    let facts = ["limit", "rule", "used", "cap"].map(|name| problem[name].clone());
    assert_eq!(facts.to_vec(), *json!([LIMIT, "own", 2, 2]).as_array().unwrap());
    assert!(problem["retry_at"].is_string(), "{problem}");
    assert!(passes(&server, &other).await, "the others may use the limit as before");

    let usage = ledger.json(&["usage", "--limit", LIMIT, "--api", "user/get"]);
    let rows = usage["usage"].as_array().unwrap().iter();
    let rows: Vec<Value> = rows.map(|row| json!([row["rule"], row["used"], row["cap"]])).collect();
    assert_eq!(rows, [json!(["limit", 3, 1000]), json!(["own", 2, 2])]);
    assert!(ledger.ok(&["usage"]).contains("2 (own)"));

    // It is on disk.
    server.process.kill();
    server = ledger.serve();
    assert!(!passes(&server, &greedy).await);
    let refused = ledger.entries(&server).await.into_iter().find(|entry| entry["kind"] == "call.refused");
    assert_eq!(refused.unwrap()["rule"], "own");
    ledger.ok(&["key", "set", &id, "--own", "corp-api-minute=3"]);
    until("the raise is seen", async || passes(&server, &greedy).await).await;
    assert!(!passes(&server, &greedy).await, "one more than before");
    ledger.ok(&["key", "set", &id, "--own", "corp-api-minute="]);
    until("the rule is gone", async || passes(&server, &greedy).await).await;
    assert_eq!(sandbox.calls("user/get").await, 5);
}

#[tokio::test]
async fn a_share_is_of_the_cap_that_holds_now() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "set", CORP, LIMIT, "10"]);
    let (_, batch) = key(&ledger, "batch", &["--max-share", "corp-api-minute=20%"]);
    let server = ledger.serve();
    for _ in 0..2 {
        assert!(passes(&server, &batch).await);
    }
    let problem = refusal(&server, &batch).await;
    assert_eq!(
        (&problem["rule"], &problem["used"], &problem["cap"]),
        (&json!("share"), &json!(2), &json!(2))
    );
    assert!(problem["detail"].as_str().unwrap().contains("this key's share"), "{problem}");
    for _ in 0..8 {
        assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], 0, "the others have the rest");
    }
    ledger.ok(&["limits", "set", CORP, LIMIT, "15"]);
    until("20 % of 15 is 3", async || passes(&server, &batch).await).await;
    assert!(!passes(&server, &batch).await);
}

fn learning(ledger: &Ledger, clock: &TestClock) -> Server {
    let mut command = ledger.serve_command(&[]);
    command.env("WECOM_LEDGER_PENALTIES_LEARN_CAPS", "true");
    command.env("WECOM_LEDGER_PENALTIES_LEARN_AFTER_DRIFTS", "2");
    clock.give_to(&mut command);
    ledger.serve_from(command)
}

/// How many calls pass until one is refused, and by whom.
async fn until_refused(server: &Server, api: &str) -> (usize, String) {
    for passed in 0.. {
        let answer = server.get(api, "userid=zhangsan").await;
        if answer["errcode"] != 0 {
            assert_eq!(answer["errcode"], 45009, "{answer}");
            return (passed, answer["errmsg"].as_str().unwrap().to_owned());
        }
    }
    unreachable!()
}

#[tokio::test]
async fn where_wecom_is_full_early_twice_its_real_cap_is_learned_until_an_operator_takes_it_back() {
    let clock = TestClock::new();
    let sandbox = Sandbox::with(&[], Some(&clock));
    sandbox.post("settings", json!({"limits": {"corp_api_per_minute": 4}})).await;
    let ledger = Ledger::new(sandbox.url());
    let mut server = learning(&ledger, &clock);
    let apis = ["user/get", "department/list"];
    for _ in 0..2 {
        for api in apis {
            let (passed, errmsg) = until_refused(&server, api).await;
            assert!(passed == 4 && !errmsg.contains("from wecom-ledger"), "{passed} {errmsg}");
        }
        clock.advance_ms(MINUTE_MS);
        for api in apis {
            until("one call is let in", async || server.get(api, "userid=zhangsan").await["errcode"] == 0)
                .await;
        }
        clock.advance_ms(MINUTE_MS);
    }
    let limits = server.rest(&ledger.admin_key, "/v1/limits").await;
    let learned = limits["learned"].as_array().unwrap();
    let shown = |row: &Value| json!([row["limit"], row["corp_id"], row["api"], row["cap"], row["before"]]);
    let expected = apis.map(|api| json!([LIMIT, CORP, api, 4, 1000]));
    assert_eq!(learned.iter().map(shown).collect::<Vec<_>>(), expected);
    let incidents = learned[0]["drifts"].as_array().unwrap().iter().map(|drift| drift["accepted"].clone());
    assert_eq!(incidents.collect::<Vec<_>>(), [json!(4), json!(4)]);

    server.process.kill();
    server = learning(&ledger, &clock);
    let asked = sandbox.calls("user/get").await;
    let (passed, errmsg) = until_refused(&server, "user/get").await;
    assert!(passed == 4 && errmsg.contains("as WeCom's refusals showed"), "{passed} {errmsg}");
    assert_eq!(
        sandbox.calls("user/get").await,
        asked + 4,
        "WeCom is not asked for more than it lets through"
    );
    let usage = server.rest(&ledger.admin_key, "/v1/usage?limit=corp-api-minute&api=user/get").await;
    assert_eq!((&usage["usage"][0]["rule"], &usage["usage"][0]["cap"]), (&json!("learned"), &json!(4)));
    assert!(ledger.ok(&["limits", "list"]).contains("learned from WeCom's refusals"));

    // WeCom lets more through now.
    sandbox.post("settings", json!({"limits": {"corp_api_per_minute": 1000}})).await;
    let seq = learned[0]["seq"].to_string();
    assert_eq!(ledger.json(&["limits", "restore", &seq]), json!({"restored": [learned[0]["seq"]]}));
    until("calls pass", async || server.get("user/get", "userid=zhangsan").await["errcode"] == 0).await;
    let restore = json!({"restore": learned[1]["seq"]});
    let url = format!("{}/v1/limits", server.url());
    let request = server.http.post(&url).bearer_auth(&ledger.admin_key).json(&restore);
    assert_eq!(request.try_clone().unwrap().send().await.unwrap().status(), 200);
    assert_eq!(request.send().await.unwrap().status(), 404, "it holds no more");
    let (first, second) = (server.get("department/list", "").await, server.get("department/list", "").await);
    assert_eq!((&first["errcode"], &second["errcode"]), (&json!(0), &json!(0)));
    assert_eq!(server.rest(&ledger.admin_key, "/v1/limits").await["learned"], json!([]));
    assert_eq!(ledger.json(&["limits", "restore", "--all"]), json!({"restored": []}));
}
