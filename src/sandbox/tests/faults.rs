use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{AGENT, Sandbox, errcode};

async fn send(sandbox: &Sandbox, token: &str) -> reqwest::Result<reqwest::Response> {
    let body = json!({"touser": "lisi", "msgtype": "text", "agentid": AGENT, "text": {"content": "hi"}});
    let request = sandbox.http.post(sandbox.url("/cgi-bin/message/send"));
    request.query(&[("access_token", token)]).json(&body).timeout(Duration::from_millis(300)).send().await
}

/// Starts a sandbox with one fault, for one call of message/send.
async fn with_fault(fault: Value) -> (Sandbox, String) {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let mut spec = json!({"path": "message/send", "times": 1});
    spec.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
    sandbox.control("faults", &spec).await;
    (sandbox, token)
}

async fn delivered(sandbox: &Sandbox) -> u64 {
    sandbox.show("messages").await["last"].as_u64().unwrap()
}

async fn last_record(sandbox: &Sandbox) -> Value {
    sandbox.show("requests").await["requests"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn a_delay_postpones_the_effect_or_only_the_answer() {
    for (when, at_once) in [("before", 0), ("after", 1)] {
        let (sandbox, token) = with_fault(json!({"kind": "delay", "delay_ms": 150, "when": when})).await;
        let begun = Instant::now();
        let (answer, early) = tokio::join!(send(&sandbox, &token), async {
            tokio::time::sleep(Duration::from_millis(70)).await;
            delivered(&sandbox).await
        });
        assert_eq!(errcode(&answer.unwrap().json().await.unwrap()), 0);
        assert!(begun.elapsed() >= Duration::from_millis(150));
        assert_eq!((early, delivered(&sandbox).await), (at_once, 1), "{when}");
    }
}

#[tokio::test]
async fn a_delayed_call_takes_effect_even_if_its_caller_has_gone() {
    let (sandbox, token) = with_fault(json!({"kind": "delay", "delay_ms": 500})).await;
    assert!(send(&sandbox, &token).await.unwrap_err().is_timeout());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(delivered(&sandbox).await, 1);
}

#[tokio::test]
async fn a_hang_after_the_effect_leaves_a_delivered_message_without_an_answer() {
    for (when, expected) in [("before", 0), ("after", 1)] {
        let (sandbox, token) = with_fault(json!({"kind": "hang", "when": when})).await;
        assert!(send(&sandbox, &token).await.unwrap_err().is_timeout());
        assert_eq!(delivered(&sandbox).await, expected);
        let record = last_record(&sandbox).await;
        assert_eq!((&record["outcome"], &record["errcode"]), (&json!("hang"), &Value::Null));
        assert_eq!(record["effect_errcode"], if when == "after" { json!(0) } else { Value::Null });
    }
}

#[tokio::test]
async fn hanging_calls_do_not_keep_the_sandbox_from_stopping() {
    let (sandbox, token) = with_fault(json!({"kind": "hang"})).await;
    let url = sandbox.url("/cgi-bin/message/send");
    let hanging = tokio::spawn(sandbox.http.post(url).query(&[("access_token", token)]).send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::time::timeout(Duration::from_secs(5), sandbox.stop()).await.expect("it stops");
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn a_status_comes_without_json() {
    let (sandbox, token) = with_fault(json!({"kind": "status", "status": 503})).await;
    let answer = send(&sandbox, &token).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.json::<Value>().await.is_err());
    assert_eq!(delivered(&sandbox).await, 0);
}

#[tokio::test]
async fn garbage_calls_itself_json() {
    let (sandbox, token) = with_fault(json!({"kind": "garbage", "times": 2, "when": "after"})).await;
    for _ in 0..2 {
        let answer = send(&sandbox, &token).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/json"));
        assert!(answer.json::<Value>().await.is_err());
    }
    assert_eq!(delivered(&sandbox).await, 2);
}

#[tokio::test]
async fn a_truncated_answer_promises_more_bytes_than_it_has() {
    let (sandbox, token) = with_fault(json!({"path": "user/get", "kind": "truncate", "when": "after"})).await;
    let wire = sandbox.on_the_wire(&format!("/cgi-bin/user/get?userid=lisi&access_token={token}")).await;
    let (head, body) = wire.split_once("\r\n\r\n").unwrap();
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body.len(), promised.parse::<usize>().unwrap() / 2);
}

#[tokio::test]
async fn a_closed_connection_carries_not_one_byte() {
    let (sandbox, token) = with_fault(json!({"path": "user/*", "kind": "close"})).await;
    let path = format!("/cgi-bin/user/get?userid=lisi&access_token={token}");
    assert_eq!(sandbox.on_the_wire(&path).await, "");
    assert!(sandbox.on_the_wire(&path).await.starts_with("HTTP/1.1 200"), "it happens once");
}

#[tokio::test]
async fn a_chosen_errcode_is_answered_after_the_skipped_calls() {
    let (sandbox, token) = with_fault(json!({"kind": "errcode", "errcode": 45033, "skip": 1})).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(errcode(&send(&sandbox, &token).await.unwrap().json().await.unwrap()));
    }
    assert_eq!(codes, [0, 45033, 0]);
    assert_eq!(delivered(&sandbox).await, 2);
    assert_eq!(sandbox.show("faults").await["faults"][0]["hits"], 1);
}

#[tokio::test]
async fn faults_that_make_no_sense_are_refused() {
    let sandbox = Sandbox::unlimited();
    for spec in [
        json!({"kind": "explode"}),
        json!({"kind": "delay", "probability": 2}),
        json!({"kind": "delay", "typo": 1}),
    ] {
        let answer = sandbox.http.post(sandbox.url("/sandbox/faults")).json(&spec).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{spec}");
    }
}
