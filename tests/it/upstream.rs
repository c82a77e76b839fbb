//! What WeCom, or the way to it, does wrong; and what crosses the gateway.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Entry, Ledger, Sandbox, Upstream, client, raw};

/// The last entry of the call of `api`.
async fn end_of(ledger: &Ledger, server: &crate::support::Server, api: &str) -> Entry {
    let entries = ledger.entries(server).await;
    let of_api = |entry: &&Entry| entry["api"] == api && entry["kind"].as_str().unwrap().starts_with("call.");
    entries.iter().rfind(of_api).unwrap().clone()
}

#[tokio::test]
async fn every_way_to_fail_has_its_entry_and_only_a_read_may_be_repeated() {
    for (fault, kind, incomplete, status) in [
        (json!({"kind": "status", "status": 502}), "call.posted", json!("garbage"), json!(502)),
        (json!({"kind": "status", "status": 500}), "call.posted", json!("garbage"), json!(500)),
        (json!({"kind": "garbage"}), "call.posted", json!("garbage"), json!(200)),
        (json!({"kind": "truncate"}), "call.posted", json!("truncated"), json!(200)),
        (json!({"kind": "close"}), "call.expired", Value::Null, Value::Null),
        (json!({"kind": "hang"}), "call.expired", Value::Null, Value::Null),
    ] {
        let sandbox = Sandbox::start();
        let ledger = Ledger::new(sandbox.url());
        let mut command = ledger.serve_command(&[]);
        command.env("WECOM_LEDGER_CALL_HEAD_TIMEOUT_SECS", "1");
        let server = ledger.serve_from(command);
        server.token().await;
        sandbox.fault(fault.clone()).await;
        let answers = [
            ("message/send", server.send_message("zhangsan", "hello").await, -9001),
            ("user/get", server.get("user/get", "userid=zhangsan").await, -1),
            ("new_thing/of_wecom", server.post("new_thing/of_wecom", json!({})).await, -9001),
        ];
        for (api, answer, errcode) in answers {
            assert_eq!(answer["errcode"], errcode, "{fault} {api} {answer}");
            let end = end_of(&ledger, &server, api).await;
            assert_eq!(
                (&end["kind"], &end["incomplete"]),
                (&json!(kind), &incomplete),
                "{fault} {api} {end}"
            );
            assert_eq!(end["http_status"], status, "{fault} {api} {end}");
            assert_eq!(sandbox.calls(api).await, 1, "{fault} {api} was repeated behind everybody's back");
        }
    }
}

#[tokio::test]
async fn where_nothing_could_be_sent_the_call_is_voided_and_may_be_repeated() {
    let mut sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    server.token().await;
    sandbox.process.kill();
    assert_eq!(server.send_message("zhangsan", "hello").await["errcode"], -1);
    assert_eq!(end_of(&ledger, &server, "message/send").await["kind"], "call.voided");
}

#[tokio::test]
async fn wecoms_own_errors_reach_the_client_as_they_are() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    for errcode in [-1, 60011, 81013, 45033] {
        sandbox.fault(json!({"path": "user/get", "kind": "errcode", "errcode": errcode, "times": 1})).await;
        let answer = server.get("user/get", "userid=zhangsan").await;
        assert_eq!(answer["errcode"], errcode);
        assert!(answer["errmsg"].as_str().unwrap().contains("hint: ["), "{answer}");
        let end = end_of(&ledger, &server, "user/get").await;
        assert_eq!((&end["kind"], &end["errcode"]), (&json!("call.posted"), &json!(errcode)));
        assert!(end["hint"].is_string() && end["from_ip"].is_string(), "{end}");
    }
}

#[tokio::test]
async fn headers_of_one_connection_and_credentials_of_ours_do_not_cross() {
    let upstream = Upstream::start(|_, mut stream| async move {
        let headers = "content-type: application/json\r\nconnection: x-theirs\r\nx-theirs: 1\r\n\
                       keep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\n\
                       strict-transport-security: max-age=1\r\nerror-code: 0\r\nx-kept: yes\r\n";
        raw::reply(&mut stream, headers, br#"{"errcode":0,"errmsg":"ok"}"#).await;
    })
    .await;
    let ledger = Ledger::new(&upstream.url);
    let server = ledger.serve();
    let key = &ledger.app_key;
    let head = format!(
        "POST /cgi-bin/message/send?safe=0 HTTP/1.1\r\nauthorization: Bearer {key}\r\ncontent-length: 2\r\n\
         connection: x-ours, keep-alive\r\nx-ours: 1\r\nkeep-alive: timeout=5\r\nte: trailers\r\n\
         proxy-authorization: Basic eDp5\r\ncookie: session=1\r\nx-forwarded-for: 192.0.2.1\r\n\
         referer: http://x/?access_token=y\r\naccept-encoding: gzip\r\nx-request-id: id-7\r\nuser-agent: sdk/1"
    );
    let answer = raw::exchange(server.url(), &head, b"{}").await;
    assert_eq!((answer.status(), answer.json()["errcode"].as_i64()), (200, Some(0)));
    assert_eq!((answer.header("x-kept"), answer.header("error-code")), (Some("yes"), Some("0")));
    for name in ["x-theirs", "keep-alive", "proxy-authenticate", "upgrade", "strict-transport-security"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let request = &upstream.requests()[0];
    assert_eq!(request.target(), "/cgi-bin/message/send?access_token=real-token-of-the-upstream&safe=0");
    assert_eq!((request.header("x-request-id"), request.header("user-agent")), (Some("id-7"), Some("sdk/1")));
    assert_eq!(request.header("host"), upstream.url.strip_prefix("http://"));
    for name in [
        "authorization",
        "x-ours",
        "keep-alive",
        "te",
        "proxy-authorization",
        "cookie",
        "x-forwarded-for",
        "referer",
        "accept-encoding",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert!(!request.head.contains(key.as_str()));
}

#[tokio::test]
async fn a_server_whose_standard_output_and_error_are_closed_lives_on() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let mut command = ledger.serve_command(&[]);
    command
        .env("WECOM_LEDGER_LOG", "trace")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().trim_start_matches("listening on ").to_owned();
    // SAFETY: the process is our child and was not waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGPIPE) };
    for _ in 0..3 {
        let request = client().get(format!("{url}/cgi-bin/user/get?userid=zhangsan"));
        let answer: Value = request.bearer_auth(&ledger.app_key).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["errcode"], 0, "{answer}");
    }
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}
