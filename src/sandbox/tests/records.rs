use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{AGENT, CORP, Sandbox};
use crate::sandbox::random::hex;

#[tokio::test]
async fn every_request_is_in_the_log_once_and_without_its_secrets() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let calls = (0..200).map(|n| {
        let query = [("access_token", token.as_str()), ("userid", "lisi")];
        let request = sandbox.http.get(sandbox.url("/cgi-bin/user/get")).query(&query);
        request.header("x-request-id", format!("call-{n}")).send()
    });
    assert!(join_all(calls).await.into_iter().all(|answer| answer.is_ok()));
    let text = sandbox.show("requests").await.to_string();
    assert!(!text.contains(&token) && !text.contains("sandbox-secret"));
    let log: Value = serde_json::from_str(&text).unwrap();
    let records = log["requests"].as_array().unwrap();
    assert!(records.iter().enumerate().all(|(place, record)| record["n"] == place + 1), "dense from 1");
    let ids: BTreeSet<_> = records.iter().filter_map(|record| record["request_id"].as_str()).collect();
    assert_eq!((ids.len(), records.len()), (200, 201));
}

#[tokio::test]
async fn a_record_says_who_sent_what_and_how_it_ended() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let body = json!({"touser": "nobody", "msgtype": "text", "agentid": AGENT, "text": {"content": "hi"}});
    sandbox.post("message/send", &token, &body).await;
    let log = sandbox.show("requests?after=1").await;
    let record = &log["requests"][0];
    let sent = serde_json::to_vec(&body).unwrap();
    assert_eq!(record["body_sha256"], hex(&Sha256::digest(&sent)));
    assert_eq!(record["body_bytes"], sent.len());
    assert_eq!((&record["corp_id"], &record["agent_id"]), (&json!(CORP), &json!(AGENT)));
    assert_eq!((&record["api"], &record["method"]), (&json!("message/send"), &json!("POST")));
    assert_eq!(record["token"], hex(&Sha256::digest(&token)[..8]));
    assert_eq!((&record["errcode"], &record["outcome"]), (&json!(81013), &json!("answered")));
    assert_eq!(record["query"], json!(["access_token"]));
}

#[tokio::test]
async fn a_request_whose_body_breaks_off_is_logged_but_takes_no_effect() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let mut socket = TcpStream::connect(sandbox.address).await.unwrap();
    let head = format!(
        "POST /cgi-bin/message/send?access_token={token} HTTP/1.1\r\nhost: s\r\ncontent-length: 99\r\n\r\n{{"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    drop(socket);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let log = sandbox.show("requests?after=1").await;
    assert_eq!(log["requests"][0]["outcome"], "incomplete", "{log}");
    assert_eq!(sandbox.show("messages").await["last"], 0);
}

#[tokio::test]
async fn pages_follow_each_other_and_numbers_go_on_after_forgetting() {
    let sandbox = Sandbox::unlimited();
    for _ in 0..5 {
        sandbox.token().await;
    }
    let page = sandbox.show("requests?limit=2").await;
    assert_eq!((&page["next"], &page["last"]), (&json!(2), &json!(5)));
    let page = sandbox.show("requests?after=4&limit=2").await;
    assert_eq!((&page["next"], &page["requests"][0]["n"]), (&Value::Null, &json!(5)));
    sandbox.http.delete(sandbox.url("/sandbox/requests")).send().await.unwrap();
    sandbox.token().await;
    let page = sandbox.show("requests").await;
    assert_eq!((&page["first"], &page["requests"][0]["n"]), (&json!(6), &json!(6)));
    assert_eq!(sandbox.show("stats").await["gettoken"][format!("{CORP}/{AGENT}")], 6);
}

#[tokio::test]
async fn the_log_can_be_switched_off() {
    let sandbox = Sandbox::unlimited();
    sandbox.control("settings", &json!({"request_log": 0, "message_log_bytes": 0})).await;
    let token = sandbox.token().await;
    assert_eq!(sandbox.read(&token).await, 0);
    assert_eq!(sandbox.show("requests").await["requests"], json!([]));
    assert_eq!(sandbox.show("stats").await["requests"], 2);
}
