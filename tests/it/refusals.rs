//! What the gateway refuses: clearly, in WeCom's shape, and without sending anything.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::support::{AGENT, CORP, Entry, Ledger, SECRET, Sandbox, Server, TestClock, raw, until};

fn kinds<'a>(entries: &'a [Entry], kind: &str) -> Vec<&'a Entry> {
    entries.iter().filter(|entry| entry["kind"] == kind).collect()
}

async fn errcode_with(server: &Server, token: &str) -> Value {
    let url = format!("{}/cgi-bin/user/get?userid=zhangsan&access_token={token}", server.url());
    server.http.get(url).send().await.unwrap().json::<Value>().await.unwrap()["errcode"].clone()
}

#[tokio::test]
async fn what_is_no_canonical_call_is_refused_and_not_forwarded() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let token = server.token().await;
    assert_eq!(errcode_with(&server, &token).await, 0);
    let (arrived, recorded) = (sandbox.requests().await.len(), ledger.entries(&server).await.len());
    for path in [
        "/cgi-bin//user/get",
        "/cgi-bin/user//get",
        "/cgi-bin/user/get/",
        "/cgi-bin/./user/get",
        "/cgi-bin/x/../user/get",
        "/cgi-bin/../cgi-bin/user/get",
        "/cgi-bin/x/%2e%2e/user/get",
        "/cgi-bin/user%2fget",
        "/cgi-bin/us%65r/get",
        "/cgi-bin/user;x/get",
        "/cgi-bin/User/Get",
        "/cgi-bin/MESSAGE/send",
        "/cgi-bin/",
        "/cgi-bin",
        "/CGI-BIN/user/get",
        "//cgi-bin/user/get",
        "/cgi-bin/gettoken/",
        "/cgi-bin/GetToken",
    ] {
        let query =
            format!("?userid=zhangsan&access_token={token}&corpid={CORP}&corpsecret={}", ledger.app_key);
        let answer = raw::get(server.url(), &(path.to_owned() + &query)).await;
        assert!(answer.whole && !answer.head.contains(" 500 "), "{path}: {}", answer.head);
        let body = String::from_utf8_lossy(&answer.body);
        let refused = answer.status() == 404 || answer.json()["errcode"] == 40035;
        assert!(refused && !body.contains("\"errcode\":0"), "{path}: {} {body}", answer.head);
    }
    for query in ["&debug=1", "&debug=true", "&DEBUG=1", "&%64ebug=1", "&debug=0&debug=1", "&x=1;debug=1"] {
        let target = format!("/cgi-bin/user/get?userid=zhangsan&access_token={token}{query}");
        let answer = raw::get(server.url(), &target).await.json();
        assert_eq!(answer["errcode"], 40035, "{query}: {answer}");
    }
    for method in ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "get"] {
        let head = format!("{method} /cgi-bin/user/get?userid=zhangsan&access_token={token} HTTP/1.1");
        let answer = raw::exchange(server.url(), &(head + "\r\nconnection: close"), b"").await;
        assert!(!String::from_utf8_lossy(&answer.body).contains("\"errcode\":0"), "{method}");
    }
    assert_eq!(sandbox.requests().await.len(), arrived, "something was forwarded");
    assert_eq!(ledger.entries(&server).await.len(), recorded, "something was recorded");
}

#[tokio::test]
async fn unknown_apis_are_forwarded_but_only_a_thousand_of_them_have_a_name_in_the_ledger() {
    const CALLS: usize = 1_010;
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    server.token().await;
    let server = &server;
    let calls =
        (0..CALLS).map(|number| async move { server.get(&format!("new_thing/number_{number}"), "").await });
    let answers: Vec<Value> = stream::iter(calls).buffer_unordered(64).collect().await;
    assert!(answers.iter().all(|answer| answer["errcode"] == 0), "{:?}", answers[0]);
    let entries = ledger.entries(server).await;
    let pendings = kinds(&entries, "call.pending");
    assert_eq!(pendings.len(), CALLS);
    assert_eq!(pendings.iter().filter(|pending| pending["api"] == "(other)").count(), CALLS - 1_000);
    let reached: BTreeSet<String> = sandbox
        .requests()
        .await
        .iter()
        .map(|request| request["api"].as_str().unwrap().to_owned())
        .filter(|api| api.starts_with("new_thing/"))
        .collect();
    assert_eq!(reached.len(), CALLS);
    // Known ones keep their own counters.
    assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], 0);
    let entries = ledger.entries(server).await;
    assert_eq!(kinds(&entries, "call.pending").last().unwrap()["api"], "user/get");
}

#[tokio::test]
async fn over_the_limit_every_call_is_refused_in_wecoms_shape_and_counted() {
    const CALLS: u64 = 1_300;
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let clock = TestClock::new();
    let server = ledger.serve_with(&[], Some(&clock));
    server.token().await;
    let url = format!("{}/cgi-bin/user/get?userid=zhangsan", server.url());
    let call = || async { server.http.get(&url).bearer_auth(&ledger.app_key).send().await.unwrap() };
    let calls: Vec<_> = stream::iter((0..CALLS).map(|_| call())).buffer_unordered(64).collect().await;
    let (mut admitted, mut refused) = (0, 0);
    for response in calls {
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        let header = |name: &str| headers[name].to_str().unwrap_or_else(|_| panic!("{name}")).to_owned();
        assert!(header("ratelimit-policy").starts_with("\"corp-api-minute\";q=1000;w=60"), "{headers:?}");
        let answer: Value = response.json().await.unwrap();
        if answer["errcode"] == 0 {
            admitted += 1;
            continue;
        }
        refused += 1;
        assert_eq!(answer["errcode"], 45009, "{answer}");
        assert!(answer["errmsg"].as_str().unwrap().starts_with("api freq out of limit"), "{answer}");
        assert!(header("ratelimit").starts_with("\"corp-api-minute\";r=0;t="), "{headers:?}");
        assert_eq!(header("error-code"), "45009");
        let wait: u64 = header("retry-after").parse().unwrap();
        assert!((1..=61).contains(&wait), "{wait}");
    }
    assert_eq!(sandbox.calls("user/get").await, admitted);
    assert!((980..=1000).contains(&admitted), "{admitted}");
    // Another API has a counter of its own.
    assert_eq!(server.get("department/list", "").await["errcode"], 0);
    let counted = async || -> u64 {
        let entries = ledger.entries(&server).await;
        kinds(&entries, "call.refused").iter().map(|entry| entry["count"].as_u64().unwrap()).sum()
    };
    until("every refusal is on record", async || counted().await == refused).await;
    let entries = ledger.entries(&server).await;
    let refusals = kinds(&entries, "call.refused");
    assert!((refusals.len() as u64) < refused / 5, "{} entries for {refused} refusals", refusals.len());
    for entry in refusals {
        assert_eq!((&entry["limit"], &entry["errcode"]), (&json!("corp-api-minute"), &json!(45009)));
    }
    sandbox.post("clock", json!({"advance_ms": 70_000})).await;
    clock.advance_ms(70_000);
    until("the window has passed", async || server.get("user/get", "userid=zhangsan").await["errcode"] == 0)
        .await;
}

#[tokio::test]
async fn a_token_that_is_missing_unknown_past_its_life_or_revoked_has_wecoms_errcode() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let clock = TestClock::new();
    let server = ledger.serve_with(&[], Some(&clock));
    let url = format!("{}/cgi-bin/user/get?userid=zhangsan", server.url());
    let missing: Value = server.http.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(missing["errcode"], 41001);
    let wrong: Value =
        server.http.get(&url).bearer_auth("wl_nothing").send().await.unwrap().json().await.unwrap();
    assert_eq!(wrong["errcode"], 40014);
    let token = server.token().await;
    let mut changed = token.clone();
    changed.replace_range(20..21, if &token[20..21] == "A" { "B" } else { "A" });
    for unknown in ["x", "wlg_", &changed, &ledger.app_key, &ledger.admin_key, SECRET] {
        assert_eq!(errcode_with(&server, unknown).await, 40014, "{unknown}");
    }
    let conflict = format!("{url}&access_token={token}&access_token={changed}");
    let conflict: Value = server.http.get(conflict).send().await.unwrap().json().await.unwrap();
    assert_eq!(conflict["errcode"], 40035);
    assert_eq!(errcode_with(&server, "").await, 41001);
    assert_eq!(sandbox.calls("user/get").await, 0);
    assert_eq!(errcode_with(&server, &token).await, 0);

    clock.advance_ms(7_200_000 + 61_000);
    assert_eq!(errcode_with(&server, &token).await, 42001);
    let fresh = server.token().await;
    assert_eq!(errcode_with(&server, &fresh).await, 0);
    let keys = ledger.json(&["key", "list"]);
    let keys = keys.as_array().or_else(|| keys.as_object()?.values().find_map(Value::as_array)).unwrap();
    let key = keys.iter().find(|key| key["name"] == "app").unwrap();
    ledger.ok(&["key", "revoke", &key["id"].to_string()]);
    until("the key is revoked", async || errcode_with(&server, &fresh).await == 40014).await;
    assert_eq!(server.gettoken().await["errcode"], 40001);
    assert_eq!(sandbox.calls("user/get").await, 2);
}

#[tokio::test]
async fn a_key_can_do_what_it_was_made_for_and_nothing_else() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    ledger.put_app("1000002", "sandbox-secret-1000002");
    let server = ledger.serve();
    let bearer = async |key: &str, app: Option<&str>| -> Value {
        let mut request = server.http.get(format!("{}/cgi-bin/user/get?userid=zhangsan", server.url()));
        if let Some(app) = app {
            request = request.header("x-wecom-app", format!("{CORP}/{app}"));
        }
        request.bearer_auth(key).send().await.unwrap().json().await.unwrap()
    };
    let reporter = ledger.create_key("reporter", "report", &[AGENT]);
    let both = ledger.create_key("both", "call", &[AGENT, "1000002"]);
    assert_eq!(bearer(&reporter, None).await["errcode"], 48002);
    assert_eq!(server.gettoken_as(&reporter).await["errcode"], 48002);
    assert_eq!(bearer(&ledger.app_key, Some("1000002")).await["errcode"], 48002);
    assert_eq!(bearer(&ledger.app_key, Some("404")).await["errcode"], 48002);
    assert_eq!(server.gettoken_as(&both).await["errcode"], 40001);
    assert_eq!(server.gettoken_as("sandbox-secret-1000003").await["errcode"], 40001);
    assert_eq!(server.get("get_jsapi_ticket", "").await["errcode"], 48002);
    assert_eq!(server.get("service/get_provider_token", "").await["errcode"], 48002);
    assert!(sandbox.requests().await.is_empty(), "something was forwarded");
    for app in [AGENT, "1000002"] {
        assert_eq!(bearer(&both, Some(app)).await["errcode"], 0);
    }
    let entries = ledger.entries(&server).await;
    assert!(kinds(&entries, "call.refused").iter().all(|entry| entry["errcode"] == 48002));
}

#[tokio::test]
async fn a_secret_that_wecom_rejects_is_tried_once_until_it_changes_or_somebody_resets_it() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let get = async || server.get("user/get", "userid=zhangsan").await["errcode"].clone();
    let app = format!("{CORP}/{AGENT}");
    let agent: u32 = AGENT.parse().unwrap();
    assert_eq!(get().await, 0);
    let set = async |secret: &str| {
        sandbox.post("secret", json!({"corp_id": CORP, "agent_id": agent, "secret": secret})).await;
    };
    set("new-secret-of-wecom").await;
    for _ in 0..3 {
        assert_eq!(get().await, 40001);
        assert_eq!(join_all((0..5).map(|_| server.gettoken())).await[4]["errcode"], 40001);
    }
    assert_eq!(sandbox.calls("gettoken").await, 2, "a bad secret was tried again");
    ledger.ok(&["app", "reset", &app]);
    until("one more try", async || {
        assert_eq!(get().await, 40001);
        sandbox.calls("gettoken").await == 3
    })
    .await;
    assert_eq!(get().await, 40001);
    assert_eq!(sandbox.calls("gettoken").await, 3);
    ledger.put_app(AGENT, "new-secret-of-wecom");
    until("the new secret is used", async || get().await == 0).await;
    assert_eq!(sandbox.calls("gettoken").await, 4);
}

#[tokio::test]
async fn a_secret_that_was_right_after_all_needs_only_a_reset() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let agent: u32 = AGENT.parse().unwrap();
    for (secret, errcode) in [("another-one", 40001), (SECRET, 40001)] {
        sandbox.post("secret", json!({"corp_id": CORP, "agent_id": agent, "secret": secret})).await;
        assert_eq!(server.gettoken().await["errcode"], errcode);
    }
    ledger.ok(&["app", "reset", &format!("{CORP}/{AGENT}")]);
    until("the reset is seen", async || server.gettoken().await["errcode"] == 0).await;
    assert_eq!(sandbox.calls("gettoken").await, 2);
}
