//! Calls that wait for room in a limit: `Prefer: wait=N`.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{AGENT, CORP, Ledger, Sandbox, Server, TestClock, raw, until};

const MINUTE_MS: i64 = 61_000;

/// A server with a small cap per minute on every API, which says who joins and leaves a line.
fn serve(ledger: &Ledger, cap: &str, clock: &TestClock) -> Server {
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", cap]);
    let mut command = ledger.serve_command(&[]);
    command.env("WECOM_LEDGER_LOG", "info,wecom_ledger::admission=debug");
    clock.give_to(&mut command);
    ledger.serve_from(command)
}

async fn get_user(server: &Server, prefer: &str) -> (Value, reqwest::header::HeaderMap) {
    let url = format!("{}/cgi-bin/user/get?userid=zhangsan", server.url());
    let request = server.http.get(url).bearer_auth(&server.app_key).header("prefer", prefer);
    let response = request.send().await.unwrap();
    let headers = response.headers().clone();
    (response.json().await.unwrap(), headers)
}

async fn said(server: &Server, what: &str, times: usize) {
    until(what, async || server.process.log().matches(what).count() == times).await;
}

fn pendings(entries: &[Value], api: &str) -> usize {
    entries.iter().filter(|entry| entry["kind"] == "call.pending" && entry["api"] == api).count()
}

#[tokio::test]
async fn whoever_prefers_to_wait_is_admitted_when_the_window_allows() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let clock = TestClock::new();
    let server = serve(&ledger, "2", &clock);
    for _ in 0..2 {
        assert_eq!(get_user(&server, "").await.0["errcode"], 0);
    }
    let waits = async {
        let (answer, headers) = get_user(&server, "wait=45").await;
        assert_eq!(answer["errcode"], 0, "{answer}");
        assert_eq!(headers["preference-applied"], "wait=45");
    };
    let others = async {
        said(&server, "a call waits in line", 1).await;
        // Behind those who wait there is no room for one that does not.
        let (refused, headers) = get_user(&server, "").await;
        assert_eq!(refused["errcode"], 45009, "{refused}");
        assert!(headers.contains_key("retry-after") && !headers.contains_key("preference-applied"));
        assert_eq!(sandbox.calls("user/get").await, 2);
        clock.advance_ms(MINUTE_MS);
    };
    tokio::join!(waits, others);
    assert_eq!(sandbox.calls("user/get").await, 3);
    let entries = ledger.entries(&server).await;
    let refused = entries.iter().filter(|entry| entry["kind"] == "call.refused").count();
    assert_eq!(refused, 1, "only the one that did not wait");
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_leaves_no_entry() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let clock = TestClock::new();
    let server = serve(&ledger, "1", &clock);
    let order = json!({"app": format!("{CORP}/{AGENT}"), "api": "user/get"}).to_string();
    assert_eq!(get_user(&server, "").await.0["errcode"], 0);
    let asks = [
        ("GET /cgi-bin/user/get?userid=zhangsan HTTP/1.1", String::new()),
        ("POST /v1/calls HTTP/1.1", order),
    ];
    for ((line, body), times) in asks.iter().zip(1..) {
        let (key, length) = (&ledger.app_key, body.len());
        let head =
            format!("{line}\r\nauthorization: Bearer {key}\r\nprefer: wait=60\r\ncontent-length: {length}");
        let connection = raw::send(server.url(), &head, body.as_bytes()).await;
        said(&server, "a call waits in line", times).await;
        drop(connection);
        said(&server, "a client has left its line", times).await;
    }
    clock.advance_ms(MINUTE_MS);
    assert_eq!(get_user(&server, "wait=10").await.0["errcode"], 0);
    let entries = ledger.entries(&server).await;
    assert_eq!((pendings(&entries, "user/get"), sandbox.calls("user/get").await), (2, 2));
    assert!(!entries.iter().any(|entry| entry["kind"] == "call.refused"), "{entries:?}");
}

#[tokio::test]
async fn a_server_that_stops_lets_nobody_wait() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let mut server = serve(&ledger, "1", &TestClock::new());
    assert_eq!(get_user(&server, "").await.0["errcode"], 0);
    let begun = Instant::now();
    let stop = async {
        said(&server, "a call waits in line", 1).await;
        server.process.signal(libc::SIGTERM);
    };
    let ((refused, headers), ()) = tokio::join!(get_user(&server, "wait=60"), stop);
    assert_eq!(refused["errcode"], 45009, "{refused}");
    assert!(refused["errmsg"].as_str().unwrap().contains("this process stops"), "{refused}");
    assert!(headers.contains_key("retry-after"));
    assert!(begun.elapsed().as_secs() < 30, "it waited on");
    assert!(server.process.terminate().success());
}
