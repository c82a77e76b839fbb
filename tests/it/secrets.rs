//! No token, secret or API key in clear: not in the files, not in the logs, not in any error.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{AGENT, CORP, Ledger, SECRET, Sandbox, Server, TestClock, Upstream, raw, until};

/// Where a secret might show: a name for people, and the bytes.
type Place = (String, Vec<u8>);

/// Secrets and everything that a reader could recognise them by.
#[derive(Default)]
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, what: &'static str, secret: &str) {
        let bytes = secret.as_bytes();
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let percent = bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex, percent.to_lowercase(), percent];
        for (at, engine) in
            [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].into_iter().flat_map(|it| [(0, it), (1, it), (2, it)])
        {
            // The characters in the middle of an encoding depend on where the secret begins in its text.
            let encoded = engine.encode([&b"xx"[..at], bytes].concat());
            forms.push(encoded[4..encoded.len() - 4].to_owned());
        }
        if secret.len() >= 40 {
            // Half a secret is too much as well.
            forms.push(secret[12..32].to_owned());
            forms.push(secret[secret.len() - 20..].to_owned());
        }
        self.0.extend(forms.into_iter().map(|form| (what, form.into_bytes())));
    }

    fn must_not_be_in(&self, places: &[Place]) {
        let mut leaks = Vec::new();
        for (place, bytes) in places {
            for (what, form) in &self.0 {
                let Some(at) = find(bytes, form) else { continue };
                let around = &bytes[at.saturating_sub(200)..(at + form.len() + 60).min(bytes.len())];
                leaks.push(format!("{what} in {place}: …{}…", String::from_utf8_lossy(around)));
            }
        }
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    }
}

fn find(bytes: &[u8], form: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == form[0])?;
        if bytes[at..].starts_with(form) {
            return Some(at);
        }
        at += 1;
    }
}

/// Every file of the data directory but the one that is there to hold a key.
fn files(dir: &Path, places: &mut Vec<Place>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, places);
        } else if path.file_name().unwrap() != "master.key" {
            let bytes = std::fs::read(&path).unwrap_or_default();
            places.push((path.display().to_string(), bytes));
        }
    }
}

/// A server that says all that it can say.
fn talkative(ledger: &Ledger, clock: &TestClock) -> Server {
    let mut command = ledger.serve_command(&[]);
    clock.give_to(&mut command);
    command.env("WECOM_LEDGER_LOG", "trace").env("WECOM_LEDGER_CALL_HEAD_TIMEOUT_SECS", "1");
    ledger.serve_from(command)
}

/// Ends the server; what it wrote is whole then.
fn log_of(mut server: Server, places: &mut Vec<Place>) {
    assert!(server.process.terminate().success());
    let log = server.process.log();
    assert!(log.contains("SIGTERM: draining"), "this is not the log: {log}");
    places.push(("the log".to_owned(), log.into_bytes()));
}

/// Requests that are wrong in every way, with `secret` in each place where there can be one.
async fn malformed(server: &Server, secret: &str, places: &mut Vec<Place>) {
    let long = "x".repeat(20_000);
    for target in [
        format!("/cgi-bin/gettoken?corpid=wx-unknown&corpsecret={secret}"),
        format!("/cgi-bin/gettoken?corpid={CORP}&corpsecret={secret}x"),
        format!("/cgi-bin/gettoken?corpsecret={secret}"),
        format!("/cgi-bin/gettoken?corpid={secret}"),
        format!("/cgi-bin/gettoken?corpid={CORP}&corpsecret={secret}&debug=1"),
        format!("/cgi-bin/user/get?access_token={secret}x&userid=a"),
        format!("/cgi-bin/user/get?access_token={secret}&access_token=y"),
        format!("/cgi-bin/user/get?Access_Token={secret}&suite_access_token={secret}"),
        format!("/cgi-bin/user/get?access_token={secret}&debug=1"),
        format!("/cgi-bin/user/get?x=1;access_token={secret}"),
        format!("/cgi-bin/user/get?access_token={secret}&{long}"),
        format!("/cgi-bin/user//get?access_token={secret}"),
        format!("/cgi-bin/%2e/{secret}?access_token={secret}"),
        format!("/{secret}?access_token={secret}"),
        format!("/v1/entries?access_token={secret}&after={secret}"),
        format!("/v1/entries?api_key={secret}"),
        format!("http://x:{secret}@y/cgi-bin/user/get?access_token={secret}"),
    ] {
        let answer = raw::get(server.url(), &target).await;
        // 404 and the like may name the path: who put a secret there knows it.
        places.push((format!("the answer to {}", &target[..30.min(target.len())]), answer.body));
    }
    for head in [
        format!("GET /cgi-bin/user/get?access_token={secret} HTTP/9.9"),
        format!("GET /cgi-bin/user/get?access_token={secret}\u{1} HTTP/1.1"),
        format!("POST /cgi-bin/user/get?access_token={secret} HTTP/1.1\r\ncontent-length: {secret}"),
        format!("GET /cgi-bin/user/get HTTP/1.1\r\nauthorization: Bearer {secret}x"),
        format!("GET /v1/entries HTTP/1.1\r\nauthorization: Bearer {secret}x"),
        format!("GET /v1/entries HTTP/1.1\r\nauthorization: Basic {secret}"),
        format!(
            "PUT /cgi-bin/user/get?access_token={secret} HTTP/1.1\r\ncookie: {secret}\r\nreferer: /{secret}"
        ),
        format!("GET /cgi-bin/user/get HTTP/1.1\r\nx-wecom-app: {secret}\r\nauthorization: Bearer {secret}"),
    ] {
        let answer = raw::exchange(server.url(), &(head + "\r\nconnection: close"), b"").await;
        places.push(("the answer to a malformed request".to_owned(), answer.body));
    }
}

/// What REST and the command line say.
async fn reports(ledger: &Ledger, server: &Server, places: &mut Vec<Place>) {
    for path in [
        "/v1/usage",
        "/v1/usage/top",
        "/v1/apps",
        "/v1/api-keys",
        "/v1/corps",
        "/v1/limits",
        "/metrics",
        "/readyz",
    ] {
        let request = server.http.get(server.url().to_owned() + path).bearer_auth(&ledger.admin_key);
        places.push((path.to_owned(), request.send().await.unwrap().bytes().await.unwrap().to_vec()));
    }
    let entries = ledger.entries(server).await;
    for kind in ["call.voided", "call.expired", "call.posted", "credential.expired", "credential.invalidated"]
    {
        assert!(entries.iter().any(|entry| entry["kind"] == kind), "{kind}");
    }
    places.push(("/v1/entries".to_owned(), serde_json::to_vec(&entries).unwrap()));
    for arguments in [
        &["key", "list"][..],
        &["app", "list"],
        &["corp", "list"],
        &["usage"],
        &["audit", "export"],
        &["limits", "list"],
    ] {
        let output = ledger.run(arguments);
        places.push((format!("{arguments:?}"), [output.stdout, output.stderr].concat()));
    }
    let output = ledger.run_with_input(&["app", "add", "not-an-app", "--secret-file", "-"], SECRET);
    places.push(("app add".to_owned(), [output.stdout, output.stderr].concat()));
}

/// What the process leaves behind: in its environment, in files, in its log.
fn remains(ledger: &Ledger, server: Server, places: &mut Vec<Place>) {
    for file in ["cmdline", "environ"] {
        let path = format!("/proc/{}/{file}", server.process.pid());
        let bytes = std::fs::read(&path).unwrap();
        places.push((path, bytes));
    }
    files(&ledger.data_dir(), places);
    log_of(server, places);
    files(&ledger.data_dir(), places);
    assert!(places.iter().any(|(place, _)| place.ends_with("ledger.db")));
}

/// WeCom fails in every way.
async fn failures(sandbox: &Sandbox, server: &Server, token: &str, places: &mut Vec<Place>) {
    for kind in ["truncate", "garbage", "close", "status", "hang"] {
        sandbox.fault(json!({"path": "user/get", "kind": kind, "times": 1})).await;
        let url = format!("{}/cgi-bin/user/get?userid=x&access_token={}", server.url(), token);
        places.push((
            kind.to_owned(),
            server.http.get(url).send().await.unwrap().bytes().await.unwrap().to_vec(),
        ));
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one long story, and every step of it may leak")]
async fn no_secret_token_or_api_key_is_in_files_logs_errors_or_entries() {
    let mut sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let (clock, mut places) = (TestClock::new(), Vec::new());
    let server = talkative(&ledger, &clock);
    let mut secrets = Secrets::default();
    secrets.add("the app's secret", SECRET);
    secrets.add("the admin's API key", &ledger.admin_key);
    secrets.add("the app's API key", &ledger.app_key);
    let revoked = ledger.create_key("revoked", "call,reveal", &[AGENT]);
    secrets.add("another API key", &revoked);

    // Tokens by API key and by secret, and calls with each of them.
    let mut tokens = Vec::new();
    for secret in [&ledger.app_key, &revoked, SECRET] {
        let token = server.gettoken_as(secret).await["access_token"].as_str().unwrap().to_owned();
        secrets.add("a gateway token", &token);
        tokens.push(token);
    }
    let direct = format!("{}/cgi-bin/gettoken?corpid={CORP}&corpsecret={SECRET}", sandbox.url());
    let real = async || -> String {
        let answer: Value = server.http.get(&direct).send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    };
    secrets.add("WeCom's token", &real().await);
    for token in &tokens {
        let url = format!("{}/cgi-bin/user/get?userid=zhangsan&access_token={token}", server.url());
        assert_eq!(server.http.get(url).send().await.unwrap().json::<Value>().await.unwrap()["errcode"], 0);
    }
    let ticket = server.http.get(format!("{}/cgi-bin/get_jsapi_ticket", server.url())).bearer_auth(&revoked);
    let ticket: Value = ticket.send().await.unwrap().json().await.unwrap();
    secrets.add("a ticket", ticket["ticket"].as_str().unwrap());
    let key = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa";
    secrets.add("a webhook's key", key);
    server.post(&format!("webhook/send?key={key}"), json!({"msgtype": "text"})).await;

    // WeCom ends a token, fails in every way, and is gone at last.
    sandbox.revoke(42001).await;
    assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], 0);
    secrets.add("WeCom's second token", &real().await);
    failures(&sandbox, &server, &tokens[0], &mut places).await;
    for secret in [SECRET, &tokens[0], &ledger.app_key, &ledger.admin_key] {
        malformed(&server, secret, &mut places).await;
    }
    let agent: u32 = AGENT.parse().unwrap();
    sandbox
        .post("secret", json!({"corp_id": CORP, "agent_id": agent, "secret": "wecoms-newest-secret-1"}))
        .await;
    places
        .push(("a bad secret".to_owned(), server.get("user/get", "userid=x").await.to_string().into_bytes()));
    let wrong = "a-secret-that-was-never-right";
    ledger.put_app(AGENT, wrong);
    secrets.add("a wrong secret", wrong);
    places.push(("a wrong secret".to_owned(), server.gettoken().await.to_string().into_bytes()));
    ledger.put_app(AGENT, "wecoms-newest-secret-1");
    secrets.add("the newest secret", "wecoms-newest-secret-1");
    // At most three fetches a minute may be caused by tokens that WeCom ended.
    clock.advance_ms(61_000);
    until("the newest secret is used", async || {
        server.get("user/get", "userid=zhangsan").await["errcode"] == 0
    })
    .await;
    sandbox.process.kill();
    places.push((
        "WeCom is gone".to_owned(),
        server.get("user/get", "userid=x").await.to_string().into_bytes(),
    ));
    ledger.put_app("1000002", "sandbox-secret-1000002");
    let other = ledger.create_key("other", "call", &["1000002"]);
    secrets.add("another app's secret", "sandbox-secret-1000002");
    secrets.add("another app's API key", &other);
    let answer = server.gettoken_as(&other).await;
    assert_eq!(answer["errcode"], -1, "{answer}");
    places.push(("no token to be had".to_owned(), answer.to_string().into_bytes()));

    reports(&ledger, &server, &mut places).await;
    remains(&ledger, server, &mut places);
    secrets.must_not_be_in(&places);
}

#[tokio::test]
async fn an_upstream_that_repeats_the_token_in_its_errors_does_not_get_it_into_ledger_or_log() {
    let upstream = Upstream::start(|request, mut stream| async move {
        let body =
            json!({"errcode": 40058, "errmsg": format!("bad request {}", request.target())}).to_string();
        raw::reply(&mut stream, "content-type: application/json\r\n", body.as_bytes()).await;
    })
    .await;
    let ledger = Ledger::new(&upstream.url);
    let server = talkative(&ledger, &TestClock::new());
    assert_eq!(server.get("user/get", "userid=x").await["errcode"], 40058);
    let mut secrets = Secrets::default();
    secrets.add("WeCom's token", "real-token-of-the-upstream");
    let mut places = Vec::new();
    places.push(("/v1/entries".to_owned(), serde_json::to_vec(&ledger.entries(&server).await).unwrap()));
    files(&ledger.data_dir(), &mut places);
    log_of(server, &mut places);
    secrets.must_not_be_in(&places);
}
