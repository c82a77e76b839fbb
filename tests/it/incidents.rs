//! Somebody else uses up a limit that we share: it is noticed, nobody asks on, and the ledger says who it was not.

use serde_json::{Value, json};

use crate::support::{CORP, Entry, Ledger, Sandbox, TestClock, until};

/// Another app's program, which calls WeCom past the ledger.
struct Hidden<'a> {
    sandbox: &'a Sandbox,
    http: reqwest::Client,
    token: String,
}

impl<'a> Hidden<'a> {
    async fn new(sandbox: &'a Sandbox) -> Self {
        let http = crate::support::client();
        let secret = "sandbox-secret-1000002";
        let url = format!("{}/cgi-bin/gettoken?corpid={CORP}&corpsecret={secret}", sandbox.url());
        let answer: Value = http.get(url).send().await.unwrap().json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        Self { sandbox, http, token }
    }

    async fn get(&self) -> i64 {
        let (url, token) = (self.sandbox.url(), &self.token);
        let url = format!("{url}/cgi-bin/user/get?userid=zhangsan&access_token={token}");
        let answer: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        answer["errcode"].as_i64().unwrap()
    }
}

fn kinds<'a>(entries: &'a [Entry], kind: &str) -> Vec<&'a Entry> {
    entries.iter().filter(|entry| entry["kind"] == kind).collect()
}

#[tokio::test]
async fn what_a_hidden_client_spends_is_seen_as_drift_and_wecom_is_left_alone_until_it_lets_calls_in() {
    let clock = TestClock::new();
    let sandbox = Sandbox::with(&[], Some(&clock));
    sandbox.post("settings", json!({"limits": {"corp_api_per_minute": 10}})).await;
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve_with(&[], Some(&clock));
    let get = async || server.get("user/get", "userid=zhangsan").await["errcode"].as_i64().unwrap();
    let hidden = Hidden::new(&sandbox).await;
    for _ in 0..2 {
        assert_eq!(get().await, 0);
    }
    for _ in 0..8 {
        assert_eq!(hidden.get().await, 0);
    }
    assert_eq!(get().await, 45009, "the sandbox's limit is used up");

    let incidents = server.rest(&ledger.admin_key, "/v1/incidents").await;
    let seq = incidents["incidents"][0]["seq"].as_u64().unwrap();
    let incident = server.rest(&ledger.admin_key, &format!("/v1/incidents/{seq}")).await;
    let facts = ["corp_id", "api", "level", "errcode", "limit", "over"].map(|name| incident[name].clone());
    assert_eq!(facts.to_vec(), *json!([CORP, "user/get", "minute", 45009, null, false]).as_array().unwrap());
    assert!(incident["from_ip"].is_string(), "{incident}");
    let counted = incident["counted"].as_array().unwrap();
    let minute = counted.iter().find(|it| it["limit"] == "corp-api-minute").unwrap();
    assert_eq!((&minute["used"], &minute["cap"]), (&json!(3), &json!(1000)));
    assert!(incident["summary"].as_str().unwrap().contains("past this service"), "{incident}");
    let spent = &incident["spent"][0];
    assert_eq!((&spent["spent"], &spent["spenders"][0]["api_key_name"]), (&json!(3), &json!("app")));

    let reached = sandbox.calls("user/get").await;
    for _ in 0..5 {
        assert_eq!(get().await, 45009);
    }
    let listed = ledger.json(&["penalty", "list"]);
    assert_eq!(
        (&listed["penalties"][0]["seq"], &listed["penalties"][0]["state"]),
        (&json!(seq), &json!("blocked"))
    );
    assert_eq!(sandbox.calls("user/get").await, reached, "WeCom was asked while it blocks");
    assert_eq!(server.get("department/list", "").await["errcode"], 0, "another API");

    clock.advance_ms(61_000);
    until("the time has passed", async || get().await == 0).await;
    let ended = kinds(&ledger.entries(&server).await, "penalty.ended").len();
    assert_eq!(ended, 1);
    assert_eq!(sandbox.calls("user/get").await, reached + 1, "one call tried");
    for _ in 0..5 {
        assert_eq!(get().await, 0);
    }
    let shown = ledger.ok(&["incidents", &seq.to_string()]);
    assert!(shown.contains("we had counted only 3 of 1000 in corp-api-minute"), "{shown}");
    assert!(ledger.json(&["incidents"])["incidents"][0]["over"].as_bool().unwrap());
}

#[tokio::test]
async fn an_operator_who_knows_better_clears_a_penalty() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    server.token().await;
    sandbox.fault(json!({"path": "user/get", "kind": "errcode", "errcode": 45033, "times": 1})).await;
    sandbox.fault(json!({"path": "department/list", "kind": "errcode", "errcode": 45009, "times": 1})).await;
    assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], 45033);
    assert_eq!(server.get("department/list", "").await["errcode"], 45009);
    assert_eq!(server.get("department/list", "").await["errcode"], 45009);
    let wrong = ledger.run(&["penalty", "clear", "1"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("penalty list"));
    let cleared = ledger.json(&["penalty", "clear", "--all"]);
    assert_eq!(cleared["cleared"].as_array().unwrap().len(), 2, "{cleared}");
    until("the clearance is seen", async || server.get("department/list", "").await["errcode"] == 0).await;
    assert_eq!(sandbox.calls("department/list").await, 2);
}
