//! Calls that clients make themselves.

use std::task::Poll;

use actix_web::test::TestRequest;
use serde_json::json;

use super::tests::{APPS, World};
use crate::ledger::Command;
use crate::ledger::command::{Admit, ApiKeyChange, Caller, InLine, Outcome};
use crate::ledger::entry::Scope;
use crate::ledger::{Kind, Reply};

#[tokio::test]
async fn a_call_is_reserved_and_posted_with_what_wecom_said() {
    let world = World::new().await;
    let (id, key) = world.key(&[Scope::Call], &APPS[..1]).await;
    let order = json!({"app": APPS[0], "api": "message/send", "method": "POST", "timeout_seconds": 5,
        "recipients": {"touser": "zhangsan"}});
    let reserved = world.post("/v1/calls", &key, &order).await;
    assert_eq!(reserved.status, 201);
    let call = reserved.body["call_id"].as_u64().unwrap();
    let expires_at = reserved.body["expires_at"].clone();
    assert!(chrono::DateTime::parse_from_rfc3339(expires_at.as_str().unwrap()).is_ok(), "{expires_at}");
    let expected = json!({"call_id": call, "timeout_seconds": 5, "expires_at": expires_at, "limit": "corp-api-minute", "used": 1,
        "cap": 1000, "remaining": 999});
    assert_eq!(reserved.body, expected);
    let pending = world.state.reader.entry(call).await.unwrap().unwrap();
    assert_eq!(
        (pending.kind, pending.api_key, pending.timeout_ms),
        (Kind::CallPending, Some(id), Some(5000))
    );

    let answer = json!({"errcode": 81013, "errmsg": "user & party & tag all invalid, from ip: 203.0.113.7",
        "invaliduser": "", "latency_us": 1234});
    let posted = world.post(&format!("/v1/calls/{call}/post"), &key, &answer).await;
    assert_eq!(posted.status, 200);
    let entry = world.get(&format!("/v1/entries/{}", posted.body["seq"]), &world.admin).await.body;
    assert_eq!(entry["kind"], "call.posted");
    assert_eq!((&entry["pending_seq"], &entry["errcode"]), (&json!(call), &json!(81013)));
    assert_eq!((&entry["latency_us"], &entry["from_ip"]), (&json!(1234), &json!("203.0.113.7")));

    let again = world.post(&format!("/v1/calls/{call}/post"), &key, &json!({"errcode": 0})).await;
    assert_eq!(again.problem(), (409, "call-not-pending"));
}

#[tokio::test]
async fn a_voided_call_gives_back_what_it_took() {
    let world = World::new().await;
    for _ in 0..3 {
        let call = world.reserve(&world.admin, APPS[0]).await;
        let voided = world
            .post(&format!("/v1/calls/{call}/void"), &world.admin, &json!({"reason": "not needed"}))
            .await;
        assert_eq!(voided.status, 200);
    }
    let reserved = world.post("/v1/calls", &world.admin, &json!({"app": APPS[0], "api": "user/get"})).await;
    assert_eq!(reserved.body["used"], 1);
}

#[tokio::test]
async fn a_full_limit_refuses_and_says_until_when() {
    let world = World::new().await;
    let cap =
        Command::PutCap { corp_id: "corp1".to_owned(), limit: "corp-api-minute".to_owned(), cap: Some(2) };
    world.act(cap).await;
    for _ in 0..2 {
        let call = world.reserve(&world.admin, APPS[0]).await;
        world.post(&format!("/v1/calls/{call}/post"), &world.admin, &json!({"errcode": 0})).await;
    }
    let refused =
        world.post("/v1/calls", &world.admin, &json!({"app": APPS[0], "api": "message/send"})).await;
    assert_eq!(refused.problem(), (429, "limit-exceeded"));
    let shown = ["limit", "used", "cap", "window"].map(|name| refused.body[name].clone());
    assert_eq!(shown, [json!("corp-api-minute"), json!(2), json!(2), json!("60s")]);
    let retry_at = chrono::DateTime::parse_from_rfc3339(refused.body["retry_at"].as_str().unwrap()).unwrap();
    let wait = (retry_at.to_utc() - chrono::Utc::now()).num_seconds();
    assert!((55..=62).contains(&wait), "{wait}");
    let retry_after: i64 = refused.header("retry-after").parse().unwrap();
    assert!((wait..=wait + 2).contains(&retry_after), "{retry_after}");
    assert!(refused.header("ratelimit").starts_with("\"corp-api-minute\";r=0;t="));
    assert_eq!(refused.header("ratelimit-policy"), "\"corp-api-minute\";q=2;w=60");
    // Another app of another corp is not concerned.
    world.reserve(&world.admin, APPS[1]).await;
}

#[tokio::test]
async fn only_the_key_that_reserved_a_call_can_settle_it() {
    let world = World::new().await;
    let (_, key) = world.key(&[Scope::Call], &[]).await;
    let (_, other) = world.key(&[Scope::Call], &[]).await;
    let call = world.reserve(&key, APPS[0]).await;
    for end in ["post", "void"] {
        let path = format!("/v1/calls/{call}/{end}");
        assert_eq!(world.post(&path, &other, &json!({})).await.problem(), (409, "call-not-pending"));
        assert_eq!(world.post(&path, &world.admin, &json!({})).await.problem(), (409, "call-not-pending"));
    }
    assert_eq!(world.post("/v1/calls/999999/post", &key, &json!({})).await.problem(), (404, "not-found"));
    assert_eq!(world.post("/v1/calls/x/post", &key, &json!({})).await.problem(), (404, "not-found"));
    assert_eq!(world.post("/v1/calls/1/void", &key, &json!({})).await.problem(), (409, "call-not-pending"));
    assert_eq!(world.post(&format!("/v1/calls/{call}/void"), &key, &json!({})).await.status, 200);
}

/// It would give back what WeCom has counted.
#[tokio::test]
async fn a_client_cannot_void_a_call_that_the_gateway_makes() {
    let world = World::new().await;
    let (id, key) = world.key(&[Scope::Call], &[]).await;
    let app = world.state.ledger.directory().app("corp1", "1000002").unwrap().0;
    let admit = Command::Admit(Admit {
        caller: Caller::Key(id),
        app,
        api: "message/send".to_owned(),
        method: "POST".to_owned(),
        ask: crate::ledger::command::Ask::default(),
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: 60_000,
        request_bytes: 0,
        request_sha256: None,
        once: None,
        line: InLine::default(),
    });
    let Reply::Admitted { pending, .. } = world.state.ledger.decide(admit).await.unwrap() else { panic!() };
    let voided = world.post(&format!("/v1/calls/{pending}/void"), &key, &json!({})).await;
    assert_eq!(voided.problem(), (409, "call-not-pending"));
    let settle =
        Command::Settle { pending, outcome: Outcome::Voided { reason: "mine".to_owned() }, caller: None };
    assert!(matches!(world.state.ledger.decide(settle).await, Ok(Reply::Settled { .. })));
}

#[tokio::test]
async fn a_key_is_held_to_its_apps_and_apis() {
    let world = World::new().await;
    let (_, key) = world.key(&[Scope::Call], &APPS[..1]).await;
    let head = world.state.ledger.head();
    let order = json!({"app": APPS[1], "api": "message/send"});
    assert_eq!(world.post("/v1/calls", &key, &order).await.problem(), (403, "not-allowed"));
    let refused = world.state.reader.entry(head + 1).await.unwrap().unwrap();
    assert_eq!(refused.kind, Kind::CallRefused);
    let order = json!({"app": "corp9/1", "api": "message/send"});
    assert_eq!(world.post("/v1/calls", &key, &order).await.problem(), (404, "unknown-app"));
}

#[tokio::test]
async fn a_body_that_does_not_fit_changes_nothing() {
    let world = World::new().await;
    let head = world.state.ledger.head();
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"app":"corp1/1000002"}"#,
        r#"{"app":"corp1","api":"user/get"}"#,
        r#"{"app":"corp1/1000002","api":"/cgi-bin/user/get"}"#,
        r#"{"app":"corp1/1000002","api":"User/Get"}"#,
        r#"{"app":"corp1/1000002","api":"user/get","method":"PUT"}"#,
        r#"{"app":"corp1/1000002","api":"user/get","timeout_seconds":0}"#,
        r#"{"app":"corp1/1000002","api":"user/get","timeout_seconds":3601}"#,
        r#"{"app":"corp1/1000002","api":"user/get","timout_seconds":5}"#,
    ] {
        let request = TestRequest::post().uri("/v1/calls").set_payload(body);
        assert_eq!(world.send(request, &world.admin).await.problem(), (400, "invalid-body"), "{body}");
    }
    let request = TestRequest::post().uri("/v1/calls").set_payload("x".repeat(70_000));
    assert_eq!(world.send(request, &world.admin).await.problem(), (413, "body-too-large"));
    assert_eq!(world.state.ledger.head(), head);
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_no_outcome() {
    let world = World::new().await;
    let call = world.reserve(&world.admin, APPS[0]).await;
    let path = format!("/v1/calls/{call}/post");
    let (admin, errcode) = (world.admin.clone(), json!({"errcode": 0}));
    {
        let _busy = world.busy_committer().await;
        let mut request = Box::pin(world.post(&path, &admin, &errcode));
        // Polled until it waits for the ledger, then dropped, as actix does with the handler of a lost connection.
        let polled = std::future::poll_fn(|context| Poll::Ready(request.as_mut().poll(context)));
        assert!(polled.await.is_pending());
    }
    let again = world.post(&path, &admin, &errcode).await;
    assert_eq!(again.problem(), (409, "call-not-pending"));
}

#[tokio::test]
async fn a_key_that_is_revoked_can_reserve_nothing_more() {
    let world = World::new().await;
    let (id, key) = world.key(&[Scope::Call], &[]).await;
    world.reserve(&key, APPS[0]).await;
    world.act(Command::SetApiKey { api_key: id, change: ApiKeyChange::Revoke }).await;
    let order = json!({"app": APPS[0], "api": "message/send"});
    assert_eq!(world.post("/v1/calls", &key, &order).await.problem(), (401, "unauthorized"));
}

#[tokio::test]
async fn what_would_be_ignored_or_never_match_is_refused_with_advice() {
    let world = World::new().await;
    let path = json!({"app": APPS[0], "api": "/cgi-bin/message/send"});
    let answer = world.post("/v1/calls", &world.admin, &path).await;
    assert!(answer.text.contains("leave /cgi-bin/ out: message/send"), "{}", answer.text);
    let answer = world.get("/v1/usage", "wlg_whatever").await;
    assert!(answer.text.contains("this is a gateway token"), "{}", answer.text);
}

#[tokio::test]
async fn what_fetches_access_tokens_can_not_be_reserved() {
    let world = World::new().await;
    for api in ["gettoken", "service/get_corp_token"] {
        let order = json!({"app": APPS[0], "api": api});
        assert_eq!(world.post("/v1/calls", &world.admin, &order).await.problem(), (400, "invalid-body"));
        assert_eq!(
            world.post("/v1/calls/check", &world.admin, &order).await.problem(),
            (400, "invalid-body")
        );
    }
}
