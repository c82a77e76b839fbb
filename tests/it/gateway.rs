//! The gateway's everyday: tokens, calls, refusals, healing.

use serde_json::Value;

use crate::support::{CORP, Ledger, SECRET, Sandbox};

fn kinds<'a>(entries: &'a [Value], kind: &str) -> Vec<&'a Value> {
    entries.iter().filter(|entry| entry["kind"] == kind).collect()
}

#[tokio::test]
async fn a_client_calls_with_a_gateway_token_and_both_ends_of_the_call_are_on_record() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let token = server.token().await;
    let url = format!("{}/cgi-bin/user/get?access_token={token}&userid=zhangsan", server.url());
    let answer: Value = server.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["errcode"], 0, "{answer}");

    let entries = ledger.entries(&server).await;
    let pending = kinds(&entries, "call.pending");
    let posted = kinds(&entries, "call.posted");
    assert_eq!((pending.len(), posted.len()), (1, 1));
    assert_eq!(pending[0]["api"], "user/get");
    assert_eq!(pending[0]["corp_id"], CORP);
    assert_eq!(posted[0]["pending_seq"], pending[0]["seq"]);
    assert_eq!(posted[0]["errcode"], 0);
    assert_eq!(kinds(&entries, "credential.pending").len(), 1);
    assert_eq!(kinds(&entries, "credential.issued").len(), 1);
}

#[tokio::test]
async fn the_apps_real_secret_works_until_it_changes() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let token = server.gettoken_as(SECRET).await["access_token"].as_str().unwrap().to_owned();
    let url = format!("{}/cgi-bin/user/get?access_token={token}&userid=zhangsan", server.url());
    let call = async || -> Value { server.http.get(&url).send().await.unwrap().json().await.unwrap() };
    assert_eq!(call().await["errcode"], 0);
    ledger.put_app(crate::support::AGENT, "another-secret");
    assert_eq!(call().await["errcode"], 40014);
    assert_eq!(server.gettoken_as(SECRET).await["errcode"], 40001);
}

#[tokio::test]
async fn an_ended_token_is_refreshed_once_and_the_call_repeated_once() {
    for errcode in [40014, 42001] {
        let sandbox = Sandbox::start();
        let ledger = Ledger::new(sandbox.url());
        let server = ledger.serve();
        assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], 0);
        sandbox.revoke(errcode).await;
        assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], 0);
        assert_eq!(sandbox.calls("gettoken").await, 2);
        assert_eq!(sandbox.calls("user/get").await, 3);
        let entries = ledger.entries(&server).await;
        let retry = kinds(&entries, "call.pending")[2];
        assert_eq!(retry["retry_of"], kinds(&entries, "call.pending")[1]["seq"]);
        assert_eq!(kinds(&entries, "call.posted")[1]["errcode"], errcode);
        assert_eq!(kinds(&entries, "credential.invalidated").len(), 1);
    }
}
