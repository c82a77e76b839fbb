//! Programs without an SDK: an API key as bearer, the app in a header, and no gettoken.

use serde_json::Value;

use crate::support::{AGENT, CORP, Ledger, Sandbox, Server};

const OTHER: &str = "1000002";

async fn agent(server: &Server, headers: &[(&str, &str)], agent: &str) -> Value {
    let url = format!("{}/cgi-bin/agent/get?agentid={agent}", server.url());
    let request =
        headers.iter().fold(server.http.get(url), |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn a_key_for_several_apps_names_the_one_that_it_acts_for() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    ledger.put_app(OTHER, "sandbox-secret-1000002");
    let bearer = format!("Bearer {}", ledger.create_key("both", "call", &[AGENT, OTHER]));
    let server = ledger.serve();
    for named in [AGENT, OTHER] {
        let app = format!("{CORP}/{named}");
        let headers = [("authorization", bearer.as_str()), ("x-wecom-app", app.as_str())];
        let answer = agent(&server, &headers, named).await;
        assert_eq!(answer["errcode"], 0, "{answer}");
        assert_eq!(answer["agentid"], named.parse::<u32>().unwrap());
    }
    let answer = agent(&server, &[("authorization", &bearer)], AGENT).await;
    assert_eq!(answer["errcode"], 41001, "{answer}");
    assert!(answer["errmsg"].as_str().unwrap().contains("X-Wecom-App"), "{answer}");

    let calls = sandbox.requests().await.into_iter().filter(|request| request["api"] == "agent/get");
    let shown: Vec<_> = calls.map(|call| (call["agent_id"].clone(), call["query"].clone())).collect();
    let query = serde_json::json!(["access_token", "agentid"]);
    assert_eq!(shown, [(1_000_001.into(), query.clone()), (1_000_002.into(), query)]);
}

#[tokio::test]
async fn a_key_for_one_app_needs_not_name_it_and_can_name_no_other() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    ledger.put_app(OTHER, "sandbox-secret-1000002");
    let server = ledger.serve();
    let bearer = format!("Bearer {}", ledger.app_key);
    assert_eq!(agent(&server, &[("authorization", &bearer)], AGENT).await["errcode"], 0);

    let other = format!("{CORP}/{OTHER}");
    let answer = agent(&server, &[("authorization", &bearer), ("x-wecom-app", &other)], OTHER).await;
    assert_eq!(answer["errcode"], 48002, "{answer}");
    let answer = agent(&server, &[("authorization", &bearer), ("x-wecom-app", "nobody/1")], AGENT).await;
    assert_eq!(answer["errcode"], 48002, "{answer}");
    assert_eq!(sandbox.calls("agent/get").await, 1);

    let entries = ledger.entries(&server).await;
    let refused: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "call.refused").collect();
    assert_eq!(refused.len(), 1, "the key that meddled with another app is on record");
    assert_eq!((&refused[0]["errcode"], &refused[0]["agent_id"]), (&48002.into(), &OTHER.into()));
}

#[tokio::test]
async fn without_a_good_key_nothing_is_sent() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let revoked = ledger.json(&[
        "key",
        "create",
        "--name",
        "gone",
        "--scope",
        "call",
        "--app",
        &format!("{CORP}/{AGENT}"),
    ]);
    ledger.ok(&["key", "revoke", &revoked["id"].to_string()]);
    let server = ledger.serve();
    let revoked = format!("Bearer {}", revoked["api_key"].as_str().unwrap());
    let reporter = format!("Bearer {}", ledger.create_key("reporter", "report", &[AGENT]));
    for (header, errcode) in [
        (None, 41001),
        (Some("Bearer wlk_0000000000000000000000000000000000000000000"), 40014),
        (Some("Basic d2xrXzA6"), 41001),
        (Some(revoked.as_str()), 40014),
        (Some(reporter.as_str()), 48002),
    ] {
        let headers: Vec<_> = header.map(|value| ("authorization", value)).into_iter().collect();
        let answer = agent(&server, &headers, AGENT).await;
        assert_eq!(answer["errcode"], errcode, "{header:?}: {answer}");
    }
    assert!(sandbox.requests().await.is_empty());
}
