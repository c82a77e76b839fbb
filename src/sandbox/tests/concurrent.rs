use reqwest::Response;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Sandbox, errcode};
use crate::sandbox::Limits;

const API: &str = "externalcontact/mark_tag";

fn at_most(cap: u32) -> Limits {
    Limits { concurrent: Some([(API.to_owned(), cap)].into()), ..Limits::none() }
}

async fn call(sandbox: &Sandbox, token: &str) -> i64 {
    errcode(&sandbox.post(API, token, &json!({})).await)
}

/// A call that is not waited for.
fn send(sandbox: &Sandbox, token: &str) -> JoinHandle<reqwest::Result<Response>> {
    let request =
        sandbox.http.post(sandbox.url(&format!("/cgi-bin/{API}"))).query(&[("access_token", token)]);
    tokio::spawn(request.json(&json!({})).send())
}

#[tokio::test]
async fn a_sixth_call_at_the_same_time_is_refused() {
    for when in ["before", "after"] {
        let sandbox = Sandbox::limited(Limits::wecom_2023());
        let token = sandbox.token().await;
        let hang = json!({"path": API, "kind": "hang", "when": when, "times": 5});
        sandbox.control("faults", &hang).await;
        let hanging: Vec<_> = (0..5).map(|_| send(&sandbox, &token)).collect();
        sandbox.until("stats", |stats| stats["calls"][API] == 5).await;
        assert_eq!(sandbox.show("stats").await["over"], 0);
        assert_eq!(call(&sandbox, &token).await, 45033, "{when}");
        let stats = sandbox.show("stats").await;
        assert_eq!((&stats["over"], &stats["over_by_row"]), (&json!(1), &json!({"concurrent": 1})));
        let row = sandbox.row("concurrent").await;
        let shown = ["cap", "max_under_way", "under_way", "trips"].map(|name| row[name].as_u64().unwrap());
        assert_eq!(shown, [5, 6, 5, 1]);
        hanging.iter().for_each(JoinHandle::abort);
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_call_is_under_way_until_its_late_answer() {
    let sandbox = Sandbox::limited(at_most(1));
    let token = sandbox.token().await;
    let late = json!({"path": API, "kind": "late", "after_ms": 3_600_000, "times": 1, "seed": 1});
    sandbox.control("faults", &late).await;
    let first = send(&sandbox, &token);
    sandbox.until("stats", |stats| stats["calls"][API] == 1).await;
    assert_eq!(call(&sandbox, &token).await, 45033);
    first.abort();
    sandbox.stop().await;
}

#[tokio::test]
async fn an_answered_call_gives_its_place_back_whatever_struck_it() {
    let sandbox = Sandbox::limited(at_most(1));
    let token = sandbox.token().await;
    for fault in [
        json!({"kind": "delay", "delay_ms": 1}),
        json!({"kind": "late", "before_ms": 1, "after_ms": 1}),
        json!({"kind": "status"}),
        json!({"kind": "errcode", "when": "after"}),
    ] {
        sandbox.control("faults", &fault).await;
        send(&sandbox, &token).await.unwrap().unwrap();
        sandbox.http.delete(sandbox.url("/sandbox/faults")).send().await.unwrap();
        assert_eq!(call(&sandbox, &token).await, 0, "{fault}");
    }
    let calls = (0..4).map(|_| call(&sandbox, &token));
    let codes: Vec<i64> = futures_util::future::join_all(calls).await;
    assert_eq!(codes, [0; 4], "without a delay they follow each other");
}

#[tokio::test]
async fn a_refused_call_takes_no_place_and_none_of_the_other_limits() {
    let concurrent = Some([("user/get".to_owned(), 0)].into());
    let limits = Limits { concurrent, corp_api_per_minute: Some(1), ..Limits::none() };
    let sandbox = Sandbox::limited(limits);
    let token = sandbox.token().await;
    assert_eq!((sandbox.read(&token).await, sandbox.read(&token).await), (45033, 45033));
    let limits = json!({"preset": "none", "corp_api_per_minute": 1, "concurrent": Value::Null});
    sandbox.control("settings", &json!({ "limits": limits })).await;
    assert_eq!((sandbox.read(&token).await, sandbox.read(&token).await), (0, 45009));
}
